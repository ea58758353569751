//! The index of names: which certificates hold the name that a client asks for. It lies in shared memory, and is
//! found its way through without a lock.
//!
//! ```text
//! words of 64 bits: the seed of the hash | number of buckets, a power of two | end of the entries
//!   | buckets | entries, one for each name | room for more
//! bucket: 0, GONE, or a part of the hash in the high half and the place of an entry in the low half
//! entry:  length of the name (16 bits), number of further certificates (16), first certificate (32),
//!         then a word for each further certificate, and the name in whole words
//! ```
//! A name is looked for from the bucket that its hash says on, until a bucket is empty. The seed keeps those who
//! choose names from choosing which of them collide.
//!
//! One writer adds certificates and takes them away while others search. An entry that can be found never changes: its
//! successor is written into the room, and takes effect by one store, that of its bucket. A reader that has found the old
//! one has found what was right a moment ago; whether a certificate still holds the name is for it to check.
//!
//! The reader trusts no number: each place is compared with the bounds.

use crate::id::CertificateId;
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of a word.
const WORD: usize = size_of::<u64>();

/// The places of the end of the entries, and of the first bucket.
const END: usize = 2;
const FIRST_BUCKET: usize = 3;

/// Bucket of an entry that is gone: a search goes on behind it.
const GONE: u64 = 1;

/// Lack of room in an index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IndexFull;

/// Index of names, as it lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct NameIndex<'a> {
    words: &'a [AtomicU64],
    seed: u64,
    buckets: usize,
}

/// Entry of a name.
struct Entry<'a> {
    first: CertificateId,
    further: &'a [AtomicU64],
}

impl<'a> Entry<'a> {
    /// Lists the certificates in the order of the configuration.
    fn certificates(self) -> impl Iterator<Item = CertificateId> + use<'a> {
        let further = self.further.iter().map(|word| certificate(word.load(Ordering::Relaxed)));
        std::iter::once(self.first).chain(further)
    }
}

impl<'a> NameIndex<'a> {
    /// Builds the words of an index. Where several certificates hold a name, those that come first are found first.
    /// There are so many words of `room` for what is added later.
    pub fn build<'n>(
        names: impl IntoIterator<Item = (&'n str, CertificateId)>,
        seed: u64,
        room: usize,
    ) -> Vec<u64> {
        let mut names: Vec<_> = names.into_iter().collect();
        // Stable: the order of the configuration is kept.
        names.sort_by_key(|(name, _)| *name);
        let distinct: Vec<_> = names.chunk_by(|(one, _), (other, _)| one == other).collect();
        // Half of the buckets or more are empty, so that searches are short. An entry takes two words or more.
        let buckets = (distinct.len() * 2 + room).next_power_of_two();
        let mut words = vec![0; FIRST_BUCKET + buckets];
        words[0] = seed;
        words[1] = buckets as u64;
        for holders in distinct {
            let Some(((name, first), further)) = holders.split_first() else { continue };
            let further = further.iter().map(|(_, certificate)| *certificate);
            let Ok(place) = u32::try_from(words.len()) else { break };
            let hash = hash(seed, name);
            let mut bucket = position(hash, buckets);
            while words[FIRST_BUCKET + bucket] != 0 {
                bucket = (bucket + 1) % buckets;
            }
            words[FIRST_BUCKET + bucket] = tag(hash) | u64::from(place);
            words.extend(entry(name, *first, further));
        }
        words[END] = words.len() as u64;
        words.resize(words.len() + room, 0);
        words
    }

    /// Reads an index. `None`: these words are none.
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        let seed = words.first()?.load(Ordering::Relaxed);
        let buckets = usize::try_from(words.get(1)?.load(Ordering::Relaxed)).ok()?;
        let behind = words.len().checked_sub(FIRST_BUCKET)?;
        let is_there = buckets.is_power_of_two() && buckets <= behind;
        is_there.then_some(Self { words, seed, buckets })
    }

    /// Finds the certificates for a name in lower case, without a final dot: those that hold it as it stands, then
    /// those whose wildcard stands for it.
    pub fn find(self, name: &str) -> impl Iterator<Item = CertificateId> + use<'a> {
        let parent = name.split_once('.').filter(|(label, _)| !matches!(*label, "" | "*"));
        let wildcard = parent.and_then(|(_, parent)| self.entry(&format!("*.{parent}")));
        let entries = [self.entry(name), wildcard];
        entries.into_iter().flatten().flat_map(Entry::certificates)
    }

    /// Has a certificate be found by a name, before all others that hold it. `words` are those of this index, for writing.
    ///
    /// # Errors
    /// There is no room.
    pub fn insert(
        self,
        words: &[AtomicU64],
        name: &str,
        certificate: CertificateId,
    ) -> Result<(), IndexFull> {
        let (bucket, holders) = self.holders(name);
        if holders.contains(&certificate) {
            return Ok(());
        }
        self.replace(words, bucket, name, (certificate, &holders))
    }

    /// Has a certificate not be found by a name any more. `words` are those of this index, for writing.
    ///
    /// # Errors
    /// There is no room to write down who else holds the name.
    pub fn remove(
        self,
        words: &[AtomicU64],
        name: &str,
        certificate: CertificateId,
    ) -> Result<(), IndexFull> {
        let (bucket, mut holders) = self.holders(name);
        if !holders.contains(&certificate) {
            return Ok(());
        }
        holders.retain(|holder| *holder != certificate);
        match holders.split_first() {
            Some((first, further)) => self.replace(words, bucket, name, (*first, further)),
            None => {
                let bucket = words.get(FIRST_BUCKET + bucket.ok_or(IndexFull)?);
                bucket.ok_or(IndexFull)?.store(GONE, Ordering::Release);
                Ok(())
            }
        }
    }

    /// Finds the bucket of a name, or one that it can have, and the certificates that hold the name.
    fn holders(self, name: &str) -> (Option<usize>, Vec<CertificateId>) {
        let hash = hash(self.seed, name);
        let mut free = None;
        for bucket in self.buckets_from(hash) {
            let Some(value) = self.bucket(bucket) else { break };
            match value {
                0 => return (free.or(Some(bucket)), Vec::new()),
                GONE => free = free.or(Some(bucket)),
                value => {
                    if let Some(entry) = self.entry_of(value, hash, name) {
                        return (Some(bucket), entry.certificates().collect());
                    }
                }
            }
        }
        (free, Vec::new())
    }

    /// Writes the entry of a name behind all others, and has its bucket lead there.
    fn replace(
        self,
        words: &[AtomicU64],
        bucket: Option<usize>,
        name: &str,
        (first, further): (CertificateId, &[CertificateId]),
    ) -> Result<(), IndexFull> {
        let entry: Vec<u64> = entry(name, first, further.iter().copied()).collect();
        let end = words.get(END).ok_or(IndexFull)?;
        let place = usize::try_from(end.load(Ordering::Relaxed)).map_err(|_| IndexFull)?;
        let number = u32::try_from(place).map_err(|_| IndexFull)?;
        // An end that lies among the buckets is none.
        let is_behind = place >= FIRST_BUCKET + self.buckets;
        let room = words.get(place..).filter(|_| is_behind);
        let room = room.and_then(|room| room.get(..entry.len())).ok_or(IndexFull)?;
        let bucket = words.get(FIRST_BUCKET + bucket.ok_or(IndexFull)?).ok_or(IndexFull)?;
        // A writer that dies leaves words that nobody finds.
        end.store((place + entry.len()) as u64, Ordering::Relaxed);
        room.iter().zip(entry).for_each(|(to, word)| to.store(word, Ordering::Relaxed));
        let tag = tag(hash(self.seed, name));
        bucket.store(tag | u64::from(number), Ordering::Release);
        Ok(())
    }

    /// Lists the buckets from the one on that a hash says.
    fn buckets_from(self, hash: u64) -> impl Iterator<Item = usize> {
        let begin = position(hash, self.buckets);
        (begin..self.buckets).chain(0..begin)
    }

    fn bucket(self, bucket: usize) -> Option<u64> {
        Some(self.words.get(FIRST_BUCKET + bucket)?.load(Ordering::Acquire))
    }

    fn entry(self, name: &str) -> Option<Entry<'a>> {
        let hash = hash(self.seed, name);
        for bucket in self.buckets_from(hash) {
            let value = self.bucket(bucket)?;
            if value == 0 {
                return None;
            }
            if let Some(entry) = self.entry_of(value, hash, name) {
                return Some(entry);
            }
        }
        None
    }

    /// Gives the entry that a bucket leads to, if it is that of this name.
    fn entry_of(self, bucket: u64, hash: u64, name: &str) -> Option<Entry<'a>> {
        if bucket & TAG != tag(hash) {
            return None;
        }
        let place = usize::try_from(bucket & !TAG).ok()?;
        if place < FIRST_BUCKET + self.buckets {
            return None;
        }
        let (header, words) = self.words.get(place..)?.split_first()?;
        let header = header.load(Ordering::Relaxed);
        if header & 0xffff != name.len() as u64 {
            return None;
        }
        let (further, words) = words.split_at_checked((header >> 16 & 0xffff) as usize)?;
        let chunks = name.as_bytes().chunks(WORD);
        let held = words.get(..chunks.len())?.iter().map(|word| word.load(Ordering::Relaxed));
        held.eq(chunks.map(word)).then(|| Entry { first: certificate(header), further })
    }
}

/// Lists the words of an entry.
fn entry<'n>(
    name: &'n str,
    first: CertificateId,
    further: impl ExactSizeIterator<Item = CertificateId> + 'n,
) -> impl Iterator<Item = u64> + 'n {
    // Names of certificates have 253 octets at most.
    let length = name.len() as u64 & 0xffff;
    let count = further.len().min(usize::from(u16::MAX));
    let header = length | (count as u64) << 16 | (first.index() as u64) << 32;
    let further = further.take(count).map(|certificate| (certificate.index() as u64) << 32);
    std::iter::once(header).chain(further).chain(name.as_bytes().chunks(WORD).map(word))
}

/// The half of a bucket that is a part of the hash.
const TAG: u64 = !0 << 32;

fn tag(hash: u64) -> u64 {
    hash & TAG
}

/// The bucket that a search begins with, of a power of two.
fn position(hash: u64, buckets: usize) -> usize {
    hash as usize & (buckets - 1)
}

/// SipHash, with the standard library's keys: all processes of one memory are the same program.
fn hash(seed: u64, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// Bytes as a word, with zeros behind them.
fn word(bytes: &[u8]) -> u64 {
    let mut whole = [0; WORD];
    whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(whole)
}

/// The certificate in the high half of a word.
fn certificate(word: u64) -> CertificateId {
    CertificateId::new((word >> 32) as usize)
}

#[cfg(test)]
mod tests {
    use super::{FIRST_BUCKET, IndexFull, NameIndex};
    use crate::id::CertificateId;
    use crate::stock;
    use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};
    use std::collections::HashMap;
    use std::sync::atomic::AtomicU64;

    fn memory(words: Vec<u64>) -> Vec<AtomicU64> {
        words.into_iter().map(AtomicU64::new).collect()
    }

    fn index(certificates: &[Vec<String>], seed: u64) -> Vec<AtomicU64> {
        let names = certificates.iter().enumerate().flat_map(|(id, names)| {
            names.iter().map(move |name| (name.as_str(), CertificateId::new(id)))
        });
        memory(NameIndex::build(names, seed, 0))
    }

    fn find(words: &[AtomicU64], name: &str) -> Vec<usize> {
        let index = NameIndex::new(words).expect("an index");
        index.find(name).map(CertificateId::index).collect()
    }

    fn lists(certificates: &[&[&str]]) -> Vec<Vec<String>> {
        let owned = |names: &&[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        certificates.iter().map(owned).collect()
    }

    #[test]
    fn a_name_as_it_stands_comes_before_a_wildcard() {
        let certificates = lists(&[
            &["*.shop.test", "shop.test"],
            &["a.shop.test"],
            &["b.test", "a.shop.test"],
            &["*.test"],
        ]);
        let words = index(&certificates, 7);
        for (name, expected) in [
            ("a.shop.test", &[1, 2, 0][..]),
            ("b.shop.test", &[0]),
            ("shop.test", &[0, 3]),
            ("x.a.shop.test", &[]),
            ("*.shop.test", &[0]),
            ("b.test", &[2, 3]),
            ("test", &[]),
            (".shop.test", &[]),
            ("", &[]),
            (".", &[]),
            ("*.", &[]),
            ("..", &[]),
            ("a.shop.test\0", &[]),
            ("\0.shop.test", &[0]),
            ("A.shop.test", &[0]),
        ] {
            assert_eq!(find(&words, name), expected, "{name:?}");
        }
    }

    #[test]
    fn names_are_told_apart_by_their_last_octet_and_their_length() {
        let long = format!("{}.test", ["a".repeat(63).as_str(); 3].join("."));
        let names = [long.clone(), format!("{long}a"), "abcdefg.h".into(), "abcdefg.".into()];
        let words = index(&names.clone().map(|name| vec![name]), 0);
        for (id, name) in names.iter().enumerate() {
            assert_eq!(find(&words, name), [id], "{name}");
        }
        assert_eq!(find(&words, "abcdefg.\0"), [0; 0]);
    }

    #[test]
    fn an_index_without_room_stays_as_it_is() {
        let words = index(&lists(&[&["a.test"]]), 3);
        let full = NameIndex::new(&words).expect("an index");
        let other = CertificateId::new(1);
        assert_eq!(full.insert(&words, "a.test", other), Err(IndexFull));
        assert_eq!(full.insert(&words, "b.test", other), Err(IndexFull));
        assert_eq!((find(&words, "a.test"), find(&words, "b.test")), (vec![0], vec![]));
        assert_eq!(full.remove(&words, "a.test", CertificateId::new(0)), Ok(()));
        assert_eq!(find(&words, "a.test"), [0; 0]);
    }

    #[test]
    fn an_index_whose_end_lies_among_its_buckets_has_no_room() {
        for end in 0..FIRST_BUCKET as u64 + 4 {
            let words = memory(vec![0, 4, end, 0, 0, 0, 0, 0, 0]);
            let before = format!("{words:?}");
            let index = NameIndex::new(&words).expect("an index");
            assert_eq!(index.insert(&words, "a.test", CertificateId::new(1)), Err(IndexFull));
            assert_eq!(format!("{words:?}"), before);
        }
    }

    #[test]
    fn an_empty_index_finds_nothing_and_no_memory_is_none() {
        assert_eq!(find(&index(&[], 1), "a.test"), [0; 0]);
        for words in
            [vec![], vec![1], vec![1, 1], vec![1, 0, 0], vec![1, 3, 0, 0, 0, 0], vec![1, 4, 0, 0]]
        {
            let memory = memory(words);
            assert!(NameIndex::new(&memory).is_none(), "{memory:?}");
        }
    }

    /// Labels so few that names meet.
    fn names() -> impl Strategy<Value = String> {
        let label = prop::sample::select(vec!["a", "b", "shop", "xn--bcher-kva", "0"]);
        (any::<bool>(), prop::collection::vec(label, 1..4)).prop_map(|(is_wildcard, labels)| {
            let star = if is_wildcard { "*." } else { "" };
            format!("{star}{}", labels.join("."))
        })
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_search_through_all_certificates_finds(
            certificates in prop::collection::vec(prop::collection::hash_set(names(), 1..4), 0..40),
            asked in prop::collection::vec(names(), 1..40),
            seed in any::<u64>(),
        ) {
            let certificates: Vec<Vec<String>> =
                certificates.into_iter().map(|names| names.into_iter().collect()).collect();
            let words = index(&certificates, seed);
            for name in asked {
                let holds = |id: &usize| certificates[*id].contains(&name);
                let covers = |id: &usize| stock::covers(&certificates[*id], &name);
                let wildcard = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
                let stands_for = |id: &usize| {
                    wildcard.as_ref().is_some_and(|it| *it != name && certificates[*id].contains(it))
                };
                let all = || 0..certificates.len();
                let expected: Vec<usize> =
                    all().filter(holds).chain(all().filter(stands_for)).collect();
                let found = find(&words, &name);
                assert!(found.iter().all(covers));
                prop_assert_eq!(found, expected, "{}", name);
            }
        }

        #[test]
        fn what_is_added_and_taken_away_is_found_as_if_it_were_built_so(
            steps in prop::collection::vec((any::<bool>(), names(), 0_usize..6), 0..120),
            seed in any::<u64>(),
        ) {
            let words = memory(NameIndex::build([], seed, 2_000));
            let index = NameIndex::new(&words).expect("an index");
            // Who was added last comes first.
            let mut expected: HashMap<String, Vec<usize>> = HashMap::new();
            for (adds, name, id) in steps {
                let holders = expected.entry(name.clone()).or_default();
                let certificate = CertificateId::new(id);
                let done = match adds {
                    true => {
                        if !holders.contains(&id) {
                            holders.insert(0, id);
                        }
                        index.insert(&words, &name, certificate)
                    }
                    false => {
                        holders.retain(|holder| *holder != id);
                        index.remove(&words, &name, certificate)
                    }
                };
                prop_assert_eq!(done, Ok(()));
                for (name, holders) in &expected {
                    let entry = index.entry(name).map(|entry| entry.certificates().collect());
                    let found: Vec<CertificateId> = entry.unwrap_or_default();
                    let found: Vec<usize> = found.into_iter().map(CertificateId::index).collect();
                    prop_assert_eq!(&found, holders, "{}", name);
                }
            }
        }

        #[test]
        fn no_words_and_no_name_do_harm(
            words in prop::collection::vec(prop::num::u64::ANY, 0..64),
            buckets in 0_u32..7,
            low in any::<bool>(),
            name in ".{0,40}",
        ) {
            let small = |word: u64| if low { word & 0x0000_003f_0001_003f } else { word };
            let mut words: Vec<u64> = words.into_iter().map(small).collect();
            if let Some(word) = words.get_mut(1) {
                *word = 1 << buckets;
            }
            let memory = memory(words);
            if let Some(index) = NameIndex::new(&memory) {
                let _found = index.find(&name).count();
                let _done = index.insert(&memory, &name, CertificateId::new(1));
                let _found = index.find(&name).count();
                let _done = index.remove(&memory, &name, CertificateId::new(1));
            }
        }
    }
}
