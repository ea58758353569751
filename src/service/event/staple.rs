//! The OCSP response that is stapled to a certificate.

use super::Event;
use super::reference::{END, RENEWAL, SOON, rows};
use acme_dns_core::level::Level;
use acme_dns_core::time::UnixTime;
use std::fmt;
use std::path::PathBuf;

/// Event of the OCSP response of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StapleEvent {
    /// The certificate names no responder.
    NoResponder,
    /// The issuer's certificate is missing, without which nobody can be asked.
    NoIssuer {
        /// The error.
        why: String,
        /// The file to append it to.
        chain: PathBuf,
    },
    /// A response is stapled.
    Stapled {
        /// Host name of the responder.
        host: String,
        /// End of the response's validity.
        until: UnixTime,
        /// Time of the next question.
        next: UnixTime,
        /// Set if nothing had failed before.
        is_usual: bool,
    },
    /// The responder has not given one.
    Failed {
        /// Host name of the responder.
        host: String,
        /// Number of failures in a row.
        attempts: u32,
        /// The error.
        why: String,
        /// End of the response that is stapled meanwhile.
        stapled_until: Option<UnixTime>,
        /// Time of the next question.
        next: UnixTime,
        /// Severity, by the number of failures.
        level: Level,
    },
    /// The response has expired.
    Expired,
    /// The responder says that the certificate is revoked.
    Revoked {
        /// Host name of the responder.
        host: String,
        /// The error.
        why: String,
        /// Time of the next question.
        next: UnixTime,
        /// Set if it was told before.
        is_known: bool,
    },
}

impl StapleEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Failed { level, .. } => *level,
            Self::Revoked { is_known: false, .. } => Level::Error,
            Self::NoIssuer { .. } | Self::Expired => Level::Warn,
            Self::Stapled { is_usual: false, .. } => Level::Info,
            Self::NoResponder | Self::Stapled { .. } | Self::Revoked { .. } => Level::Debug,
        }
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        write!(f, "certificate \"{name}\"")?;
        match self {
            Self::NoResponder => write!(f, " names no OCSP responder: nothing is stapled"),
            Self::NoIssuer { why, chain } => write!(
                f,
                ": nothing is stapled: {why}; append the issuer's certificate to \"{}\" and reload",
                chain.display()
            ),
            Self::Stapled { host, until, next, .. } => write!(
                f,
                ": OCSP response of \"{host}\" stapled, valid until {until}, next request at {next}"
            ),
            Self::Failed { host, attempts, why, stapled_until, next, .. } => {
                write!(f, ": no OCSP response from \"{host}\", attempt {attempts}, ")?;
                match stapled_until {
                    Some(end) => write!(f, "the previous one is stapled until {end}")?,
                    None => write!(f, "nothing is stapled")?,
                }
                write!(f, ", next attempt at {next}: {why}")
            }
            Self::Expired => write!(
                f,
                ": the OCSP response has expired, nothing is stapled until a new one arrives"
            ),
            Self::Revoked { host, why, next, .. } => write!(
                f,
                " is refused by clients, nothing is stapled: \"{host}\" says that {why}; to replace it, \
                 create \"actions/renew-{name}\" in the state path and reload; next request at {next}"
            ),
        }
    }
}

rows! {
    StapleEvent, |event| Event::Staple("example.com".into(), event);
    "staple-no-responder": NoResponder => "as with Let's Encrypt: nothing can be stapled", nothing;
    "staple-no-issuer": NoIssuer {
        why: "the chain has one certificate only".into(),
        chain: "certs/example.com/fullchain.pem".into(),
    } => "`ssl_stapling` has no effect for it", may "do what the line says";
    "staple-stapled": Stapled { host: "ocsp.ca.example".into(), until: END, next: RENEWAL, is_usual: false }
        => "it works again; at level `debug` if it had not failed", nothing;
    "staple-failed": Failed {
        host: "ocsp.ca.example".into(),
        attempts: 3,
        why: "timed out".into(),
        stapled_until: Some(END),
        next: SOON,
        level: Level::Warn,
    } => "the previous response is stapled until it expires, then none; clients may ask the CA themselves",
        may "nothing, unless it lasts for days: look whether this host reaches the responder";
    "staple-expired": Expired => "clients may ask the CA themselves; those with must-staple fail", nothing;
    "staple-revoked": Revoked {
        host: "ocsp.ca.example".into(),
        why: "it was revoked".into(),
        next: SOON,
        is_known: false,
    } => "the CA has revoked the certificate", must "[renew it](operations.md#requests)";
}
