//! The end-to-end tests, one module a behaviour.

mod certbot;
mod cloudflare_stand_in;
mod configuration;
mod faults;
mod pebble;
mod support;
