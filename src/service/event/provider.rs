//! DNS providers and their limits.

use acme_dns_core::level::Level;
use std::fmt;
use std::time::Duration;

/// Event of the DNS providers' APIs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ProviderEvent {
    /// The limit of requests is reached.
    Limited {
        /// Pause before the next request.
        pause: Duration,
    },
    /// A certificate has used its share of the limit.
    ShareUsed {
        /// Name of the certificate.
        certificate: String,
        /// Pause before its next request.
        pause: Duration,
    },
    /// A request has failed and is sent again.
    Retrying {
        /// The error.
        why: String,
    },
    /// A program has printed a line.
    Output {
        /// Name of the provider.
        provider: String,
        /// The line, without secrets.
        line: String,
    },
    /// Somebody else has overwritten records that were just created.
    Overwritten {
        /// Name of the provider.
        provider: String,
        /// Name of the records.
        name: String,
    },
}

impl ProviderEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Limited { .. }
            | Self::ShareUsed { .. }
            | Self::Retrying { .. }
            | Self::Overwritten { .. } => Level::Notice,
            Self::Output { .. } => Level::Info,
        }
    }
}

impl fmt::Display for ProviderEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limited { pause } => write!(
                f,
                "DNS provider rate limit reached: next request in {} s, orders are delayed",
                pause.as_secs()
            ),
            Self::ShareUsed { certificate, pause } => write!(
                f,
                "certificate \"{certificate}\" has used its share of the DNS provider's rate limit: its next \
                 request in {} s",
                pause.as_secs()
            ),
            Self::Overwritten { provider, name } => write!(
                f,
                "provider \"{provider}\": another client has overwritten TXT record \"{name}\"; writing it again"
            ),
            Self::Output { provider, line } => {
                write!(f, "program of provider \"{provider}\" says: {line}")
            }
            Self::Retrying { why } => write!(f, "{why}; retrying"),
        }
    }
}
