//! Keys as they are written in files: those that records are encrypted with, and those of clients' certificates.

use super::super::secret::{PLACEHOLDER, is_placeholder, is_quote};
use crate::encoding::from_base64;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// Length of a key in bytes.
const LENGTH: usize = 32;

/// A key of 256 bits.
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; LENGTH]>);

/// Failure to read a key that was checked when the configuration was.
#[derive(Clone, Copy, Debug, Error)]
#[error("\"encryption_key_file\" holds no key of 32 bytes")]
pub struct KeyError;

impl EncryptionKey {
    /// Reads a key in base64 or hexadecimal digits.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &SecretString) -> Result<Self, KeyError> {
        let text = text.expose_secret();
        let mut key = Zeroizing::new([0; LENGTH]);
        if text.len() == 2 * LENGTH {
            for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
                let [high, low] = pair else { return Err(KeyError) };
                *byte = 16 * digit(*high).ok_or(KeyError)? + digit(*low).ok_or(KeyError)?;
            }
        } else {
            let bytes = from_base64(text).filter(|bytes| bytes.len() == LENGTH).ok_or(KeyError)?;
            key.copy_from_slice(&bytes);
        }
        Ok(Self(key))
    }

    /// Gives its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionKey").finish_non_exhaustive()
    }
}

fn digit(byte: u8) -> Option<u8> {
    u8::try_from(char::from(byte).to_digit(16)?).ok()
}

/// Checks a private key in PEM, of whatever type.
///
/// # Errors
/// It is none, or has a passphrase.
pub(super) fn check_private_key(secret: &[u8]) -> Result<(), &'static str> {
    let has = |text: &[u8]| secret.windows(text.len()).any(|part| part == text);
    if has(b"ENCRYPTED") {
        Err("holds a key with a passphrase: `openssl pkey` removes it")
    } else if has(b"-----BEGIN PRIVATE KEY-----") {
        Ok(())
    } else if has(b" PRIVATE KEY-----") {
        Err("holds a key in an old form: `openssl pkcs8 -topk8 -nocrypt` converts it")
    } else {
        Err("holds no private key in PEM")
    }
}

/// Checks a key that records are encrypted with: 32 bytes in base64 or hexadecimal digits.
///
/// # Errors
/// It is none.
pub(super) fn check_encryption_key(secret: &[u8]) -> Result<(), &'static str> {
    let digits = secret.strip_suffix(b"=").unwrap_or(secret);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if is_placeholder(secret) {
        Err(PLACEHOLDER)
    } else if secret.len() == 2 * LENGTH && secret.iter().all(u8::is_ascii_hexdigit)
        || digits.len() == (LENGTH * 8).div_ceil(6) && digits.iter().all(is_base64)
    {
        Ok(())
    } else if is_quote(secret.first()) {
        Err("has quotes around the key: remove them")
    } else if secret.iter().all(|byte| is_base64(byte) || *byte == b'=') {
        Err("holds no key of 32 bytes in base64: make one with `openssl rand -base64 32`")
    } else {
        Err("holds no key in base64 or hexadecimal digits: make one with `openssl rand -base64 32`")
    }
}

#[cfg(test)]
mod tests {
    use super::{check_encryption_key, check_private_key};

    #[test]
    fn a_key_of_encryption_has_32_bytes() {
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";
        for text in [base64, base64.trim_end_matches('='), hex] {
            assert_eq!(check_encryption_key(text.as_bytes()), Ok(()), "{text}");
        }
        for (text, expected) in [
            (&base64[4..], "of 32 bytes in base64: make one"),
            (&hex[2..], "of 32 bytes in base64: make one"),
            ("\"AAEC\"", "has quotes"),
            ("CHANGEME", "holds a placeholder"),
            ("a\u{0}b", "holds no key in base64 or hexadecimal digits"),
            ("AAEC\nAAEC", "holds no key in base64 or hexadecimal digits"),
        ] {
            let why = check_encryption_key(text.as_bytes()).expect_err(text);
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[test]
    fn a_private_key_is_in_pem_without_a_passphrase() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nAA==\n-----END {label}-----");
        assert_eq!(check_private_key(pem("PRIVATE KEY").as_bytes()), Ok(()));
        for (label, expected) in [
            ("ENCRYPTED PRIVATE KEY", "with a passphrase"),
            ("EC PRIVATE KEY", "in an old form"),
            ("CERTIFICATE", "holds no private key"),
        ] {
            let why = check_private_key(pem(label).as_bytes()).expect_err(label);
            assert!(why.contains(expected), "{label}: {why}");
        }
    }
}
