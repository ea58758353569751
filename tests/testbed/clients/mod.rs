//! Clients: of NGINX over TLS and QUIC, of a certification authority, and of Cloudflare's API.

pub mod acme;
pub mod certbot;
pub mod cloudflare;
pub mod compression;
pub mod http3;
pub mod resuming;
pub mod tls;
pub mod visit;
