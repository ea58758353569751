//! Keys of TSIG (RFC 8945), which a server and its clients share.

/// A key.
#[derive(Clone, Debug)]
pub struct TsigKey {
    /// Its name.
    pub name: String,
    /// Its algorithm, such as `hmac-sha256`.
    pub algorithm: String,
    /// Its secret, in base64.
    pub secret: String,
}

impl TsigKey {
    /// Makes a key with a random secret, so that a scan for leaks finds no other.
    ///
    /// # Panics
    /// If there is no randomness.
    #[must_use]
    pub fn new(name: &str, algorithm: &str) -> Self {
        let mut bytes = [0; 32];
        openssl::rand::rand_bytes(&mut bytes).unwrap_or_else(|e| panic!("no random bytes: {e}"));
        let secret = openssl::base64::encode_block(&bytes);
        Self { name: name.to_owned(), algorithm: algorithm.to_owned(), secret }
    }
}
