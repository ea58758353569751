//! Private keys in PEM (RFC 7468), decoded within bounds: nothing is decrypted, and no library parses the key, which
//! would leave copies of it in memory that the workers share.

use crate::encoding::from_base64;
use zeroize::Zeroizing;

/// The length of a line of PEM (RFC 7468 section 2).
pub const LINE: usize = 64;

/// Error of a key that says that it is encrypted.
const ENCRYPTED: &str = "its private key is encrypted";
/// Error of a text without a key that can be read.
pub const NO_KEY: &str = "it holds no private key in PEM";

/// The form of a key in DER.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyForm {
    /// RFC 5958, which names the type of the key.
    Pkcs8,
    /// RFC 8017: RSA.
    Pkcs1,
    /// RFC 5915: ECDSA.
    Sec1,
}

/// First lines of sections with keys.
const LABELS: [(&[u8], KeyForm); 3] = [
    (b"-----BEGIN PRIVATE KEY-----", KeyForm::Pkcs8),
    (b"-----BEGIN RSA PRIVATE KEY-----", KeyForm::Pkcs1),
    (b"-----BEGIN EC PRIVATE KEY-----", KeyForm::Sec1),
];

/// A key that is not encrypted.
pub struct KeyDer {
    /// Form of the DER.
    pub form: KeyForm,
    /// The key.
    pub der: Zeroizing<Vec<u8>>,
}

/// Decodes the first private key of a text in PEM, which is not looked into.
///
/// # Errors
/// It is encrypted, or there is none.
pub fn decode(pem: &[u8]) -> Result<KeyDer, &'static str> {
    let has = |word: &[u8]| pem.windows(word.len()).any(|window| window == word);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type:") {
        return Err(ENCRYPTED);
    }
    LABELS
        .iter()
        .filter_map(|(label, form)| Some((position(pem, label)?, label.len(), *form)))
        .min_by_key(|(start, ..)| *start)
        .and_then(|(start, length, form)| {
            let der = body(pem.get(start + length..)?)?;
            Some(KeyDer { form, der })
        })
        .ok_or(NO_KEY)
}

/// Decodes the base64 up to the end of a section. A library's reader would let a vector grow, whose copies
/// stay in the memory that the master shares with the workers.
fn body(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(text.get(..position(text, b"-----END ")?)?).ok()?;
    let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
    base64.extend(text.split_ascii_whitespace());
    from_base64(&base64)
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
