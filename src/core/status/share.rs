//! The engine that several hosts share certificates on, as one of them sees it, and who has obtained what.
//!
//! ```text
//! engine, 616 bytes        u8 version, state, length of this host's name, flags, u16 length of the text, 2 bytes of 0,
//!                          i64 since, last contact, last error, u64 number of records, this host's name, text
//! variant, 152 bytes       u8 version, lengths of the host that obtained it and of the one that orders it now, 5 bytes of
//!                          0, i64 issued, taken over, both names
//! ```
//! The form is that of [`encode`](super::encode), which says more. Names of hosts are the words of others.

use super::assemble::{Assembly, Figures};
use super::certificate::{rfc3339, rfc3339_or_null, words};
use super::encode::{Filler, RecordError, Taker, cut, version};
use super::figure::{BOUNDS, Figure};
use super::page::{Helper, HelperState, Histogram};
use crate::id::VariantId;
use crate::time::UnixTime;
use serde::Serialize;

/// Bytes of the record of the engine.
pub const ENGINE: usize = 616;
/// Bytes of the record of a variant.
pub const SHARED: usize = 152;

const VERSION: u8 = super::encode::VERSION;
/// Most bytes of the name of a host.
const HOST: usize = 64;
/// Most bytes of the text of an error.
const TEXT: usize = 512;
const HAS_FAILED: u8 = 1;

words! {
    /// State of the link to the engine.
    pub enum ShareState {
        /// The process that obtains certificates has no answer from it yet.
        Joining = 1, "joining";
        /// What is shared is known, and followed.
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

/// State of the engine, as the process that asks it has noted it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EngineRecord {
    /// The state.
    pub state: ShareState,
    /// Beginning of that state.
    pub since: UnixTime,
    /// Time of its last word.
    pub last_contact: Option<UnixTime>,
    /// Number of records that were there when they were loaded.
    pub records: u64,
    /// Name of this host, as others see it, cut to 64 bytes.
    pub host: String,
    /// The last failure, if it is not over; its text is cut to 512 bytes.
    pub last_error: Option<ShareFailure>,
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

/// The engine as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareStatus {
    /// Its type, such as `etcd`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Name of this host, as others see it.
    pub host: Option<String>,
    /// The state.
    pub state: ShareState,
    /// Beginning of that state.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub since: Option<UnixTime>,
    /// Time of its last word.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_contact: Option<UnixTime>,
    /// Number of records that were there when they were loaded.
    pub records: u64,
    /// The last failure, if it is not over.
    pub last_error: Option<ShareFailure>,
    /// Time from the issue of certificates to their takeover here.
    pub lag: Histogram,
}

impl ShareStatus {
    /// Tells whether certificates are not shared now, for whatever reason.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.state, ShareState::Away | ShareState::Refused)
    }
}

impl EngineRecord {
    /// Writes the record.
    #[must_use]
    pub fn encode(&self) -> [u8; ENGINE] {
        let mut record = [0; ENGINE];
        let mut out = Filler(&mut record);
        let (host, error) = (cut(&self.host, HOST), self.last_error.as_ref());
        let text = cut(error.map_or("", |error| &error.text), TEXT);
        out.byte(VERSION);
        out.byte(self.state.number());
        out.length(host.len());
        out.byte(if error.is_some() { HAS_FAILED } else { 0 });
        let length = u16::try_from(text.len()).unwrap_or_default();
        out.put(&length.to_le_bytes(), size_of::<u16>());
        out.put(&[], 2);
        out.time(Some(self.since));
        out.time(self.last_contact);
        out.time(error.map(|error| error.at));
        out.put(&self.records.to_le_bytes(), size_of::<u64>());
        out.put(host.as_bytes(), HOST);
        out.put(text.as_bytes(), TEXT);
        record
    }

    /// Reads a record; `None`: nothing was noted yet.
    ///
    /// # Errors
    /// The bytes are not what [`EngineRecord::encode`] writes.
    pub fn decode(record: &[u8; ENGINE]) -> Result<Option<Self>, RecordError> {
        let mut from = Taker(record);
        if version(from.byte())?.is_none() {
            return Ok(None);
        }
        let state = ShareState::of(from.byte()).ok_or(RecordError::Unknown("state"))?;
        let [host, flags] = from.array();
        let length = u16::from_le_bytes(from.array());
        from.take(2);
        let [since, last_contact, failed] = [(); 3].map(|()| from.time());
        let records = u64::from_le_bytes(from.array());
        let host = from.text(host.into(), HOST)?;
        let text = from.text(length.into(), TEXT)?;
        let failure = ShareFailure { text, at: failed.unwrap_or_default() };
        Ok(Some(Self {
            state,
            since: since.unwrap_or_default(),
            last_contact,
            records,
            host,
            last_error: Some(failure).filter(|_| flags & HAS_FAILED != 0),
        }))
    }
}

impl SharedVariant {
    /// Writes the record.
    #[must_use]
    pub fn encode(&self) -> [u8; SHARED] {
        let mut record = [0; SHARED];
        let mut out = Filler(&mut record);
        let name =
            |name: &Option<String>| cut(name.as_deref().unwrap_or_default(), HOST).to_owned();
        let (obtained_by, leader) = (name(&self.obtained_by), name(&self.leader));
        out.byte(VERSION);
        out.length(obtained_by.len());
        out.length(leader.len());
        out.put(&[], 5);
        out.time(self.issued);
        out.time(self.taken_over);
        out.put(obtained_by.as_bytes(), HOST);
        out.put(leader.as_bytes(), HOST);
        record
    }

    /// Reads a record; `None`: nothing was noted yet.
    ///
    /// # Errors
    /// The bytes are not what [`SharedVariant::encode`] writes.
    pub fn decode(record: &[u8; SHARED]) -> Result<Option<Self>, RecordError> {
        let mut from = Taker(record);
        if version(from.byte())?.is_none() {
            return Ok(None);
        }
        let [obtained_by, leader] = from.array();
        from.take(5);
        let [issued, taken_over] = [(); 2].map(|()| from.time());
        let mut name = |length: u8| -> Result<Option<String>, RecordError> {
            Ok(Some(from.text(length.into(), HOST)?).filter(|name| !name.is_empty()))
        };
        let (obtained_by, leader) = (name(obtained_by)?, name(leader)?);
        Ok(Some(Self { obtained_by, issued, taken_over, leader }))
    }
}

impl Assembly<'_> {
    /// Makes what is shown of the engine; `None`: the configuration has none.
    pub(super) fn share(&self, helper: Helper, figures: &Figures) -> Option<ShareStatus> {
        let kind = self.config.share.as_ref()?.kind.name();
        // What cannot be read is not known: another version has written it.
        let record = self.area.engine().and_then(|bytes| EngineRecord::decode(&bytes).ok()?);
        let noted = record.as_ref().map(|record| record.state);
        let state = match helper.state {
            HelperState::Following => ShareState::Following,
            HelperState::Working => noted.unwrap_or(ShareState::Joining),
            HelperState::Starting | HelperState::Down => ShareState::Joining,
        };
        Some(ShareStatus {
            kind,
            host: record.as_ref().map(|record| record.host.clone()),
            state,
            since: record.as_ref().filter(|_| noted == Some(state)).map(|record| record.since),
            last_contact: record.as_ref().and_then(|record| record.last_contact),
            records: record.as_ref().map_or(0, |record| record.records),
            last_error: record.and_then(|record| record.last_error),
            lag: figures.histogram(Figure::Lags, Figure::LagSum),
        })
    }

    /// Gives the hosts of a variant; `None`: it is not shared, or nothing is known of it.
    pub(super) fn shared(&self, variant: VariantId) -> Option<SharedVariant> {
        self.config.share.as_ref()?;
        SharedVariant::decode(&self.area.shared(variant)?).ok()?
    }
}

impl Figures {
    /// Gives how often something took how long.
    pub(super) fn histogram(&self, figure: impl Fn(u8) -> Figure, sum: Figure) -> Histogram {
        let at = |place: usize| self.get(figure(u8::try_from(place).unwrap_or(u8::MAX)));
        let mut count = 0;
        let buckets = BOUNDS.iter().enumerate().map(|(place, bound)| {
            count += at(place);
            (*bound, count)
        });
        let buckets = buckets.collect();
        let sum = std::time::Duration::from_millis(self.get(sum)).as_secs_f64();
        Histogram { buckets, count: count + at(BOUNDS.len()), sum }
    }
}

#[cfg(test)]
mod tests;
