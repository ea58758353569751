//! The nginx edge: the only place with `unsafe`. What a directive's parameters mean and what the service does is not
//! here, but in `core` and `service`.
//!
//! The files, from the ground up; each imports only from those above it:
//!
//! | subject | files |
//! |---|---|
//! | C | [`callback`], [`bindings`] |
//! | nginx's API | [`nginx`], [`pool`], [`cycle`], [`parser`], [`module_ctx`], [`http_ctx`] |
//! | OpenSSL's API | [`openssl`], [`session`] |
//! | processes | [`heap`], [`privileges`], [`identity`], [`relay`], [`reload`], [`child`], [`programs`] |
//! | data | [`memory`] and [`writer`] (certificates for the workers), [`requests`] (of workers), [`public_area`] (the status), [`vault`] (secrets) |
//! | the handshake | [`self_signed`], [`pair`], [`certificate`], [`served`], [`owner`] |
//! | servers | [`ssl_conf`], [`bound`], [`sharing`], [`variables`], [`status_conf`], [`status_request`], [`status_control`], [`status_handler`] |
//! | the configuration of a cycle | [`registry`], [`conf`], [`directives`], [`server`], [`init_conf`] |
//! | the helper | [`host`], [`service_process`], [`helper`] |
//! | the start | [`import`], [`missing`], [`startup`], [`init_module`] |
//! | the doctor | [`doctor`] |
//! | modules | [`http_module`], [`stream_module`], [`mail_module`], [`core_module`], [`exports`] |
//!
//! Four modules are in the shared object. The core module owns issuers, providers, the state path, shared memory and
//! the helper process; the other three bind servers to certificates.
//!
//! Conventions: C calls a function that [`callback::callback`] defines, which turns a panic into the failure value
//! and its arguments into types that hold what C promises; nginx's structures are reached by such types, with
//! references that live no longer than they do. Configurations of our modules belong to the cycle's pool, and
//! are shared: what changes in them is in cells.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bindings;
mod bound;
mod callback;
mod certificate;
mod child;
mod conf;
mod copier;
mod core_module;
mod cycle;
mod directives;
mod doctor;
mod exports;
mod growth;
mod heap;
mod helper;
mod host;
mod http_ctx;
mod http_module;
mod identity;
mod import;
mod init_conf;
mod init_module;
#[cfg(ngx_mail)]
mod mail_module;
mod memory;
mod missing;
mod module_ctx;
mod nginx;
mod openssl;
mod owner;
mod pair;
mod parser;
mod pool;
mod private_key;
mod privileges;
mod programs;
mod public_area;
mod registry;
mod relay;
mod reload;
mod requests;
mod self_signed;
mod served;
mod server;
mod service_process;
mod session;
mod sharing;
mod ssl_conf;
mod startup;
mod status_conf;
mod status_control;
mod status_handler;
mod status_request;
#[cfg(ngx_stream)]
mod stream_module;
mod variables;
mod vault;
mod watched;
mod writer;
