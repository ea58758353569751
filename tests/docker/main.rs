//! The tests of the image with a Docker engine, one module a behaviour: `make docker-test`.

mod build;
mod certificate;
mod compose;
mod configuration;
mod dehydrated;
mod fleet;
mod mistakes;
mod quick_start;
mod reload;
mod secrets;
mod shared;
mod source;
mod stage;
mod stop;
mod unprivileged;
