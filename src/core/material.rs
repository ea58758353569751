//! A certificate with its key, and its form in shared memory.
//!
//! ```text
//! u32 number of pairs, then for each pair
//!     u32 length, private key (PKCS #8, DER)
//!     u32 number of certificates, then for each: u32 length, certificate (DER), leaf first
//!     u32 length, OCSP response (DER, RFC 6960); 0 if there is none, else
//!         i64 seconds since the Unix epoch: from then on it is not served
//!     u32 length, URL of the CA's directory; 0 if it is not known where the pair is from, else
//!         u32 length, profile; 0 if there is none
//!         u32 length, names that were ordered, with commas; 0 if they are those of the certificate
//!         u32 flags: 1 it was taken over from another client, 2 the disk does not have it
//! ```
//! Integers are little-endian. The reader trusts no length: what shared memory holds was written by
//! another process.

use crate::time::UnixTime;
use std::fmt;
use std::ops::Range;
use thiserror::Error;
use zeroize::Zeroizing;

/// The bytes of a length.
const LENGTH: usize = size_of::<u32>();

/// The bytes of a time.
const TIME: usize = size_of::<i64>();

/// OCSP response that is stapled in the handshake (RFC 6066 section 8).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Staple {
    /// The `OCSPResponse` in DER (RFC 6960 section 4.2.1), never empty.
    pub response: Vec<u8>,
    /// Its `nextUpdate`: it is not served at this time or later.
    pub not_after: UnixTime,
}

/// Origin of a pair, to write it back if the disk loses it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// The URL of the directory of the CA that issued it, never empty.
    pub directory: String,
    /// The profile that was wanted.
    pub profile: Option<String>,
    /// The names that were ordered, where the CA has put others into it, none of which holds a comma.
    pub ordered: Option<Vec<String>>,
    /// Set if it was taken over from another client.
    pub is_imported: bool,
    /// Set if it is on disk: a full one may have refused it.
    pub is_kept: bool,
}

/// One private key and the chain that certifies it.
#[derive(Clone, Eq, PartialEq)]
pub struct Pair {
    /// The private key, PKCS #8 in DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The certificates in DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Response that is stapled to the leaf, if there is one.
    pub staple: Option<Staple>,
    /// Origin, if it is known.
    pub source: Option<Source>,
}

impl Pair {
    /// The length of its part of a record.
    fn encoded_len(&self) -> usize {
        let chain = self.chain.iter().map(|certificate| LENGTH + certificate.len());
        let staple = self.staple.as_ref().map_or(0, |staple| staple.response.len() + TIME);
        let source = self.known_source().map_or(0, Source::encoded_len);
        LENGTH + self.key.len() + LENGTH + chain.sum::<usize>() + LENGTH + staple + LENGTH + source
    }

    /// The source, unless it cannot be told from none.
    fn known_source(&self) -> Option<&Source> {
        self.source.as_ref().filter(|source| !source.directory.is_empty())
    }
}

const IS_IMPORTED: usize = 1;
const IS_NOT_KEPT: usize = 2;

impl Source {
    /// The length of its part of a record, without that of its length.
    fn encoded_len(&self) -> usize {
        let profile = self.profile.as_ref().map_or(0, String::len);
        self.directory.len() + LENGTH + profile + LENGTH + self.ordered_text().len() + LENGTH
    }

    fn ordered_text(&self) -> String {
        self.ordered.as_ref().map_or_else(String::new, |names| names.join(","))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.directory.as_bytes());
        put_bytes(out, self.profile.as_deref().unwrap_or_default().as_bytes());
        put_bytes(out, self.ordered_text().as_bytes());
        let imported = if self.is_imported { IS_IMPORTED } else { 0 };
        put_length(out, imported | if self.is_kept { 0 } else { IS_NOT_KEPT });
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Record of one certificate as a server needs it: a pair for each key type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Material {
    /// At least one pair.
    pub pairs: Vec<Pair>,
}

/// Reason to refuse bytes as a [`Material`].
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
    /// A text is not UTF-8, or a flag has no meaning: another version may have written it.
    #[error("the record has a field of an unknown form")]
    Unknown,
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
            match pair.known_source() {
                None => put_length(&mut out, 0),
                Some(source) => source.encode(&mut out),
            }
        }
        out
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The bytes are not what [`Material::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, MaterialError> {
        let mut reader = RecordReader(bytes);
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
            let (staple, source) = (reader.staple()?, reader.source()?);
            pairs.push(Pair { key, chain, staple, source });
        }
        match (pairs.is_empty(), reader.0.is_empty()) {
            (true, _) => Err(MaterialError::Empty),
            (false, false) => Err(MaterialError::Trailing),
            (false, true) => Ok(Self { pairs }),
        }
    }
}

/// Lists the places of the certificates of CAs in a record: all of its chains but their leaves.
///
/// # Errors
/// As for [`Material::decode`].
pub fn issuers(record: &[u8]) -> Result<Vec<Range<usize>>, MaterialError> {
    let mut reader = RecordReader(record);
    let mut issuers = Vec::new();
    for _ in 0..reader.length()? {
        reader.bytes()?;
        for number in 0..reader.length()? {
            let length = reader.bytes()?.len();
            let end = record.len() - reader.0.len();
            if number > 0 {
                issuers.push(end - length..end);
            }
        }
        reader.staple()?;
        reader.source()?;
    }
    Ok(issuers)
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // A certificate of 4 GiB would not fit the shared zone anyway; a reader refuses the record.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

struct RecordReader<'a>(&'a [u8]);

impl<'a> RecordReader<'a> {
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

    fn source(&mut self) -> Result<Option<Source>, MaterialError> {
        let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(MaterialError::Unknown),
        };
        let directory = text(self.bytes()?)?;
        if directory.is_empty() {
            return Ok(None);
        }
        let profile = Some(text(self.bytes()?)?).filter(|profile| !profile.is_empty());
        let ordered = Some(text(self.bytes()?)?).filter(|ordered| !ordered.is_empty());
        let ordered = ordered.map(|names| names.split(',').map(str::to_owned).collect());
        let flags = self.length()?;
        if flags & !(IS_IMPORTED | IS_NOT_KEPT) != 0 {
            return Err(MaterialError::Unknown);
        }
        let (is_imported, is_kept) = (flags & IS_IMPORTED != 0, flags & IS_NOT_KEPT == 0);
        Ok(Some(Source { directory, profile, ordered, is_imported, is_kept }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Material, MaterialError, Pair, Source, Staple};
    use crate::time::UnixTime;

    fn material() -> Material {
        let pair = |key: &[u8], chain: &[&[u8]], staple: Option<(&[u8], i64)>| Pair {
            key: key.to_vec().into(),
            chain: chain.iter().map(|c| c.to_vec()).collect(),
            staple: staple.map(|(response, not_after)| Staple {
                response: response.to_vec(),
                not_after: UnixTime(not_after),
            }),
            source: None,
        };
        let source = |profile: Option<&str>, is_imported, is_kept| Source {
            directory: "https://ca.test/directory".to_owned(),
            profile: profile.map(str::to_owned),
            ordered: profile.map(|_| vec!["a.test".to_owned(), "b.test".to_owned()]),
            is_imported,
            is_kept,
        };
        let from = |source, pair| Pair { source: Some(source), ..pair };
        Material {
            pairs: vec![
                pair(b"key", &[b"leaf", b"issuer"], Some((b"response", 1_795_466_700))),
                pair(b"", &[b"other"], None),
                from(source(Some("short"), false, true), pair(b"third", &[b"leaf"], None)),
                from(source(None, true, false), pair(b"4", &[b"leaf"], Some((b"r", -1)))),
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
    fn a_pair_without_a_staple_and_a_source_takes_two_lengths() {
        let bytes = |staple| {
            let (key, chain) = (b"k".to_vec().into(), vec![b"c".to_vec()]);
            Material { pairs: vec![Pair { key, chain, staple, source: None }] }.encode().to_vec()
        };
        let staple = Staple { response: b"r".to_vec(), not_after: UnixTime(0x0102) };
        let (without, with) = (bytes(None), bytes(Some(staple)));
        assert_eq!(without[without.len() - 8..], [0; 8]);
        let common = without.len() - 8;
        assert_eq!(with[..common], without[..common]);
        assert_eq!(with[common..], [1, 0, 0, 0, b'r', 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_field_that_this_version_does_not_write_is_refused() {
        let source = Source {
            directory: "d".to_owned(),
            profile: Some("p".to_owned()),
            ordered: Some(vec!["o".to_owned()]),
            is_imported: true,
            is_kept: false,
        };
        let (key, chain) = (b"k".to_vec().into(), vec![b"c".to_vec()]);
        let pair = Pair { key, chain, staple: None, source: Some(source) };
        let bytes = Material { pairs: vec![pair] }.encode().to_vec();
        assert!(Material::decode(&bytes).is_ok());
        // Behind each text there is a length: directory, profile, names, flags.
        let flags = bytes.len() - 4;
        for (at, byte) in
            [(flags - 1, 0xff), (flags - 6, 0xff), (flags - 11, 0xff), (flags, 7), (flags + 3, 1)]
        {
            let mut changed = bytes.clone();
            changed[at] = byte;
            assert_eq!(Material::decode(&changed), Err(MaterialError::Unknown), "{at}");
        }
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert!(!format!("{:?}", material()).contains("107"), "107 is the first byte of the key");
    }
}
