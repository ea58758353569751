//! The life of a certificate: loaded, ordered, issued, planned, failed.

use super::certificates::OrderParties;
use super::listed;
use super::next::{Ca, NextAttempt};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::Reason;
use acme_dns_core::time::UnixTime;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Event in the life of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateEvent {
    /// It is on disk when the service starts.
    Loaded {
        /// The state path.
        path: PathBuf,
        /// End of its validity.
        until: UnixTime,
        /// Time of its renewal.
        renewal: UnixTime,
        /// Reason for that time.
        reason: Reason,
        /// Set if the configuration has changed, so that somebody wants to know.
        is_news: bool,
    },
    /// An order begins.
    Ordered {
        /// The two that are asked.
        parties: OrderParties,
        /// The names to be certified.
        names: Vec<String>,
    },
    /// The CA has issued it.
    Issued {
        /// Common name of the issuing certificate.
        issuer: String,
        /// Duration of the attempt.
        took: Duration,
        /// End of its validity.
        until: UnixTime,
        /// Time of its renewal.
        renewal: UnixTime,
        /// Its serial number in hexadecimal digits.
        serial: String,
        /// The names of the order.
        names: Vec<String>,
    },
    /// The CA's staging environment would issue it, after the CA itself had refused.
    Probed,
    /// It was not obtained.
    Failed {
        /// The CA that was asked, where there are several.
        from: Option<Ca>,
        /// Number of attempts so far.
        attempts: u32,
        /// The next one.
        next: NextAttempt,
        /// The error.
        why: String,
        /// Severity, by the kind of the failure and its number.
        level: Level,
    },
    /// It waits for the same reason as others, of which one line was told.
    WaitsAsWell {
        /// The error.
        why: String,
        /// Severity, by the kind of the failure and its number.
        level: Level,
    },
    /// The certificate that is held differs from the configuration.
    Outdated {
        /// The difference, as a clause about the certificate.
        difference: String,
    },
    /// Its renewal has another time than before.
    Planned {
        /// The new time.
        at: UnixTime,
        /// Reason for that time.
        reason: Reason,
        /// The CA's page about a change that it has made.
        explanation: Option<String>,
    },
    /// The CA was asked when to renew it and did not say.
    RenewalInfoFailed {
        /// The error.
        why: String,
    },
    /// It was to be revoked and is not valid any more.
    NothingToRevoke,
}

impl CertificateEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Failed { level, .. } | Self::WaitsAsWell { level, .. } => *level,
            // The CA changed something: that is shown by default.
            Self::Planned { explanation: Some(_), .. } => Level::Notice,
            Self::Loaded { is_news: false, .. }
            | Self::Planned { .. }
            | Self::RenewalInfoFailed { .. } => Level::Info,
            Self::Loaded { .. }
            | Self::Ordered { .. }
            | Self::Issued { .. }
            | Self::Probed
            | Self::Outdated { .. }
            | Self::NothingToRevoke => Level::Notice,
        }
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        write!(f, "certificate \"{name}\"")?;
        match self {
            Self::Loaded { path, until, renewal, reason, .. } => write!(
                f,
                " from \"{}\": valid until {until}, renewal at {renewal}, {reason}",
                path.display()
            ),
            Self::Ordered { parties, names } => {
                write!(f, " is ordered now {parties}, for {}", listed(names))
            }
            Self::Issued { issuer, took, until, renewal, serial, names } => write!(
                f,
                " issued by \"{issuer}\" in {:.1} s, valid until {until}, renewal at {renewal}, serial \
                 {serial}, for {}",
                took.as_secs_f64(),
                listed(names)
            ),
            Self::Probed => write!(
                f,
                ": validation succeeded in the CA's staging environment, ordering from production"
            ),
            Self::Failed { from, attempts, next, why, .. } => {
                write!(f, " was not obtained")?;
                match from {
                    None => {}
                    Some(ca @ Ca::Production(_)) => write!(f, " from {ca}")?,
                    Some(ca @ Ca::Staging(_)) => write!(f, " in a test with {ca}")?,
                }
                // The plan stands before the reason, as nginx cuts long lines.
                write!(f, ", attempt {attempts}, {next}: {why}")
            }
            Self::WaitsAsWell { why, .. } => write!(f, " waits for the same reason: {why}"),
            Self::Outdated { difference } => {
                write!(f, " {difference}, a new one will be obtained")
            }
            Self::Planned { at, reason, explanation } => {
                write!(f, ": renewal at {at}, {reason}")?;
                explanation.iter().try_for_each(|url| write!(f, ", see {url}"))
            }
            Self::RenewalInfoFailed { why } => write!(f, ": {why}"),
            Self::NothingToRevoke => {
                write!(f, " has expired or is gone, there is nothing to revoke")
            }
        }
    }
}
