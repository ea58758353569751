//! Real servers for the end-to-end tests.
//!
//! Everything runs unprivileged from a temporary directory on 127.0.0.1, each server on a port of
//! its own, and ends with the value that stands for it, or with the test process. [`Testbed`] puts
//! together what most tests need. The interface is synchronous; servers that run inside the test
//! process share one runtime behind it.

pub mod acme_proxy;
pub mod api_clients;
pub mod authority;
pub mod bed;
pub mod certbot;
pub mod clients;
pub mod cloudflare;
pub mod compression;
pub mod dns_proxy;
pub mod docker;
pub mod example;
pub mod foreign_ca;
pub mod generations;
pub mod http3;
mod http_server;
pub mod knot;
pub mod nginx;
pub mod nginx_build;
pub mod ocsp;
pub mod package;
pub mod paths;
pub mod pebble;
pub mod ports;
pub mod powerdns;
pub mod proc;
pub mod process;
pub mod recorder;
pub mod replay;
pub mod resuming;
mod rt;
pub mod scrub;
pub mod soak;
pub mod tls;
pub mod traffic;
pub mod unbound;
pub mod visit;

pub use bed::{Testbed, ZONE};
