//! nginx's mail module, as far as it is used here: `ngx` has no bindings to it.

#![allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    unreachable_pub,
    clippy::pedantic,
    reason = "made by build.rs from nginx's headers"
)]

use ngx::ffi::*;

include!(concat!(env!("OUT_DIR"), "/mail.rs"));
