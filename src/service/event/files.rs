//! The files of a certificate, and its place in shared memory.

use acme_dns_core::level::Level;
use acme_dns_core::time::UnixTime;
use std::fmt;
use std::time::Duration;

/// Event of the files of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FilesEvent {
    /// The disk has refused it, and is asked again and again.
    Unsaved {
        /// The error.
        why: String,
        /// Pause between two tries.
        retry: Duration,
    },
    /// The same, where it is on disk under another name.
    UnsavedUnderNewName {
        /// The error.
        why: String,
        /// Pause between two tries.
        retry: Duration,
    },
    /// The disk has taken what it had refused.
    Saved,
    /// It had vanished from the disk.
    WrittenBack,
    /// It has vanished from the disk, which refuses it.
    NotWrittenBack {
        /// The error.
        why: String,
    },
    /// The files are of no use, and nothing is served instead.
    Unusable {
        /// The error.
        why: String,
    },
    /// The files are of no use; the certificate in memory is served on.
    UnusableButServed {
        /// The error.
        why: String,
        /// Severity: a warning where another process writes them, else an error.
        level: Level,
    },
    /// The files cannot be read, though they may be good.
    Unreadable {
        /// The error.
        why: String,
    },
    /// The files can be read again.
    ReadableAgain {
        /// End of the certificate's validity.
        until: UnixTime,
    },
    /// The files do not say which issuer it is from.
    IssuerUnknown {
        /// The error.
        why: String,
    },
    /// Shared memory has no room for it.
    NoRoom,
}

impl FilesEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::UnusableButServed { level, .. } => *level,
            Self::Unsaved { .. }
            | Self::UnsavedUnderNewName { .. }
            | Self::NotWrittenBack { .. }
            | Self::Unusable { .. }
            | Self::Unreadable { .. }
            | Self::NoRoom => Level::Error,
            Self::IssuerUnknown { .. } => Level::Warn,
            Self::Saved | Self::WrittenBack | Self::ReadableAgain { .. } => Level::Notice,
        }
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let certificate = format_args!("certificate \"{name}\"");
        match self {
            Self::Unsaved { why, retry } => write!(
                f,
                "{certificate} is served but cannot be saved to disk, and a restart would lose it: {why}; \
                 retried every {} s",
                retry.as_secs()
            ),
            Self::UnsavedUnderNewName { why, retry } => write!(
                f,
                "{certificate} is served but cannot be saved to disk under its new name: {why}; retried \
                 every {} s",
                retry.as_secs()
            ),
            Self::Saved => write!(f, "{certificate} has been saved to disk"),
            Self::WrittenBack => {
                write!(f, "{certificate} was missing on disk and has been written back from memory")
            }
            Self::NotWrittenBack { why } => {
                write!(f, "{certificate} cannot be written back to disk: {why}")
            }
            Self::Unusable { why } => {
                write!(f, "{certificate} on disk cannot be used, a new one will be obtained: {why}")
            }
            Self::UnusableButServed { why, .. } => write!(
                f,
                "{certificate} on disk cannot be used, the current one is still served: {why}"
            ),
            Self::Unreadable { why } => write!(
                f,
                "{certificate} on disk cannot be read, no replacement is ordered: {why}; \
                 \"actions/renew-{name}\" orders one"
            ),
            Self::ReadableAgain { until } => {
                write!(f, "{certificate} can be read again and is served, valid until {until}")
            }
            Self::IssuerUnknown { why } => {
                write!(f, "the issuer of {certificate} is unknown: {why}")
            }
            Self::NoRoom => write!(
                f,
                "{certificate} cannot be published, the shared zone is full: raise its size in \
                 \"acme_dns_shared_zone\", or remove the directive"
            ),
        }
    }
}
