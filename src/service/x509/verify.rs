//! Check of a certificate from a CA: it is the one that was ordered, and can be served.
//!
//! Refused is what could not be served: another order costs as much as this one and may well end in the
//! same way. What is merely unexpected is accepted, and told.

use super::{chain_from_pem, display_name, dns_names, other_names, reason, validity};
use acme_dns_core::schedule::{Freshness, Skew, Validity};
use acme_dns_core::text::{excerpt, list};
use acme_dns_core::time::UnixTime;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509Ref, X509VerifyResult};
use std::time::Duration;

/// The length of a name that is shown.
const MAX_NAME: usize = 253;

/// A chain that was checked.
pub(crate) struct Verified {
    /// The leaf first, each certified by the next one.
    pub(crate) chain: Vec<X509>,
    pub(crate) validity: Validity,
    /// Lead of our clock over the CA's.
    pub(crate) skew: Skew,
    /// The CA, as the leaf names it.
    pub(crate) issuer: String,
    /// In hexadecimal.
    pub(crate) serial: String,
    /// Set if its names are exactly those that were ordered.
    pub(crate) is_exact: bool,
    /// Surprises that do no harm, in one line each.
    pub(crate) notes: Vec<String>,
}

/// Reason why a certificate cannot be used.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Unfit {
    /// It is another one than was ordered. What is wrong is one line.
    Wrong(String),
    /// It becomes valid later, by the CA's own clock.
    Early { from: UnixTime, wait: Duration },
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

impl From<ErrorStack> for Unfit {
    fn from(error: ErrorStack) -> Self {
        Self::Wrong(reason(&error))
    }
}

/// Checks a chain against the key and the names of the order. `date` is the CA's own time, if it tells.
pub(crate) fn verify(
    pem: &[u8],
    key: &PKey<Private>,
    names: &[String],
    now: UnixTime,
    date: Option<UnixTime>,
) -> Result<Verified, Unfit> {
    let mut notes = Vec::new();
    let chain = in_order(chain_from_pem(pem)?, key, &mut notes)?;
    let [leaf, ..] = chain.as_slice() else { return Err("it is empty".to_owned().into()) };
    let is_exact = check_names(leaf, names, &mut notes)?;
    let validity = validity(leaf)?;
    let skew = match validity.freshness(now, date) {
        Freshness::Good(skew) => skew,
        Freshness::Early { from, wait } => return Err(Unfit::Early { from, wait }),
        Freshness::Expired => {
            return Err(
                format!("it expired at {}, by the CA's own clock", validity.not_after).into()
            );
        }
    };
    let issuer = display_name(leaf.issuer_name());
    let serial = leaf.serial_number().to_bn()?.to_hex_str()?.to_ascii_lowercase();
    Ok(Verified { chain, validity, skew, issuer, serial, is_exact, notes })
}

/// The leaf, which is the certificate of our key, and those that certify it, whatever order they came in
/// and whatever else came with them (RFC 8555 section 9.1 says "SHOULD").
fn in_order(
    mut rest: Vec<X509>,
    key: &PKey<Private>,
    notes: &mut Vec<String>,
) -> Result<Vec<X509>, Unfit> {
    let is_ours =
        |certificate: &X509| certificate.public_key().is_ok_and(|ours| ours.public_eq(key));
    let Some(position) = rest.iter().position(is_ours) else {
        return Err("it is not for our key".to_owned().into());
    };
    let leaf = rest.remove(position);
    let mut chain = vec![leaf.clone()];
    rest.retain(|other| *other != leaf);
    let mut last = leaf;
    while let Some(position) = rest.iter().position(|other| certifies(other, &last)) {
        last = rest.remove(position);
        rest.retain(|other| *other != last);
        chain.push(last.clone());
    }
    if chain.len() == 1 && !rest.is_empty() {
        return Err("none of the certificates that came with it has signed it".to_owned().into());
    }
    if !rest.is_empty() {
        notes.push(format!(
            "{} of the certificates that came with it are not of its chain and are not served",
            rest.len()
        ));
    }
    Ok(chain)
}

/// Tells whether a certificate has signed another one.
fn certifies(issuer: &X509Ref, subject: &X509Ref) -> bool {
    let has_name = issuer.issued(subject) == X509VerifyResult::OK;
    has_name && issuer.public_key().and_then(|key| subject.verify(&key)).unwrap_or(false)
}

/// Tells whether the names are exactly those that were ordered. More of them do no harm: some CAs add
/// `www.` or the apex to what was ordered.
fn check_names(leaf: &X509Ref, ordered: &[String], notes: &mut Vec<String>) -> Result<bool, Unfit> {
    let held = dns_names(leaf);
    let missing: Vec<&str> =
        ordered.iter().filter(|name| !is_covered(name, &held)).map(String::as_str).collect();
    if !missing.is_empty() {
        return Err(format!("it does not hold {}", shown(&missing)).into());
    }
    let added: Vec<&str> =
        held.iter().filter(|name| !ordered.contains(name)).map(String::as_str).collect();
    if !added.is_empty() {
        notes.push(format!("the CA has added names that were not ordered: {}", shown(&added)));
    }
    let others = other_names(leaf);
    if others > 0 {
        notes.push(format!("the CA has added {others} names that are not domain names"));
    }
    Ok(added.is_empty() && ordered.iter().all(|name| held.contains(name)))
}

/// Tells whether a certificate that holds these names satisfies a client that asks for one.
fn is_covered(name: &String, held: &[String]) -> bool {
    let is_beneath = |wildcard: &String| {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        wildcard.strip_prefix("*.").is_some_and(|base| Some(base) == parent)
    };
    held.contains(name) || held.iter().any(is_beneath)
}

/// Lists names as a certificate has them, in one line.
fn shown(names: &[&str]) -> String {
    list(&names.iter().map(|name| excerpt(name, MAX_NAME)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
