//! A certificate with its key, and its form in shared memory.
//!
//! ```text
//! u32 number of pairs, then for each pair
//!     u32 length, private key (PKCS #8, DER)
//!     u32 number of certificates, then for each: u32 length, certificate (DER), leaf first
//! ```
//! Integers are little-endian. The reader trusts no length: what shared memory holds was written by
//! another process.

use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// One private key and the chain that certifies it.
#[derive(Clone, Eq, PartialEq)]
pub struct Pair {
    /// The private key, PKCS #8 in DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The certificates in DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// What a server needs to serve one certificate: a pair for each key type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Material {
    /// At least one pair.
    pub pairs: Vec<Pair>,
}

/// Why bytes are not a [`Material`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MaterialError {
    /// A length points behind the end.
    #[error("the record is truncated")]
    Truncated,
    /// There are bytes behind the last field.
    #[error("the record has trailing bytes")]
    Trailing,
    /// There is no pair, or a pair without a certificate.
    #[error("the record holds no certificate")]
    Empty,
}

impl Material {
    /// The record as it is kept in shared memory; the buffer is wiped when it is dropped.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let fields = self.pairs.iter().flat_map(|pair| {
            std::iter::once(pair.key.len()).chain(pair.chain.iter().map(Vec::len))
        });
        // Allocated once: a growing vector would leave copies of the key behind.
        let size = 4 + self.pairs.len() * 4 + fields.map(|len| len + 4).sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        put_length(&mut out, self.pairs.len());
        for pair in &self.pairs {
            put_bytes(&mut out, &pair.key);
            put_length(&mut out, pair.chain.len());
            for certificate in &pair.chain {
                put_bytes(&mut out, certificate);
            }
        }
        out
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The bytes are not what [`Material::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, MaterialError> {
        let mut reader = Reader(bytes);
        let mut pairs = Vec::new();
        for _ in 0..reader.length()? {
            let key = Zeroizing::new(reader.bytes()?.to_vec());
            let mut chain = Vec::new();
            for _ in 0..reader.length()? {
                chain.push(reader.bytes()?.to_vec());
            }
            if chain.is_empty() {
                return Err(MaterialError::Empty);
            }
            pairs.push(Pair { key, chain });
        }
        match (pairs.is_empty(), reader.0.is_empty()) {
            (true, _) => Err(MaterialError::Empty),
            (false, false) => Err(MaterialError::Trailing),
            (false, true) => Ok(Self { pairs }),
        }
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // A certificate of 4 GiB would not fit the shared zone anyway; a reader refuses the record.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn length(&mut self) -> Result<usize, MaterialError> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(MaterialError::Truncated)?;
        self.0 = rest;
        usize::try_from(u32::from_le_bytes(*length)).map_err(|_| MaterialError::Truncated)
    }

    fn bytes(&mut self) -> Result<&'a [u8], MaterialError> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(MaterialError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Material, MaterialError, Pair};

    fn material() -> Material {
        let pair = |key: &[u8], chain: &[&[u8]]| Pair {
            key: key.to_vec().into(),
            chain: chain.iter().map(|c| c.to_vec()).collect(),
        };
        Material { pairs: vec![pair(b"key", &[b"leaf", b"issuer"]), pair(b"", &[b"other"])] }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = material().encode();
        assert_eq!(bytes.len(), bytes.capacity(), "no reallocation left a copy of the key behind");
        assert_eq!(Material::decode(&bytes), Ok(material()));
    }

    #[test]
    fn no_truncated_or_extended_record_is_accepted() {
        let bytes = material().encode();
        for length in 0..bytes.len() {
            assert!(Material::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Material::decode(&longer), Err(MaterialError::Trailing));
        assert_eq!(Material::decode(&[0; 4]), Err(MaterialError::Empty));
        assert_eq!(Material::decode(&[0xff; 64]), Err(MaterialError::Truncated));
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert!(!format!("{:?}", material()).contains("107"), "107 is the first byte of the key");
    }
}
