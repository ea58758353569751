//! CAs and certificates for tests.

use super::keys::generate;
use acme_dns_core::key::KeyType;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

/// The moment that certificates of tests are about.
pub(crate) const NOW: i64 = 1_800_000_000;

/// A CA with its key.
pub(crate) struct Ca {
    pub(crate) certificate: X509,
    key: PKey<Private>,
}

/// A new key.
pub(crate) fn key() -> PKey<Private> {
    generate(KeyType::EcdsaP256).unwrap()
}

fn name(common: &str) -> X509Name {
    let mut builder = X509NameBuilder::new().unwrap();
    builder.append_entry_by_nid(Nid::COMMONNAME, common).unwrap();
    builder.build()
}

fn builder(key: &PKey<Private>, from: i64, to: i64) -> X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(0x12ab).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(to).unwrap()).unwrap();
    builder
}

impl Ca {
    /// A CA that another one certifies, or itself.
    pub(crate) fn new(common: &str, parent: Option<&Self>) -> Self {
        let key = key();
        let mut builder = builder(&key, 0, NOW * 2);
        builder.set_subject_name(&name(common)).unwrap();
        let issuer = parent
            .map_or_else(|| name(common), |ca| ca.certificate.subject_name().to_owned().unwrap());
        builder.set_issuer_name(&issuer).unwrap();
        builder.append_extension(BasicConstraints::new().ca().build().unwrap()).unwrap();
        let signer = parent.map_or(&key, |ca| &ca.key);
        builder.sign(signer, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    /// A certificate for `names`, valid from and to these seconds around [`NOW`].
    pub(crate) fn issue(
        &self,
        key: &PKey<Private>,
        names: &[&str],
        (from, to): (i64, i64),
    ) -> X509 {
        let mut builder = builder(key, NOW + from, NOW + to);
        builder.set_issuer_name(self.certificate.subject_name()).unwrap();
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            match name.parse::<std::net::IpAddr>() {
                Ok(_) => alternatives.ip(name),
                Err(_) => alternatives.dns(name),
            };
        }
        let alternatives = alternatives.build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(alternatives).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        builder.build()
    }
}

/// Certificates in PEM.
pub(crate) fn pem(chain: &[&X509]) -> String {
    let pems = chain.iter().map(|certificate| certificate.to_pem().unwrap());
    String::from_utf8(pems.flatten().collect()).unwrap()
}
