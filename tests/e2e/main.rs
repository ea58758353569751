//! The end-to-end tests, one module a behaviour.

mod binding;
mod certbot;
mod cloudflare_stand_in;
mod configuration;
mod faults;
mod lone;
mod pebble;
mod sessions;
mod site;
mod support;
