//! Certificates that were not ordered under their name: taken over, standing in, imported, followed.

use super::Event;
use super::reference::{END, RENEWAL, rows};
use acme_dns_core::level::Level;
use acme_dns_core::time::UnixTime;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Event of the origin of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OriginEvent {
    /// The process that holds the state path has written it.
    Followed {
        /// That process.
        holder: String,
        /// End of its validity.
        until: UnixTime,
    },
    /// Another host has obtained it.
    Adopted {
        /// Name of that host.
        host: String,
        /// End of its validity.
        until: UnixTime,
        /// Time of its renewal.
        renewal: UnixTime,
        /// Set if it is one of many that were adopted together.
        is_one_of_many: bool,
    },
    /// It takes over from a certificate of another name.
    Succeeds {
        /// That name.
        from: String,
        /// End of its validity.
        until: UnixTime,
        /// Set if so many do that they share a line.
        is_one_of_many: bool,
    },
    /// It cannot take over from another.
    NotSucceeded {
        /// The error.
        why: String,
    },
    /// The files under its name cannot serve another name.
    Unfit {
        /// The error.
        why: String,
    },
    /// Certificates of other names are served in its place.
    StandIns {
        /// Those names.
        names: Vec<String>,
    },
    /// It was found among another client's files.
    Imported {
        /// The file or directory.
        source: PathBuf,
        /// End of its validity.
        until: UnixTime,
        /// Time of its renewal.
        renewal: UnixTime,
    },
    /// It was found among another client's files, and is of no use.
    NotImported {
        /// The file or directory.
        source: PathBuf,
        /// The error.
        why: String,
    },
    /// It was found among another client's files, and the disk has refused it.
    ImportedUnsaved {
        /// The file or directory.
        source: PathBuf,
        /// The error.
        why: String,
        /// Pause between two tries.
        retry: Duration,
    },
}

impl OriginEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::ImportedUnsaved { .. } => Level::Error,
            Self::NotSucceeded { .. } => Level::Warn,
            Self::Succeeds { is_one_of_many: true, .. }
            | Self::Adopted { is_one_of_many: true, .. }
            | Self::Unfit { .. } => Level::Info,
            Self::Followed { .. }
            | Self::Adopted { .. }
            | Self::Succeeds { .. }
            | Self::StandIns { .. }
            | Self::Imported { .. }
            | Self::NotImported { .. } => Level::Notice,
        }
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        write!(f, "certificate \"{name}\"")?;
        match self {
            Self::Followed { holder, until } => write!(
                f,
                " loaded from the state path, written there by {holder}, valid until {until}"
            ),
            Self::Adopted { host, until, renewal, .. } => write!(
                f,
                " adopted from host \"{host}\", valid until {until}, renewal at {renewal}"
            ),
            Self::Succeeds { from, until, .. } => {
                write!(f, " takes over from \"{from}\", valid until {until}")
            }
            Self::NotSucceeded { why } => write!(f, " cannot take over from another: {why}"),
            Self::Unfit { why } => write!(f, " is not used: {why}"),
            Self::StandIns { names } => {
                let first = names.first().map_or("", String::as_str);
                write!(f, ": \"{first}\"")?;
                if let more @ 1.. = names.len().saturating_sub(1) {
                    write!(f, " and {more} more")?;
                }
                write!(f, " is served in its place until it is issued")
            }
            Self::Imported { source, until, renewal } => write!(
                f,
                " imported from \"{}\", valid until {until}, renewal at {renewal}",
                source.display()
            ),
            Self::NotImported { source, why } => {
                write!(f, " is not imported from \"{}\": {why}", source.display())
            }
            Self::ImportedUnsaved { source, why, retry } => write!(
                f,
                " from \"{}\" is served but cannot be saved to disk, retried every {} s: {why}",
                source.display(),
                retry.as_secs()
            ),
        }
    }
}

rows! {
    OriginEvent, |event| Event::Origin("example.com".into(), event);
    "origin-followed": Followed { holder: "process 4711".into(), until: END }
        => "two instances use one state path: this one serves what the other one has obtained", nothing;
    "origin-adopted": Adopted { host: "web2".into(), until: END, renewal: RENEWAL, is_one_of_many: false }
        => "several hosts share their certificates: this one serves what the other one has obtained", nothing;
    "origin-succeeds": Succeeds { from: "web".into(), until: END, is_one_of_many: false }
        => "the configuration has a new name for a certificate that is there; nothing is ordered", nothing;
    "origin-not-succeeded": NotSucceeded { why: "cannot write \"certs\": 28: No space left on device".into() }
        => "a new one is ordered", may "make room on the disk";
    "origin-unfit": Unfit { why: "it holds no name of this certificate".into() }
        => "the files under its name are of another certificate", nothing;
    "origin-stand-ins": StandIns { names: vec!["old.example.com".into(), "www.example.com".into()] }
        => "no client sees a self-signed certificate until the new one is there", nothing;
    "origin-imported": Imported { source: "/etc/letsencrypt/live/example.com".into(), until: END, renewal: RENEWAL }
        => "another client's certificate is served, and renewed here",
        may "disable the other client: [migration.md](migration.md)";
    "origin-not-imported": NotImported {
        source: "/etc/letsencrypt/live/example.com".into(),
        why: "it has expired".into(),
    }
        => "a new one is ordered", nothing;
    "origin-imported-unsaved": ImportedUnsaved {
        source: "/etc/letsencrypt/live/example.com".into(),
        why: "cannot write \"certs\": 28: No space left on device".into(),
        retry: Duration::from_secs(10),
    } => "the certificate is in memory only", must "make room on the disk";
}
