//! The files of a certificate, and its place in shared memory.

use super::Event;
use super::reference::{END, rows};
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
                "{certificate} is served but cannot be saved to disk, and a restart would lose it, retried every \
                 {} s: {why}",
                retry.as_secs()
            ),
            Self::UnsavedUnderNewName { why, retry } => write!(
                f,
                "{certificate} is served but cannot be saved to disk under its new name, retried every {} s: \
                 {why}",
                retry.as_secs()
            ),
            Self::Saved => write!(f, "{certificate} has been saved to disk"),
            Self::WrittenBack => {
                write!(f, "{certificate} was missing on disk and has been written back from memory")
            }
            Self::NotWrittenBack { why } => {
                write!(f, "{certificate} cannot be written back to disk, it is tried again: {why}")
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
                "{certificate} on disk cannot be read, no replacement is ordered unless by \
                 \"actions/renew-{name}\": {why}"
            ),
            Self::ReadableAgain { until } => {
                write!(f, "{certificate} can be read again and is served, valid until {until}")
            }
            Self::IssuerUnknown { why } => {
                write!(f, "{certificate} is served, its issuer is unknown: {why}")
            }
            Self::NoRoom => write!(
                f,
                "{certificate} cannot be published, the shared zone is full: raise its size in \
                 \"acme_dns_shared_zone\", or remove the directive"
            ),
        }
    }
}

rows! {
    FilesEvent, |event| Event::Files("example.com".into(), event);
    "files-unsaved": Unsaved {
        why: "cannot write \"certs\": 28: No space left on device".into(),
        retry: Duration::from_secs(10),
    } => "the certificate is in memory only",
        must "make room on the disk, or make the path writable, before NGINX ends";
    "files-unsaved-under-new-name": UnsavedUnderNewName {
        why: "cannot write \"certs\": 28: No space left on device".into(),
        retry: Duration::from_secs(10),
    } => "it is on disk under its former name, so a restart loses nothing", must "make room on the disk";
    "files-saved": Saved => "the disk has taken what it had refused", nothing;
    "files-written-back": WrittenBack => "its files were gone; the certificate was not ordered anew", nothing;
    "files-not-written-back": NotWrittenBack { why: "cannot write \"certs\": 28: No space left on device".into() }
        => "its files are gone, and the certificate is in memory only", must "make room on the disk";
    "files-unusable": Unusable { why: "\"privkey.pem\" is not the key of \"fullchain.pem\"".into() }
        => "the files were set aside",
        must "find out who has changed them; if you want them back, correct them and reload";
    "files-unusable-but-served": UnusableButServed {
        why: "\"privkey.pem\" is not the key of \"fullchain.pem\"".into(),
        level: Level::Error,
    } => "the files have changed and are of no use; at level `warn` where another process writes them",
        must "correct them, and reload";
    "files-unreadable": Unreadable { why: "cannot open \"privkey.pem\": 13: Permission denied".into() }
        => "it may be good, so nothing is ordered; it is served as soon as it can be read",
        must "give the files to the user that the line names: `chown -R acme_dns: PATH`";
    "files-readable-again": ReadableAgain { until: END } => "somebody has given the files back", nothing;
    "files-issuer-unknown": IssuerUnknown { why: "\"issuer.json\" cannot be read".into() }
        => "the certificate is served; it is replaced at its renewal by one of a configured issuer", nothing;
    "files-no-room": NoRoom => "workers do not get it", must "do what the line says, and reload";
}
