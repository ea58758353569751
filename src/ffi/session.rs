//! Which sessions of TLS a server may resume.

use foreign_types::ForeignTypeRef;
use ngx::ffi::{
    OPENSSL_sk_num, OPENSSL_sk_value, SSL_CTX, SSL_CTX_get_client_CA_list, SSL_CTX_get_verify_mode,
    SSL_CTX_set_session_id_context, X509_NAME, i2d_X509_NAME,
};
use openssl::sha::Sha256;
use openssl::ssl::SslContextRef;
use std::ptr;

/// Lets sessions be resumed only by servers with the same certificate and the same demands on clients. A
/// server that verifies clients has sessions of its own: from nginx 1.29.2 on the server is chosen before the
/// session, and what one server has verified must not count at another, which may trust other authorities.
/// `ordinal` tells it from those that are alike.
pub(super) fn set_session_context(context: *mut SSL_CTX, text: &str, ordinal: usize) {
    let mut hash = Sha256::new();
    hash.update(text.as_bytes());
    for name in client_authorities(context) {
        hash.update(&name);
    }
    // SAFETY: the context is live.
    if unsafe { SSL_CTX_get_verify_mode(context) } != 0 {
        hash.update(b" verifies ");
        hash.update(&ordinal.to_le_bytes());
        for authority in trusted_authorities(context) {
            hash.update(&authority);
        }
    }
    let hash = hash.finish();
    let length = u32::try_from(hash.len()).unwrap_or_default();
    // SAFETY: the context is live. It takes 32 bytes at most, which these are: it cannot fail.
    unsafe { SSL_CTX_set_session_id_context(context, hash.as_ptr(), length) };
}

/// The certificates that clients' certificates are verified with, in DER.
fn trusted_authorities(context: *mut SSL_CTX) -> Vec<Vec<u8>> {
    // SAFETY: the context is live; the reference is dropped before it is.
    let context = unsafe { SslContextRef::from_ptr(context.cast()) };
    let mut all: Vec<Vec<u8>> = context
        .cert_store()
        .all_certificates()
        .iter()
        .filter_map(|certificate| certificate.to_der().ok())
        .collect();
    all.sort_unstable();
    all
}

/// The names of the authorities that clients' certificates may be from, in DER.
fn client_authorities(context: *mut SSL_CTX) -> Vec<Vec<u8>> {
    // SAFETY: the context is live.
    let list = unsafe { SSL_CTX_get_client_CA_list(context) };
    // SAFETY: null, or a list of the context's.
    let count = unsafe { OPENSSL_sk_num(list.cast()) };
    let name = |index| {
        // SAFETY: the index is below the number of entries.
        let name = unsafe { OPENSSL_sk_value(list.cast(), index) }.cast::<X509_NAME>();
        // SAFETY: an entry of the list; without a place to write to the length is given.
        let length = unsafe { i2d_X509_NAME(name, ptr::null_mut()) };
        let mut der = vec![0; usize::try_from(length).unwrap_or_default()];
        let mut end = der.as_mut_ptr();
        // SAFETY: as above; there is room for the length that was given.
        unsafe { i2d_X509_NAME(name, &raw mut end) };
        der
    };
    (0..count).map(name).collect()
}
