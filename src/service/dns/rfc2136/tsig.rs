//! TSIG (RFC 8945): messages that both sides sign with a shared secret.
//!
//! hickory-proto signs with ring or aws-lc only, each a second library of cryptography, so the record is
//! made and read here. It is the last of a message, which makes that little: the digest covers the octets
//! before it.

use acme_dns_core::config::TsigAlgorithm;
use hickory_proto::op::Header;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, DecodeError};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use zeroize::Zeroizing;

/// The difference between two clocks that is allowed, in seconds (section 10).
const FUDGE: u16 = 300;

/// The type TSIG and the class ANY, as they stand in the record.
const TSIG: u16 = 250;
const ANY: u16 = 255;

/// The offsets in a message of its identifier and of the number of additional records.
const ID: usize = 0;
const ADDITIONALS: usize = 10;

/// A key that both sides know.
pub(super) struct TsigKey {
    /// Its name and that of its algorithm, in canonical wire format.
    name: Vec<u8>,
    algorithm: Vec<u8>,
    digest: MessageDigest,
    secret: Zeroizing<Vec<u8>>,
}

/// A message with its signature.
pub(super) struct SignedMessage {
    pub(super) bytes: Vec<u8>,
    /// The signature alone, which that of the answer covers.
    pub(super) mac: Vec<u8>,
}

/// An answer, as far as its signature goes.
pub(super) struct ReadAnswer {
    /// The message without the signature.
    pub(super) bytes: Vec<u8>,
    pub(super) signature: Signature,
}

/// The signature of an answer.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Signature {
    /// There is none.
    Missing,
    /// It is that of the key.
    Valid {
        /// The error of the signature of the request, or 0.
        error: u16,
        /// The server's time, in seconds since 1970, where the error is about that.
        time: Option<u64>,
    },
    /// The record is there without a signature: the server cannot sign with this key, as the error says.
    Unsigned(u16),
    /// It is not that of the key, or of another request.
    Wrong,
}

/// A TSIG record.
struct TsigRecord<'a> {
    name: Vec<u8>,
    algorithm: Vec<u8>,
    /// The fields between algorithm and signature: time and fudge.
    times: &'a [u8],
    mac: &'a [u8],
    id: &'a [u8],
    error: u16,
    other: &'a [u8],
}

impl TsigKey {
    /// Makes a key; `None` if its name is no name.
    pub(super) fn new(
        name: &str,
        algorithm: TsigAlgorithm,
        secret: Zeroizing<Vec<u8>>,
    ) -> Option<Self> {
        let digest = match algorithm {
            TsigAlgorithm::Sha1 => MessageDigest::sha1(),
            TsigAlgorithm::Sha224 => MessageDigest::sha224(),
            TsigAlgorithm::Sha256 => MessageDigest::sha256(),
            TsigAlgorithm::Sha384 => MessageDigest::sha384(),
            TsigAlgorithm::Sha512 => MessageDigest::sha512(),
        };
        let wire = |name: &str| canonical(&Name::from_ascii(name).ok()?).ok();
        Some(Self { name: wire(name)?, algorithm: wire(algorithm.name())?, digest, secret })
    }

    /// Signs a request at a time in seconds since 1970.
    pub(super) fn sign(&self, message: &[u8], now: u64) -> Result<SignedMessage, ErrorStack> {
        let times = times(now, FUDGE);
        let mac = self.mac(&[message, &self.variables(&times, 0, &[])])?;
        Ok(SignedMessage { bytes: self.with_record(message, &times, &mac, 0, &[]), mac })
    }

    /// Appends a TSIG record to a message (section 4.2).
    fn with_record(
        &self,
        message: &[u8],
        times: &[u8],
        mac: &[u8],
        error: u16,
        other: &[u8],
    ) -> Vec<u8> {
        let id = message.get(ID..ID + 2).unwrap_or_default();
        let error = error.to_be_bytes();
        let data =
            [&self.algorithm, times, &length(mac), mac, id, &error, &length(other), other].concat();
        let mut bytes = message.to_vec();
        change_additionals(&mut bytes, |number| number.wrapping_add(1));
        for field in [&self.name, &record_header()[..], &length(&data), &data] {
            bytes.extend_from_slice(field);
        }
        bytes
    }

    /// Reads an answer to a request with the signature `request_mac`. Its time is not looked at: it is
    /// no old answer, because its signature covers that of the request.
    pub(super) fn verify(
        &self,
        answer: &[u8],
        request_mac: &[u8],
    ) -> Result<ReadAnswer, DecodeError> {
        let Some((start, record)) = find_record(answer)? else {
            return Ok(ReadAnswer { bytes: answer.to_vec(), signature: Signature::Missing });
        };
        let mut bytes = answer.get(..start).unwrap_or_default().to_vec();
        change_additionals(&mut bytes, |number| number.wrapping_sub(1));
        let signature = if record.mac.is_empty() && record.error != 0 {
            Signature::Unsigned(record.error)
        } else if self.has_signed(&bytes, &record, request_mac) {
            Signature::Valid { error: record.error, time: seconds(record.other) }
        } else {
            Signature::Wrong
        };
        Ok(ReadAnswer { bytes, signature })
    }

    /// Tells whether the signature of an answer is that of the key.
    fn has_signed(&self, message: &[u8], record: &TsigRecord<'_>, request_mac: &[u8]) -> bool {
        if record.name != self.name || record.algorithm != self.algorithm {
            return false;
        }
        let body = message.get(ID + 2..).unwrap_or_default();
        let variables = self.variables(record.times, record.error, record.other);
        let expected = self.mac(&[&length(request_mac), request_mac, record.id, body, &variables]);
        // A shortened signature is not taken: no server makes one unless it is told to.
        expected.is_ok_and(|mac| mac.len() == record.mac.len() && memcmp::eq(&mac, record.mac))
    }

    /// The fields of the record that are signed with the message (section 4.3.3).
    fn variables(&self, times: &[u8], error: u16, other: &[u8]) -> Vec<u8> {
        let [_, _, class_and_ttl @ ..] = record_header();
        let error = error.to_be_bytes();
        [&self.name, &class_and_ttl[..], &self.algorithm, times, &error, &length(other), other]
            .concat()
    }

    fn mac(&self, parts: &[&[u8]]) -> Result<Vec<u8>, ErrorStack> {
        let key = PKey::hmac(&self.secret)?;
        let mut signer = Signer::new(self.digest, &key)?;
        parts.iter().try_for_each(|part| signer.update(part))?;
        signer.sign_to_vec()
    }
}

/// Finds the TSIG record of a message, which is the last one, and where it begins.
fn find_record(message: &[u8]) -> Result<Option<(usize, TsigRecord<'_>)>, DecodeError> {
    let mut decoder = BinDecoder::new(message);
    let counts = Header::read(&mut decoder)?.counts;
    for _ in 0..counts.queries {
        Name::read(&mut decoder)?;
        decoder.read_slice(4)?;
    }
    let records = [counts.answers, counts.authorities, counts.additionals];
    let records: u32 = records.into_iter().map(u32::from).sum();
    for _ in 1..records {
        read_header(&mut decoder)?;
        read_counted(&mut decoder)?;
    }
    let start = decoder.index();
    if counts.additionals == 0 {
        return Ok(None);
    }
    let (name, header) = read_header(&mut decoder)?;
    if header != record_header() {
        return Ok(None);
    }
    let length = decoder.read_u16()?.unverified();
    let is_last = usize::from(length) == decoder.len();
    let algorithm = Name::read(&mut decoder)?;
    let times = decoder.read_slice(8)?.unverified();
    let mac = read_counted(&mut decoder)?;
    let id = decoder.read_slice(2)?.unverified();
    let error = decoder.read_u16()?.unverified();
    let other = read_counted(&mut decoder)?;
    if !is_last || !decoder.is_empty() {
        return Err(DecodeError::InsufficientBytes);
    }
    let [name, algorithm] = [name, algorithm].map(|name| canonical(&name).unwrap_or_default());
    Ok(Some((start, TsigRecord { name, algorithm, times, mac, id, error, other })))
}

/// Writes what stands between the name of a TSIG record and the length of its data: type, class, and 0 as
/// the time to live.
fn record_header() -> [u8; 8] {
    let ([a, b], [c, d]) = (TSIG.to_be_bytes(), ANY.to_be_bytes());
    [a, b, c, d, 0, 0, 0, 0]
}

/// Reads a record up to the length of its data; gives its name, and its type, class and time to live.
fn read_header<'a>(decoder: &mut BinDecoder<'a>) -> Result<(Name, &'a [u8]), DecodeError> {
    Ok((Name::read(decoder)?, decoder.read_slice(8)?.unverified()))
}

fn read_counted<'a>(decoder: &mut BinDecoder<'a>) -> Result<&'a [u8], DecodeError> {
    let length = decoder.read_u16()?.unverified();
    Ok(decoder.read_slice(length.into())?.unverified())
}

/// Writes the length of a field.
fn length(field: &[u8]) -> [u8; 2] {
    u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// Writes a name in canonical wire format (RFC 4034 section 6.2).
fn canonical(name: &Name) -> Result<Vec<u8>, hickory_proto::ProtoError> {
    name.to_lowercase().to_bytes()
}

fn change_additionals(message: &mut [u8], change: impl FnOnce(u16) -> u16) {
    if let Some([high, low]) = message.get_mut(ADDITIONALS..ADDITIONALS + 2) {
        [*high, *low] = change(u16::from_be_bytes([*high, *low])).to_be_bytes();
    }
}

/// Writes a time of 48 bits, and the fudge.
fn times(now: u64, fudge: u16) -> [u8; 8] {
    ((now << 16) | u64::from(fudge)).to_be_bytes()
}

/// Reads a time of 48 bits.
fn seconds(bytes: &[u8]) -> Option<u64> {
    let bytes: &[u8; 6] = bytes.try_into().ok()?;
    Some(bytes.iter().fold(0, |seconds, byte| (seconds << 8) | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use acme_dns_core::encoding::from_base64;

    const NOW: u64 = 1_700_000_000;

    impl TsigKey {
        /// Signs an answer, as a server does.
        pub(crate) fn sign_answer(
            &self,
            answer: &[u8],
            request: &SignedMessage,
            (error, other): (u16, &[u8]),
        ) -> Vec<u8> {
            let times = times(NOW, FUDGE);
            let variables = self.variables(&times, error, other);
            let parts = [&length(&request.mac)[..], &request.mac, answer, &variables];
            let mac = self.mac(&parts).expect("a signature");
            self.with_record(answer, &times, &mac, error, other)
        }

        /// Appends an error to an answer without signing it.
        pub(crate) fn refuse(&self, answer: &[u8], error: u16) -> Vec<u8> {
            self.with_record(answer, &times(NOW, FUDGE), &[], error, &[])
        }
    }

    fn key(algorithm: TsigAlgorithm) -> TsigKey {
        let secret = from_base64("c2VjcmV0IG9mIHNpeHRlZQ==").expect("base64");
        TsigKey::new("Update.example.com", algorithm, secret).expect("a name")
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn request() -> Vec<u8> {
        bytes("123428000001000000000000076578616d706c6503636f6d0000060001")
    }

    /// An answer without sections, signed two seconds after the request. The signature was made by another
    /// implementation.
    fn answer() -> Vec<u8> {
        let mac = "6a92f671d0cdde486ac19919bcecd1ee2f448820f82d69a47d74dc28e0583beb";
        let (name, algorithm) =
            ("06757064617465076578616d706c6503636f6d00", "0b686d61632d73686132353600");
        bytes(&format!(
            "1234a8000000000000000001{name}00fa00ff00000000003d{algorithm}00006553f102012c0020{mac}123400000000"
        ))
    }

    #[test]
    fn signatures_are_those_of_other_implementations() {
        for (algorithm, expected) in [
            (TsigAlgorithm::Sha1, "034ea17db8f3da1a85d1d7c2becf73d03ba1d0d6"),
            (
                TsigAlgorithm::Sha256,
                "77fad019e928313ee2b034476e977763d70661f2353276af5d343a7ac38e6042",
            ),
        ] {
            let signed = key(algorithm).sign(&request(), NOW).expect("a signature");
            assert_eq!(hex(&signed.mac), expected, "{algorithm:?}");
            // It is the message with one more record.
            assert_eq!(signed.bytes[..ADDITIONALS], request()[..ADDITIONALS]);
            assert_eq!(signed.bytes[ADDITIONALS..ADDITIONALS + 2], [0, 1]);
            assert_eq!(
                signed.bytes[ADDITIONALS + 2..request().len()],
                request()[ADDITIONALS + 2..]
            );
            let (start, record) = find_record(&signed.bytes).expect("a message").expect("a record");
            assert_eq!(
                (start, record.mac, record.id),
                (request().len(), &*signed.mac, &[0x12, 0x34][..])
            );
            assert_eq!(record.times, times(NOW, 300));
        }
    }

    #[test]
    fn an_answer_is_valid_for_its_request_and_key_only() {
        let sha256 = key(TsigAlgorithm::Sha256);
        let mac = sha256.sign(&request(), NOW).expect("a signature").mac;
        let read = |key: &TsigKey, answer: &[u8], mac: &[u8]| {
            key.verify(answer, mac).expect("a message").signature
        };
        let valid = Signature::Valid { error: 0, time: None };
        assert_eq!(read(&sha256, &answer(), &mac), valid);
        let plain = sha256.verify(&answer(), &mac).expect("a message").bytes;
        assert_eq!(hex(&plain), "1234a8000000000000000000");
        assert_eq!(read(&sha256, &plain, &mac), Signature::Missing);
        let later = sha256.sign(&request(), NOW + 1).expect("a signature").mac;
        assert_eq!(read(&sha256, &answer(), &later), Signature::Wrong, "of another request");
        assert_eq!(read(&key(TsigAlgorithm::Sha1), &answer(), &mac), Signature::Wrong);
        let other =
            TsigKey::new("update.example.com", TsigAlgorithm::Sha256, Zeroizing::new(vec![1]));
        assert_eq!(read(&other.expect("a key"), &answer(), &mac), Signature::Wrong);
    }
}
