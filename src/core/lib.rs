//! The pure part of `ngx_http_acme_dns_module`: what a configuration means, which names can be
//! certified, how a certificate travels through shared memory and when it is renewed.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time and randomness are
//! arguments, files and secrets come through [`config::Resources`]. So all of it is tested without
//! nginx, without a network and on a simulated clock.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod caa;
pub mod challenge;
pub mod config;
pub mod encoding;
pub mod findings;
pub mod fleet;
pub mod growing;
pub mod id;
pub mod index;
pub mod key;
pub mod level;
pub mod material;
pub mod name;
pub mod notice;
pub mod packed;
pub mod pem;
pub mod persist;
pub mod providers_protocol;
pub mod recent;
pub mod redact;
pub mod schedule;
pub mod server_name;
pub mod staple;
pub mod status;
pub mod stock;
pub mod text;
pub mod time;
pub mod url;
