//! Whether the certificate that the CA sent is the one that was asked for.

use crate::store::x509::{chain_from_pem, display_name, dns_names, other_names, reason, validity};
use acme_dns_core::schedule::Validity;
use acme_dns_core::time::UnixTime;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509Ref, X509VerifyResult};
use std::time::Duration;

/// How far our clock may be behind the CA's.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// A chain that was checked.
pub(super) struct Verified {
    pub(super) chain: Vec<X509>,
    pub(super) validity: Validity,
    /// The CA, as the leaf names it.
    pub(super) issuer: String,
    /// In hexadecimal.
    pub(super) serial: String,
}

/// Checks a chain against the key and the names of the order. What is wrong is one line.
pub(super) fn verify(
    pem: &[u8],
    key: &PKey<Private>,
    names: &[String],
    now: UnixTime,
) -> Result<Verified, String> {
    let chain = chain_from_pem(pem)?;
    let [leaf, ..] = chain.as_slice() else { return Err("it is empty".to_owned()) };
    let openssl = |error: ErrorStack| reason(&error);
    if !leaf.public_key().map_err(openssl)?.public_eq(key) {
        return Err("it is not for our key".to_owned());
    }
    check_names(leaf, names)?;
    let validity = validity(leaf).map_err(openssl)?;
    check_validity(validity, now)?;
    for (position, pair) in chain.windows(2).enumerate() {
        if let [subject, issuer] = pair {
            check_issuer(subject, issuer).map_err(|why| {
                format!(
                    "certificate {} of the chain did not sign the one before it: {why}",
                    position + 2
                )
            })?;
        }
    }
    let issuer = display_name(leaf.issuer_name());
    let serial = leaf.serial_number().to_bn().and_then(|number| number.to_hex_str());
    let serial = serial.map_err(openssl)?.to_ascii_lowercase();
    Ok(Verified { validity, issuer, serial, chain })
}

fn check_names(leaf: &X509Ref, names: &[String]) -> Result<(), String> {
    let mut wanted: Vec<&String> = names.iter().collect();
    wanted.sort();
    wanted.dedup();
    let found = dns_names(leaf);
    let missing: Vec<&str> =
        wanted.iter().filter(|name| !found.contains(name)).map(|name| name.as_str()).collect();
    if !missing.is_empty() {
        return Err(format!("it does not hold {}", missing.join(", ")));
    }
    let extra: Vec<&str> =
        found.iter().filter(|name| !wanted.contains(name)).map(String::as_str).collect();
    if !extra.is_empty() {
        return Err(format!("it also holds {}", extra.join(", ")));
    }
    match other_names(leaf) {
        0 => Ok(()),
        _ => Err("it also holds names that are not domain names".to_owned()),
    }
}

fn check_validity(validity: Validity, now: UnixTime) -> Result<(), String> {
    let early = validity.not_before.since(now);
    if early > CLOCK_TOLERANCE {
        let seconds = early.as_secs();
        return Err(format!(
            "it becomes valid in {seconds} s only: is the clock of this host right?"
        ));
    }
    if validity.not_after <= now {
        let seconds = now.since(validity.not_after).as_secs();
        return Err(format!("it expired {seconds} s ago: is the clock of this host right?"));
    }
    Ok(())
}

fn check_issuer(subject: &X509Ref, issuer: &X509Ref) -> Result<(), String> {
    let issued = issuer.issued(subject);
    if issued != X509VerifyResult::OK {
        return Err(issued.error_string().to_owned());
    }
    let signed = issuer.public_key().and_then(|key| subject.verify(&key));
    match signed.map_err(|error| reason(&error))? {
        true => Ok(()),
        false => Err("the signature is wrong".to_owned()),
    }
}

#[cfg(test)]
mod tests;
