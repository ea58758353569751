//! Checks of what another host has shared. Nothing in an engine is trusted more than a file of the state path is: names
//! and keys are looked at as those of a CA's answer are.

use super::record::{CertificateRecord, Unreadable, decode};
use crate::acme::Issued;
use crate::engine::clock::now;
use crate::engine::site::Site;
use crate::x509::verify::{Unfit, Verified, verify};
use crate::x509::{key_type, keys, material};
use acme_dns_core::id::{IssuerId, VariantId};
use acme_dns_core::schedule::Renewal;

/// A shared certificate that is as good as one from a CA.
pub(super) struct Checked {
    pub(super) host: String,
    pub(super) issued: Issued,
    pub(super) issuer: IssuerId,
    pub(super) renewal: Renewal,
}

/// Reason why a shared certificate is not used.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Bad {
    /// A newer version has written it: it stays.
    Newer(u32),
    /// It is of no use to anybody: it is replaced.
    Wrong(String),
}

/// Checks a certificate for a variant.
pub(super) fn check(site: &Site, variant: VariantId, content: &[u8]) -> Result<Checked, Bad> {
    let record: CertificateRecord = decode(content).map_err(|unreadable| match unreadable {
        Unreadable::Newer(form) => Bad::Newer(form),
        Unreadable::Foreign(why) => Bad::Wrong(why),
    })?;
    let CertificateRecord { host, issued: pem, mut renewal, .. } = record;
    let wrong = |why: &str| Bad::Wrong(why.to_owned());
    let (wanted, certificate) = site.variant(variant);
    let issuer = site.issuer_with(Some(&pem.directory));
    let issuer = issuer.filter(|issuer| certificate.issuers.contains(issuer));
    let issuer = issuer.ok_or_else(|| wrong("it is from a CA that is not an issuer of it"))?;
    let key = keys::private_key(pem.key.as_bytes()).map_err(|_| wrong("its key is none"))?;
    if key_type(&key) != Some(wanted.key) {
        return Err(wrong("its key is of another type"));
    }
    let verified = verify(pem.fullchain.as_bytes(), &key, &site.names_of(variant), now(), None);
    let Verified { chain, validity, skew, issuer: ca, serial, .. } =
        verified.map_err(|unfit| match unfit {
            Unfit::Wrong(why) => Bad::Wrong(why),
            Unfit::Early { from, .. } => Bad::Wrong(format!("it is not valid before {from}")),
        })?;
    if validity.not_after <= now() {
        return Err(Bad::Wrong(format!("it has expired at {}", validity.not_after)));
    }
    let mut material = material(&key, &chain).map_err(|_| wrong("it cannot be served"))?;
    material.pairs.iter_mut().for_each(|pair| pair.source = pem.source(true));
    // The other host's clock is its own.
    renewal.skew = skew.applied;
    let issued = Issued { pem, material, validity, skew: skew.applied, issuer: ca, serial };
    Ok(Checked { host, issued, issuer, renewal })
}
