//! NGINX with the module, clients that look at what it serves, and measurements: what end-to-end tests need
//! beside the servers of the crate `servers`.

pub mod clients;
pub mod measurements;
pub mod nginx;
