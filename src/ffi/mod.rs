//! The nginx edge: the only place with `unsafe`.
//!
//! Four modules are in the shared object. The core module ([`core_module`]) owns issuers, providers,
//! the state path, shared memory and the helper process; the http, the stream and the mail module bind
//! servers to certificates, with what they have in common in [`server`]; [`sharing`] lets servers of
//! `http` use one `SSL_CTX`. [`nginx`] wraps what is used of nginx's API, [`zone`] the shared memory,
//! [`certificate`] is the handshake, [`helper`] the process that works, [`reload`] its way to
//! have nginx reloaded, [`vault`] keeps secrets.
//!
//! Conventions: a callback is `unsafe extern "C"` and does its work inside [`catch::guard`], which
//! turns a panic into the failure value; a configuration structure is a `Box` that belongs to the
//! cycle's pool and lives as long as the cycle.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bindings;
mod catch;
mod certificate;
mod core_module;
mod directives;
mod exports;
mod helper;
mod http_module;
mod import;
#[cfg(ngx_mail)]
mod mail_module;
mod nginx;
mod reload;
mod server;
mod sharing;
#[cfg(ngx_stream)]
mod stream_module;
mod variables;
mod vault;
mod zone;
