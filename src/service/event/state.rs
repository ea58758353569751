//! The state path: its lock, its owner and its files.

use acme_dns_core::level::Level;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Event of the state path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StateEvent {
    /// Another process has the lock.
    Locked {
        /// The state path.
        path: PathBuf,
    },
    /// Another process has the lock for longer than a reload takes.
    Shared {
        /// The state path.
        path: PathBuf,
        /// That process.
        holder: String,
    },
    /// The process with the lock seems to hang.
    Silent {
        /// The state path.
        path: PathBuf,
        /// That process.
        holder: String,
        /// Time for which the lock was waited for.
        waited: Duration,
        /// Time since the last sign of life.
        silence: Duration,
    },
    /// The process with the lock, which seemed to hang, responds again.
    Responding {
        /// The state path.
        path: PathBuf,
        /// That process.
        holder: String,
    },
    /// The holder before has left a file that cannot be removed.
    LockLeft {
        /// The error.
        why: String,
    },
    /// The directory is gone and cannot be made.
    Gone {
        /// The state path.
        path: PathBuf,
        /// The error.
        why: String,
    },
    /// The directory was gone, and was filled from memory.
    WrittenBack {
        /// The state path.
        path: PathBuf,
        /// Number of certificates.
        certificates: usize,
        /// Number of accounts.
        accounts: usize,
    },
    /// An account cannot be written back.
    AccountNotWrittenBack {
        /// The error.
        why: String,
    },
    /// A file cannot be used, and the service goes on without it.
    Ignored {
        /// The error.
        why: String,
    },
    /// A file cannot be read, written or removed.
    Failed {
        /// The error.
        why: String,
        /// Severity: a warning if it matters little.
        level: Level,
    },
    /// The service cannot begin, and tries again.
    Retrying {
        /// The error.
        why: String,
        /// Pause before the next attempt.
        pause: Duration,
    },
    /// Its files belong to another user now.
    Owned {
        /// The state path.
        path: PathBuf,
        /// The new owner.
        user: String,
        /// Number of files.
        files: usize,
        /// Name of the workers' user, if its processes could read the keys until now.
        readable_by: Option<String>,
        /// The owner before, as `chown` takes it.
        back: String,
    },
    /// Its files cannot be given to the service's user.
    NotOwned {
        /// The state path.
        path: PathBuf,
        /// That user.
        user: String,
        /// The user that the service runs as instead.
        instead: String,
        /// The error.
        why: String,
    },
}

impl StateEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Failed { level, .. } => *level,
            Self::Gone { .. } | Self::AccountNotWrittenBack { .. } | Self::Retrying { .. } => {
                Level::Error
            }
            Self::Silent { .. }
            | Self::LockLeft { .. }
            | Self::WrittenBack { .. }
            | Self::Ignored { .. } => Level::Warn,
            Self::Shared { .. }
            | Self::Responding { .. }
            | Self::Owned { .. }
            | Self::NotOwned { .. } => Level::Notice,
            Self::Locked { .. } => Level::Info,
        }
    }
}

impl fmt::Display for StateEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => {
                write!(
                    f,
                    "waiting for another process to release state path \"{}\"",
                    path.display()
                )
            }
            Self::Shared { path, holder } => write!(
                f,
                "state path \"{}\" is locked by {holder}: certificates are renewed there, and served here \
                 from its files, until it ends",
                path.display()
            ),
            Self::Silent { path, holder, waited, silence } => write!(
                f,
                "state path \"{}\" has been locked by {holder} for {} s, which has shown no sign of life for \
                 {} s: certificates are not renewed until it responds or ends",
                path.display(),
                waited.as_secs(),
                silence.as_secs()
            ),
            Self::Responding { path, holder } => write!(
                f,
                "{holder}, which holds state path \"{}\", is responding again",
                path.display()
            ),
            Self::LockLeft { why } => write!(f, "{why}; it is left as it is"),
            Self::Gone { path, why } => write!(
                f,
                "state path \"{}\" is gone: its certificates are served from memory; they and the accounts \
                 are written back once the directory exists again, which a reload of NGINX creates: {why}",
                path.display()
            ),
            Self::WrittenBack { path, certificates, accounts } => write!(
                f,
                "state path \"{}\" was removed or replaced while NGINX ran: {certificates} certificates and \
                 {accounts} accounts were written back from memory",
                path.display()
            ),
            Self::AccountNotWrittenBack { why } => {
                write!(f, "an account cannot be written back: {why}")
            }
            Self::Ignored { why } => write!(f, "{why}; it is ignored"),
            Self::Failed { why, .. } => f.write_str(why),
            Self::Retrying { why, pause } => {
                write!(f, "{why}; next attempt in {} s", pause.as_secs())
            }
            Self::Owned { path, user, files, readable_by, back } => {
                write!(
                    f,
                    "state path \"{}\" now belongs to user \"{user}\" ({files} files)",
                    path.display()
                )?;
                if let Some(workers) = readable_by {
                    write!(
                        f,
                        "; until now every process of \"{workers}\" could read its keys, see \"Changing the \
                         account key\" in docs/operations.md"
                    )?;
                }
                let path = path.display();
                write!(f, "; before returning to an earlier version run: chown -R {back}: {path}")
            }
            Self::NotOwned { path, user, instead, why } => write!(
                f,
                "state path \"{}\" cannot be given to user \"{user}\": {why}; the service runs as \
                 \"{instead}\", whose processes can read its keys",
                path.display()
            ),
        }
    }
}
