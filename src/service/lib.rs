//! The helper process of `ngx_http_acme_dns_module`: it obtains certificates by ACME (RFC 8555) with
//! dns-01, saves them to disk and hands them to the workers.
//!
//! One thread with a tokio current-thread runtime runs the one loop that sleeps ([`engine`]); the rest are its parts:
//! [`acme`] talks to the CA, [`ocsp`] to its responder, [`dns`] to the DNS providers, [`propagation`] and [`resolver`]
//! to DNS servers, [`store`] owns the state path, [`import`] reads the files of other clients, [`doctor`] checks what
//! certificates depend on, [`notice`] tells hooks and other software, [`share`] asks the engine that hosts share
//! certificates on, [`mark`] tells the lines of one attempt from those of others, [`program`] runs programs, [`reload`]
//! knows which files nginx reads, `x509` reads certificates and keys, and [`event`] has what is told. nginx is seen
//! only through [`host`]. Not here: what a configuration means and when something is due ([`acme_dns_core`]), and
//! anything with `unsafe`.
#![forbid(unsafe_code)]

pub mod acme;
pub mod dns;
pub mod doctor;
pub mod domains;
pub mod engine;
pub mod event;
pub mod host;
pub mod http;
pub mod import;
pub mod mark;
pub mod notice;
pub mod ocsp;
pub mod program;
pub mod propagation;
mod random;
pub mod reload;
pub mod resolver;
pub mod share;
pub mod stamp;
pub mod status;
pub mod store;
mod x509;
