//! The public records of a variant, and their form in shared memory.
//!
//! ```text
//! served, 200 bytes        u8 version, u8 origin, u8 lengths of serial number, issuer's name and profile,
//!                          i64 not before, not after, end of the staple, u64 hash of the CA's directory,
//!                          SHA-256 of the leaf, serial number, issuer's name, profile
//! plan, 64 bytes           u8 version, activity, step, reasons of renewal and of what is next, remedy, flags,
//!                          u32 failures, u16 length of the text, i64 renewal, last success, last failure, next,
//!                          beginning of the step, last request
//! text, up to 768 bytes    the last error
//! ```
//! Integers are little-endian, times in seconds since the Unix epoch; a time of 0 is none. Version 0 is a record that
//! was never written. All have a fixed size, so none needs an allocator, and each is written in place. The reader
//! trusts nothing: another process has written it.

use super::certificate::{
    Activity, LastError, NextStep, Origin, Remedy, RenewalRequest, RequestState, Step,
    StepUnderWay, WhyNext,
};
use crate::schedule::Validity;
use crate::time::UnixTime;
use thiserror::Error;

/// Bytes of a served record.
pub const SERVED: usize = 200;
/// Bytes of a plan.
pub const PLAN: usize = 64;
/// Most bytes of the text of a plan.
pub const TEXT: usize = 768;

pub(super) const VERSION: u8 = 1;
const FINGERPRINT: usize = 32;
const SERIAL: usize = 32;
const NAME: usize = 64;
const PROFILE: usize = 32;
/// Bytes of a plan before the length of its text.
const LENGTH_AT: usize = 12;
const IS_REVOKED: u8 = 1;
const IS_REFUSED: u8 = 2;

/// Facts about a certificate that workers serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServedRecord {
    /// Origin.
    pub origin: Origin,
    /// Its dates.
    pub validity: Validity,
    /// End of its staple.
    pub stapled_until: Option<UnixTime>,
    /// Hash of the URL of the CA's directory, as of [`hash`], if it is known.
    pub directory: Option<u64>,
    /// SHA-256 of the leaf.
    pub fingerprint: [u8; FINGERPRINT],
    /// The serial number, at most 32 bytes (RFC 5280 allows 20).
    pub serial: Vec<u8>,
    /// Common name of the issuing certificate, cut to 64 bytes.
    pub issuer_cn: String,
    /// The profile that was wanted, cut to 32 bytes.
    pub profile: Option<String>,
}

/// Plan for a variant: what is done for it, what happens next, and what has gone wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Work that is done; whether it waits is for the reader to find out, by the clock.
    pub activity: Activity,
    /// Step of the attempt under way.
    pub step: Option<StepUnderWay>,
    /// Time of the renewal, if there is a certificate.
    pub renewal: Option<NextStep>,
    /// Time of what comes next.
    pub next: Option<NextStep>,
    /// Attempts in a row that have failed.
    pub failures: u32,
    /// Time at which a certificate was obtained last.
    pub last_success: Option<UnixTime>,
    /// The last failure.
    pub last_error: Option<LastError>,
    /// Set if the CA says that what is served is revoked.
    pub revoked: bool,
    /// The last renewal that was asked for at the status page; it is never pending here.
    pub requested: Option<RenewalRequest>,
}

/// Reason to refuse bytes as a record.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RecordError {
    /// Another version of the module has written it.
    #[error("the status record has version {0}, which this version of the module does not read")]
    Version(u8),
    /// A field has a value that nobody writes.
    #[error("the status record has an unknown {0}")]
    Unknown(&'static str),
}

/// Hashes a text (FNV-1a), the same way in every process.
#[must_use]
pub fn hash(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Cuts a text to so many bytes, between characters.
pub(super) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

/// Fills a record from its front.
pub(super) struct Filler<'a>(pub(super) &'a mut [u8]);

impl Filler<'_> {
    pub(super) fn put(&mut self, bytes: &[u8], width: usize) {
        let (field, rest) = std::mem::take(&mut self.0).split_at_mut(width);
        field.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.0 = rest;
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.put(&[byte], 1);
    }

    /// Puts a length that was cut to what its byte holds.
    pub(super) fn length(&mut self, length: usize) {
        self.byte(u8::try_from(length).unwrap_or_default());
    }

    pub(super) fn time(&mut self, time: Option<UnixTime>) {
        self.put(&time.unwrap_or_default().0.to_le_bytes(), size_of::<i64>());
    }
}

/// Takes a record apart from its front. What is not there is zero: all records have their size.
pub(super) struct Taker<'a>(pub(super) &'a [u8]);

impl<'a> Taker<'a> {
    pub(super) fn take(&mut self, width: usize) -> &'a [u8] {
        let (field, rest) = self.0.split_at_checked(width).unwrap_or((self.0, &[]));
        self.0 = rest;
        field
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap_or([0; N])
    }

    pub(super) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    pub(super) fn time(&mut self) -> Option<UnixTime> {
        Some(UnixTime(i64::from_le_bytes(self.array()))).filter(|time| time.0 != 0)
    }

    pub(super) fn text(&mut self, length: usize, width: usize) -> Result<String, RecordError> {
        let bytes = self.bytes(length, width)?;
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::Unknown("text"))?;
        Ok(text.to_owned())
    }

    fn bytes(&mut self, length: usize, width: usize) -> Result<&'a [u8], RecordError> {
        let field = self.take(width);
        field.get(..length).ok_or(RecordError::Unknown("length"))
    }
}

/// Reads the version; `None`: nothing was written.
pub(super) fn version(byte: u8) -> Result<Option<()>, RecordError> {
    match byte {
        0 => Ok(None),
        VERSION => Ok(Some(())),
        other => Err(RecordError::Version(other)),
    }
}

impl ServedRecord {
    /// Writes the record.
    #[must_use]
    pub fn encode(&self) -> [u8; SERVED] {
        let mut record = [0; SERVED];
        let mut out = Filler(&mut record);
        let serial = self.serial.get(..self.serial.len().min(SERIAL)).unwrap_or_default();
        let name = cut(&self.issuer_cn, NAME);
        let profile = cut(self.profile.as_deref().unwrap_or_default(), PROFILE);
        out.byte(VERSION);
        out.byte(self.origin.number());
        out.length(serial.len());
        out.length(name.len());
        out.length(profile.len());
        out.put(&[], 3);
        out.time(Some(self.validity.not_before));
        out.time(Some(self.validity.not_after));
        out.time(self.stapled_until);
        out.put(&self.directory.unwrap_or_default().to_le_bytes(), size_of::<u64>());
        out.put(&self.fingerprint, FINGERPRINT);
        out.put(serial, SERIAL);
        out.put(name.as_bytes(), NAME);
        out.put(profile.as_bytes(), PROFILE);
        record
    }

    /// Reads a record; `None`: nothing is served.
    ///
    /// # Errors
    /// The bytes are not what [`ServedRecord::encode`] writes.
    pub fn decode(record: &[u8; SERVED]) -> Result<Option<Self>, RecordError> {
        let mut from = Taker(record);
        if version(from.byte())?.is_none() {
            return Ok(None);
        }
        let origin = Origin::of(from.byte()).ok_or(RecordError::Unknown("origin"))?;
        let [serial, name, profile, ..] = from.array::<6>();
        let not_before = from.time().unwrap_or_default();
        let not_after = from.time().unwrap_or_default();
        let stapled_until = from.time();
        let directory = Some(u64::from_le_bytes(from.array())).filter(|hash| *hash != 0);
        let fingerprint = from.array();
        let serial = from.bytes(serial.into(), SERIAL)?.to_vec();
        let issuer_cn = from.text(name.into(), NAME)?;
        let profile =
            Some(from.text(profile.into(), PROFILE)?).filter(|profile| !profile.is_empty());
        let validity = Validity { not_before, not_after };
        Ok(Some(Self {
            origin,
            validity,
            stapled_until,
            directory,
            fingerprint,
            serial,
            issuer_cn,
            profile,
        }))
    }

    /// Reads the dates alone, which is all that sorting needs.
    #[must_use]
    pub fn validity(record: &[u8; SERVED]) -> Option<Validity> {
        let mut from = Taker(record);
        version(from.byte()).ok()??;
        from.take(7);
        let not_before = from.time().unwrap_or_default();
        Some(Validity { not_before, not_after: from.time().unwrap_or_default() })
    }
}

impl Plan {
    /// Gives a plan of nothing.
    #[must_use]
    pub fn idle() -> Self {
        Self {
            activity: Activity::Idle,
            step: None,
            renewal: None,
            next: None,
            failures: 0,
            last_success: None,
            last_error: None,
            revoked: false,
            requested: None,
        }
    }

    /// Gives the text that [`Plan::encode`] has no room for.
    #[must_use]
    pub fn text(&self) -> &str {
        cut(self.last_error.as_ref().map_or("", |error| &error.text), TEXT)
    }

    /// Writes the plan without its text.
    #[must_use]
    pub fn encode(&self) -> [u8; PLAN] {
        let mut record = [0; PLAN];
        let mut out = Filler(&mut record);
        let reason = |next: Option<NextStep>| next.map_or(0, |next| next.reason.number());
        let at = |next: Option<NextStep>| next.map(|next| next.at);
        let error = self.last_error.as_ref();
        out.byte(VERSION);
        out.byte(self.activity.number());
        out.byte(self.step.map_or(0, |step| step.name.number()));
        out.byte(reason(self.renewal));
        out.byte(reason(self.next));
        out.byte(error.map_or(0, |error| error.remedy.number()));
        let is_refused = |it: RenewalRequest| it.state == RequestState::Refused;
        let refused = if self.requested.is_some_and(is_refused) { IS_REFUSED } else { 0 };
        out.byte(refused | if self.revoked { IS_REVOKED } else { 0 });
        out.byte(0);
        out.put(&self.failures.to_le_bytes(), size_of::<u32>());
        let length = u16::try_from(self.text().len()).unwrap_or_default();
        out.put(&length.to_le_bytes(), size_of::<u16>());
        out.put(&[], 2);
        out.time(at(self.renewal));
        out.time(self.last_success);
        out.time(error.map(|error| error.at));
        out.time(at(self.next));
        out.time(self.step.map(|step| step.since));
        out.time(self.requested.map(|request| request.at));
        record
    }

    /// Reads the number of bytes that a plan's text has, which is all that is to be read of it.
    #[must_use]
    pub fn text_length(record: &[u8; PLAN]) -> usize {
        let mut from = Taker(record);
        from.take(LENGTH_AT);
        usize::from(u16::from_le_bytes(from.array())).min(TEXT)
    }

    /// Reads a plan and its text; `None`: there is no plan yet.
    ///
    /// # Errors
    /// The bytes are not what [`Plan::encode`] writes.
    pub fn decode(record: &[u8; PLAN], text: &[u8]) -> Result<Option<Self>, RecordError> {
        let mut from = Taker(record);
        if version(from.byte())?.is_none() {
            return Ok(None);
        }
        let activity = Activity::of(from.byte()).ok_or(RecordError::Unknown("activity"))?;
        let [step, why_renewal, why_next, remedy, flags, _] = from.array();
        let failures = u32::from_le_bytes(from.array());
        let length = u16::from_le_bytes(from.array());
        from.take(2);
        let [renewal, last_success, failed, next, since, asked] = [(); 6].map(|()| from.time());
        let next_step = |why: u8, at: Option<UnixTime>| match (why, WhyNext::of(why)) {
            (0, _) => Ok(None),
            (_, Some(reason)) => Ok(Some(NextStep { at: at.unwrap_or_default(), reason })),
            (_, None) => Err(RecordError::Unknown("reason")),
        };
        let step = match (step, Step::of(step)) {
            (0, _) => None,
            (_, Some(name)) => Some(StepUnderWay { name, since: since.unwrap_or_default() }),
            (_, None) => return Err(RecordError::Unknown("step")),
        };
        let last_error = match (remedy, Remedy::of(remedy)) {
            (0, _) => None,
            (_, None) => return Err(RecordError::Unknown("remedy")),
            (_, Some(remedy)) => {
                let text = text.get(..usize::from(length));
                let text = text.ok_or(RecordError::Unknown("length"))?;
                let text = std::str::from_utf8(text).map_err(|_| RecordError::Unknown("text"))?;
                Some(LastError { text: text.to_owned(), at: failed.unwrap_or_default(), remedy })
            }
        };
        Ok(Some(Self {
            activity,
            step,
            renewal: next_step(why_renewal, renewal)?,
            next: next_step(why_next, next)?,
            failures,
            last_success,
            last_error,
            revoked: flags & IS_REVOKED != 0,
            requested: asked.map(|at| RenewalRequest {
                at,
                state: match flags & IS_REFUSED {
                    0 => RequestState::Granted,
                    _ => RequestState::Refused,
                },
            }),
        }))
    }

    /// Reads what sorting needs: the activity, the time of what comes next, and whether it is revoked.
    #[must_use]
    pub fn glimpse(record: &[u8; PLAN]) -> Option<(Activity, Option<UnixTime>, bool)> {
        let mut from = Taker(record);
        version(from.byte()).ok()??;
        let activity = Activity::of(from.byte())?;
        let [_, _, why_next, _, flags, _] = from.array();
        from.take(8 + 3 * size_of::<i64>());
        let next = from.time().unwrap_or_default();
        Some((activity, (why_next != 0).then_some(next), flags & IS_REVOKED != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::{PLAN, Plan, RecordError, SERVED, ServedRecord, TEXT, hash};
    use crate::schedule::Validity;
    use crate::status::{
        Activity, LastError, NextStep, Origin, Remedy, RenewalRequest, RequestState, Step,
        StepUnderWay, WhyNext,
    };
    use crate::time::UnixTime;
    use proptest::prelude::*;

    fn served() -> ServedRecord {
        ServedRecord {
            origin: Origin::Issued,
            validity: Validity { not_before: UnixTime(1), not_after: UnixTime(2) },
            stapled_until: Some(UnixTime(3)),
            directory: Some(hash(b"https://ca.test/directory")),
            fingerprint: [7; 32],
            serial: vec![1, 2, 3],
            issuer_cn: "Test CA ß".to_owned(),
            profile: Some("shortlived".to_owned()),
        }
    }

    fn plan() -> Plan {
        let next = |at, reason| Some(NextStep { at: UnixTime(at), reason });
        Plan {
            activity: Activity::Failing,
            step: Some(StepUnderWay { name: Step::Propagation, since: UnixTime(9) }),
            renewal: next(5, WhyNext::Ari),
            next: next(6, WhyNext::Retry),
            failures: 70_000,
            last_success: Some(UnixTime(-4)),
            last_error: Some(LastError {
                text: "no \"such\" zone\n".to_owned(),
                at: UnixTime(8),
                remedy: Remedy::Request,
            }),
            revoked: true,
            requested: Some(RenewalRequest { at: UnixTime(10), state: RequestState::Refused }),
        }
    }

    fn read(plan: &Plan) -> Result<Option<Plan>, RecordError> {
        let mut text = [0; TEXT];
        text[..plan.text().len()].copy_from_slice(plan.text().as_bytes());
        Plan::decode(&plan.encode(), &text)
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for served in [
            served(),
            ServedRecord { stapled_until: None, directory: None, profile: None, ..served() },
        ] {
            let record = served.encode();
            assert_eq!(ServedRecord::decode(&record), Ok(Some(served.clone())));
            assert_eq!(ServedRecord::validity(&record), Some(served.validity));
        }
        let granted = RenewalRequest { at: UnixTime(11), state: RequestState::Granted };
        let granted = Plan { last_error: None, requested: Some(granted), ..plan() };
        for plan in [plan(), Plan::idle(), granted] {
            assert_eq!(read(&plan), Ok(Some(plan.clone())));
            let glimpse = (plan.activity, plan.next.map(|next| next.at), plan.revoked);
            assert_eq!(Plan::glimpse(&plan.encode()), Some(glimpse));
        }
    }

    #[test]
    fn what_was_never_written_is_nothing() {
        assert_eq!(ServedRecord::decode(&[0; SERVED]), Ok(None));
        assert_eq!(ServedRecord::validity(&[0; SERVED]), None);
        assert_eq!(Plan::decode(&[0; PLAN], &[]), Ok(None));
        assert_eq!(Plan::glimpse(&[0; PLAN]), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let served = ServedRecord {
            issuer_cn: "ä".repeat(40),
            profile: Some("x".repeat(40)),
            serial: vec![1; 40],
            ..served()
        };
        let read_back = ServedRecord::decode(&served.encode()).unwrap().unwrap();
        assert_eq!(read_back.issuer_cn, "ä".repeat(32));
        assert_eq!((read_back.profile, read_back.serial), (Some("x".repeat(32)), vec![1; 32]));
        let mut plan = plan();
        plan.last_error.as_mut().unwrap().text = format!("x{}", "ä".repeat(TEXT));
        let text = read(&plan).unwrap().unwrap().last_error.unwrap().text;
        assert_eq!(text, format!("x{}", "ä".repeat((TEXT - 1) / 2)));
    }

    #[test]
    fn a_field_that_nobody_writes_is_refused() {
        for (at, byte, expected) in [
            (0, 2, RecordError::Version(2)),
            (1, 9, RecordError::Unknown("origin")),
            (2, 33, RecordError::Unknown("length")),
            (3, 65, RecordError::Unknown("length")),
            (4, 33, RecordError::Unknown("length")),
            (104, 0xff, RecordError::Unknown("text")),
        ] {
            let mut record = served().encode();
            record[at] = byte;
            assert_eq!(ServedRecord::decode(&record), Err(expected), "{at}");
        }
        for (at, byte, expected) in [
            (0, 2, RecordError::Version(2)),
            (1, 0, RecordError::Unknown("activity")),
            (2, 6, RecordError::Unknown("step")),
            (3, 6, RecordError::Unknown("reason")),
            (4, 6, RecordError::Unknown("reason")),
            (5, 5, RecordError::Unknown("remedy")),
            (13, 4, RecordError::Unknown("length")),
        ] {
            let mut record = plan().encode();
            record[at] = byte;
            assert_eq!(Plan::decode(&record, &[b' '; TEXT]), Err(expected), "{at}");
        }
        assert_eq!(
            Plan::decode(&plan().encode(), &[0xff; TEXT]),
            Err(RecordError::Unknown("text"))
        );
    }

    proptest! {
        #![proptest_config(crate::schedule::test_config(256))]

        /// Whatever another process has left there: an error or a record, never a panic.
        #[test]
        fn any_bytes_are_read(
            mut bytes in proptest::collection::vec(any::<u8>(), SERVED + PLAN + TEXT),
            is_versioned in any::<bool>(),
        ) {
            if is_versioned {
                (bytes[0], bytes[SERVED]) = (1, 1);
                (bytes[1], bytes[SERVED + 1]) = (1, 1);
            }
            let (served, rest) = bytes.split_first_chunk().unwrap();
            let (plan, text) = rest.split_first_chunk().unwrap();
            if let Ok(Some(read)) = ServedRecord::decode(served) {
                prop_assert_eq!(ServedRecord::decode(&read.encode()), Ok(Some(read)));
            }
            let _any = (ServedRecord::validity(served), Plan::glimpse(plan));
            let _any = Plan::decode(plan, text);
        }
    }
}
