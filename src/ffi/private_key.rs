//! Reading of private keys.
//!
//! For each key OpenSSL 3 gathers all decoders that could read it, which takes ten times as long as the reading
//! itself: a handshake with a certificate that the worker does not keep ready would wait a millisecond for that. Here
//! the decoders are gathered once, as `OSSL_DECODER_CTX_new_for_pkey(3)` allows.

use foreign_types::ForeignType;
use ngx::ffi::{EVP_PKEY, EVP_PKEY_KEYPAIR, OSSL_DECODER_CTX, OSSL_LIB_CTX};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_uchar};
use std::ptr::{self, NonNull};

/// Types of keys: the algorithm's identifier in DER (RFC 5480 section 2.1.1, RFC 8017 appendix C), and OpenSSL's name.
const TYPES: [(&[u8], &CStr); 2] = [
    (b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", c"EC"),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", c"RSA"),
];

/// The identifier stands within so many bytes, behind lengths and a version (RFC 5208 section 5).
const HEAD: usize = 24;

unsafe extern "C" {
    // In openssl/decoder.h, which nginx does not include.
    fn OSSL_DECODER_CTX_new_for_pkey(
        key: *mut *mut EVP_PKEY,
        input_type: *const c_char,
        input_structure: *const c_char,
        key_type: *const c_char,
        selection: c_int,
        library: *mut OSSL_LIB_CTX,
        properties: *const c_char,
    ) -> *mut OSSL_DECODER_CTX;
    fn OSSL_DECODER_from_data(
        context: *mut OSSL_DECODER_CTX,
        data: *mut *const c_uchar,
        length: *mut usize,
    ) -> c_int;
    fn OSSL_DECODER_CTX_free(context: *mut OSSL_DECODER_CTX);
}

/// Reads a private key (PKCS #8, DER). Only one that cannot be read, or is of a rare type, takes the long way.
pub(super) fn read(der: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    match read_with_kept(der) {
        Some(key) => Ok(key),
        None => PKey::private_key_from_pkcs8(der),
    }
}

fn read_with_kept(der: &[u8]) -> Option<PKey<Private>> {
    thread_local! {
        static KEPT: RefCell<[Option<Decoder>; TYPES.len()]> =
            const { RefCell::new([const { None }; TYPES.len()]) };
    }
    let head = der.get(..HEAD)?;
    let holds = |identifier: &[u8]| head.windows(identifier.len()).any(|part| part == identifier);
    KEPT.with_borrow_mut(|kept| {
        let mut kinds = TYPES.iter().zip(kept);
        let ((_, name), kept) = kinds.find(|((identifier, _), _)| holds(identifier))?;
        let decoder = match &mut *kept {
            Some(decoder) => decoder,
            none => none.insert(Decoder::new(name)?),
        };
        let key = decoder.decode(der);
        if key.is_none() {
            // From 3.2 on a context refuses all that comes after certain errors.
            *kept = None;
            drop(ErrorStack::get());
        }
        key
    })
}

/// Decoders of keys of a type.
struct Decoder {
    context: NonNull<OSSL_DECODER_CTX>,
    /// Here OpenSSL puts the key.
    key: Box<*mut EVP_PKEY>,
}

impl Decoder {
    fn new(key_type: &CStr) -> Option<Self> {
        let mut key = Box::new(ptr::null_mut());
        // SAFETY: the strings are constants, which OpenSSL may keep, and the box stays where it is for as long as the context.
        let context = unsafe {
            OSSL_DECODER_CTX_new_for_pkey(
                &raw mut *key,
                c"DER".as_ptr(),
                c"PrivateKeyInfo".as_ptr(),
                key_type.as_ptr(),
                EVP_PKEY_KEYPAIR as c_int,
                ptr::null_mut(),
                ptr::null(),
            )
        };
        NonNull::new(context).map(|context| Self { context, key })
    }

    fn decode(&mut self, der: &[u8]) -> Option<PKey<Private>> {
        let (mut data, mut length) = (der.as_ptr(), der.len());
        // SAFETY: the context is live, and the data as long as that.
        unsafe { OSSL_DECODER_from_data(self.context.as_ptr(), &raw mut data, &raw mut length) };
        let key = NonNull::new(std::mem::replace(&mut *self.key, ptr::null_mut()))?;
        // SAFETY: OpenSSL gave a key of its own, and a whole pair, as was asked for.
        Some(unsafe { PKey::from_ptr(key.as_ptr().cast()) })
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context is live, and used no more.
        unsafe { OSSL_DECODER_CTX_free(self.context.as_ptr()) };
    }
}
