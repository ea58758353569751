//! The nginx edge: the only place with `unsafe`.
//!
//! Four modules are in the shared object. The core module ([`core_module`]) owns issuers, providers,
//! the state path, shared memory and the helper process, in a [`conf`] for each configuration; the http, the stream and the mail module bind
//! servers to certificates, with what they have in common in [`server`]; [`sharing`] lets servers of
//! `http` use one `SSL_CTX`. [`nginx`] wraps what is used of nginx's API, [`registry`] knows the cycles that
//! are ours, [`certificate`] is the handshake, [`memory`] what it reads, [`startup`] what it begins with.
//!
//! [`helper`] is nginx's cache manager process, and divides itself: [`service_process`] is the process that
//! works, as the user that [`identity`] decides on; [`relay`] is the socket between the two, [`privileges`]
//! what keeps them apart, [`host`] what the service asks of nginx, [`reload`] its way to have nginx reloaded.
//! [`vault`] keeps secrets.
//!
//! Conventions: a callback is `unsafe extern "C"` and does its work inside [`catch::guard`], which
//! turns a panic into the failure value; a configuration structure is a `Box` that belongs to the
//! cycle's pool and lives as long as the cycle.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bindings;
mod catch;
mod certificate;
mod conf;
mod core_module;
mod directives;
mod exports;
mod helper;
mod host;
mod http_module;
mod identity;
mod import;
#[cfg(ngx_mail)]
mod mail_module;
mod memory;
mod missing;
mod nginx;
mod owner;
mod privileges;
mod registry;
mod relay;
mod reload;
mod server;
mod service_process;
mod session;
mod sharing;
mod startup;
#[cfg(ngx_stream)]
mod stream_module;
mod variables;
mod vault;
