//! Those who are told of certificates: hooks, webhooks and exports.

use super::Event;
use super::reference::rows;
use acme_dns_core::level::Level;
use std::fmt;
use std::time::Duration;

/// Event of one of them, or of all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenerEvent {
    /// It was told.
    Told {
        /// The notice: its kind and its certificate.
        about: String,
    },
    /// Its program has printed a line.
    Output {
        /// The line, without secrets.
        line: String,
    },
    /// It has files of a certificate that it did not have.
    Written {
        /// Name of the certificate.
        certificate: String,
        /// Names of the files.
        files: Vec<String>,
    },
    /// It could not be told, and is told again.
    Failed {
        /// The notice.
        about: String,
        /// The error.
        why: String,
        /// Pause before the next attempt.
        pause: Duration,
    },
    /// It could not be told for so long that it is not any more.
    GivenUp {
        /// The notice.
        about: String,
        /// The error.
        why: String,
    },
    /// There was too much to tell.
    Dropped {
        /// Number of notices that nobody is told.
        number: usize,
    },
}

impl ListenerEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Told { .. } | Self::Output { .. } => Level::Info,
            Self::Written { .. } => Level::Notice,
            Self::Failed { .. } | Self::Dropped { .. } => Level::Warn,
            Self::GivenUp { .. } => Level::Error,
        }
    }
}

impl fmt::Display for ListenerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { about } => write!(f, "was told of {about}"),
            Self::Output { line } => write!(f, "says: {line}"),
            Self::Written { certificate, files } => {
                write!(f, "of certificate \"{certificate}\": wrote {}", super::quoted(files))
            }
            Self::Failed { about, why, pause } => {
                write!(f, "failed on {about}, next attempt in {} s: {why}", pause.as_secs())
            }
            Self::GivenUp { about, why } => {
                write!(f, "failed on {about} for a day and is not told of it any more: {why}")
            }
            Self::Dropped { number } => {
                write!(f, "are told too slowly: {number} notices were dropped")
            }
        }
    }
}

rows! {
    ListenerEvent, |event| Event::Listener("hook \"deploy\"".into(), event);
    "listener-told": Told { about: "\"issued\" of certificate \"example.com\"".into() }
        => "it was told, and all is well", nothing;
    "listener-output": Output { line: "reloaded postfix".into() } => "its program has printed this", nothing;
    "listener-written": Written { certificate: "example.com".into(), files: vec!["example.com.pem".into()] }
        => "an export has new files", nothing;
    "listener-failed": Failed {
        about: "\"issued\" of certificate \"example.com\"".into(),
        why: "exit code 1".into(),
        pause: Duration::from_secs(60),
    } => "it is told again until it succeeds, for a day", may "look at the program or the URL: [hooks.md](hooks.md)";
    "listener-given-up": GivenUp {
        about: "\"issued\" of certificate \"example.com\"".into(),
        why: "exit code 1".into(),
    } => "it does not know of this, and will not be told", must "repair it, then do by hand what it has missed";
    "listener-dropped": Dropped { number: 7 }
        => "hooks and webhooks are slower than what happens", may "make them faster, or name fewer `events=`";
}
