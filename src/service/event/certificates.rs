//! Several certificates at once: a few get a line each, many share one.

use super::next::{Ca, NextAttempt, Sooner};
use super::reference::{END, RENEWAL, SOON, rows};
use super::{Event, listed, quoted};
use acme_dns_core::level::Level;
use acme_dns_core::time::UnixTime;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Event of several certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificatesEvent {
    /// They are on disk when the service starts.
    Loaded {
        /// Number of them.
        number: usize,
        /// The state path.
        path: PathBuf,
        /// Name and end of the one that expires first.
        first_to_expire: (String, UnixTime),
        /// Name and time of the first renewal.
        next_renewal: (String, UnixTime),
        /// Set if the configuration has changed, so that somebody wants to know.
        is_news: bool,
    },
    /// Orders for them begin.
    Ordered {
        /// The two that are asked.
        parties: OrderParties,
        /// Names of the certificates.
        names: Vec<String>,
    },
    /// Orders begin with so many more pairs of CA and provider.
    OrderedElsewhere {
        /// Number of pairs.
        pairs: usize,
    },
    /// All of them wait for one party.
    Failed {
        /// The party that they wait for.
        culprit: Culprit,
        /// Number of certificates that wait.
        waiting: usize,
        /// Number of attempts so far.
        attempts: u32,
        /// The next one.
        next: NextAttempt,
        /// The error.
        why: String,
        /// Severity, by the kind of the failure and its number.
        level: Level,
    },
    /// So many were not obtained and had no line at the level of their failure.
    Untold {
        /// Number of them.
        number: usize,
        /// Span of time in which they failed.
        span: Duration,
        /// Severity of the worst of them.
        level: Level,
    },
    /// They go on waiting although a person has loaded the configuration anew.
    Standing {
        /// Number of them.
        number: usize,
        /// Name of the first to be tried.
        first: String,
        /// Time of that attempt.
        until: UnixTime,
    },
    /// Their files cannot be read, though they may be good.
    Unreadable {
        /// Names of the certificates.
        names: Vec<String>,
        /// The error of the first.
        why: String,
    },
    /// They take over from certificates of other names.
    Succeed {
        /// Number of them.
        number: usize,
    },
    /// The other certificates on disk cannot be looked through.
    OthersUnknown {
        /// The error.
        why: String,
    },
    /// Files of another client cannot be imported.
    NotImported {
        /// The error.
        why: String,
    },
    /// The process that holds the state path does not renew them.
    Neglected {
        /// That process.
        holder: String,
        /// The state path.
        path: PathBuf,
        /// Names of the certificates.
        names: Vec<String>,
    },
}

impl CertificatesEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Failed { level, .. } | Self::Untold { level, .. } => *level,
            Self::Unreadable { .. } | Self::Neglected { .. } => Level::Error,
            Self::Standing { .. } | Self::OthersUnknown { .. } | Self::NotImported { .. } => {
                Level::Warn
            }
            Self::Loaded { is_news: false, .. } => Level::Info,
            Self::Loaded { .. }
            | Self::Ordered { .. }
            | Self::OrderedElsewhere { .. }
            | Self::Succeed { .. } => Level::Notice,
        }
    }
}

impl fmt::Display for CertificatesEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { number, path, first_to_expire, next_renewal, .. } => {
                let ((first, until), (next, renewal)) = (first_to_expire, next_renewal);
                write!(
                    f,
                    "{number} certificates from \"{}\": \"{first}\" is the first to expire, at {until}; next \
                     renewal at {renewal}, of \"{next}\"",
                    path.display()
                )
            }
            Self::Ordered { parties, names } => {
                let number = names.len();
                write!(f, "{number} certificates are ordered now {parties}: {}", listed(names))
            }
            Self::OrderedElsewhere { pairs } => write!(
                f,
                "more certificates are ordered with {pairs} other pairs of CA and provider"
            ),
            Self::Failed { culprit, waiting, attempts, next, why, .. } => {
                let culprit = culprit.to_string();
                // A culprit is not named twice.
                let why = why.strip_prefix(&format!("{culprit} ")).unwrap_or(why);
                write!(
                    f,
                    "{culprit}: {waiting} certificates wait, attempt {attempts}, {next}: {why}"
                )
            }
            Self::Untold { number, span, .. } => write!(
                f,
                "{number} more certificates were not obtained within {} s and will be retried: the error \
                 log has each of them at level \"info\"",
                span.as_secs()
            ),
            Self::Standing { number, first, until } => {
                match number {
                    1 => write!(f, "certificate \"{first}\" waits until {until}")?,
                    more => write!(f, "{more} certificates wait, \"{first}\" until {until}")?,
                }
                write!(
                    f,
                    ": too many attempts have failed and the configuration is unchanged; \
                     \"actions/renew-NAME\" tries at once"
                )
            }
            Self::Unreadable { names, why } => write!(
                f,
                "{} certificates on disk cannot be read, no replacements are ordered, of {}: {why}",
                names.len(),
                listed(names)
            ),
            Self::Succeed { number } => {
                write!(f, "{number} certificates take over from others, under new names")
            }
            Self::OthersUnknown { why } => write!(
                f,
                "certificates under other names are not looked through, what is missing is ordered: {why}"
            ),
            Self::NotImported { why } => {
                write!(f, "certificates of another client cannot be imported: {why}")
            }
            Self::Neglected { holder, path, names } => write!(
                f,
                "{holder}, which holds state path \"{}\", does not renew certificates that are missing or \
                 due here: {}; end it if it hangs, or configure them there too",
                path.display(),
                quoted(names)
            ),
        }
    }
}

/// CA and DNS provider of an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrderParties {
    /// Name of the issuer in the configuration.
    pub issuer: String,
    /// URL of its directory.
    pub directory: String,
    /// Set if browsers do not trust what it issues.
    pub is_staging: bool,
    /// Name of the provider in the configuration; empty where there is none.
    pub provider: String,
}

impl fmt::Display for OrderParties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, directory, is_staging, provider } = self;
        let staging = match is_staging {
            true => ", a STAGING CA whose certificates browsers do not trust",
            false => "",
        };
        write!(f, "from \"{issuer}\" ({directory}{staging}) ")?;
        match provider.is_empty() {
            true => f.write_str("without a provider"),
            false => write!(f, "by provider \"{provider}\""),
        }
    }
}

/// The party that certificates wait for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Culprit {
    /// A CA.
    Ca(Ca),
    /// A DNS provider, by its name.
    Provider(String),
    /// A DNS zone of a provider, both by their names.
    Zone(String, String),
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ca(Ca::Production(name)) => write!(f, "issuer \"{name}\""),
            Self::Ca(Ca::Staging(name)) => write!(f, "staging of issuer \"{name}\""),
            Self::Provider(name) => write!(f, "provider \"{name}\""),
            Self::Zone(zone, provider) => write!(f, "zone \"{zone}\" of provider \"{provider}\""),
        }
    }
}

rows! {
    CertificatesEvent, Event::Certificates;
    "certificates-loaded": Loaded {
        number: 12,
        path: "/var/lib/acme_dns".into(),
        first_to_expire: ("example.com".into(), END),
        next_renewal: ("example.com".into(), RENEWAL),
        is_news: true,
    } => "they were in the state path at the start; at level `info` if the configuration is as before", nothing;
    "certificates-ordered": Ordered {
        parties: OrderParties {
            issuer: "letsencrypt".into(),
            directory: "https://ca.example/dir".into(),
            is_staging: true,
            provider: "cloudflare".into(),
        },
        names: vec!["example.com".into(), "example.org".into()],
    } => "they are missing or due: orders begin", may "look at CA and provider: are they those that you mean?";
    "certificates-ordered-elsewhere": OrderedElsewhere { pairs: 3 }
        => "the same, for pairs of CA and provider that had no line", nothing;
    "certificates-wait": Failed {
        culprit: Culprit::Provider("cloudflare".into()),
        waiting: 40,
        attempts: 2,
        next: NextAttempt { at: SOON, with: None, sooner: Sooner::Reload },
        why: "no connection to its API".into(),
        level: Level::Warn,
    } => "what the line names has failed for all of them; one attempt finds out whether it works again, and the \
        others follow",
        may "read the reason: [When something fails](operations.md#when-something-fails)";
    "certificates-need-you": Failed {
        culprit: Culprit::Provider("cloudflare".into()),
        waiting: 40,
        attempts: 5,
        next: NextAttempt { at: SOON, with: None, sooner: Sooner::Reload },
        why: "it refuses the token".into(),
        level: Level::Error,
    } => "certificates wait, and one of them is missing or running out of time, or a refusal has lasted for an hour",
        must "correct what the reason names, and reload";
    "certificates-untold": Untold { number: 30, span: Duration::from_secs(60), level: Level::Warn }
        => "at most ten failures a minute have a line of their own; at level `error` if one of these needs a person",
        may "look at the lines above it, which stand for them";
    "certificates-standing": Standing { number: 3, first: "example.com".into(), until: SOON }
        => "a reload retries what has failed three times an hour only",
        may "see the earlier failures; then `actions/renew-NAME`";
    "certificates-unreadable": Unreadable {
        names: vec!["example.com".into(), "example.org".into()],
        why: "cannot open \"certs/example.com\": 13: Permission denied".into(),
    } => "they may be good, so nothing is ordered; they are served as soon as they can be read",
        must "give them to the user that the line names: `chown -R acme_dns: PATH`";
    "certificates-succeed": Succeed { number: 12 }
        => "the configuration has new names for certificates that are there; nothing is ordered", nothing;
    "certificates-others-unknown": OthersUnknown { why: "cannot read \"certs\": 5: Input/output error".into() }
        => "a certificate that has got another name is not found, and is ordered", may "look at the disk";
    "certificates-not-imported": NotImported {
        why: "cannot read \"/etc/letsencrypt\": 13: Permission denied".into(),
    } => "files of another client are not imported; what is missing is ordered",
        may "correct `acme_dns_import` before the next start";
    "certificates-neglected": Neglected {
        holder: "process 4711".into(),
        path: "/var/lib/acme_dns".into(),
        names: vec!["example.com".into()],
    } => "two instances use one state path, and the one that renews has another configuration, or hangs",
        must "[end what holds it](operations.md#when-another-process-holds-the-lock)";
}
