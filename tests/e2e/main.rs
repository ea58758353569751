//! The end-to-end tests, one module a behaviour.

mod binding;
mod certbot;
mod cloudflare_stand_in;
mod configuration;
mod examples;
mod failures;
mod faults;
mod issuance;
mod lone;
mod matrix;
mod pebble;
mod process;
mod renewal;
mod restart;
mod secrets;
mod sessions;
mod site;
mod soak;
mod support;
