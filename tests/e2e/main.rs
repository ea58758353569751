//! The end-to-end tests, one module a behaviour.

mod certbot;
