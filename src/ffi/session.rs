//! The TLS sessions that a server may resume. Which servers share a context at all is decided in `sharing`.

use super::openssl::SslCtx;
use openssl::sha::Sha256;

/// Lets sessions be resumed only by servers with the same certificate and the same demands on clients. A
/// server that verifies clients has sessions of its own: from nginx 1.29.2 on the server is chosen before the
/// session, and what one server has verified must not count at another, which may trust other authorities.
/// `ordinal` tells it from those that are alike.
pub(super) fn set_session_context(context: SslCtx, text: &str, ordinal: usize) {
    let mut hash = Sha256::new();
    hash.update(text.as_bytes());
    for name in context.client_authorities() {
        hash.update(&name);
    }
    if context.verifies_clients() {
        hash.update(b" verifies ");
        hash.update(&ordinal.to_le_bytes());
        let mut trusted = context.trusted_authorities();
        trusted.sort_unstable();
        trusted.iter().for_each(|authority| hash.update(authority));
    }
    context.set_session_id_context(&hash.finish());
}
