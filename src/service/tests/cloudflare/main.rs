//! The Cloudflare provider against the testbed's stand-in of Cloudflare's API.

mod bed;
mod errors;
mod records;
mod together;
mod zones;
