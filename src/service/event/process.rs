//! The process and the thread of the service.

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
            Self::Ended { why } => write!(f, "the service ended: {why}"),
            Self::Unfit { why } => write!(f, "cannot work until the next reload: {why}"),
            Self::NoThread { why } => write!(f, "cannot start a thread: {why}"),
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
