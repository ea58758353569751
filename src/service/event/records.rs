//! TXT records and the journal that knows of them.

use super::reference::rows;
use super::{Event, Subject};
use acme_dns_core::level::Level;
use std::fmt;
use std::path::PathBuf;

/// Event of TXT records; `names` are theirs, as a line has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecordsEvent {
    /// Another order has them, or what they would push out.
    WaitingForOthers {
        /// Their names.
        names: String,
    },
    /// They are created.
    Creating {
        /// Their names.
        names: String,
        /// The DNS zone.
        zone: String,
    },
    /// Their creation was never confirmed, so that they are looked up again.
    Unconfirmed {
        /// Their names.
        names: String,
    },
    /// Records of an earlier order have been removed.
    Removed {
        /// Their names.
        names: String,
    },
    /// They cannot be removed now.
    NotRemoved {
        /// Their names.
        names: String,
        /// Set if the order has ended before this process began.
        is_earlier: bool,
        /// The error.
        why: String,
    },
    /// They cannot be removed: their provider is not configured any more.
    ProviderGone {
        /// Their names.
        names: String,
        /// Name of the provider.
        provider: String,
    },
    /// Records of an entry must not be removed.
    Spared {
        /// Name of the entry.
        entry: String,
        /// The records, each with a reason.
        what: String,
        /// New path of the entry; none where it waits for a person.
        aside: Option<PathBuf>,
    },
    /// An entry cannot be read now.
    EntryUnreadable {
        /// The error.
        why: String,
    },
    /// An entry is of no use and was set aside.
    EntrySetAside {
        /// Its new path, or the error that keeps it in its place.
        aside: Result<PathBuf, String>,
        /// The error.
        why: String,
    },
    /// The journal cannot be read or written.
    JournalFailed {
        /// The error.
        why: String,
    },
}

impl RecordsEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Creating { .. } | Self::Unconfirmed { .. } => Level::Debug,
            Self::Removed { .. } | Self::WaitingForOthers { .. } => Level::Notice,
            Self::NotRemoved { .. }
            | Self::ProviderGone { .. }
            | Self::Spared { .. }
            | Self::EntryUnreadable { .. }
            | Self::EntrySetAside { .. }
            | Self::JournalFailed { .. } => Level::Warn,
        }
    }
}

impl fmt::Display for RecordsEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitingForOthers { names } => write!(
                f,
                "another order has TXT {names}, or others for which there is no room beside them: waiting \
                 until it has removed its own"
            ),
            Self::Creating { names, zone } => write!(f, "creating TXT {names} in zone \"{zone}\""),
            Self::Unconfirmed { names } => {
                write!(f, "TXT {names} may still appear: their creation was never confirmed")
            }
            Self::Removed { names } => write!(f, "TXT {names} of an earlier order removed"),
            Self::NotRemoved { names, is_earlier, why } => {
                let of = if *is_earlier { " of an earlier order" } else { "" };
                write!(f, "TXT {names}{of} cannot be removed now, will be retried: {why}")
            }
            Self::ProviderGone { names, provider } => write!(
                f,
                "TXT {names} cannot be removed: no \"acme_dns_provider\" named \"{provider}\" is defined any \
                 more, define it again or remove them by hand"
            ),
            Self::Spared { entry, what, aside: None } => write!(
                f,
                "journal entry \"{entry}\": left in the zone: {what}; remove it by hand, then \
                 \"journal/{entry}.json\""
            ),
            Self::Spared { entry, what, aside: Some(aside) } => write!(
                f,
                "journal entry \"{entry}\": not removed: {what}; the entry was moved to \"{}\"",
                aside.display()
            ),
            Self::EntryUnreadable { why } => {
                write!(f, "{why}; TXT records of an earlier order may be left until then")
            }
            Self::EntrySetAside { aside: Ok(aside), why } => {
                write!(f, "{why}; moved to \"{}\", TXT records may be left", aside.display())
            }
            Self::EntrySetAside { aside: Err(other), why } => write!(f, "{why}; {other}"),
            Self::JournalFailed { why } => write!(
                f,
                "the journal cannot be kept, TXT records may be left in the zone until the next start: {why}"
            ),
        }
    }
}

rows! {
    RecordsEvent, |event| Event::Records(Subject::Certificate("example.com".into()), event);
    "records-waiting": WaitingForOthers { names: "_acme-challenge.example.com".into() }
        => "the order goes on when the other one is done", nothing;
    "records-creating": Creating { names: "_acme-challenge.example.com".into(), zone: "example.com".into() }
        => "the records that the CA looks for are created", nothing;
    "records-unconfirmed": Unconfirmed { names: "_acme-challenge.example.com".into() }
        => "they are looked for again, for 15 s", nothing;
    "records-removed": Removed { names: "_acme-challenge.example.com".into() }
        => "what an interrupted order had left is gone", nothing;
    "records-not-removed": NotRemoved {
        names: "_acme-challenge.example.com".into(),
        is_earlier: false,
        why: "the DNS provider does not answer".into(),
    } => "they stay in the journal", nothing;
    "records-provider-gone": ProviderGone { names: "_acme-challenge.example.com".into(), provider: "old".into() }
        => "leftovers in the zone do no harm", may "do what the line says";
    "records-spared": Spared {
        entry: "example.com-1".into(),
        what: "TXT \"_acme-challenge.example.com\" is not known to be ours".into(),
        aside: None,
    } => "the module removes only what is certainly its own", may "do what the line says";
    "records-entry-unreadable": EntryUnreadable { why: "cannot open \"journal/1.json\": 5: I/O error".into() }
        => "it is read again", may "look at the disk";
    "records-entry-set-aside": EntrySetAside {
        aside: Ok("journal/1.json.invalid".into()),
        why: "\"journal/1.json\" cannot be used".into(),
    } => "leftovers in the zone do no harm", may "look for TXT records in the zone, and remove them";
    "records-journal-failed": JournalFailed { why: "cannot write \"journal\": 28: No space left on device".into() }
        => "the order goes on", may "make room on the disk";
}
