//! The server that a context of OpenSSL's belongs to, for the variables. The handshake finds it by the data of its
//! callbacks.
//!
//! A server without a certificate, beside a default server that has one, has no context: a client that names
//! it gets the default server's, while nginx answers for the other. The variables of such a connection are those of
//! the server whose context it has.

use super::certificate::ServerCertificate;
use super::openssl::{SslCtx, context_data};
use ngx::ffi::ngx_connection_t;
use std::ptr::NonNull;

/// Notes the server of a context, whose certificate lives as long as the context's cycle.
pub(super) fn set_owner(context: SslCtx, certificate: NonNull<ServerCertificate>) {
    context.set_data(certificate.as_ptr().cast());
}

/// Finds the certificate of the server whose context a connection has; `None` if it is none of ours, or there
/// is no TLS.
///
/// # Safety
/// The connection is live, or null.
pub(super) unsafe fn owner_of(
    connection: *const ngx_connection_t,
) -> Option<NonNull<ServerCertificate>> {
    // SAFETY: by this function's contract.
    let connection = unsafe { connection.as_ref() }?;
    // SAFETY: null, or what nginx keeps for a connection with TLS.
    let ssl = unsafe { connection.ssl.as_ref() }?.connection;
    if ssl.is_null() {
        return None;
    }
    // SAFETY: a live connection of OpenSSL's.
    NonNull::new(unsafe { context_data(ssl) }.cast())
}
