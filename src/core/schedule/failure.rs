//! Reasons of failed attempts, as far as they matter for the next one.

use super::pace::Ladder;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Reason of a failed attempt, as far as it matters for the next one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Condition for the next one to succeed.
    pub kind: FailureKind,
    /// Time for which the CA or the DNS provider wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Part that has failed: whatever needs the same waits, too.
    pub scope: Scope,
    /// Set if the attempt has placed an order.
    pub ordered: bool,
    /// Set if nothing can come of that order, or of the one that it resumed, any more.
    pub is_lost: bool,
    /// Set if the DNS provider has done its part.
    pub published: bool,
}

/// Condition for the next attempt to succeed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureKind {
    /// Time.
    Temporary,
    /// Other records: the CA has looked for them and was not satisfied.
    Validation,
    /// A person.
    Permanent,
    /// A record that a person adds: it is looked for often, which costs nothing.
    Waiting,
}

/// Extent of a failure, and of the pause after it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This certificate from this CA.
    Entry,
    /// This certificate, whichever the CA.
    Certificate,
    /// Everything that the CA is asked for.
    Issuer,
    /// Everything that the DNS provider is asked for with these credentials.
    Provider,
    /// Everything in this zone of the DNS provider.
    Zone(String),
    /// The same: our own records leave no room for more.
    Room(String),
}

impl Failure {
    pub(super) fn ladder(&self) -> Ladder {
        match self.kind {
            _ if matches!(self.scope, Scope::Room(_)) => Ladder::Full,
            FailureKind::Validation => Ladder::Costly,
            _ if self.is_lost => Ladder::Costly,
            FailureKind::Permanent => Ladder::Refused,
            FailureKind::Waiting => Ladder::Waiting,
            FailureKind::Temporary => Ladder::Temporary,
        }
    }
}
