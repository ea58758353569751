//! A certificate and its key at a glance: what the start of a helper with thousands has to know, without
//! OpenSSL, which takes half a millisecond for each.

use super::keys::wrap;
use acme_dns_core::key::KeyType;
use acme_dns_core::pem::{KeyDer, KeyForm};
use acme_dns_core::schedule::Validity;
use acme_dns_core::time::UnixTime;
use std::cell::RefCell;
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, UintRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use zeroize::Zeroizing;

pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Facts about a leaf and its key.
pub(crate) struct Glance {
    pub(crate) key: KeyType,
    pub(crate) validity: Validity,
    /// The DNS names, in lower case, sorted.
    pub(crate) names: Vec<String>,
    /// Set if the leaf names itself as its issuer.
    pub(crate) is_self_signed: bool,
}

/// Looks at a chain and at a private key (PKCS #8), in DER. `None`: something is not as it mostly is,
/// and OpenSSL has to look.
pub(crate) fn glance<'a>(
    chain: impl IntoIterator<Item = &'a [u8]>,
    private_key: &[u8],
) -> Option<Glance> {
    let mut certificates = chain.into_iter();
    let leaf = Certificate::from_der(certificates.next()?).ok()?;
    if !certificates.all(is_whole) {
        return None;
    }
    // Whole, and nothing behind it.
    AnyRef::from_der(private_key).ok()?;
    let public = &leaf.tbs_certificate.subject_public_key_info;
    let (key, mark) = key_type(public)?;
    // A private key is kept with its public one in it.
    if !private_key.windows(mark.len()).any(|window| window == mark) {
        return None;
    }
    of_leaf(&leaf, key)
}

/// Looks at a leaf in DER, without its key. `None`: as of [`glance`].
pub(crate) fn glance_at_leaf(leaf: &[u8]) -> Option<Glance> {
    let leaf = Certificate::from_der(leaf).ok()?;
    let (key, _) = key_type(&leaf.tbs_certificate.subject_public_key_info)?;
    of_leaf(&leaf, key)
}

fn of_leaf(leaf: &Certificate, key: KeyType) -> Option<Glance> {
    let tbs = &leaf.tbs_certificate;
    let validity = Validity {
        not_before: unix_time(tbs.validity.not_before.to_unix_duration()),
        not_after: unix_time(tbs.validity.not_after.to_unix_duration()),
    };
    let is_self_signed = tbs.issuer == tbs.subject;
    Some(Glance { key, validity, names: names(leaf)?, is_self_signed })
}

/// Puts a key into PKCS #8, as the one that a certificate is for. `None`: it is of another type.
pub(crate) fn pkcs8(key: KeyDer, leaf: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let wanted = match key.form {
        KeyForm::Pkcs8 => return Some(key.der),
        KeyForm::Pkcs1 => RSA,
        KeyForm::Sec1 => EC,
    };
    let leaf = Certificate::from_der(leaf).ok()?;
    let algorithm = leaf.tbs_certificate.subject_public_key_info.algorithm;
    (algorithm.oid == wanted).then_some(wrap(&key.der, &algorithm.to_der().ok()?))
}

/// Tells whether a certificate can be read. Most have the same issuer: its certificate is read once.
fn is_whole(der: &[u8]) -> bool {
    thread_local! {
        static LAST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    LAST.with_borrow_mut(|last| {
        let is_whole = *last == der || Certificate::from_der(der).is_ok();
        if is_whole && *last != der {
            der.clone_into(last);
        }
        is_whole
    })
}

pub(super) fn unix_time(since_epoch: Duration) -> UnixTime {
    UnixTime::default() + since_epoch
}

/// The type of a public key, and the bytes of it that a private key holds as well.
fn key_type(public: &SubjectPublicKeyInfoOwned) -> Option<(KeyType, &[u8])> {
    let bytes = public.subject_public_key.as_bytes()?;
    match public.algorithm.oid {
        EC => {
            let curve = public.algorithm.parameters.as_ref()?;
            let key = match curve.decode_as::<ObjectIdentifier>().ok()? {
                P256 => KeyType::EcdsaP256,
                P384 => KeyType::EcdsaP384,
                _ => return None,
            };
            Some((key, bytes))
        }
        RSA => {
            let modulus = modulus(bytes)?;
            let key = match modulus.len() * 8 {
                2048 => KeyType::Rsa2048,
                3072 => KeyType::Rsa3072,
                4096 => KeyType::Rsa4096,
                _ => return None,
            };
            // A shorter number could fill as many bytes.
            (*modulus.first()? >= 0x80).then_some((key, modulus))
        }
        _ => None,
    }
}

/// The first number of an `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn modulus(key: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(key).ok()?;
    let modulus = reader.sequence(|reader| {
        let modulus = UintRef::decode(reader)?;
        UintRef::decode(reader)?;
        Ok(modulus)
    });
    modulus.ok().map(|modulus: UintRef<'_>| modulus.as_bytes())
}

fn names(leaf: &Certificate) -> Option<Vec<String>> {
    let alternatives = leaf.tbs_certificate.get::<SubjectAltName>().ok()?;
    let alternatives = alternatives.map_or_else(Vec::new, |(_, names)| names.0);
    let mut names: Vec<String> = alternatives
        .iter()
        .filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::glance;
    use crate::x509::{dns_names, key_type, validity};
    use acme_dns_core::key::KeyType;
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::{PKey, Private};
    use openssl::rsa::Rsa;
    use openssl::x509::extension::SubjectAlternativeName;
    use openssl::x509::{X509, X509Name};

    fn ec(curve: Nid) -> PKey<Private> {
        let group = EcGroup::from_curve_name(curve).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    fn rsa(bits: u32) -> PKey<Private> {
        PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
    }

    fn certificate(key: &PKey<Private>, days: u32) -> X509 {
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let name = X509Name::builder().unwrap().build();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(1_790_000_000).unwrap()).unwrap();
        let end = 1_790_000_000 + i64::from(days) * 86_400;
        builder.set_not_after(&Asn1Time::from_unix(end).unwrap()).unwrap();
        builder.set_pubkey(key).unwrap();
        let mut names = SubjectAlternativeName::new();
        names.dns("b.test").dns("*.A.test").dns("b.test").email("me@a.test").ip("127.0.0.1");
        let names = names.build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(key, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    #[test]
    fn it_sees_what_openssl_sees() {
        let keys = [ec(Nid::X9_62_PRIME256V1), ec(Nid::SECP384R1), rsa(2048), rsa(3072), rsa(4096)];
        for (key, days) in keys.iter().zip([90, 6, 30_000, 1, 365]) {
            let certificate = certificate(key, days);
            let der = certificate.to_der().unwrap();
            let private = key.private_key_to_pkcs8().unwrap();
            let seen = glance([&*der, &*der], &private).expect("it is as it mostly is");
            assert_eq!(Some(seen.key), key_type(key));
            assert_eq!(seen.validity, validity(&certificate).unwrap());
            assert_eq!(seen.names, dns_names(&certificate));
        }
    }

    #[test]
    fn what_is_not_as_it_mostly_is_is_left_to_openssl() {
        let (key, other) = (ec(Nid::X9_62_PRIME256V1), ec(Nid::X9_62_PRIME256V1));
        let leaf = certificate(&key, 90).to_der().unwrap();
        let private = key.private_key_to_pkcs8().unwrap();
        assert_eq!(glance([&*leaf], &private).map(|seen| seen.key), Some(KeyType::EcdsaP256));
        assert!(glance([&*leaf], &other.private_key_to_pkcs8().unwrap()).is_none(), "another key");
        assert!(glance([&*leaf], &private[..private.len() - 1]).is_none(), "a key that is cut off");
        assert!(glance([&leaf[..leaf.len() - 1]], &private).is_none(), "a leaf that is cut off");
        assert!(glance([&*leaf, &leaf[..9]], &private).is_none(), "a chain that is cut off");
        assert!(glance([], &private).is_none(), "no certificate");
        for key in [ec(Nid::SECP521R1), rsa(2560)] {
            let leaf = certificate(&key, 90).to_der().unwrap();
            assert!(glance([&*leaf], &key.private_key_to_pkcs8().unwrap()).is_none());
        }
    }
}
