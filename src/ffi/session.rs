//! The TLS sessions that a server may resume. Which servers share a context at all is decided in `sharing`.

use super::callback::callback;
use super::openssl::SslCtx;
use acme_dns_core::server_name;
use ngx::ffi::{
    SSL, SSL_CTRL_GET_SESS_CACHE_MODE, SSL_CTRL_SET_SESS_CACHE_MODE,
    SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, SSL_CTX_callback_ctrl, SSL_CTX_ctrl,
    SSL_CTX_sess_get_get_cb, SSL_CTX_sess_set_get_cb, SSL_CTX_set_session_ticket_cb,
    SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, SSL_SESSION, SSL_SESSION_free, SSL_SESSION_get0_hostname,
    SSL_TICKET_RETURN_IGNORE_RENEW, SSL_TICKET_RETURN_USE, SSL_TICKET_RETURN_USE_RENEW,
    SSL_TICKET_SUCCESS, SSL_TICKET_SUCCESS_RENEW, SSL_TLSEXT_ERR_OK, SSL_client_hello_get0_ext,
    TLSEXT_TYPE_server_name,
};
use openssl::sha::Sha256;
use std::ffi::{CStr, c_int, c_long, c_uchar, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

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

/// OpenSSL's type of a function that finds a session by its identifier.
type FindSession =
    unsafe extern "C" fn(*mut SSL, *const c_uchar, c_int, *mut c_int) -> *mut SSL_SESSION;

/// nginx's own, which is the same for all contexts.
static FIND_SESSION: OnceLock<FindSession> = OnceLock::new();

/// Lets sessions of connections that begin with this context be resumed only with the name that they began with
/// (RFC 6066 section 3), which OpenSSL leaves to its users. A server that chooses by name would else go on with a
/// client that has seen the certificate of another name. `kind` is the name of the server's module.
pub(super) fn bind_sessions_to_names(context: SslCtx, kind: &str) {
    let raw = context.as_ptr();
    // SAFETY: the context is live, and the callback needs no data.
    unsafe { SSL_CTX_set_session_ticket_cb(raw, None, Some(check_ticket), ptr::null_mut()) };
    // SAFETY: as above.
    let found = unsafe { SSL_CTX_sess_get_get_cb(raw) };
    if let Some(found) = found.filter(|found| !ptr::fn_addr_eq(*found, find_session as FindSession))
    {
        FIND_SESSION.get_or_init(|| found);
        // SAFETY: as above.
        unsafe { SSL_CTX_sess_set_get_cb(raw, Some(find_session)) };
    }
    // What OpenSSL itself keeps, with `ssl_session_cache builtin`, is given out without a question.
    let (get, set) = (SSL_CTRL_GET_SESS_CACHE_MODE as c_int, SSL_CTRL_SET_SESS_CACHE_MODE as c_int);
    // SAFETY: as above; the command takes no data.
    let mode = unsafe { SSL_CTX_ctrl(raw, get, 0, ptr::null_mut()) };
    let mode = mode | c_long::from(SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    // SAFETY: as above.
    unsafe { SSL_CTX_ctrl(raw, set, mode, ptr::null_mut()) };
    if kind == "MAIL" {
        // Only an accepted name is kept with the session, and nginx's mail accepts none.
        // SAFETY: OpenSSL keeps callbacks of any type as this one.
        let accept = unsafe {
            std::mem::transmute::<
                unsafe extern "C" fn(*mut SSL, *mut c_int, *mut c_void) -> c_int,
                unsafe extern "C" fn(),
            >(accept_name)
        };
        let command = SSL_CTRL_SET_TLSEXT_SERVERNAME_CB as c_int;
        // SAFETY: as above, and this command takes a callback of the type above.
        unsafe { SSL_CTX_callback_ctrl(raw, command, Some(accept)) };
    }
}

callback! {
    /// Decides what becomes of a session in a ticket: all but one of another name is as without this callback.
    fn check_ticket(
        ssl: *mut SSL,
        session: *mut SSL_SESSION,
        _key: *const c_uchar,
        _key_length: usize,
        status: c_int,
        _data: *mut c_void,
    ) -> c_int {
        let used = match u32::try_from(status) {
            Ok(SSL_TICKET_SUCCESS) => SSL_TICKET_RETURN_USE,
            Ok(SSL_TICKET_SUCCESS_RENEW) => SSL_TICKET_RETURN_USE_RENEW,
            _ => return SSL_TICKET_RETURN_IGNORE_RENEW as c_int,
        };
        // SAFETY: OpenSSL gives both, while it reads the client's first message.
        match unsafe { is_of_asked_name(ssl, session) } {
            true => used as c_int,
            false => SSL_TICKET_RETURN_IGNORE_RENEW as c_int,
        }
    } ?= SSL_TICKET_RETURN_IGNORE_RENEW as c_int
}

callback! {
    /// Finds a session by its identifier, unless it is of another name.
    fn find_session(
        ssl: *mut SSL,
        id: *const c_uchar,
        length: c_int,
        copies: *mut c_int,
    ) -> *mut SSL_SESSION {
        let Some(find) = FIND_SESSION.get() else { return ptr::null_mut() };
        // SAFETY: OpenSSL gave all of it for a function of this type.
        let session = unsafe { find(ssl, id, length, copies) };
        // SAFETY: OpenSSL gives the connection, while it reads the client's first message.
        if session.is_null() || unsafe { is_of_asked_name(ssl, session) } {
            return session;
        }
        // SAFETY: OpenSSL gives the place, which says whether the session is the cache's.
        if unsafe { *copies } == 0 {
            // SAFETY: it was made for this connection, and nobody has it.
            unsafe { SSL_SESSION_free(session) };
        }
        ptr::null_mut()
    } ?= ptr::null_mut()
}

callback! {
    /// Accepts the name that a client asks for.
    fn accept_name(_ssl: *mut SSL, _alert: *mut c_int, _data: *mut c_void) -> c_int {
        SSL_TLSEXT_ERR_OK as c_int
    } ?= SSL_TLSEXT_ERR_OK as c_int
}

/// Tells whether a session began with the name that the client asks for now.
///
/// # Safety
/// Both are live, and OpenSSL is about to look for the session: the extensions of the client are not read yet.
unsafe fn is_of_asked_name(ssl: *mut SSL, session: *const SSL_SESSION) -> bool {
    let (mut start, mut length): (*const c_uchar, usize) = (ptr::null(), 0);
    let kind = TLSEXT_TYPE_server_name as c_uint;
    // SAFETY: by this function's contract; the two places are there.
    let has_it =
        unsafe { SSL_client_hello_get0_ext(ssl, kind, &raw mut start, &raw mut length) } == 1;
    // SAFETY: OpenSSL has set both, for bytes that live while it reads the message.
    let extension = has_it.then(|| unsafe { std::slice::from_raw_parts(start, length) });
    let asked = extension.and_then(server_name::of_extension);
    // SAFETY: by this function's contract.
    let name = unsafe { SSL_SESSION_get0_hostname(session) };
    // SAFETY: not null, so a string that lives as long as the session.
    let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) });
    server_name::is_same(name.map(CStr::to_bytes), asked)
}
