//! The account with an issuer.

use super::reference::rows;
use super::{Event, Subject};
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
    /// The new contacts cannot be saved.
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
            Self::Unsaved { why } => write!(
                f,
                "contacts of the account cannot be saved, they are sent again at the next start: {why}"
            ),
        }
    }
}

rows! {
    AccountEvent, |event| Event::Account(Subject::Issuer("letsencrypt".into()), event);
    "account-found": Found { url: "https://ca.example/acct/7".into() }
        => "the CA knows the key that is there: its account is used", nothing;
    "account-created": Created { url: "https://ca.example/acct/7".into() }
        => "a new account was created; its key is in `accounts/` of the state path", may "back the key up";
    "account-imported": Imported { source: "/etc/dehydrated/accounts".into() }
        => "the account of another client is used", nothing;
    "account-not-imported": NotImported {
        source: "/etc/dehydrated/accounts".into(),
        why: "it has an RSA key that does not fit".into(),
    } => "the account of another client is of no use; a new one is created", nothing;
    "account-contacts-updated": ContactsUpdated => "the CA has the new `contact`", nothing;
    "account-contacts-refused": ContactsRefused {
        why: "updating the account at \"https://ca.example/acct/7\" failed: invalidContact".into(),
    } => "the CA does not accept the new `contact` and keeps the one before; certificates are issued all the same",
        may "correct `contact`";
    "account-set-aside": SetAside {
        path: "accounts/letsencrypt~1".into(),
        why: "the CA says accountDoesNotExist".into(),
    } => "the account is of no use any more; its files were kept under the new name", nothing;
    "account-taken-over": TakenOver { url: "https://ca.example/acct/7".into() }
        => "an account with a key of another type goes on with a key of ours", nothing;
    "account-key-changed": KeyChanged => "the account has a new key; the old one is void", may "back the key up";
    "account-key-unchanged": KeyUnchanged
        => "a change of the key was interrupted before the CA had heard of it; the old key is used",
        may "request the change again if it is still wanted";
    "account-retrying": Retrying { why: "the CA did not answer".into() }
        => "a question about the account is asked again", nothing;
    "account-unsaved": Unsaved { why: "cannot write \"account.json\": 28: No space left on device".into() }
        => "the CA has the new `contact`; the disk does not", may "make room on the disk";
}
