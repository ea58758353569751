//! Hooks, webhooks and exports, with real programs, a real server and real files.

#[path = "../../../ffi/child.rs"]
mod child;

mod bed;
mod examples;
mod exports;
mod hooks;
mod software;
mod webhooks;
