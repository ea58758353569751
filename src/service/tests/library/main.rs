//! Providers of the library `dns-update`, by the program `acme-dns-providers` itself, and by programs in its place.
//!
//! `make test` has built the program; `make program` does.

#[path = "../../../ffi/child.rs"]
mod child;

mod bed;
mod programs;
mod races;
mod route53;
mod types;
