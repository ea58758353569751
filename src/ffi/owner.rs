//! To which server of ours a context of OpenSSL's belongs.
//!
//! A server without a certificate, beside a default server that has one, has no context: a client that names
//! it gets the default server's, while nginx answers for the other. What is to be known of the certificate of
//! such a connection is found by the context that it has.

use super::certificate::Binding;
use ngx::ffi::{
    CRYPTO_EX_INDEX_SSL_CTX, CRYPTO_get_ex_new_index, SSL_CTX, SSL_CTX_get_ex_data,
    SSL_CTX_set_ex_data, SSL_get_SSL_CTX, ngx_connection_t,
};
use std::ffi::c_int;
use std::ptr;
use std::sync::OnceLock;

/// The number of our data in a context; `None`: out of memory.
fn index() -> Option<c_int> {
    static INDEX: OnceLock<Option<c_int>> = OnceLock::new();
    *INDEX.get_or_init(|| {
        let class = CRYPTO_EX_INDEX_SSL_CTX as c_int;
        // SAFETY: without functions nothing is called for the data, which nginx owns.
        let index = unsafe { CRYPTO_get_ex_new_index(class, 0, ptr::null_mut(), None, None, None) };
        (index >= 0).then_some(index)
    })
}

/// Notes whose a context is.
///
/// # Safety
/// The context is live, and the binding lives as long as the context's cycle.
pub(super) unsafe fn set_owner(context: *mut SSL_CTX, binding: *mut Binding) {
    if let Some(index) = index() {
        // SAFETY: by this function's contract.
        unsafe { SSL_CTX_set_ex_data(context, index, binding.cast()) };
    }
}

/// Whose context a connection has; `None` if it is none of ours, or there is no TLS.
///
/// # Safety
/// The connection is live.
pub(super) unsafe fn owner_of(connection: *const ngx_connection_t) -> Option<*mut Binding> {
    // SAFETY: by this function's contract.
    let connection = unsafe { connection.as_ref() }?;
    // SAFETY: null, or what nginx keeps for a connection with TLS.
    let ssl = unsafe { connection.ssl.as_ref() }?.connection;
    if ssl.is_null() {
        return None;
    }
    // SAFETY: a live connection of OpenSSL's has a context.
    let context = unsafe { SSL_get_SSL_CTX(ssl) };
    // SAFETY: as above.
    let binding = unsafe { SSL_CTX_get_ex_data(context, index()?) };
    (!binding.is_null()).then_some(binding.cast())
}
