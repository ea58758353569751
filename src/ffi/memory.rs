//! Shared memory: certificates for the workers, which can read it and not write. What a record holds is in
//! `acme_dns_core::material`.
//!
//! ```text
//! Header | Slot 0, Slot 1, ... one for each certificate of the configuration | additions | public area | index | data
//! ```
//!
//! There are more slots than certificates where domains files are watched. What is added to the configuration then lies
//! among the data as texts, and the additions say where: each process reads them as it needs them (`growth`).
//!
//! The public area is in `public_area`: it alone is for handlers, which never read a record with a key. The
//! index finds slots by the names of certificates (`acme_dns_core::index`); it is there if a server needs it.
//!
//! Each configuration has memory of its own, a `memfd` that is mapped twice: for writing, and, once it is
//! sealed against further mappings of that kind, for reading. The master and the service keep the first
//! mapping, all others give it up: no system call gives it back to them (`F_SEAL_FUTURE_WRITE`).
//!
//! Nobody waits for a lock. There is one writer at a time: the master until the configuration is in force,
//! from then on the service that holds the lock of the state path. A record is written to free memory and
//! takes effect by one store, that of the slot's generation: a writer that dies leaves the old record or
//! the new one. Readers copy, and look whether the generation is still the same.
//!
//! A record refers to the certificates of its CAs, which lie in the same place once (`acme_dns_core::packed`).
//!
//! Places are offsets, checked against the bounds at each use; nothing in here is a pointer. Who writes is in `writer`.

use acme_dns_core::id::CertificateId;
use acme_dns_core::index::NameIndex;
use acme_dns_core::packed::unpack;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use zeroize::Zeroizing;

/// Attempts of a reader whose record is replaced while it copies.
const READ_ATTEMPTS: usize = 8;

/// Bytes of a word; records are copied word by word, since another process may write them meanwhile.
pub(super) const WORD: usize = size_of::<AtomicU64>();

/// Places of records are multiples of this, a line of the processor's cache.
const ALIGNMENT: usize = 64;

/// Beginning of the memory.
#[repr(C, align(64))]
struct Header {
    /// Number of services that were started with this memory.
    starts: AtomicU64,
    /// Time of the last start, in seconds since the Unix epoch.
    last_start: AtomicI64,
    /// Number of last starts that followed one another quickly.
    streak: AtomicU64,
    /// Bytes that records take.
    used: AtomicU64,
}

/// Entry of one certificate.
#[repr(C)]
pub(super) struct CertificateSlot {
    /// Counts the records; 0: there never was one. The record of generation `g` is at `places[g % 2]`.
    pub(super) generation: AtomicU64,
    pub(super) places: [RecordPlace; 2],
}

impl CertificateSlot {
    /// Has the record at a place be the current one.
    pub(super) fn turn_to(&self, place: Place) {
        let next = self.generation.load(Ordering::Relaxed) + 1;
        let [even, odd] = &self.places;
        let to = if next.is_multiple_of(2) { even } else { odd };
        to.offset.store(place.offset as u64, Ordering::Relaxed);
        to.length.store(place.length as u64, Ordering::Relaxed);
        self.generation.store(next, Ordering::Release);
    }
}

/// Place of a record.
#[repr(C)]
pub(super) struct RecordPlace {
    pub(super) offset: AtomicU64,
    pub(super) length: AtomicU64,
}

/// Record that a slot had when it was looked at.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct CurrentRecord {
    pub(super) generation: u64,
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// Numbers of the parts of a memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// Certificates that there are or may be.
    pub(super) slots: usize,
    /// Those that may be added.
    pub(super) additions: usize,
    /// Words of the public area.
    pub(super) public: usize,
}

/// Place of a text among the data.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) length: usize,
}

impl Place {
    /// Bits of the length, in the low part of a word.
    const LENGTH: u32 = 24;

    fn of(word: u64) -> Option<Self> {
        let offset = usize::try_from(word >> Self::LENGTH).ok()?.checked_mul(ALIGNMENT)?;
        let length = usize::try_from(word & ((1 << Self::LENGTH) - 1)).ok()?;
        (word != 0).then_some(Self { offset, length })
    }

    fn word(self) -> u64 {
        ((self.offset / ALIGNMENT) as u64) << Self::LENGTH | self.length as u64
    }
}

/// Memory of one configuration.
#[derive(Debug)]
pub(super) struct SharedMemory {
    /// Null once it was given up.
    pub(super) writable: AtomicPtr<u8>,
    readable: NonNull<u8>,
    pub(super) size: usize,
    slots: usize,
    /// Words of the additions.
    additions: usize,
    /// Words of the public area.
    public: usize,
    /// Words of the index.
    index: usize,
    /// Set if the kernel keeps those who read from writing.
    is_sealed: bool,
}

// SAFETY: both mappings live as long as the value, and what is in them is read and written by atomic
// operations only.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

/// All memory of this process, for [`SharedMemory::give_up_all`].
static ALL: Mutex<Vec<Weak<SharedMemory>>> = Mutex::new(Vec::new());

impl SharedMemory {
    /// Makes the memory of a configuration, with the words of the index, and `room` bytes for records.
    ///
    /// # Errors
    /// The system gives no memory.
    pub(super) fn new(parts: Parts, index: &[u64], room: usize) -> io::Result<Arc<Self>> {
        let Parts { slots, additions, public } = parts;
        let too_large = || io::Error::from_raw_os_error(libc::ENOMEM);
        let table = slots.checked_mul(size_of::<CertificateSlot>()).ok_or_else(too_large)?;
        let table = table.checked_add(additions * WORD).ok_or_else(too_large)?;
        let begin = (size_of::<Header>() + table).next_multiple_of(ALIGNMENT);
        let area = public.checked_mul(WORD).ok_or_else(too_large)?.next_multiple_of(ALIGNMENT);
        let area = area + size_of_val(index).next_multiple_of(ALIGNMENT);
        let size = begin.checked_add(area).and_then(|size| size.checked_add(room));
        let size = size.ok_or_else(too_large)?;
        let mapped = Mappings::sealed(size).or_else(|_| Mappings::anonymous(size))?;
        let memory = Arc::new(Self {
            writable: AtomicPtr::new(mapped.writable.as_ptr()),
            readable: mapped.readable,
            size,
            slots,
            additions,
            public,
            index: index.len(),
            is_sealed: mapped.is_sealed,
        });
        let words = memory.words(mapped.writable, memory.index_begin(), size_of_val(index));
        words.iter().zip(index).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|memory| memory.strong_count() > 0);
        all.push(Arc::downgrade(&memory));
        Ok(memory)
    }

    /// Tells whether the kernel keeps processes that gave up writing from writing again.
    pub(super) fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// Gives up the means to write to any memory of this process.
    pub(super) fn give_up_all() {
        let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        for memory in all.iter().filter_map(Weak::upgrade) {
            memory.give_up();
        }
    }

    fn give_up(&self) {
        let writable = self.writable.swap(ptr::null_mut(), Ordering::AcqRel);
        if writable == self.readable.as_ptr() {
            // The kernel knows no seal: there is one mapping, which can at least not be written by mistake.
            // SAFETY: the mapping is this value's, of this size.
            unsafe { libc::mprotect(writable.cast(), self.size, libc::PROT_READ) };
        } else if !writable.is_null() {
            // SAFETY: the mapping is this value's, of this size; writers look for null.
            unsafe { libc::munmap(writable.cast(), self.size) };
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping begins with it, is aligned to a page and zeroed, and all fields are atomic.
        unsafe { self.readable.cast::<Header>().as_ref() }
    }

    /// Gives the offset at which the additions begin.
    fn additions_begin(&self) -> usize {
        size_of::<Header>() + self.slots * size_of::<CertificateSlot>()
    }

    /// Gives the offset at which the public area begins.
    fn public_begin(&self) -> usize {
        (self.additions_begin() + self.additions * WORD).next_multiple_of(ALIGNMENT)
    }

    /// Gives the offset at which the index begins.
    fn index_begin(&self) -> usize {
        self.public_begin() + (self.public * WORD).next_multiple_of(ALIGNMENT)
    }

    /// Gives the offset at which records begin.
    pub(super) fn data(&self) -> usize {
        self.index_begin() + (self.index * WORD).next_multiple_of(ALIGNMENT)
    }

    /// Gives the index of names. `None`: no server needs it.
    pub(super) fn names(&self) -> Option<NameIndex<'_>> {
        NameIndex::new(self.words(self.readable, self.index_begin(), self.index * WORD))
    }

    /// Gives the words of the index, for writing. `None`: this process has given that up.
    pub(super) fn writable_index_words(&self) -> Option<&[AtomicU64]> {
        let writable = NonNull::new(self.writable.load(Ordering::Acquire))?;
        Some(self.words(writable, self.index_begin(), self.index * WORD))
    }

    /// Lists the places of the additions that there are.
    pub(super) fn additions(&self) -> impl Iterator<Item = Place> {
        let words = self.words(self.readable, self.additions_begin(), self.additions * WORD);
        let places = words.iter().map(|word| Place::of(word.load(Ordering::Acquire)));
        places.map_while(|place| place.filter(|place| self.is_data(place.offset, place.length)))
    }

    /// Gives the text of an addition.
    pub(super) fn addition(&self, number: usize) -> Option<String> {
        let words = self.words(self.readable, self.additions_begin(), self.additions * WORD);
        let place = Place::of(words.get(number)?.load(Ordering::Acquire))?;
        if !self.is_data(place.offset, place.length) {
            return None;
        }
        String::from_utf8(self.copy(place.offset, place.length).to_vec()).ok()
    }

    /// Puts the place of the next addition down.
    pub(super) fn note_addition(&self, number: usize, place: Place) -> Option<()> {
        let writable = NonNull::new(self.writable.load(Ordering::Acquire))?;
        let words = self.words(writable, self.additions_begin(), self.additions * WORD);
        words.get(number)?.store(place.word(), Ordering::Release);
        Some(())
    }

    /// Gives the words of the public area, for reading.
    pub(super) fn public_words(&self) -> &[AtomicU64] {
        self.words(self.readable, self.public_begin(), self.public * WORD)
    }

    /// Gives the words of the public area, for writing. `None`: this process has given that up.
    pub(super) fn writable_public_words(&self) -> Option<&[AtomicU64]> {
        let writable = NonNull::new(self.writable.load(Ordering::Acquire))?;
        Some(self.words(writable, self.public_begin(), self.public * WORD))
    }

    /// Gives the bytes that records take, and those that they may take.
    pub(super) fn room(&self) -> (usize, usize) {
        let used = self.header().used.load(Ordering::Relaxed);
        (usize::try_from(used).unwrap_or_default(), self.size - self.data())
    }

    /// Notes the bytes that records take.
    pub(super) fn note_used(&self, bytes: usize) {
        if let Some(writable) = NonNull::new(self.writable.load(Ordering::Acquire)) {
            // SAFETY: as in `header`.
            let header = unsafe { writable.cast::<Header>().as_ref() };
            header.used.store(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn slot_in(&self, base: NonNull<u8>, index: usize) -> Option<&CertificateSlot> {
        if index >= self.slots {
            return None;
        }
        let offset = size_of::<Header>() + index * size_of::<CertificateSlot>();
        // SAFETY: there is room for this slot, as `new` has made it.
        let slot = unsafe { base.add(offset) }.cast::<CertificateSlot>();
        // SAFETY: aligned, zeroed at first, and all fields are atomic.
        Some(unsafe { slot.as_ref() })
    }

    /// Lists the slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = &CertificateSlot> {
        (0..self.slots).filter_map(|index| self.slot_in(self.readable, index))
    }

    /// Finds the record of a slot, if it lies where records lie.
    pub(super) fn current(&self, slot: &CertificateSlot) -> Option<CurrentRecord> {
        let generation = slot.generation.load(Ordering::Acquire);
        if generation == 0 {
            return None;
        }
        let [even, odd] = &slot.places;
        let place = if generation.is_multiple_of(2) { even } else { odd };
        let offset = usize::try_from(place.offset.load(Ordering::Relaxed)).ok()?;
        let length = usize::try_from(place.length.load(Ordering::Relaxed)).ok()?;
        self.is_data(offset, length).then_some(CurrentRecord { generation, offset, length })
    }

    /// Tells whether bytes lie where records lie.
    fn is_data(&self, offset: usize, length: usize) -> bool {
        let length = length.checked_next_multiple_of(WORD);
        let end = length.and_then(|length| offset.checked_add(length));
        offset.is_multiple_of(ALIGNMENT)
            && offset >= self.data()
            && end.is_some_and(|end| end <= self.size)
    }

    /// Gives the record of a slot, with the parts that it has in common with others. `None`: it is being replaced.
    pub(super) fn record(&self, current: CurrentRecord) -> Option<Zeroizing<Vec<u8>>> {
        let packed = self.copy(current.offset, current.length);
        unpack(&packed, |offset, length| self.part(offset, length))
    }

    /// Gives a part that records have in common.
    pub(super) fn part(&self, offset: usize, length: usize) -> Option<Vec<u8>> {
        self.is_data(offset, length).then(|| self.copy(offset, length).to_vec())
    }

    /// Tells whether a part is the same as the one at an offset of another memory.
    pub(super) fn has_same_part(
        &self,
        own: usize,
        (other, offset): (&Self, usize),
        length: usize,
    ) -> bool {
        if !self.is_data(own, length) || !other.is_data(offset, length) {
            return false;
        }
        let own = self.words(self.readable, own, length).iter();
        // What is behind the last byte of a part is zero, as its writer leaves it.
        own.zip(other.words(other.readable, offset, length))
            .all(|(own, other)| own.load(Ordering::Relaxed) == other.load(Ordering::Relaxed))
    }

    /// Gives the words from `offset` on.
    pub(super) fn words(&self, base: NonNull<u8>, offset: usize, length: usize) -> &[AtomicU64] {
        let count = length.div_ceil(WORD);
        debug_assert!(offset.is_multiple_of(WORD) && offset + count * WORD <= self.size);
        // SAFETY: the caller has compared them with the bounds.
        let start = unsafe { base.add(offset) }.cast::<AtomicU64>();
        // SAFETY: as above; other processes read and write these words atomically too.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), count) }
    }

    pub(super) fn copy(&self, offset: usize, length: usize) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::default();
        self.copy_to(&mut bytes, offset, length);
        bytes
    }

    /// Copies bytes into the place of what a vector has.
    pub(super) fn copy_to(&self, bytes: &mut Zeroizing<Vec<u8>>, offset: usize, length: usize) {
        let words = self.words(self.readable, offset, length);
        bytes.clear();
        if bytes.capacity() < words.len() * WORD {
            // A growing vector would leave copies of a key behind: the one before is wiped.
            *bytes = Zeroizing::new(Vec::with_capacity(words.len() * WORD));
        }
        for word in words {
            bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        bytes.truncate(length);
    }

    /// Gives the number of services that were started with this memory.
    pub(super) fn starts(&self) -> u64 {
        self.header().starts.load(Ordering::Relaxed)
    }

    /// Notes the start of a service; gives how many starts were each less than `quick` seconds after the
    /// one before.
    pub(super) fn note_start(&self, now: i64, quick: i64) -> u64 {
        let Some(writable) = NonNull::new(self.writable.load(Ordering::Acquire)) else { return 0 };
        // SAFETY: as in `header`.
        let header = unsafe { writable.cast::<Header>().as_ref() };
        let last = header.last_start.swap(now, Ordering::Relaxed);
        let is_first = header.starts.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first || now.saturating_sub(last) >= quick {
            header.streak.store(0, Ordering::Relaxed);
            return 0;
        }
        header.streak.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        let readable = self.readable.as_ptr();
        let writable = *self.writable.get_mut();
        if !writable.is_null() && writable != readable {
            // SAFETY: the mapping is this value's, of this size.
            unsafe { libc::munmap(writable.cast(), self.size) };
        }
        // SAFETY: as above; nothing refers to it any more.
        unsafe { libc::munmap(readable.cast(), self.size) };
    }
}

/// Makes a file in memory that can be sealed, of zeroes.
pub(super) fn memory_file(name: &CStr, size: usize) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a plain system call; the name ends in NUL.
    let descriptor = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    let file = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let length = libc::off_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: a plain system call.
    if unsafe { libc::ftruncate(file.as_raw_fd(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Mappings of new memory.
struct Mappings {
    writable: NonNull<u8>,
    readable: NonNull<u8>,
    is_sealed: bool,
}

impl Mappings {
    fn sealed(size: usize) -> io::Result<Self> {
        let file = memory_file(c"acme_dns", size)?;
        let writable = map(size, libc::PROT_READ | libc::PROT_WRITE, Some(&file))?;
        let seals =
            libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
        // SAFETY: a plain system call.
        let is_sealed = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } == 0;
        // Only from the seal on a mapping for reading stays one.
        let readable = map(size, libc::PROT_READ, Some(&file)).inspect_err(|_| {
            // SAFETY: mapped above; nothing refers to it.
            unsafe { libc::munmap(writable.as_ptr().cast(), size) };
        })?;
        Ok(Self { writable, readable, is_sealed })
    }

    /// Makes one mapping, as nginx's own zones are, where there are no such files.
    fn anonymous(size: usize) -> io::Result<Self> {
        let both = map(size, libc::PROT_READ | libc::PROT_WRITE, None)?;
        Ok(Self { writable: both, readable: both, is_sealed: false })
    }
}

/// Maps shared memory, of a file or of none.
pub(super) fn map(size: usize, protection: i32, file: Option<&OwnedFd>) -> io::Result<NonNull<u8>> {
    let (flags, descriptor) = match file {
        Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        None => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: a new mapping at an address of the kernel's choice.
    let address = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, descriptor, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Private keys lie there.
    // SAFETY: the mapping was just made. A kernel without this advice dumps it, no more.
    unsafe { libc::madvise(address, size, libc::MADV_DONTDUMP) };
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Place of one certificate, for reading.
#[derive(Clone, Debug)]
pub(super) struct SlotReader {
    memory: Arc<SharedMemory>,
    certificate: CertificateId,
}

impl SlotReader {
    pub(super) fn new(memory: &Arc<SharedMemory>, certificate: CertificateId) -> Self {
        Self { memory: Arc::clone(memory), certificate }
    }

    fn slot(&self) -> Option<&CertificateSlot> {
        self.memory.slot_in(self.memory.readable, self.certificate.index())
    }

    /// Gives the number of records that there have been. No lock: one load.
    pub(super) fn generation(&self) -> u64 {
        self.slot().map_or(0, |slot| slot.generation.load(Ordering::Acquire))
    }

    /// Copies the record out, with its generation. `None`: there is none, or it is replaced again and
    /// again; what was read before stays good.
    pub(super) fn read(&self) -> Option<(u64, Zeroizing<Vec<u8>>)> {
        self.read_with(|memory, current| memory.record(current))
    }

    /// Reads the record by a function, whose result counts only if the record was not replaced meanwhile. Gives it
    /// with the record's generation, or `None` as [`SlotReader::read`] does.
    pub(super) fn read_with<T>(
        &self,
        mut read: impl FnMut(&SharedMemory, CurrentRecord) -> Option<T>,
    ) -> Option<(u64, T)> {
        let slot = self.slot()?;
        for _ in 0..READ_ATTEMPTS {
            let Some(current) = self.memory.current(slot) else {
                // Out of bounds, which no writer of ours leaves, or not there.
                return None;
            };
            let record = read(&self.memory, current);
            // What was copied was read before this load of the generation.
            fence(Ordering::Acquire);
            if slot.generation.load(Ordering::Relaxed) == current.generation {
                return record.map(|record| (current.generation, record));
            }
        }
        None
    }
}

/// Gives the memory that so many bytes take.
pub(super) fn extent(length: usize) -> usize {
    length.max(1).next_multiple_of(ALIGNMENT)
}
