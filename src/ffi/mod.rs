//! The nginx edge: the only place with `unsafe`.
//!
//! Two modules are in the shared object. The core module ([`core_module`]) owns issuers, providers,
//! the state path, shared memory and the helper process; the http module ([`http_module`]) binds
//! servers to certificates. [`nginx`] wraps what is used of nginx's API, [`zone`] the shared memory,
//! [`certificate`] is the handshake, [`helper`] the process that works, [`vault`] keeps secrets.
//!
//! Conventions: a callback is `unsafe extern "C"` and does its work inside [`catch::guard`], which
//! turns a panic into the failure value; a configuration structure is a `Box` that belongs to the
//! cycle's pool and lives as long as the cycle.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod catch;
mod certificate;
mod core_module;
mod directives;
mod exports;
mod helper;
mod http_module;
mod nginx;
mod vault;
mod zone;
