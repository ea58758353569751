//! Certificates, their keys and the requests for them, as bytes: nothing here reads a file or asks a server.

pub(crate) mod csr;
pub(crate) mod glance;
pub(crate) mod keys;
pub(crate) mod leaf;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod verify;

use acme_dns_core::key::KeyType;
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::schedule::Validity;
use acme_dns_core::time::UnixTime;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private};
use openssl::x509::{X509, X509NameRef, X509Ref};
use zeroize::Zeroizing;

/// Puts OpenSSL's errors into one line.
pub(crate) fn reason(error: &ErrorStack) -> String {
    let reasons = error.errors().iter().filter_map(|e| e.reason());
    let reasons: Vec<&str> = reasons.collect();
    if reasons.is_empty() { "OpenSSL failed".to_owned() } else { reasons.join(", ") }
}

/// Reads the certificates of a PEM text, at least one.
pub(crate) fn chain_from_pem(pem: &[u8]) -> Result<Vec<X509>, String> {
    let chain = X509::stack_from_pem(pem)
        .map_err(|e| format!("it is not a chain of certificates in PEM: {}", reason(&e)))?;
    if chain.is_empty() {
        return Err("it holds no certificate in PEM".to_owned());
    }
    // OpenSSL passes over a last one that is cut off: the chain would be served without it.
    let count = |mark: &[u8]| pem.windows(mark.len()).filter(|at| *at == mark).count();
    if count(b"-----BEGIN ") > count(b"-----END ") {
        return Err("one of its certificates is cut off".to_owned());
    }
    Ok(chain)
}

/// Reads the two dates of a certificate.
pub(crate) fn validity(certificate: &X509Ref) -> Result<Validity, ErrorStack> {
    Ok(Validity {
        not_before: unix_time(certificate.not_before())?,
        not_after: unix_time(certificate.not_after())?,
    })
}

fn unix_time(time: &Asn1TimeRef) -> Result<UnixTime, ErrorStack> {
    let difference = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(UnixTime(i64::from(difference.days) * 86_400 + i64::from(difference.secs)))
}

/// Lists the DNS names that a certificate holds, in lower case, sorted.
pub(crate) fn dns_names(certificate: &X509Ref) -> Vec<String> {
    let alternatives = certificate.subject_alt_names();
    let names = alternatives.iter().flatten().filter_map(|name| name.dnsname());
    let mut names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    names.sort();
    names.dedup();
    names
}

/// Tells whether a certificate names itself as its issuer.
pub(crate) fn is_self_signed(certificate: &X509Ref) -> bool {
    let (issuer, subject) = (certificate.issuer_name(), certificate.subject_name());
    issuer.try_cmp(subject).is_ok_and(std::cmp::Ordering::is_eq)
}

/// Counts the subject alternative names that are no DNS names.
pub(crate) fn other_names(certificate: &X509Ref) -> usize {
    let alternatives = certificate.subject_alt_names();
    alternatives.iter().flatten().filter(|name| name.dnsname().is_none()).count()
}

/// Finds the type of a key; `None` if it is none that can be configured.
pub(crate) fn key_type<T: HasPublic>(key: &PKeyRef<T>) -> Option<KeyType> {
    match key.id() {
        Id::EC => match key.ec_key().ok()?.group().curve_name()? {
            Nid::X9_62_PRIME256V1 => Some(KeyType::EcdsaP256),
            Nid::SECP384R1 => Some(KeyType::EcdsaP384),
            _ => None,
        },
        Id::RSA => match key.bits() {
            2048 => Some(KeyType::Rsa2048),
            3072 => Some(KeyType::Rsa3072),
            4096 => Some(KeyType::Rsa4096),
            _ => None,
        },
        _ => None,
    }
}

/// Shows a distinguished name to people: the common name, else the organization, else all of it.
pub(crate) fn display_name(name: &X509NameRef) -> String {
    let entry = |nid| name.entries_by_nid(nid).next()?.data().to_string().ok();
    entry(Nid::COMMONNAME)
        .or_else(|| entry(Nid::ORGANIZATIONNAME))
        .unwrap_or_else(|| format!("{name:?}"))
}

/// Puts a key and its chain into the form for servers.
pub(crate) fn material(key: &PKey<Private>, chain: &[X509]) -> Result<Material, ErrorStack> {
    let key = Zeroizing::new(key.private_key_to_pkcs8()?);
    let chain = chain.iter().map(|certificate| certificate.to_der()).collect::<Result<_, _>>()?;
    Ok(Material { pairs: vec![Pair { key, chain, staple: None, source: None }] })
}
