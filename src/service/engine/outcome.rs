//! The reports of tasks to the loop.

use super::fleet::news::{FleetNews, Wait};
use super::saving::Saved;
use crate::acme::{AcmeError, Issued, ObtainError};
use crate::mark::Mark;
use crate::ocsp::{GoodAnswer, OcspError};
use acme_dns_core::id::{IssuerId, VariantId};
use acme_dns_core::schedule::{Environment, Failure, Renewal, RenewalInfoOutcome};
use std::time::Duration;
use tokio::sync::mpsc;

/// Sender of the tasks' reports.
pub(super) type Report = mpsc::UnboundedSender<Outcome>;

/// Report of a task that has ended.
pub(super) enum Outcome {
    /// An attempt has ended, with the mark of its lines.
    Marked(Mark, Box<Self>),
    /// A certificate was issued, and saved as far as the disk took it.
    Issued(Box<Issuance>),
    /// The attempt was not made, or given up: another host has the turn.
    Postponed { variant: VariantId, wait: Wait },
    /// News of what is shared with other hosts.
    Fleet(FleetNews),
    /// The staging environment would issue it.
    Probed { variant: VariantId },
    /// It was not obtained.
    Failed {
        variant: VariantId,
        issuer: IssuerId,
        environment: Environment,
        failure: Failure,
        error: ObtainError,
    },
    /// The disk has taken a certificate that it had refused.
    Saved { variant: VariantId },
    /// The CA was asked when to renew the certificate with this leaf (DER).
    RenewalInfo { variant: VariantId, leaf: Option<Vec<u8>>, answer: RenewalTiming },
    /// The responder was asked about the certificate with this leaf (DER).
    Stapling {
        variant: VariantId,
        leaf: Vec<u8>,
        host: String,
        answer: Result<GoodAnswer, OcspError>,
    },
    /// A person's request was carried out, or not.
    Action { name: String, result: Result<(), Undone> },
}

/// Certificate that was issued to a variant.
pub(super) struct Issuance {
    pub(super) variant: VariantId,
    pub(super) issuer: IssuerId,
    pub(super) issued: Issued,
    pub(super) took: Duration,
    pub(super) saved: Saved,
    pub(super) origin: IssuanceOrigin,
}

/// Origin of a certificate that is committed.
pub(super) enum IssuanceOrigin {
    /// A CA has issued it to this host.
    Ca,
    /// Another host has obtained it.
    Fleet { host: String, renewal: Renewal, is_one_of_many: bool },
}

/// Reason why a person's request was not carried out.
pub(super) struct Undone {
    pub(super) why: String,
    /// Set if it never will be: the CA does not do this.
    pub(super) is_final: bool,
}

impl Undone {
    /// Adds another reason. As long as one of them may pass, it is tried again.
    pub(super) fn add(&mut self, other: Self) {
        let separator = if self.why.is_empty() { "" } else { "; " };
        self.why.push_str(&format!("{separator}{}", other.why));
        self.is_final &= other.is_final;
    }
}

impl From<AcmeError> for Undone {
    fn from(error: AcmeError) -> Self {
        Self { is_final: error.is_final(), why: error.to_string() }
    }
}

/// Answer of a CA about a certificate's renewal (RFC 9773).
pub(super) struct RenewalTiming {
    pub(super) info: RenewalInfoOutcome,
    pub(super) explanation: Option<String>,
    pub(super) error: Option<String>,
}
