//! The records of certificates that several hosts share, and their form in shared memory.
//!
//! ```text
//! engine, 616 bytes        u8 version, state, length of this host's name, flags, u16 length of the text, u16 number of hosts,
//!                          i64 since, last contact, last error, u64 number of records, this host's name, text
//! variant, 152 bytes       u8 version, lengths of the host that obtained it and of the one that orders it now, 5 bytes of
//!                          0, i64 issued, taken over, both names
//! ```
//! The form is that of [`encode`](super::encode), which says more. Names of hosts are the words of others.

use super::encode::{Filler, RecordError, Taker, cut, version};
use super::share::{ShareFailure, ShareState, SharedVariant};
use crate::time::UnixTime;

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
    /// Number of hosts that are alive, this one included, as far as it hears of them.
    pub hosts: u16,
    /// Name of this host, as others see it, cut to 64 bytes.
    pub host: String,
    /// The last failure, if it is not over; its text is cut to 512 bytes.
    pub last_error: Option<ShareFailure>,
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
        out.put(&self.hosts.to_le_bytes(), size_of::<u16>());
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
        let hosts = u16::from_le_bytes(from.array());
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
            hosts,
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

#[cfg(test)]
mod tests;
