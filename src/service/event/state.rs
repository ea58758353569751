//! The state path: its lock, its owner and its files.

use super::Event;
use super::reference::rows;
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
    /// The lock was taken from a process that hangs.
    Evicted {
        /// The state path.
        path: PathBuf,
        /// That process.
        holder: String,
        /// Time since its last sign of life.
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
            | Self::Evicted { .. }
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
            Self::Evicted { path, holder, silence } => write!(
                f,
                "state path \"{}\" was taken over from {holder}, which holds its lock and has shown no sign of life \
                 for {} s: certificates are renewed here from now on",
                path.display(),
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
                write!(f, "an account cannot be written back, a new one will be created: {why}")
            }
            Self::Ignored { why } => write!(f, "{why}; it is ignored"),
            Self::Failed { why, .. } => write!(f, "{why}; going on without it"),
            Self::Retrying { why, pause } => {
                write!(f, "the service cannot begin, next attempt in {} s: {why}", pause.as_secs())
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

rows! {
    StateEvent, Event::State;
    "state-locked": Locked { path: "/var/lib/acme_dns".into() } => "usually for less than a second, at a reload",
        nothing;
    "state-shared": Shared { path: "/var/lib/acme_dns".into(), holder: "process 4711".into() }
        => "another NGINX uses it",
        may "nothing, if that is meant: [two on one state \
            path](operations.md#when-another-process-holds-the-lock)";
    "state-silent": Silent {
        path: "/var/lib/acme_dns".into(),
        holder: "process 4711".into(),
        waited: Duration::from_secs(70),
        silence: Duration::from_secs(60),
    } => "it hangs, or it is an earlier version",
        may "[end what holds it](operations.md#when-another-process-holds-the-lock)";
    "state-evicted": Evicted {
        path: "/var/lib/acme_dns".into(),
        holder: "process 4711".into(),
        silence: Duration::from_secs(60),
    } => "that process was stopped, or waits for its disk; when it responds it notices, and waits for the lock",
        may "[find out why it hangs](operations.md#when-another-process-holds-the-lock)";
    "state-responding": Responding { path: "/var/lib/acme_dns".into(), holder: "process 4711".into() }
        => "it renews again", nothing;
    "state-lock-left": LockLeft { why: "cannot remove \"lock\": 1: Operation not permitted".into() }
        => "it does no harm", nothing;
    "state-gone": Gone { path: "/var/lib/acme_dns".into(), why: "2: No such file or directory".into() }
        => "NGINX must not end before that",
        must "[reload](operations.md#when-the-state-path-is-lost), or make room on the disk";
    "state-written-back": WrittenBack { path: "/var/lib/acme_dns".into(), certificates: 12, accounts: 1 }
        => "nothing was ordered anew", may "find out who has removed it";
    "state-account-not-written-back": AccountNotWrittenBack { why: "28: No space left on device".into() }
        => "certificates are not concerned",
        must "make room on the disk; restore the account's key from a backup if CAA records name it";
    "state-ignored": Ignored { why: "\"orders/example.com.json\" cannot be used".into() }
        => "the file was set aside or left, and the service goes on without it", nothing;
    "state-failed": Failed { why: "cannot write \"orders/example.com.json\": 28: No space left on device".into(),
        level: Level::Error }
        => "a note is missing on disk, so a restart may do something again; at level `warn` if it matters little",
        must "make room on the disk, or make the path writable";
    "state-retrying": Retrying { why: "cannot open \"/var/lib/acme_dns\": 13: Permission denied".into(), pause:
        Duration::from_secs(10) }
        => "no certificate is obtained or renewed; certificates are served", must "correct what the reason names";
    "state-owned": Owned {
        path: "/var/lib/acme_dns".into(),
        user: "acme_dns".into(),
        files: 42,
        readable_by: None,
        back: "www-data".into(),
    } => "as after an upgrade: [Owner of the state path](operations.md#owner-of-the-state-path)", nothing;
    "state-not-owned": NotOwned {
        path: "/var/lib/acme_dns".into(),
        user: "acme_dns".into(),
        instead: "www-data".into(),
        why: "1: Operation not permitted".into(),
    } => "certificates are obtained and renewed all the same",
        may "[Owner of the state path](operations.md#owner-of-the-state-path)";
}
