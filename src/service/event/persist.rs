//! TXT records of dns-persist-01, which stay.

use super::reference::{END, rows};
use super::{Event, Subject};
use acme_dns_core::level::Level;
use acme_dns_core::time::UnixTime;
use std::fmt;

/// Event of a record that proves a name for more than one order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PersistEvent {
    /// One is missing that no provider of the configuration can write.
    Needed {
        /// The record as a line of a zone file.
        line: String,
        /// The reason why what is there does not do.
        why: Option<String>,
        /// Set unless it was told within the last hour.
        is_due: bool,
    },
    /// The servers have one that was missing.
    Found {
        /// Its name.
        name: String,
    },
    /// Some were written.
    Written {
        /// Their names.
        names: String,
        /// The DNS zone.
        zone: String,
        /// Their end, if they have one.
        until: Option<UnixTime>,
    },
    /// The values that they take the place of cannot be removed.
    NotReplaced {
        /// The names.
        names: String,
        /// The error.
        why: String,
    },
    /// One ends soon that no provider of the configuration can write anew.
    EndsSoon {
        /// Its end.
        until: UnixTime,
        /// The record that should be there, as a line of a zone file.
        line: String,
    },
    /// A challenge does not conform to the draft.
    Malformed {
        /// The name to prove.
        name: String,
        /// The fault.
        why: String,
    },
}

impl PersistEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Needed { is_due: true, .. } | Self::EndsSoon { .. } => Level::Error,
            Self::NotReplaced { .. } | Self::Malformed { .. } => Level::Warn,
            Self::Found { .. } | Self::Written { .. } => Level::Notice,
            Self::Needed { .. } => Level::Debug,
        }
    }
}

impl fmt::Display for PersistEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needed { line, why, .. } => {
                write!(
                    f,
                    "waiting for a TXT record that no provider here can write, add it: {line}"
                )?;
                why.iter().try_for_each(|why| write!(f, " ({why})"))
            }
            Self::Found { name } => write!(f, "TXT \"{name}\" is there, the wait is over"),
            Self::Written { names, zone, until } => {
                write!(f, "TXT {names} written to zone \"{zone}\" for dns-persist-01, ")?;
                match until {
                    None => f.write_str("to stay"),
                    Some(until) => write!(f, "to stay until {until}"),
                }
            }
            Self::NotReplaced { names, why } => {
                write!(f, "a value of TXT {names} that was replaced cannot be removed: {why}")
            }
            Self::EndsSoon { until, line } => write!(
                f,
                "a TXT record of dns-persist-01 ends at {until}, and no provider here can write it anew, \
                 replace it: {line}"
            ),
            Self::Malformed { name, why } => {
                write!(f, "the challenge dns-persist-01 for \"{name}\" is malformed: {why}")
            }
        }
    }
}

rows! {
    PersistEvent, |event| Event::Persist(Subject::Certificate("example.com".into()), event);
    "persist-needed": Needed {
        line: "_validation-persist.example.com. IN TXT \"ca.example; accounturi=https://ca.example/acct/7\"".into(),
        why: None,
        is_due: true,
    } => "once an hour; nothing is ordered until the servers show the record",
        must "add the record: [Waiting for a record](operations.md#waiting-for-a-record)";
    "persist-found": Found { name: "_validation-persist.example.com".into() } => "the certificate is ordered now",
        nothing;
    "persist-written": Written {
        names: "_validation-persist.example.com".into(),
        zone: "example.com".into(),
        until: None,
    } => "the record proves the name for this and later orders", nothing;
    "persist-not-replaced": NotReplaced {
        names: "_validation-persist.example.com".into(),
        why: "the DNS provider refuses it".into(),
    } => "the zone has one value too many, which does no harm", may "remove it by hand";
    "persist-ends-soon": EndsSoon {
        until: END,
        line: "_validation-persist.example.com. IN TXT \"ca.example; accounturi=https://ca.example/acct/7\"".into(),
    } => "renewals fail after that", must "replace the record before then";
    "persist-malformed": Malformed { name: "example.com".into(), why: "it names no issuer".into() }
        => "the next method of `challenge` is used", may "tell the CA";
}
