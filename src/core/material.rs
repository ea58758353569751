//! A certificate with its key, and its form in shared memory.
//!
//! ```text
//! u32 number of pairs, then for each pair
//!     u32 length, private key (PKCS #8, DER)
//!     u32 number of certificates, then for each: u32 length, certificate (DER), leaf first
//!     u32 length, OCSP response (DER, RFC 6960); 0 if there is none, else
//!         i64 seconds since the Unix epoch: from then on it is not served
//! ```
//! Integers are little-endian. The reader trusts no length: what shared memory holds was written by
//! another process.

use crate::time::UnixTime;
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// The bytes of a length.
const LENGTH: usize = size_of::<u32>();

/// The bytes of a time.
const TIME: usize = size_of::<i64>();

/// What a CA's responder says of a certificate, for the handshake (RFC 6066 section 8).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Staple {
    /// The `OCSPResponse` in DER (RFC 6960 section 4.2.1), never empty.
    pub response: Vec<u8>,
    /// Its `nextUpdate`: it is not served at this time or later.
    pub not_after: UnixTime,
}

/// One private key and the chain that certifies it.
#[derive(Clone, Eq, PartialEq)]
pub struct Pair {
    /// The private key, PKCS #8 in DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The certificates in DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// What is stapled to the leaf, if anything.
    pub staple: Option<Staple>,
}

impl Pair {
    /// The length of its part of a record.
    fn encoded_len(&self) -> usize {
        let chain = self.chain.iter().map(|certificate| LENGTH + certificate.len());
        let staple = self.staple.as_ref().map_or(0, |staple| staple.response.len() + TIME);
        LENGTH + self.key.len() + LENGTH + chain.sum::<usize>() + LENGTH + staple
    }
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
        // Allocated once: a growing vector would leave copies of the key behind.
        let size = LENGTH + self.pairs.iter().map(Pair::encoded_len).sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        put_length(&mut out, self.pairs.len());
        for pair in &self.pairs {
            put_bytes(&mut out, &pair.key);
            put_length(&mut out, pair.chain.len());
            for certificate in &pair.chain {
                put_bytes(&mut out, certificate);
            }
            match &pair.staple {
                None => put_length(&mut out, 0),
                Some(Staple { response, not_after }) => {
                    put_bytes(&mut out, response);
                    out.extend_from_slice(&not_after.0.to_le_bytes());
                }
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
            pairs.push(Pair { key, chain, staple: reader.staple()? });
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
        let (length, rest) =
            self.0.split_first_chunk::<LENGTH>().ok_or(MaterialError::Truncated)?;
        self.0 = rest;
        usize::try_from(u32::from_le_bytes(*length)).map_err(|_| MaterialError::Truncated)
    }

    fn bytes(&mut self) -> Result<&'a [u8], MaterialError> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(MaterialError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn staple(&mut self) -> Result<Option<Staple>, MaterialError> {
        let response = self.bytes()?.to_vec();
        if response.is_empty() {
            return Ok(None);
        }
        let (time, rest) = self.0.split_first_chunk::<TIME>().ok_or(MaterialError::Truncated)?;
        self.0 = rest;
        Ok(Some(Staple { response, not_after: UnixTime(i64::from_le_bytes(*time)) }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Material, MaterialError, Pair, Staple};
    use crate::time::UnixTime;

    fn material() -> Material {
        let pair = |key: &[u8], chain: &[&[u8]], staple: Option<(&[u8], i64)>| Pair {
            key: key.to_vec().into(),
            chain: chain.iter().map(|c| c.to_vec()).collect(),
            staple: staple.map(|(response, not_after)| Staple {
                response: response.to_vec(),
                not_after: UnixTime(not_after),
            }),
        };
        Material {
            pairs: vec![
                pair(b"key", &[b"leaf", b"issuer"], Some((b"response", 1_795_466_700))),
                pair(b"", &[b"other"], None),
                pair(b"third", &[b"leaf"], Some((b"r", -1))),
            ],
        }
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
        assert_eq!(
            Material::decode(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Err(MaterialError::Empty)
        );
        assert_eq!(Material::decode(&[0xff; 64]), Err(MaterialError::Truncated));
    }

    #[test]
    fn a_pair_without_a_staple_takes_one_length() {
        let bytes = |staple| {
            let (key, chain) = (b"k".to_vec().into(), vec![b"c".to_vec()]);
            Material { pairs: vec![Pair { key, chain, staple }] }.encode().to_vec()
        };
        let staple = Staple { response: b"r".to_vec(), not_after: UnixTime(0x0102) };
        let (without, with) = (bytes(None), bytes(Some(staple)));
        assert_eq!(without[without.len() - 4..], [0; 4]);
        let common = without.len() - 4;
        assert_eq!(with[..common], without[..common]);
        assert_eq!(with[common..], [1, 0, 0, 0, b'r', 2, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert!(!format!("{:?}", material()).contains("107"), "107 is the first byte of the key");
    }
}
