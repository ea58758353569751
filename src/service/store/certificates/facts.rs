//! Facts about certificates, without their keys.

use crate::stamp::FileStamp;
use crate::store::layout::{certificates_path, full_chain_path};
use crate::x509::glance::{Glance, glance, glance_at_leaf};
use acme_dns_core::id::VariantId;
use acme_dns_core::material::{Pair, Source};
use acme_dns_core::schedule::Renewal;
use acme_dns_core::stock::Traits;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Origin of a certificate, as `issuer.json` has it.
#[derive(Deserialize, Serialize)]
pub(super) struct IssuerFile {
    pub(super) directory: String,
    pub(super) profile: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ordered: Option<Vec<String>>,
    #[serde(default, rename = "imported", skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_imported: bool,
}

impl IssuerFile {
    /// Gives the origin of a pair on disk.
    pub(super) fn into_source(self) -> Source {
        let Self { directory, profile, ordered, is_imported } = self;
        Source { directory, profile, ordered, is_imported, is_kept: true }
    }
}

/// Renewal state of a certificate as the pack has it.
#[derive(Clone, Copy, Debug)]
pub enum PackedRenewal {
    /// None was saved.
    Absent,
    /// The state, with what the stamp of its file is compared by.
    Saved([u64; 4], Renewal),
}

/// Facts about a certificate on disk, without its key.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    /// The file that this was read from.
    pub stamp: FileStamp,
    /// The properties that decide what it is good for. The CA is not known of one that was put there by hand.
    pub traits: Traits,
    /// The names that were ordered, sorted, where the CA has certified others than exactly these.
    pub ordered: Option<Vec<String>>,
    /// Its renewal state, where all this is from the pack.
    pub renewal: Option<PackedRenewal>,
}

/// Facts about the certificates that were published, as they lay on disk then. They are shared and not copied: who has
/// inherited them from another process reads them where they are.
pub type PublishedFacts = [PublishedFact];

/// Facts about one of them.
pub type PublishedFact = (VariantId, Arc<CertificateFacts>);

impl CertificateFacts {
    /// Gives the facts about a pair that is served, whether or not it is on disk. `None`: it is an unusual one.
    pub(crate) fn of(pair: &Pair) -> Option<Self> {
        let glance = glance(pair.chain.iter().map(Vec::as_slice), &pair.key)?;
        let issuer = pair.source.as_ref().map(|source| IssuerFile {
            directory: source.directory.clone(),
            profile: source.profile.clone(),
            ordered: source.ordered.clone(),
            is_imported: source.is_imported,
        });
        Some(facts(FileStamp::default(), glance, issuer))
    }

    /// Gives the origin of a pair on disk.
    pub(super) fn source(&self) -> Option<Source> {
        let Traits { directory, profile, is_imported, .. } = &self.traits;
        let (directory, profile) = (directory.clone()?, profile.clone());
        let is_imported = *is_imported;
        let ordered = self.ordered.clone();
        Some(Source { directory, profile, ordered, is_imported, is_kept: true })
    }
}

/// Stamp of the certificate that is on disk now; `None` if there is none.
#[must_use]
pub fn certificate_stamp(state_path: &Path, name: &str) -> Option<FileStamp> {
    FileStamp::of(&full_chain_path(state_path, name)).ok()
}

/// Stamp of the directory of all certificates, which changes whenever one is replaced; `None` if there is no such
/// directory, or it cannot be seen.
#[must_use]
pub fn certificates_stamp(state_path: &Path) -> Option<FileStamp> {
    FileStamp::of(&certificates_path(state_path)).ok()
}

/// Looks at a certificate in shared memory. `None`: it is unusual.
#[must_use]
pub fn traits_of(pair: &Pair) -> Option<Traits> {
    traits_of_leaf(pair.chain.first()?, pair.source.as_ref())
}

/// Looks at a certificate in DER.
pub(super) fn traits_of_leaf(leaf: &[u8], source: Option<&Source>) -> Option<Traits> {
    let Glance { key, validity, names, is_self_signed } = glance_at_leaf(leaf)?;
    let directory = source.map(|source| source.directory.clone());
    let profile = source.and_then(|source| source.profile.clone());
    let is_imported = source.is_some_and(|source| source.is_imported);
    Some(Traits { names, validity, key, directory, profile, is_imported, is_self_signed })
}

pub(super) fn facts(
    stamp: FileStamp,
    glance: Glance,
    issuer: Option<IssuerFile>,
) -> CertificateFacts {
    let Glance { key, validity, names, is_self_signed } = glance;
    // What was put there by hand is another client's too.
    let is_imported = issuer.as_ref().is_none_or(|issuer| issuer.is_imported);
    let (directory, profile, ordered) =
        issuer.map_or((None, None, None), |i| (Some(i.directory), i.profile, i.ordered));
    let traits = Traits { names, validity, key, directory, profile, is_imported, is_self_signed };
    CertificateFacts { stamp, traits, ordered, renewal: None }
}
