//! Programs, the provider that is made of them, and hooks of other clients.

#[path = "../../../ffi/child.rs"]
mod child;

mod bed;
mod foreign;
mod programs;
mod protocols;
mod removal;
