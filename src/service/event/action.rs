//! Requests of a person, as files in `actions/`.

use super::Event;
use super::reference::rows;
use acme_dns_core::level::Level;
use std::fmt;
use std::time::Duration;

/// Event of one of these files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ActionEvent {
    /// It was read, and will be done.
    Requested,
    /// It never can be done.
    Refused {
        /// The error.
        why: String,
        /// The place that the file was moved to, or the error that keeps it in its place.
        aside: String,
    },
    /// It could not be done now.
    Retrying {
        /// The error.
        why: String,
        /// Pause before the next attempt.
        pause: Duration,
    },
    /// A check has found this.
    Found {
        /// Its subject, and the finding.
        line: String,
    },
    /// It is done.
    Done,
    /// It is done, and the file cannot be removed.
    NotForgotten {
        /// The error.
        why: String,
    },
}

impl ActionEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Refused { .. } | Self::Retrying { .. } | Self::NotForgotten { .. } => {
                Level::Error
            }
            Self::Requested | Self::Found { .. } | Self::Done => Level::Notice,
        }
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        write!(f, "\"actions/{name}\" ")?;
        match self {
            Self::Requested => write!(f, "requested"),
            Self::Refused { why, aside } => write!(f, "cannot be done: {why}; {aside}"),
            Self::Retrying { why, pause } => write!(
                f,
                "could not be done, next attempt in {} s, to cancel it remove the file and reload: {why}",
                pause.as_secs()
            ),
            Self::Found { line } => write!(f, "found: {line}"),
            Self::Done => write!(f, "is done"),
            Self::NotForgotten { why } => write!(f, "is done, but {why}"),
        }
    }
}

rows! {
    ActionEvent, |event| Event::Action("renew-example.com".into(), event);
    "action-requested": Requested => "the request was read, and is carried out", nothing;
    "action-refused": Refused {
        why: "there is no certificate \"example.com\"".into(),
        aside: "moved to \"actions/renew-example.com.invalid\"".into(),
    } => "the request can never be carried out", must "correct it, and create the file anew";
    "action-retrying": Retrying { why: "the CA did not answer".into(), pause: Duration::from_secs(60) }
        => "the request could not be carried out now", must "read the reason; to give up, remove the file and reload";
    "action-found": Found { line: "shop.example.com: D01 zone \"example.com\" is not in DNS".into() }
        => "a check has found this", may "[doctor.md](doctor.md) has each finding";
    "action-done": Done => "the request was carried out", nothing;
    "action-not-forgotten": NotForgotten { why: "its file cannot be removed: 30: Read-only file system".into() }
        => "the request was carried out, and would be again after a reload", must "remove the file";
}
