//! Requests of a person, as files in `actions/`.

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
        /// What it is about, and the finding.
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
                "could not be done: {why}; next attempt in {} s, to cancel it remove the file and reload",
                pause.as_secs()
            ),
            Self::Found { line } => write!(f, "found: {line}"),
            Self::Done => write!(f, "is done"),
            Self::NotForgotten { why } => write!(f, "is done, but {why}"),
        }
    }
}
