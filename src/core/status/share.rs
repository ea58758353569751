//! Words about certificates that several hosts share. Names of hosts are the words of others.

use super::field::{rfc3339, rfc3339_or_null, words};
use crate::time::UnixTime;
use serde::Serialize;

words! {
    /// State of the link to the engine.
    pub enum ShareState {
        /// The process that obtains certificates has no answer from it yet.
        Joining = 1, "joining";
        /// All that is shared was loaded, and changes are followed.
        Reached = 2, "reached";
        /// It is away: each host serves what it has.
        Away = 3, "away";
        /// It answers, and cannot be used before a person has changed something.
        Refused = 4, "refused";
        /// Another process has the state path, and the link: certificates are shared there.
        Following = 5, "following";
    }
}

/// The last failure of the engine.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ShareFailure {
    /// The error, with what to do. It holds words of others: escape it.
    pub text: String,
    /// Its time.
    #[serde(serialize_with = "rfc3339")]
    pub at: UnixTime,
}

/// Hosts that have to do with a certificate, with one type of key.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedVariant {
    /// The host that has obtained or offered what is shared, cut to 64 bytes.
    pub obtained_by: Option<String>,
    /// Time at which it was issued, by the clock of that host.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub issued: Option<UnixTime>,
    /// Time at which this host has taken it over from another one.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub taken_over: Option<UnixTime>,
    /// The host that orders the next one now, cut to 64 bytes.
    pub leader: Option<String>,
}
