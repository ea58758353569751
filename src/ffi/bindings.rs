//! Bindings to nginx's stream and mail modules, made by build.rs: `ngx` has none to mail, and those to streams
//! only where nginx has them built in. All others are those of `ngx`.

#![allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_qualifications,
    clippy::all,
    clippy::indexing_slicing,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "made by build.rs from nginx's headers"
)]

#[cfg(ngx_mail)]
pub(super) mod mail {
    use ngx::ffi::*;
    include!(concat!(env!("OUT_DIR"), "/mail.rs"));
}

#[cfg(ngx_stream)]
pub(super) mod stream {
    use ngx::ffi::*;
    include!(concat!(env!("OUT_DIR"), "/stream.rs"));
}
