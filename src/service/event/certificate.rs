//! The life of a certificate: loaded, ordered, issued, planned, failed.

use super::certificates::OrderParties;
use super::next::{Ca, NextAttempt, Sooner};
use super::reference::{END, RENEWAL, SOON, rows};
use super::{Event, listed};
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
    /// An attempt to obtain it begins.
    Begun {
        /// The CA that is asked.
        ca: Ca,
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
            Self::Begun { .. } => Level::Debug,
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
            Self::Begun { ca } => write!(f, ": attempt with {ca} begins"),
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
            Self::RenewalInfoFailed { why } => {
                write!(f, ": its renewal stays as it is planned, the CA is asked again: {why}")
            }
            Self::NothingToRevoke => {
                write!(f, " has expired or is gone, there is nothing to revoke")
            }
        }
    }
}

rows! {
    CertificateEvent, |event| Event::Certificate("example.com".into(), event);
    "certificate-loaded": Loaded {
        path: "/var/lib/acme_dns".into(),
        until: END,
        renewal: RENEWAL,
        reason: Reason::Suggested,
        is_news: true,
    } => "it was in the state path at the start; at level `info` if the configuration is as before", nothing;
    "certificate-ordered": Ordered {
        parties: OrderParties {
            issuer: "letsencrypt".into(),
            directory: "https://ca.example/dir".into(),
            is_staging: false,
            provider: "cloudflare".into(),
        },
        names: vec!["example.com".into(), "*.example.com".into()],
    } => "it is missing or due: an order begins", may "look at CA and provider: are they those that you mean?";
    "certificate-attempt": Begun { ca: Ca::Production("letsencrypt".into()) }
        => "an attempt begins: [all its lines](operations.md#following-one-order) have its mark", nothing;
    "certificate-issued": Issued {
        issuer: "R3".into(),
        took: Duration::from_secs(12),
        until: END,
        renewal: RENEWAL,
        serial: "04a1".into(),
        names: vec!["example.com".into(), "*.example.com".into()],
    } => "the certificate is there, and is served", nothing;
    "certificate-probed": Probed
        => "after a refusal, the CA's staging environment was asked first, so that the CA's limits are not used \
            up", nothing;
    "certificate-failed": Failed {
        from: None,
        attempts: 2,
        next: NextAttempt { at: SOON, with: None, sooner: Sooner::Reload },
        why: "no connection to the CA".into(),
        level: Level::Warn,
    } => "an attempt has failed and is made again; the current certificate is served meanwhile",
        may "read the reason: [When something fails](operations.md#when-something-fails)";
    "certificate-needs-you": Failed {
        from: None,
        attempts: 5,
        next: NextAttempt { at: SOON, with: None, sooner: Sooner::Request("example.com".into()) },
        why: "the DNS provider refuses the token".into(),
        level: Level::Error,
    } => "an attempt has failed where no good certificate is served, little of its lifetime is left, or a refusal \
        has lasted for an hour",
        must "correct what the reason names, then reload or request it: [When something \
            fails](operations.md#when-something-fails)";
    "certificate-waits": WaitsAsWell { why: "no connection to the CA".into(), level: Level::Debug }
        => "it waits for what another line tells", nothing;
    "certificate-outdated": Outdated { difference: "lacks the name \"www.example.com\"".into() }
        => "it does not match the configuration; it is served until the new one is there", nothing;
    "certificate-planned": Planned { at: RENEWAL, reason: Reason::Suggested, explanation: None }
        => "its renewal has another time than before; at level `notice` if the CA gives a reason", nothing;
    "certificate-renewal-info-failed": RenewalInfoFailed { why: "the CA did not answer".into() }
        => "the CA was asked when to renew it; the time that is planned stands, and it is asked again", nothing;
    "certificate-nothing-to-revoke": NothingToRevoke => "its revocation was requested, and is not necessary", nothing;
}
