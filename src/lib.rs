//! `ngx_http_acme_dns_module`: automatic certificates inside NGINX by ACME dns-01.
//!
//! This crate is the nginx edge and nothing else: `ffi` registers modules and directives, hands
//! text to [`acme_dns_core`] and runs [`acme_dns_service`] in nginx's helper process. docs/architecture.md
//! shows how the parts work together.

mod ffi;
