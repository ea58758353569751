//! Facts about a certificate that is served, read without OpenSSL, as in [`glance`](super::glance).

use super::glance::{EC, RSA, unix_time};
use acme_dns_core::schedule::Validity;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::name::Name;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Facts about a leaf that are shown.
pub(crate) struct Leaf {
    /// The algorithm of its key, as of `KeyType::algorithm`.
    pub(crate) algorithm: &'static str,
    pub(crate) validity: Validity,
    pub(crate) serial: Vec<u8>,
    /// The common name of its issuer, or all of its name.
    pub(crate) issuer_cn: String,
    pub(crate) is_self_signed: bool,
}

impl Leaf {
    /// Reads a leaf in DER. `None`: it is none, or has a key of another type.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let tbs = Certificate::from_der(der).ok()?.tbs_certificate;
        let algorithm = match tbs.subject_public_key_info.algorithm.oid {
            EC => "ecdsa",
            RSA => "rsa",
            _ => return None,
        };
        let serial = tbs.serial_number.as_bytes();
        Some(Self {
            algorithm,
            validity: Validity {
                not_before: unix_time(tbs.validity.not_before.to_unix_duration()),
                not_after: unix_time(tbs.validity.not_after.to_unix_duration()),
            },
            // A number whose first bit is set has a zero before it.
            serial: serial.strip_prefix(&[0]).unwrap_or(serial).to_vec(),
            issuer_cn: common_name(&tbs.issuer),
            is_self_signed: tbs.issuer == tbs.subject,
        })
    }
}

fn common_name(name: &Name) -> String {
    let mut attributes = name.0.iter().flat_map(|part| part.0.iter());
    let common_name = attributes.rfind(|it| it.oid == COMMON_NAME);
    let text = common_name.map(|it| String::from_utf8_lossy(it.value.value()).into_owned());
    text.unwrap_or_else(|| name.to_string())
}
