//! Renewal information of a CA (RFC 9773), as it comes. What follows from it is decided in
//! [`acme_dns_core::schedule`].

use acme_dns_core::encoding::base64url;
use bytes::Bytes;
use instant_acme::CertificateIdentifier;
use openssl::x509::X509Ref;
use std::time::Duration;

/// Answer of the CA about the renewal of a certificate, as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RenewalAnswer {
    /// The document (RFC 9773 section 4.2), which nobody has looked at yet.
    pub body: Bytes,
    /// Pause before the next question, if the CA asks for one.
    pub retry_after: Option<Duration>,
}

/// Makes the CA's identifier of a certificate (RFC 9773 section 4.1). `None`: it names no key of its
/// issuer, or has no proper serial number.
#[must_use]
pub fn certificate_id(leaf: &X509Ref) -> Option<CertificateIdentifier<'static>> {
    let serial = leaf.serial_number().to_bn().ok().filter(|serial| !serial.is_negative())?;
    let mut content = serial.to_vec();
    // DER's integers have a sign: a leading one would make it negative.
    if content.first().is_none_or(|first| first & 0x80 != 0) {
        content.insert(0, 0);
    }
    Some(CertificateIdentifier {
        authority_key_identifier: base64url(leaf.authority_key_id()?.as_slice()).into(),
        serial: base64url(&content).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::certificate_id;
    use crate::x509::testing::key;
    use openssl::asn1::{Asn1Object, Asn1OctetString};
    use openssl::bn::BigNum;
    use openssl::hash::MessageDigest;
    use openssl::x509::{X509, X509Extension};

    const KEY_ID: [u8; 20] = [
        0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae,
        0x2c, 0xde, 0x01, 0xc8, 0xd4,
    ];

    fn certificate(serial: &str, key_id: Option<&[u8]>) -> X509 {
        let key = key();
        let mut builder = X509::builder().unwrap();
        let serial = BigNum::from_hex_str(serial).unwrap().to_asn1_integer().unwrap();
        builder.set_serial_number(&serial).unwrap();
        builder.set_pubkey(&key).unwrap();
        if let Some(key_id) = key_id {
            let length = u8::try_from(key_id.len()).unwrap();
            let der = [&[0x30, length + 2, 0x80, length], key_id].concat();
            let der = Asn1OctetString::new_from_bytes(&der).unwrap();
            let oid = Asn1Object::from_str("2.5.29.35").unwrap();
            let extension = X509Extension::new_from_der(&oid, false, &der).unwrap();
            builder.append_extension(extension).unwrap();
        }
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    #[test]
    fn a_certificate_is_called_as_in_the_rfc() {
        for (serial, expected) in [
            ("87654321", Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")),
            ("12345678", Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.EjRWeA")),
            ("0", Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AA")),
            ("-1", None),
        ] {
            let id = certificate_id(&certificate(serial, Some(&KEY_ID)));
            assert_eq!(id.map(|id| id.to_string()).as_deref(), expected, "{serial}");
        }
        assert!(certificate_id(&certificate("1", None)).is_none());
    }
}
