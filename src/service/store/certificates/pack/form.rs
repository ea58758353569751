//! The form of the pack.
//!
//! ```text
//! MAGIC | parts and entries | u64 place of each entry, sorted by name | u64 number of entries | SHA-256 of all before
//!
//! part:   a certificate of a CA in DER, which entries have in common (`acme_dns_core::packed`)
//! entry:  name | stamp of the chain's file | owners of chain and key | dates | type of key | flags | names
//!         | directory | profile | ordered names | public record | stamp and text of renewal.json | record
//! ```
//! A name, a text and a record are a u32 length and bytes, a list is a u32 number and its texts, a stamp is four u64, and
//! an absent text or list has a length of all ones. Integers are little-endian. The reader trusts no number.

use crate::stamp::FileStamp;
use crate::store::certificates::facts::{CertificateFacts, PackedRenewal};
use acme_dns_core::key::KeyType;
use acme_dns_core::packed::unpack;
use acme_dns_core::schedule::{Renewal, Validity};
use acme_dns_core::status::encode::SERVED;
use acme_dns_core::stock::Traits;
use acme_dns_core::time::UnixTime;
use openssl::sha::sha256;
use zeroize::Zeroizing;

/// Beginning of the file. Another version of the module has another one, and reads the files.
pub(super) const MAGIC: &[u8; 16] = b"acme_dns pack 2\n";

/// The bytes of a place, of the number of entries, and of the digest.
const PLACE: usize = size_of::<u64>();
const DIGEST: usize = 32;

/// Length of what is absent.
const ABSENT: u32 = u32::MAX;

const IS_IMPORTED: u32 = 1;
const IS_SELF_SIGNED: u32 = 2;

/// Numbers that a stamp is compared by. That of the device is left out: some systems give it anew at each start.
pub(super) type StampWords = [u64; 4];

/// Entry of a certificate, without its record.
pub(super) struct PackEntry<'a> {
    pub(super) name: &'a str,
    pub(super) stamp: StampWords,
    /// Owners of the files of the chain and the key.
    pub(super) owners: [u32; 2],
    /// Facts, whose stamp is none: `stamp` has it.
    pub(super) facts: CertificateFacts,
    pub(super) served: [u8; SERVED],
    /// Record with references to parts.
    pub(super) record: &'a [u8],
}

impl PackEntry<'_> {
    /// Tells whether it was made of the file with this stamp.
    pub(super) fn is_of(&self, stamp: FileStamp) -> bool {
        self.stamp == stamp.words()
    }

    /// Appends it to bytes; `renewal` is the text of the renewal state.
    pub(super) fn encode(&self, renewal: Option<&[u8]>, out: &mut Vec<u8>) {
        let Self { name, stamp, owners, facts, served, record } = self;
        let Validity { not_before, not_after } = facts.traits.validity;
        let mut out = Output(out);
        out.text(Some(name.as_bytes()));
        stamp.iter().for_each(|word| out.put(&word.to_le_bytes()));
        owners.iter().for_each(|owner| out.put(&owner.to_le_bytes()));
        [not_before, not_after].iter().for_each(|time| out.put(&time.0.to_le_bytes()));
        out.text(Some(facts.traits.key.to_string().as_bytes()));
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let imported = flag(facts.traits.is_imported, IS_IMPORTED);
        out.put(&(imported | flag(facts.traits.is_self_signed, IS_SELF_SIGNED)).to_le_bytes());
        out.list(Some(&facts.traits.names));
        out.text(facts.traits.directory.as_deref().map(str::as_bytes));
        out.text(facts.traits.profile.as_deref().map(str::as_bytes));
        out.list(facts.ordered.as_deref());
        out.put(served);
        let stamp = match facts.renewal {
            Some(PackedRenewal::Saved(stamp, _)) => stamp,
            Some(PackedRenewal::Absent) | None => [0; 4],
        };
        stamp.iter().for_each(|word| out.put(&word.to_le_bytes()));
        out.text(renewal);
        out.text(Some(record));
    }

    fn decode(bytes: &[u8]) -> Option<PackEntry<'_>> {
        let mut from = Input(bytes);
        let name = str::from_utf8(from.text()??).ok()?;
        let stamp = from.words()?;
        let owners = [from.number()?, from.number()?];
        let [not_before, not_after] = [from.time()?, from.time()?];
        let key = KeyType::parse(str::from_utf8(from.text()??).ok()?)?;
        let flags = from.number()?;
        let names = from.list()??;
        let (directory, profile) = (from.string()?, from.string()?);
        let ordered = from.list()?;
        let served = *from.take()?;
        let renewed = from.words()?;
        let renewal = match from.text()? {
            None => PackedRenewal::Absent,
            Some(text) => {
                PackedRenewal::Saved(renewed, serde_json::from_slice::<Renewal>(text).ok()?)
            }
        };
        let record = from.text()??;
        let traits = Traits {
            names,
            validity: Validity { not_before, not_after },
            key,
            directory,
            profile,
            is_imported: flags & IS_IMPORTED != 0,
            is_self_signed: flags & IS_SELF_SIGNED != 0,
        };
        let (none, renewal) = (FileStamp::default(), Some(renewal));
        let facts = CertificateFacts { stamp: none, traits, ordered, renewal };
        Some(PackEntry { name, stamp, owners, facts, served, record })
    }
}

/// Pack that was read, and is whole.
pub(super) struct Pack {
    bytes: Zeroizing<Vec<u8>>,
    /// Place of the table of entries, and their number.
    table: usize,
    count: usize,
}

impl Pack {
    /// Checks the bytes of a pack. `None`: they are none, or not all of it.
    pub(super) fn of(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let (content, digest) = bytes.split_last_chunk::<DIGEST>()?;
        if !content.starts_with(MAGIC) || sha256(content) != *digest {
            return None;
        }
        let (before, count) = content.split_last_chunk::<PLACE>()?;
        let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
        let table = before.len().checked_sub(count.checked_mul(PLACE)?)?;
        Some(Self { bytes, table, count })
    }

    /// Finds the entry of a certificate.
    pub(super) fn find(&self, name: &str) -> Option<PackEntry<'_>> {
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from + (to - from) / 2;
            let bytes = self.entry(middle)?;
            match Input(bytes).text()??.cmp(name.as_bytes()) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => return PackEntry::decode(bytes),
            }
        }
        None
    }

    /// Gives the record of an entry, as it is in shared memory before its parts are shared.
    pub(super) fn record(&self, entry: &PackEntry<'_>) -> Option<Zeroizing<Vec<u8>>> {
        unpack(entry.record, |offset, length| {
            self.bytes.get(offset..offset.checked_add(length)?).map(<[u8]>::to_vec)
        })
    }

    /// Gives the bytes from an entry on.
    fn entry(&self, number: usize) -> Option<&[u8]> {
        let place = Input(self.bytes.get(self.table + number * PLACE..)?).take::<PLACE>()?;
        self.bytes.get(usize::try_from(u64::from_le_bytes(*place)).ok()?..self.table)
    }
}

struct Output<'a>(&'a mut Vec<u8>);

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn length(&mut self, length: Option<usize>) {
        // What is as long as that was not read from a file of this store.
        let length = length.map_or(ABSENT, |length| u32::try_from(length).unwrap_or(ABSENT));
        self.put(&length.to_le_bytes());
    }

    fn text(&mut self, text: Option<&[u8]>) {
        self.length(text.map(<[u8]>::len));
        self.put(text.unwrap_or_default());
    }

    fn list(&mut self, texts: Option<&[String]>) {
        self.length(texts.map(<[String]>::len));
        texts.into_iter().flatten().for_each(|text| self.text(Some(text.as_bytes())));
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn time(&mut self) -> Option<UnixTime> {
        self.take().map(|bytes| UnixTime(i64::from_le_bytes(*bytes)))
    }

    fn words(&mut self) -> Option<StampWords> {
        let mut words = [0; 4];
        for word in &mut words {
            *word = u64::from_le_bytes(*self.take()?);
        }
        Some(words)
    }

    fn length(&mut self) -> Option<Option<usize>> {
        match self.number()? {
            ABSENT => Some(None),
            length => usize::try_from(length).ok().map(Some),
        }
    }

    fn text(&mut self) -> Option<Option<&'a [u8]>> {
        let Some(length) = self.length()? else { return Some(None) };
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(text))
    }

    fn string(&mut self) -> Option<Option<String>> {
        let Some(text) = self.text()? else { return Some(None) };
        Some(Some(str::from_utf8(text).ok()?.to_owned()))
    }

    fn list(&mut self) -> Option<Option<Vec<String>>> {
        let Some(count) = self.length()? else { return Some(None) };
        // Each takes its length at least.
        if count > self.0.len() / size_of::<u32>() {
            return None;
        }
        (0..count).map(|_| self.string()?).collect::<Option<_>>().map(Some)
    }
}
