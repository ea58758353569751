//! Certificates in shared memory.
//!
//! The zone holds a list of slots, one for each name of a certificate. A slot is found by its name
//! when a configuration is loaded, so its content outlives a reload; its address is the same in all
//! processes, as they are children of one master. What is in a slot changes under the slab mutex;
//! only the generation is read without it, once for each handshake.
//!
//! Slots are never freed: a worker of an older configuration may still look at one. What a slot of
//! no configuration holds is freed when the next configuration is in force.

use acme_dns_core::material::Material;
use ngx::ffi::{
    ngx_cycle_t, ngx_list_part_t, ngx_shm_zone_t, ngx_shmtx_lock, ngx_shmtx_unlock,
    ngx_slab_alloc_locked, ngx_slab_free_locked, ngx_slab_pool_t,
};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// The longest name of a certificate, with what `Draft` may append to it.
const MAX_NAME: usize = 216;

/// What the zone begins with; `ngx_slab_pool_t::data` points to it.
#[repr(C)]
struct Root {
    /// The last generation given to a slot.
    generation: Cell<u64>,
    first: Cell<*const SharedSlot>,
}

#[repr(C)]
struct SharedSlot {
    /// Counts up with every change of the content over the whole zone; 0: never had any.
    generation: AtomicU64,
    next: *const SharedSlot,
    /// Change under the mutex, as does `Root::generation`.
    data: Cell<*mut u8>,
    length: Cell<usize>,
    name_length: usize,
    name: [u8; MAX_NAME],
}

impl SharedSlot {
    fn name(&self) -> &[u8] {
        self.name.get(..self.name_length).unwrap_or_default()
    }
}

/// The zone of one cycle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone(*mut ngx_slab_pool_t);

/// A slot of the zone.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    zone: Zone,
    shared: &'static SharedSlot,
}

// SAFETY: a slot lies in shared memory that stays mapped while a process uses it; what changes in it
// is read and written under the zone's mutex, or atomically.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

/// The zone has no room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full;

/// The slab mutex, held.
struct Locked(*mut ngx_slab_pool_t);

impl Locked {
    fn allocate(&self, size: usize) -> Result<*mut u8, Full> {
        // SAFETY: the mutex is held.
        let memory = unsafe { ngx_slab_alloc_locked(self.0, size) };
        if memory.is_null() { Err(Full) } else { Ok(memory.cast()) }
    }

    /// # Safety
    /// `data` is null or was allocated here with this length, and nothing refers to it.
    unsafe fn free(&self, data: *mut u8, length: usize) {
        if !data.is_null() {
            // SAFETY: the memory is `length` long by this function's contract. It held a key.
            unsafe { libc::explicit_bzero(data.cast(), length) };
            // SAFETY: by this function's contract; the mutex is held.
            unsafe { ngx_slab_free_locked(self.0, data.cast()) };
        }
    }

    fn root(&self) -> Option<&Root> {
        // SAFETY: the pool is live while its mutex is held.
        let root = unsafe { (*self.0).data }.cast::<Root>();
        // SAFETY: null, or the root that `Zone::open` made.
        unsafe { root.as_ref() }
    }

    /// All slots. They outlive the lock, as they are never freed.
    fn slots(&self) -> impl Iterator<Item = &'static SharedSlot> {
        // SAFETY: the list ends with null, and its slots are never freed.
        let get = |slot: *const SharedSlot| unsafe { slot.as_ref::<'static>() };
        let first = self.root().and_then(|root| get(root.first.get()));
        std::iter::successors(first, move |slot| get(slot.next))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: the memory of a zone stays mapped, and begins with a pool.
        let mutex = unsafe { &raw mut (*self.0).mutex };
        // SAFETY: `Zone::lock` took this mutex.
        unsafe { ngx_shmtx_unlock(mutex) };
    }
}

impl Zone {
    /// Prepares the memory of a zone: new memory gets a root, and the content of `previous` if a
    /// zone of another size was in force.
    ///
    /// # Safety
    /// `zone` is initialized by nginx and holds what this module made, or nothing.
    pub(super) unsafe fn open(zone: &ngx_shm_zone_t, previous: Option<Self>) -> Result<Self, Full> {
        let pool = zone.shm.addr.cast::<ngx_slab_pool_t>();
        let this = Self(pool);
        let locked = this.lock();
        // SAFETY: nginx has made a slab pool of the memory before it calls the zone's `init`.
        let pool = unsafe { &mut *pool };
        if pool.data.is_null() {
            // A full zone is reported once for each certificate, with what to do, by its publisher.
            pool.set_log_nomem(0);
            let root = locked.allocate(size_of::<Root>())?.cast::<Root>();
            // SAFETY: freshly allocated, in the size of a root and aligned to a power of two above.
            unsafe { root.write(Root { generation: Cell::new(0), first: Cell::new(ptr::null()) }) };
            pool.data = root.cast();
            drop(locked);
            if let Some(previous) = previous {
                this.copy_from(previous);
            }
        }
        Ok(this)
    }

    /// The zone of that name and tag in a cycle.
    ///
    /// # Safety
    /// The cycle is live, and its zones with this tag are this module's.
    pub(super) unsafe fn find(cycle: *mut ngx_cycle_t, like: &ngx_shm_zone_t) -> Option<Self> {
        // SAFETY: by this function's contract.
        let cycle = unsafe { cycle.as_ref() }?;
        let mut part: *const ngx_list_part_t = &raw const cycle.shared_memory.part;
        // SAFETY: the parts of a list are a chain that ends with null.
        while let Some(current) = unsafe { part.as_ref() } {
            if current.nelts > 0 {
                let zones = current.elts.cast::<ngx_shm_zone_t>();
                // SAFETY: a part holds `nelts` zones.
                let zones = unsafe { std::slice::from_raw_parts(zones, current.nelts) };
                let found = zones.iter().find(|zone| {
                    zone.tag == like.tag
                        && zone.shm.name.as_bytes() == like.shm.name.as_bytes()
                        && !zone.shm.addr.is_null()
                });
                if let Some(zone) = found {
                    let zone = Self(zone.shm.addr.cast());
                    let is_ready = zone.lock().root().is_some();
                    return is_ready.then_some(zone);
                }
            }
            part = current.next;
        }
        None
    }

    fn lock(self) -> Locked {
        // SAFETY: the memory of a zone stays mapped, and begins with a pool.
        let mutex = unsafe { &raw mut (*self.0).mutex };
        // SAFETY: nginx has initialized the mutex.
        unsafe { ngx_shmtx_lock(mutex) };
        Locked(self.0)
    }

    /// The slots of certificates by name, in the same order; missing ones are made. `None` where
    /// there is no room.
    pub(super) fn slots<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Vec<Option<Slot>> {
        let locked = self.lock();
        let existing: HashMap<&[u8], &'static SharedSlot> =
            locked.slots().map(|shared| (shared.name(), shared)).collect();
        let slot = |name: &str| match existing.get(name.as_bytes()) {
            Some(shared) => Some(*shared),
            None => Self::make(&locked, name).ok(),
        };
        let slots = names.into_iter().map(slot);
        slots.map(|shared| shared.map(|shared| Slot { zone: self, shared })).collect()
    }

    fn make(locked: &Locked, name: &str) -> Result<&'static SharedSlot, Full> {
        let root = locked.root().ok_or(Full)?;
        let mut bytes = [0; MAX_NAME];
        bytes.get_mut(..name.len()).ok_or(Full)?.copy_from_slice(name.as_bytes());
        let shared = locked.allocate(size_of::<SharedSlot>())?.cast::<SharedSlot>();
        let new = SharedSlot {
            generation: AtomicU64::new(0),
            next: root.first.get(),
            data: Cell::new(ptr::null_mut()),
            length: Cell::new(0),
            name_length: name.len(),
            name: bytes,
        };
        // SAFETY: freshly allocated in this size; the allocator aligns to the next power of two.
        unsafe { shared.write(new) };
        root.first.set(shared);
        // SAFETY: written above, and never freed.
        Ok(unsafe { &*shared })
    }

    /// Takes over the content of a zone of another size. What finds no room is loaded from disk.
    fn copy_from(self, previous: Self) {
        let old: Vec<_> = previous.lock().slots().collect();
        let names = old.iter().map(|shared| std::str::from_utf8(shared.name()).unwrap_or_default());
        for (shared, slot) in old.iter().zip(self.slots(names)) {
            let content = Slot { zone: previous, shared }.read();
            if let (Some((_, content)), Some(slot)) = (content, slot) {
                let _full = slot.write(&content);
            }
        }
    }

    /// Frees what belongs to none of the certificates in force.
    pub(super) fn retain(self, in_force: impl IntoIterator<Item = Slot>) {
        let in_force: HashSet<_> =
            in_force.into_iter().map(|slot| ptr::from_ref(slot.shared)).collect();
        let locked = self.lock();
        for shared in locked.slots().filter(|shared| !in_force.contains(&ptr::from_ref(*shared))) {
            let (data, length) = (shared.data.replace(ptr::null_mut()), shared.length.replace(0));
            // SAFETY: `data` was allocated in this zone; readers copy it under the mutex.
            unsafe { locked.free(data, length) };
        }
    }
}

impl Slot {
    /// Counts the changes; 0 if there never was a certificate. No lock: one load.
    pub(super) fn generation(self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Copies the record out, with its generation.
    pub(super) fn read(self) -> Option<(u64, Zeroizing<Vec<u8>>)> {
        let _locked = self.zone.lock();
        let data = self.shared.data.get();
        if data.is_null() {
            return None;
        }
        // SAFETY: `data` is an allocation of this length that changes only under the mutex.
        let bytes = unsafe { std::slice::from_raw_parts(data, self.shared.length.get()) };
        Some((self.generation(), Zeroizing::new(bytes.to_vec())))
    }

    /// Whether there is a record.
    pub(super) fn is_filled(self) -> bool {
        let _locked = self.zone.lock();
        !self.shared.data.get().is_null()
    }

    /// Puts a certificate into the slot, for all workers.
    pub(super) fn publish(self, material: &Material) -> Result<(), Full> {
        self.write(&material.encode())
    }

    /// Replaces the record, unless it is the same. The old one stays where there is no room for both.
    fn write(self, record: &[u8]) -> Result<(), Full> {
        let unchanged = self.read().is_some_and(|(_, current)| *current == record);
        if unchanged {
            return Ok(());
        }
        let locked = self.zone.lock();
        let root = locked.root().ok_or(Full)?;
        let data = locked.allocate(record.len())?;
        // SAFETY: freshly allocated in this size.
        unsafe { ptr::copy_nonoverlapping(record.as_ptr(), data, record.len()) };
        let old = (self.shared.data.replace(data), self.shared.length.replace(record.len()));
        root.generation.set(root.generation.get() + 1);
        self.shared.generation.store(root.generation.get(), Ordering::Release);
        // SAFETY: the old record was allocated in this zone; readers copy it under the mutex.
        unsafe { locked.free(old.0, old.1) };
        Ok(())
    }
}
