//! The writer of shared memory: where records go, and the parts that they have in common. How they lie there, and how
//! they are read, is in `memory`.

use super::memory::{CurrentRecord, Place, SharedMemory, WORD, extent};
use acme_dns_core::id::CertificateId;
use acme_dns_core::packed::{Reference, common_parts, pack, references};
use std::collections::{BTreeMap, HashMap};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// The first bytes of a record, which have the references of a certificate with a common chain.
const FEW_REFERENCES: usize = 128;

/// Lack of room for a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full;

/// Means to write records. What it knows is not in shared memory: it follows from the slots.
#[derive(Debug)]
pub(super) struct Writer {
    memory: Arc<SharedMemory>,
    /// Bytes that are not free.
    used: usize,
    /// Free memory: the length at each offset.
    free: BTreeMap<usize, usize>,
    /// Parts that records have in common, by their bytes.
    parts: HashMap<Vec<u8>, Part>,
}

/// Part of records.
#[derive(Debug)]
struct Part {
    offset: usize,
    /// The number of references to it.
    users: usize,
}

impl Writer {
    /// Finds out what is free: all that no slot refers to.
    pub(super) fn new(memory: &Arc<SharedMemory>) -> Self {
        let mut writer = Self {
            memory: Arc::clone(memory),
            used: 0,
            free: BTreeMap::new(),
            parts: HashMap::new(),
        };
        let records: Vec<_> = memory.slots().filter_map(|slot| memory.current(slot)).collect();
        let mut used = Vec::new();
        let mut places: HashMap<Place, usize> = HashMap::new();
        for current in records {
            used.push((current.offset, extent(current.length)));
            for Reference { range, offset } in writer.references(current) {
                *places.entry(Place { offset, length: range.len() }).or_default() += 1;
            }
        }
        for (Place { offset, length }, users) in places {
            used.push((offset, extent(length)));
            if let Some(bytes) = writer.memory.part(offset, length) {
                writer.parts.entry(bytes).or_insert(Part { offset, users: 0 }).users += users;
            }
        }
        used.extend(memory.additions().map(|place| (place.offset, extent(place.length))));
        used.sort_unstable();
        let mut at = memory.data();
        for (offset, length) in used.into_iter().chain([(memory.size, 0)]) {
            if offset > at {
                writer.free.insert(at, offset - at);
            }
            at = at.max(offset + length);
        }
        let (_, room) = memory.room();
        writer.used = room - writer.free.values().sum::<usize>();
        memory.note_used(writer.used);
        writer
    }

    /// The references of a record that is there. No more of it is copied than its first bytes, if they have all of them.
    fn references(&self, current: CurrentRecord) -> Vec<Reference> {
        let read = |length| Some(references(&self.memory.copy(current.offset, length))?.0);
        let few = read(current.length.min(FEW_REFERENCES));
        few.or_else(|| read(current.length)).unwrap_or_default()
    }

    /// The memory that it writes to.
    pub(super) fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Puts a record into a slot, unless it is there, and tells whether it has done so. The old one stays where there is
    /// no room for both.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn write(
        &mut self,
        certificate: CertificateId,
        record: &[u8],
    ) -> Result<bool, Full> {
        let memory = Arc::clone(&self.memory);
        let base = NonNull::new(memory.writable.load(Ordering::Acquire)).ok_or(Full)?;
        let slot = memory.slot_in(base, certificate.index()).ok_or(Full)?;
        let old = memory.current(slot);
        if old.and_then(|old| memory.record(old)).is_some_and(|old| *old == *record) {
            return Ok(false);
        }
        let references = self.share_parts(base, record)?;
        let packed = pack(record, &references);
        let offset = match self.put(base, &packed) {
            Ok(offset) => offset,
            Err(Full) => {
                self.give_up_parts(record, &references);
                return Err(Full);
            }
        };
        slot.turn_to(Place { offset, length: packed.len() });
        if let Some(old) = old {
            // Who sees a word that was wiped, or written anew, sees the new generation too.
            fence(Ordering::Release);
            self.release_record(base, old);
        }
        memory.note_used(self.used);
        Ok(true)
    }

    /// Puts a packed record into a slot that has had none. Its users of parts are to be noted
    /// ([`Writer::note_copied`]). `None`: there has been one, or there is no room.
    pub(super) fn put_first(&mut self, certificate: CertificateId, packed: &[u8]) -> Option<()> {
        let memory = Arc::clone(&self.memory);
        let base = NonNull::new(memory.writable.load(Ordering::Acquire))?;
        let slot = memory.slot_in(base, certificate.index())?;
        if slot.generation.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let offset = self.put(base, packed).ok()?;
        slot.turn_to(Place { offset, length: packed.len() });
        Some(())
    }

    /// Gives the offset of a part, which is put there without a user if it is not.
    pub(super) fn place_of_part(&mut self, bytes: &[u8]) -> Option<usize> {
        if let Some(part) = self.parts.get(bytes) {
            return Some(part.offset);
        }
        let base = NonNull::new(self.memory.writable.load(Ordering::Acquire))?;
        self.put_part(base, bytes, 0).ok()
    }

    /// Notes how many records that were copied refer to the part at each of these offsets. A part that none refers to,
    /// of a record that was replaced while it was copied, is freed.
    pub(super) fn note_copied(&mut self, users: &HashMap<usize, usize>) {
        let mut unused = Vec::new();
        self.parts.retain(|bytes, part| {
            part.users += users.get(&part.offset).copied().unwrap_or_default();
            if part.users == 0 {
                unused.push((part.offset, extent(bytes.len())));
            }
            part.users > 0
        });
        unused.into_iter().for_each(|(offset, length)| self.release(offset, length));
        self.memory.note_used(self.used);
    }

    /// Adds a text to the additions, of which there are `number` so far. It stays as long as this memory.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn add(&mut self, number: usize, text: &str) -> Result<(), Full> {
        let memory = Arc::clone(&self.memory);
        let base = NonNull::new(memory.writable.load(Ordering::Acquire)).ok_or(Full)?;
        let offset = self.put(base, text.as_bytes())?;
        let noted = memory.note_addition(number, Place { offset, length: text.len() });
        if noted.is_none() {
            self.release(offset, extent(text.len()));
        }
        memory.note_used(self.used);
        noted.ok_or(Full)
    }

    /// Finds the common parts of a record in memory, and puts there what is not.
    fn share_parts(&mut self, base: NonNull<u8>, record: &[u8]) -> Result<Vec<Reference>, Full> {
        let mut references = Vec::new();
        for range in common_parts(record) {
            let bytes = record.get(range.clone()).unwrap_or_default();
            let known = self.parts.get_mut(bytes).map(|part| {
                part.users += 1;
                part.offset
            });
            let offset = match known.map_or_else(|| self.put_part(base, bytes, 1), Ok) {
                Ok(offset) => offset,
                Err(Full) => {
                    self.give_up_parts(record, &references);
                    return Err(Full);
                }
            };
            references.push(Reference { range, offset });
        }
        Ok(references)
    }

    /// Puts a part into memory that so many records refer to; gives its offset.
    fn put_part(&mut self, base: NonNull<u8>, bytes: &[u8], users: usize) -> Result<usize, Full> {
        let offset = self.put(base, bytes)?;
        self.parts.insert(bytes.to_vec(), Part { offset, users });
        Ok(offset)
    }

    /// Takes back that a record refers to parts.
    fn give_up_parts(&mut self, record: &[u8], references: &[Reference]) {
        for Reference { range, .. } in references {
            self.release_part(record.get(range.clone()).unwrap_or_default());
        }
    }

    /// Frees a part that nobody refers to any more.
    fn release_part(&mut self, bytes: &[u8]) {
        let Some(part) = self.parts.get_mut(bytes) else { return };
        part.users -= 1;
        if part.users == 0 {
            let offset = part.offset;
            self.parts.remove(bytes);
            self.release(offset, extent(bytes.len()));
        }
    }

    /// Frees the memory of a record, with its keys.
    fn release_record(&mut self, base: NonNull<u8>, old: CurrentRecord) {
        for Reference { range, offset } in self.references(old) {
            if let Some(bytes) = self.memory.part(offset, range.len()) {
                self.release_part(&bytes);
            }
        }
        let words = self.memory.words(base, old.offset, old.length);
        words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.release(old.offset, extent(old.length));
    }

    /// Puts bytes into free memory; gives their offset.
    fn put(&mut self, base: NonNull<u8>, bytes: &[u8]) -> Result<usize, Full> {
        let offset = self.allocate(extent(bytes.len()))?;
        let words = self.memory.words(base, offset, bytes.len());
        for (word, bytes) in words.iter().zip(bytes.chunks(WORD)) {
            let mut whole = [0; WORD];
            whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
        Ok(offset)
    }

    /// Takes the first part of free memory that is long enough.
    fn allocate(&mut self, length: usize) -> Result<usize, Full> {
        let found = self.free.iter().find(|(_, free)| **free >= length);
        let (offset, free) = found.map(|(offset, free)| (*offset, *free)).ok_or(Full)?;
        self.free.remove(&offset);
        if free > length {
            self.free.insert(offset + length, free - length);
        }
        self.used += length;
        Ok(offset)
    }

    fn release(&mut self, mut offset: usize, mut length: usize) {
        self.used -= length;
        if let Some((before, free)) = self.free.range(..offset).next_back().map(|(o, f)| (*o, *f))
            && before + free == offset
        {
            self.free.remove(&before);
            (offset, length) = (before, free + length);
        }
        if let Some(free) = self.free.remove(&(offset + length)) {
            length += free;
        }
        self.free.insert(offset, length);
    }
}
