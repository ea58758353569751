//! OpenSSL: what is used of its C API beside the crate `openssl`, with its obligations written down, as `nginx` has
//! it for nginx.
//!
//! Which certificate a connection is given is decided in `certificate`, not here.

use super::callback::FromC;
use super::nginx::symbol;
use acme_dns_core::name::a_labels;
use foreign_types::{ForeignType, ForeignTypeRef};
use ngx::ffi::{
    CRYPTO_EX_INDEX_SSL_CTX, CRYPTO_get_ex_new_index, CRYPTO_malloc, EVP_PKEY, OPENSSL_sk_num,
    OPENSSL_sk_value, SSL, SSL_CTRL_SET_CURRENT_CERT, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB,
    SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB_ARG, SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP, SSL_CTX,
    SSL_CTX_callback_ctrl, SSL_CTX_clear_options, SSL_CTX_ctrl, SSL_CTX_get_client_CA_list,
    SSL_CTX_get_ex_data, SSL_CTX_get_verify_mode, SSL_CTX_set_cert_cb, SSL_CTX_set_ex_data,
    SSL_CTX_set_session_id_context, SSL_CTX_use_cert_and_key, SSL_TLSEXT_ERR_NOACK,
    SSL_TLSEXT_ERR_OK, SSL_certs_clear, SSL_ctrl, SSL_free, SSL_get_SSL_CTX, SSL_get_certificate,
    SSL_get_servername, SSL_new, SSL_use_cert_and_key, TLSEXT_NAMETYPE_host_name, X509 as RawX509,
    X509_NAME, i2d_X509_NAME, stack_st_X509,
};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::SslContextRef;
use openssl::stack::Stack;
use openssl::x509::X509;
use std::ffi::{CStr, c_int, c_long, c_void};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

/// Result of a certificate callback: the handshake proceeds with what the connection has.
pub(super) const PROCEED: c_int = 1;

/// Result of a certificate callback: the handshake ends with an internal error.
pub(super) const FAIL: c_int = 0;

/// Results of a status callback: a staple is sent, or none.
const STAPLE: c_int = SSL_TLSEXT_ERR_OK as c_int;
pub(super) const NO_STAPLE: c_int = SSL_TLSEXT_ERR_NOACK as c_int;

/// `SSL_CERT_SET_FIRST` and `SSL_CERT_SET_NEXT`: which of a connection's certificates becomes the current one.
const SSL_CERT_SET_FIRST: c_long = 1;
const SSL_CERT_SET_NEXT: c_long = 2;

/// `SSL_OP_NO_TX_CERTIFICATE_COMPRESSION` of OpenSSL 3.2; older versions have no such option.
const NO_TX_CERTIFICATE_COMPRESSION: u64 = 1 << 32;

/// OpenSSL's type of both callbacks.
type Callback = unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int;

/// Callbacks of a context.
#[derive(Clone, Copy)]
pub(super) struct Callbacks {
    /// Called once in each full handshake, when it needs a certificate.
    pub(super) certificate: Callback,
    /// Called when a client asks for the status of the certificate that was chosen for it (RFC 6066 section 8).
    pub(super) status: Callback,
}

/// Certificate with its chain and its key.
pub(super) struct CertAndKey {
    pub(super) leaf: X509,
    pub(super) key: PKey<Private>,
    pub(super) chain: Stack<X509>,
}

impl CertAndKey {
    /// Gives the three as nginx's bindings name their types: the same library, other Rust names.
    fn raw(&self) -> (*mut RawX509, *mut EVP_PKEY, *mut stack_st_X509) {
        (self.leaf.as_ptr().cast(), self.key.as_ptr().cast(), self.chain.as_ptr().cast())
    }

    /// Refers to the same objects once more: OpenSSL counts them.
    pub(super) fn another(&self) -> Result<Self, ErrorStack> {
        let mut chain = Stack::new()?;
        for certificate in &self.chain {
            chain.push(certificate.to_owned())?;
        }
        Ok(Self { leaf: self.leaf.clone(), key: self.key.clone(), chain })
    }
}

/// `SSL_CTX` of nginx, which lives as long as its cycle, as does all that keeps this.
#[derive(Clone, Copy)]
pub(super) struct SslCtx(NonNull<SSL_CTX>);

impl SslCtx {
    /// Wraps a context; `None` if it is null.
    ///
    /// # Safety
    /// The context is live until the end of its cycle, and the result is not used after that.
    pub(super) unsafe fn new(context: *mut SSL_CTX) -> Option<Self> {
        NonNull::new(context).map(Self)
    }

    pub(super) fn as_ptr(self) -> *mut SSL_CTX {
        self.0.as_ptr()
    }

    /// Puts a certificate into the context, in place of one with a key of the same type. Every new connection
    /// has it.
    pub(super) fn install(self, certificate: &CertAndKey) -> Result<(), ErrorStack> {
        let (leaf, key, chain) = certificate.raw();
        // SAFETY: the context is live, as `new` was promised; OpenSSL takes references of its own.
        match unsafe { SSL_CTX_use_cert_and_key(self.as_ptr(), leaf, key, chain, 1) } {
            1 => Ok(()),
            _ => Err(ErrorStack::get()),
        }
    }

    /// Compresses the certificates of the context, each once and for all connections. An OpenSSL that cannot
    /// (before 3.2, or without a library for it) sends them as they are.
    pub(super) fn compress(self) {
        type Compress = unsafe extern "C" fn(*mut SSL_CTX, c_int) -> c_int;
        let Some(function) = symbol::<c_void>(c"SSL_CTX_compress_certs") else { return };
        // SAFETY: the function of this name has this type.
        let function = unsafe { std::mem::transmute::<*mut c_void, Compress>(function.as_ptr()) };
        // SAFETY: the context is live, as `new` was promised; 0 stands for all algorithms.
        if unsafe { function(self.as_ptr(), 0) } != 1 {
            // Not for the next connection to report.
            drop(ErrorStack::get());
        }
    }

    /// Has compressed certificates sent, which nginx forbids where its own directive is off.
    pub(super) fn allow_compression(self) {
        // SAFETY: the context is live, as `new` was promised.
        unsafe { SSL_CTX_clear_options(self.as_ptr(), NO_TX_CERTIFICATE_COMPRESSION) };
    }

    /// Finds out whether OpenSSL takes the certificates, before a client does.
    pub(super) fn try_out<'a>(
        self,
        certificates: impl IntoIterator<Item = &'a CertAndKey>,
    ) -> Result<(), ErrorStack> {
        // SAFETY: the context is live, as `new` was promised.
        let ssl = unsafe { SSL_new(self.as_ptr()) };
        let is_good = !ssl.is_null() && Handshake(ssl).give(certificates) == PROCEED;
        // SAFETY: just made, or null; nothing else refers to it.
        unsafe { SSL_free(ssl) };
        if is_good { Ok(()) } else { Err(ErrorStack::get()) }
    }

    /// Sets the certificate callback.
    ///
    /// # Safety
    /// `data` is what the callback expects, and lives as long as the context.
    pub(super) unsafe fn set_certificate_callback(self, callbacks: Callbacks, data: *mut c_void) {
        // SAFETY: the context is live, as `new` was promised; `data` by this function's contract.
        unsafe { SSL_CTX_set_cert_cb(self.as_ptr(), Some(callbacks.certificate), data) };
    }

    /// Sets the status callback, in place of nginx's own, which knows of no certificate here. The two calls are
    /// what the macros `SSL_CTX_set_tlsext_status_cb` and `SSL_CTX_set_tlsext_status_arg` stand for.
    ///
    /// # Safety
    /// As for [`Self::set_certificate_callback`].
    pub(super) unsafe fn set_status_callback(self, callbacks: Callbacks, data: *mut c_void) {
        // SAFETY: OpenSSL keeps callbacks of any type as this one.
        let callback =
            unsafe { std::mem::transmute::<Callback, unsafe extern "C" fn()>(callbacks.status) };
        let command = SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB as c_int;
        // SAFETY: the context is live, and this command takes a callback of the type above.
        unsafe { SSL_CTX_callback_ctrl(self.as_ptr(), command, Some(callback)) };
        let command = SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB_ARG as c_int;
        // SAFETY: as above; `data` by this function's contract.
        unsafe { SSL_CTX_ctrl(self.as_ptr(), command, 0, data) };
    }

    /// Tells whether clients are asked for certificates.
    pub(super) fn verifies_clients(self) -> bool {
        // SAFETY: the context is live, as `new` was promised.
        let mode = unsafe { SSL_CTX_get_verify_mode(self.as_ptr()) };
        mode != 0
    }

    /// Sets the session id context: sessions are resumed only where it is the same.
    pub(super) fn set_session_id_context(self, hash: &[u8; 32]) {
        let length = u32::try_from(hash.len()).unwrap_or_default();
        // SAFETY: the context is live, as `new` was promised. It takes 32 bytes at most: it cannot fail.
        unsafe { SSL_CTX_set_session_id_context(self.as_ptr(), hash.as_ptr(), length) };
    }

    /// Gives the certificates that clients' certificates are verified with, in DER.
    pub(super) fn trusted_authorities(self) -> Vec<Vec<u8>> {
        // SAFETY: the context is live, as `new` was promised; the reference is dropped before it is.
        let context = unsafe { SslContextRef::from_ptr(self.as_ptr().cast()) };
        let certificates = context.cert_store().all_certificates();
        certificates.iter().filter_map(|certificate| certificate.to_der().ok()).collect()
    }

    /// Gives the names of the authorities that clients' certificates may be from, in DER.
    pub(super) fn client_authorities(self) -> Vec<Vec<u8>> {
        // SAFETY: the context is live, as `new` was promised.
        let list = unsafe { SSL_CTX_get_client_CA_list(self.as_ptr()) };
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

    /// Keeps a pointer of ours with the context.
    pub(super) fn set_data(self, data: *mut c_void) {
        if let Some(index) = data_index() {
            // SAFETY: the context is live, as `new` was promised; the index is ours.
            unsafe { SSL_CTX_set_ex_data(self.as_ptr(), index, data) };
        }
    }
}

/// Index of our data in a context; `None`: out of memory.
fn data_index() -> Option<c_int> {
    static INDEX: OnceLock<Option<c_int>> = OnceLock::new();
    *INDEX.get_or_init(|| {
        let class = CRYPTO_EX_INDEX_SSL_CTX as c_int;
        // SAFETY: without functions nothing is called for the data, which is not OpenSSL's.
        let index = unsafe { CRYPTO_get_ex_new_index(class, 0, ptr::null_mut(), None, None, None) };
        (index >= 0).then_some(index)
    })
}

/// Finds what [`SslCtx::set_data`] has kept with the context of a connection; null if nothing.
///
/// # Safety
/// `ssl` is a live connection of OpenSSL's.
pub(super) unsafe fn context_data(ssl: *const SSL) -> *mut c_void {
    let Some(index) = data_index() else { return ptr::null_mut() };
    // SAFETY: a live connection has a context.
    let context = unsafe { SSL_get_SSL_CTX(ssl) };
    // SAFETY: as above.
    unsafe { SSL_CTX_get_ex_data(context, index) }
}

/// Connection, mostly while OpenSSL calls one of our callbacks for it.
pub(super) struct Handshake(*mut SSL);

impl FromC for Handshake {
    type Raw = *mut SSL;

    unsafe fn from_c(raw: *mut SSL) -> Self {
        Self(raw)
    }
}

impl Handshake {
    /// Wraps a connection; `None` if it is null.
    ///
    /// # Safety
    /// The connection is live until the result is dropped.
    pub(super) unsafe fn new(ssl: *mut SSL) -> Option<Self> {
        (!ssl.is_null()).then_some(Self(ssl))
    }

    pub(super) fn as_ptr(&self) -> *mut SSL {
        self.0
    }

    /// Reads the name that the client asks for, in the form in which names are compared.
    pub(super) fn server_name(&self) -> Option<String> {
        // SAFETY: OpenSSL gives a live connection.
        let name = unsafe { SSL_get_servername(self.0, TLSEXT_NAMETYPE_host_name as c_int) };
        if name.is_null() {
            return None;
        }
        // SAFETY: a string that lives as long as the connection.
        let name = unsafe { CStr::from_ptr(name) };
        name.to_str().ok().map(a_labels)
    }

    /// Tells whether the connection's current certificate is this one: not an equal one, but this object.
    pub(super) fn has_chosen(&self, certificate: &CertAndKey) -> bool {
        // SAFETY: OpenSSL gives a live connection.
        let current = unsafe { SSL_get_certificate(self.0) };
        ptr::eq(certificate.leaf.as_ptr().cast(), current)
    }

    /// Tells whether the connection has these certificates, of each type of key, and no others: one that began
    /// before a change has what its context had then, of which only a part may have changed.
    pub(super) fn holds<'a>(
        &self,
        certificates: impl ExactSizeIterator<Item = &'a CertAndKey> + Clone,
    ) -> bool {
        let mut count = 0;
        let mut step = SSL_CERT_SET_FIRST;
        let command = SSL_CTRL_SET_CURRENT_CERT as c_int;
        // SAFETY: OpenSSL gives a live connection, before it has chosen a certificate; what is the current one
        // until then has no effect.
        while unsafe { SSL_ctrl(self.0, command, step, ptr::null_mut()) } == 1 {
            if !certificates.clone().any(|certificate| self.has_chosen(certificate)) {
                return false;
            }
            count += 1;
            step = SSL_CERT_SET_NEXT;
        }
        count == certificates.len()
    }

    /// Gives the connection these certificates, and no others; the result of a certificate callback.
    pub(super) fn give<'a>(&self, certificates: impl IntoIterator<Item = &'a CertAndKey>) -> c_int {
        // SAFETY: OpenSSL gives a live connection, before it has chosen a certificate.
        unsafe { SSL_certs_clear(self.0) };
        for certificate in certificates {
            let (leaf, key, chain) = certificate.raw();
            // SAFETY: as above; OpenSSL takes references of its own.
            if unsafe { SSL_use_cert_and_key(self.0, leaf, key, chain, 1) } != 1 {
                // The error goes to nginx's report of the failed handshake, not to another connection.
                return FAIL;
            }
        }
        PROCEED
    }

    /// Sends an OCSP response; the result of a status callback.
    pub(super) fn send_staple(&self, response: &[u8]) -> c_int {
        let Ok(length) = c_long::try_from(response.len()) else { return NO_STAPLE };
        // SAFETY: memory of OpenSSL's, which the connection frees.
        let copy = unsafe { CRYPTO_malloc(response.len(), c"acme_dns".as_ptr(), 0) };
        if copy.is_null() {
            return NO_STAPLE;
        }
        // SAFETY: just allocated in this size.
        unsafe { ptr::copy_nonoverlapping(response.as_ptr(), copy.cast(), response.len()) };
        let command = SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP as c_int;
        // SAFETY: OpenSSL gives a live connection, which takes the memory.
        unsafe { SSL_ctrl(self.0, command, length, copy) };
        STAPLE
    }
}

/// Data of a callback: a `T` that was set with it.
pub(super) struct CallbackData<T>(*mut T);

impl<T> FromC for CallbackData<T> {
    type Raw = *mut c_void;

    unsafe fn from_c(raw: *mut c_void) -> Self {
        Self(raw.cast())
    }
}

impl<T> CallbackData<T> {
    pub(super) fn with<R>(self, action: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: whoever set the callbacks has promised that the data is what they expect, and lives as long as
        // the context. A process has one thread that handshakes, and it is in this callback.
        action(unsafe { &mut *self.0 })
    }
}
