//! The process and the thread of the service.

use super::Event;
use super::reference::rows;
use acme_dns_core::level::Level;
use std::fmt;
use std::time::Duration;

/// Event of the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ProcessEvent {
    /// The service has ended by a fault.
    Ended {
        /// The error.
        why: String,
    },
    /// The service cannot work with its configuration.
    Unfit {
        /// The error.
        why: String,
    },
    /// The system gives no thread.
    NoThread {
        /// The error.
        why: String,
    },
    /// The process cannot become the service's user.
    NoUser {
        /// Name of the user.
        user: String,
        /// The error.
        why: String,
    },
    /// The process has ended again and again.
    Ending {
        /// Number of times in a row.
        times: u64,
        /// Time within which it ended each time.
        within: Duration,
    },
}

impl ProcessEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Ended { .. }
            | Self::Unfit { .. }
            | Self::NoThread { .. }
            | Self::NoUser { .. }
            | Self::Ending { .. } => Level::Error,
        }
    }
}

impl fmt::Display for ProcessEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { why } => write!(
                f,
                "the service ended, no certificate is obtained or renewed until it runs again: {why}"
            ),
            Self::Unfit { why } => {
                write!(f, "no certificate is obtained or renewed until the next reload: {why}")
            }
            Self::NoThread { why } => {
                write!(f, "cannot start a thread, no certificate is obtained or renewed: {why}")
            }
            Self::NoUser { user, why } => write!(
                f,
                "cannot become user \"{user}\": {why}; no certificate is obtained or renewed"
            ),
            Self::Ending { times, within } => write!(
                f,
                "the acme dns process has ended {times} times in a row, each time within {} s: no \
                 certificate is renewed while it does, look for what ends it",
                within.as_secs()
            ),
        }
    }
}

rows! {
    ProcessEvent, Event::Process;
    "process-ended": Ended { why: "a panic".into() }
        => "certificates are served; the process is started again", must "report it, with the lines above it";
    "process-unfit": Unfit { why: "invalid trusted certificate".into() }
        => "certificates are served", must "correct what the reason names, and reload";
    "process-no-thread": NoThread { why: "11: Resource temporarily unavailable".into() }
        => "certificates are served; it is tried again", must "raise the limit of processes of its user or unit";
    "process-no-user": NoUser { user: "acme_dns".into(), why: "1: Operation not permitted".into() }
        => "certificates are served",
        must "see that the master may change its user, or name another one in `acme_dns_user`";
    "process-ending": Ending { times: 3, within: Duration::from_secs(60) }
        => "each further start is delayed by a second",
        must "[find out what ends it](operations.md#when-the-process-ends-again-and-again)";
}
