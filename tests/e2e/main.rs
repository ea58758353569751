//! The end-to-end tests, one module a behaviour.

mod actions;
mod authorities;
mod binding;
mod certbot;
mod cloudflare_stand_in;
mod configuration;
mod examples;
mod failures;
mod faults;
mod http3;
mod issuance;
mod keys;
mod lone;
mod matrix;
mod pebble;
mod process;
mod renewal;
mod renewal_info;
mod restart;
mod secrets;
mod sessions;
mod site;
mod soak;
mod support;
