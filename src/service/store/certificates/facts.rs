//! Facts about certificates, without their keys.

use crate::stamp::FileStamp;
use crate::store::layout::{certificates_path, full_chain_path};
use crate::x509::glance::{Glance, glance, glance_at_leaf};
use acme_dns_core::key::KeyType;
use acme_dns_core::material::{Pair, Source};
use acme_dns_core::schedule::{Renewal, Validity};
use acme_dns_core::stock::Traits;
use serde::{Deserialize, Serialize};
use std::path::Path;

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
    /// Its dates; it may have expired.
    pub validity: Validity,
    /// The DNS names that it holds, sorted.
    pub names: Vec<String>,
    /// The type of its key.
    pub key: KeyType,
    /// The URL of the directory of the CA that issued it; not known of one that was put there by
    /// hand.
    pub directory: Option<String>,
    /// The profile that was wanted.
    pub profile: Option<String>,
    /// The names that were ordered, sorted, where the CA has certified others than exactly these.
    pub ordered: Option<Vec<String>>,
    /// Set if it is from another client, or was put there by hand: it is wanted as it is, until it
    /// is renewed.
    pub is_imported: bool,
    /// Set if it is its own issuer.
    pub is_self_signed: bool,
    /// Its renewal state, where all this is from the pack.
    pub renewal: Option<PackedRenewal>,
}

impl CertificateFacts {
    /// The properties that decide what it is good for.
    #[must_use]
    pub fn traits(&self) -> Traits {
        Traits {
            names: self.names.clone(),
            validity: self.validity,
            key: self.key,
            directory: self.directory.clone(),
            profile: self.profile.clone(),
            is_imported: self.is_imported,
            is_self_signed: self.is_self_signed,
        }
    }

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
        let directory = self.directory.clone()?;
        let (profile, is_imported) = (self.profile.clone(), self.is_imported);
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
    CertificateFacts {
        stamp,
        validity,
        names,
        key,
        directory,
        profile,
        ordered,
        is_imported,
        is_self_signed,
        renewal: None,
    }
}
