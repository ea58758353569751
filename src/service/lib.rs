//! The helper process of `ngx_http_acme_dns_module`: it obtains certificates by ACME (RFC 8555) with
//! dns-01, saves them to disk and hands them to the workers.
//!
//! One thread with a tokio current-thread runtime runs the one loop that sleeps ([`engine`]); the
//! rest are its parts: [`acme`] talks to the CA, [`ocsp`] to its responder, [`dns`] to the DNS
//! providers, [`propagation`] asks the authoritative servers, [`store`] keeps files, [`import`] reads
//! those of other clients, [`reload`] knows which of them nginx reads, `x509` reads certificates and keys.
//! nginx is seen only through [`Host`].
#![forbid(unsafe_code)]

pub mod acme;
pub mod dns;
pub mod engine;
pub mod event;
pub mod host;
pub mod http;
pub mod import;
pub mod ocsp;
pub mod propagation;
pub mod reload;
pub mod resolver;
pub mod stamp;
pub mod store;
mod x509;
