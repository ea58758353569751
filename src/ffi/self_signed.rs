//! The self-signed certificate, which is served until the first one is issued (`acme_dns_fallback`). When it is
//! served is decided in `certificate`.

use super::openssl::CertAndKey;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name, X509NameBuilder};

/// Validity, in days.
const DAYS: u32 = 7;

/// The longest common name (RFC 5280 appendix A.1, ub-common-name).
const MAX_COMMON_NAME: usize = 64;

/// Makes a certificate that says what it is: nothing to trust.
pub(super) fn generate(names: &[String]) -> Result<CertAndKey, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let leaf = sign(&key, names)?;
    Ok(CertAndKey { leaf, key, chain: Stack::new()? })
}

fn sign(key: &PKey<Private>, names: &[String]) -> Result<X509, ErrorStack> {
    let subject = subject(names)?;
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    let (start, end) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(DAYS)?);
    builder.set_not_before(&start)?;
    builder.set_not_after(&end)?;
    builder.set_pubkey(key)?;
    if !names.is_empty() {
        let mut alternative = SubjectAlternativeName::new();
        for name in names {
            alternative.dns(name);
        }
        let alternative = alternative.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(alternative)?;
    }
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

fn subject(names: &[String]) -> Result<X509Name, ErrorStack> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_text("O", "acme_dns: self-signed until a certificate is issued")?;
    // A server that has inherited the directive may have no name.
    if let Some(first) = names.first().filter(|first| first.len() <= MAX_COMMON_NAME) {
        subject.append_entry_by_text("CN", first)?;
    }
    Ok(subject.build())
}
