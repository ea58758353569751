//! The reader of signed answers, for the fuzzer of `tests/fuzz`.

use super::tsig::{Signature, TsigKey};
use acme_dns_core::config::TsigAlgorithm;
use zeroize::Zeroizing;

/// Checks answers with a key that never changes.
pub struct SignatureReader(TsigKey);

impl SignatureReader {
    /// Makes a reader; `None` if the name is none.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let secret = Zeroizing::new(vec![0; 32]);
        TsigKey::new(name, TsigAlgorithm::Sha256, secret).map(Self)
    }

    /// Tells whether an answer to the request with a signature is signed with the key, and gives the message
    /// without its signature; `None` if it is no message.
    #[must_use]
    pub fn read(&self, answer: &[u8], request_mac: &[u8]) -> Option<(bool, Vec<u8>)> {
        let read = self.0.verify(answer, request_mac).ok()?;
        Some((matches!(read.signature, Signature::Valid { .. }), read.bytes))
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8], now: u64) -> Option<Vec<u8>> {
        self.0.sign(message, now).ok().map(|signed| signed.bytes)
    }
}
