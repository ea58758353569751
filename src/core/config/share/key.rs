//! Keys that records are encrypted with, as they are written in files.

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
