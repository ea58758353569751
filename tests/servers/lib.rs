//! Real servers for the tests: certification authorities, DNS servers, engines that hosts share certificates on, stand-ins
//! of DNS providers, proxies that misbehave.
//!
//! Everything runs unprivileged from a temporary directory on 127.0.0.1, each server on a port of
//! its own, and ends with the value that stands for it, or with the test process. [`Testbed`] puts
//! together what most tests need. The interface is synchronous; servers that run inside the test
//! process share one runtime behind it.
//!
//! NGINX, the clients of what it serves and the measurements are not here but in the crate `testbed`, so
//! that a unit test of the service builds without them.

pub mod acme_dns;
pub mod acme_proxy;
pub mod acme_sh;
pub mod authority;
pub mod bed;
pub mod bind;
pub mod cloudflare;
pub mod connect_proxy;
pub mod dns_proxy;
pub mod duckdns;
pub mod etcd;
pub mod foreign_ca;
pub mod http_forward;
pub mod http_server;
pub mod httpreq;
pub mod knot;
pub mod lego;
pub mod moto;
pub mod ocsp;
pub mod package;
pub mod paths;
pub mod pebble;
pub mod persist_ca;
pub mod ports;
pub mod powerdns;
pub mod process;
pub mod promtool;
pub mod redis;
pub mod rt;
pub mod tcp_link;
pub mod traffic;
pub mod tsig;
pub mod unbound;

pub use bed::{Testbed, ZONE};
