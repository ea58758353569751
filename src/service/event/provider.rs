//! DNS providers and their limits.

use super::Event;
use super::reference::rows;
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
    /// It has done something.
    Done {
        /// Name of the provider.
        provider: String,
        /// The work, such as `creating TXT ...`.
        work: String,
        /// Time that it took.
        took: Duration,
    },
    /// It has not done something.
    NotDone {
        /// Name of the provider.
        provider: String,
        /// The work.
        work: String,
        /// Time until that was clear.
        took: Duration,
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
            Self::Done { .. } | Self::NotDone { .. } => Level::Debug,
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
            Self::Done { provider, work, took } => {
                write!(f, "provider \"{provider}\": {work} took {} ms", took.as_millis())
            }
            Self::NotDone { provider, work, took, why } => write!(
                f,
                "provider \"{provider}\": {work} failed after {} ms: {why}",
                took.as_millis()
            ),
            Self::Output { provider, line } => {
                write!(f, "program of provider \"{provider}\" says: {line}")
            }
            Self::Retrying { why } => write!(f, "{why}; retrying"),
        }
    }
}

rows! {
    ProviderEvent, Event::Provider;
    "provider-limited": Limited { pause: Duration::from_secs(40) }
        => "Cloudflare accepts 1200 requests in five minutes; orders wait for their turn", nothing;
    "provider-share-used": ShareUsed { certificate: "example.com".into(), pause: Duration::from_secs(40) }
        => "the other certificates go on", may "look at its failures: it makes far more requests than others";
    "provider-retrying": Retrying { why: "listing the zones failed: 503 Service Unavailable".into() }
        => "a request is sent again", nothing;
    "provider-done": Done {
        provider: "cloudflare".into(),
        work: "creating TXT record \"_acme-challenge.example.com\" in zone \"example.com\"".into(),
        took: Duration::from_millis(310),
    } => "the provider has done something, with all its requests", nothing;
    "provider-not-done": NotDone {
        provider: "cloudflare".into(),
        work: "finding the zone of \"_acme-challenge.example.com\"".into(),
        took: Duration::from_millis(310),
        why: "there is no such zone".into(),
    } => "it has failed; what follows from it is told by another line", nothing;
    "provider-output": Output { provider: "own".into(), line: "zone reloaded".into() }
        => "its program has printed this", nothing;
    "provider-overwritten": Overwritten { provider: "duckdns".into(), name: "_acme-challenge.example.com".into() }
        => "hosts that share a name have written to it at the same moment, or two clients use a record that has one \
            value", may "if it goes on: prove names with `dns-account-01`, whose names are not shared, or use one client";
}
