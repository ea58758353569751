//! Records that are shared, as this host has heard of them last: without keys, so that they can be kept of all
//! certificates.

use crate::share::{Expected, Revision};
use acme_dns_core::fleet::Held;
use acme_dns_core::id::{IssuerId, VariantId};
use acme_dns_core::schedule::Renewal;
use acme_dns_core::time::UnixTime;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// Records of all certificates of this configuration.
#[derive(Default)]
pub(super) struct Mirror {
    pub(super) certificates: HashMap<VariantId, SeenCertificate>,
    pub(super) attempts: HashMap<VariantId, SeenAttempt>,
    /// Issuers whose shared account is the one that this host uses.
    pub(super) accounts: HashSet<IssuerId>,
}

/// A shared certificate.
pub(super) struct SeenCertificate {
    pub(super) revision: Revision,
    pub(super) content: SeenContent,
}

/// Use of a shared certificate.
pub(super) enum SeenContent {
    /// It is the one that is wanted.
    Good { leaf: Vec<u8>, not_after: UnixTime, renewal: Renewal },
    /// It was refused, and is replaced.
    Refused,
    /// It was refused, and stays: somebody else can read it.
    LeftAlone,
}

/// Attempts of another host, or of this one.
pub(super) struct SeenAttempt {
    pub(super) has_records: bool,
    pub(super) has_order: bool,
    /// Time at which that was heard.
    pub(super) since: Instant,
}

impl SeenCertificate {
    pub(super) fn held(&self) -> Option<Held<'_>> {
        match &self.content {
            SeenContent::Good { leaf, not_after, renewal } => {
                Some(Held { number: renewal.number, not_after: *not_after, leaf })
            }
            SeenContent::Refused | SeenContent::LeftAlone => None,
        }
    }
}

impl Mirror {
    /// Gives the state that a put of a certificate may replace; `None`: it must stay.
    pub(super) fn replaceable(&self, variant: VariantId) -> Option<Expected> {
        match self.certificates.get(&variant) {
            None => Some(Expected::Absent),
            Some(SeenCertificate { content: SeenContent::LeftAlone, .. }) => None,
            Some(seen) => Some(Expected::At(seen.revision)),
        }
    }

    /// Gives the number of the certificate that is shared.
    pub(super) fn number(&self, variant: VariantId) -> u64 {
        let held = self.certificates.get(&variant).and_then(SeenCertificate::held);
        held.map_or(0, |held| held.number)
    }
}
