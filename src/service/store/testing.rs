//! CAs and certificates for tests.

use super::IssuedPem;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The moment that certificates of tests are about.
pub(crate) const NOW: i64 = 1_800_000_000;

/// The URL of the directory that certificates of tests are from.
pub(crate) const DIRECTORY: &str = "https://ca.example/directory";

/// Gives a sign of life for the holder of a state path's lock; one at another second is another one.
pub(crate) fn give_sign(state_path: &Path, second: u64) {
    let lock = File::options().write(true).open(state_path.join("lock")).unwrap();
    lock.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
}

pub(crate) struct Ca {
    pub(crate) certificate: X509,
    key: PKey<Private>,
}

pub(crate) fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
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

pub(crate) fn pem(chain: &[&X509]) -> String {
    let pems = chain.iter().map(|certificate| certificate.to_pem().unwrap());
    String::from_utf8(pems.flatten().collect()).unwrap()
}

/// A new key with a chain of two for `names`.
pub(crate) fn issued(names: &[&str]) -> IssuedPem {
    issued_with(&key(), names, (-3600, 86_400))
}

/// A chain of two for a key and `names`, valid from and to these seconds around [`NOW`].
pub(crate) fn issued_with(
    key: &PKey<Private>,
    names: &[&str],
    (from, to): (i64, i64),
) -> IssuedPem {
    let ca = Ca::new("Test CA", None);
    let leaf = ca.issue(key, names, (from, to));
    IssuedPem {
        key: String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap().into(),
        fullchain: pem(&[&leaf, &ca.certificate]),
        directory: DIRECTORY.to_owned(),
        profile: None,
        ordered: None,
        is_imported: false,
    }
}
