//! The server that a context of OpenSSL's belongs to, for the variables. The handshake finds it by the data of its
//! callbacks.
//!
//! A server without a certificate, beside a default server that has one, has no context: a client that names
//! it gets the default server's, while nginx answers for the other. The variables of such a connection are those of
//! the server whose context it has.

use super::openssl::{Handshake, SslCtx, context_data};
use super::served::Served;
use ngx::ffi::ngx_connection_t;
use std::ptr::NonNull;

/// Notes the server of a context, whose certificates live as long as the context's cycle.
pub(super) fn set_owner(context: SslCtx, served: NonNull<Served>) {
    context.set_data(served.as_ptr().cast());
}

/// Finds the certificates of the server whose context a connection has; `None` if it is none of ours, or there
/// is no TLS.
///
/// # Safety
/// The connection is live, or null.
pub(super) unsafe fn owner_of(connection: *const ngx_connection_t) -> Option<NonNull<Served>> {
    // SAFETY: by this function's contract.
    let tls = unsafe { tls_of(connection) }?;
    // SAFETY: a live connection of OpenSSL's.
    NonNull::new(unsafe { context_data(tls.as_ptr()) }.cast())
}

/// Finds OpenSSL's connection; `None` if there is no TLS.
///
/// # Safety
/// As for [`owner_of`]; the result is used no longer.
pub(super) unsafe fn tls_of(connection: *const ngx_connection_t) -> Option<Handshake> {
    // SAFETY: by this function's contract.
    let connection = unsafe { connection.as_ref() }?;
    // SAFETY: null, or what nginx keeps for a connection with TLS.
    let ssl = unsafe { connection.ssl.as_ref() }?.connection;
    // SAFETY: null, or a live connection of OpenSSL's.
    unsafe { Handshake::new(ssl) }
}
