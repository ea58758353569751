//! The account with an issuer.

use acme_dns_core::level::Level;
use std::fmt;
use std::path::PathBuf;

/// Event of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccountEvent {
    /// The CA knows the key that is there.
    Found {
        /// URL of the account.
        url: String,
    },
    /// A new account was created.
    Created {
        /// Its URL.
        url: String,
    },
    /// The key was imported from another client.
    Imported {
        /// The file or directory.
        source: PathBuf,
    },
    /// The key of another client is of no use.
    NotImported {
        /// The file or directory.
        source: PathBuf,
        /// The error.
        why: String,
    },
    /// The CA has the new contacts.
    ContactsUpdated,
    /// The CA has refused the new contacts.
    ContactsRefused {
        /// The error.
        why: String,
    },
    /// The account is of no use and was set aside.
    SetAside {
        /// Its new path.
        path: PathBuf,
        /// Reason for it.
        why: String,
    },
    /// An account with a key of an unsupported type now has one that is.
    TakenOver {
        /// Its URL.
        url: String,
    },
    /// The key has been changed.
    KeyChanged,
    /// A key change that was interrupted had not reached the CA.
    KeyUnchanged,
    /// A question about the account has failed and is asked again.
    Retrying {
        /// The error.
        why: String,
    },
    /// The account cannot be saved.
    Unsaved {
        /// The error.
        why: String,
    },
}

impl AccountEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::NotImported { .. }
            | Self::ContactsRefused { .. }
            | Self::SetAside { .. }
            | Self::Unsaved { .. } => Level::Warn,
            Self::Found { .. }
            | Self::Created { .. }
            | Self::Imported { .. }
            | Self::ContactsUpdated
            | Self::TakenOver { .. }
            | Self::KeyChanged
            | Self::KeyUnchanged => Level::Notice,
            Self::Retrying { .. } => Level::Debug,
        }
    }
}

impl fmt::Display for AccountEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { url } => write!(f, "account found at {url}"),
            Self::Created { url } => write!(f, "account created at {url}"),
            Self::Imported { source } => {
                write!(f, "account imported from \"{}\"", source.display())
            }
            Self::NotImported { source, why } => write!(
                f,
                "the account from \"{}\" cannot be imported, a new one will be created: {why}",
                source.display()
            ),
            Self::ContactsUpdated => f.write_str("contacts of the account updated"),
            Self::ContactsRefused { why } => write!(f, "{why}; contacts stay as they were"),
            Self::SetAside { path, why } => write!(
                f,
                "account moved to \"{}\", a new one will be created: {why}",
                path.display()
            ),
            Self::TakenOver { url } => {
                write!(f, "account {url} taken over: an ECDSA key has replaced its old one")
            }
            Self::KeyChanged => f.write_str("account key changed"),
            Self::KeyUnchanged => {
                f.write_str("account key unchanged: the key change did not take effect")
            }
            Self::Retrying { why } => write!(f, "{why}; retrying"),
            Self::Unsaved { why } => f.write_str(why),
        }
    }
}
