//! Copying of records from the memory of a configuration to that of the next one. They are copied as they lie there,
//! packed, and only what they refer to is made anew: with thousands of certificates to be taken apart and put together
//! that would be most of what the master does at a reload.

use super::memory::{CurrentRecord, Place, SharedMemory, SlotReader};
use super::writer::Writer;
use acme_dns_core::id::CertificateId;
use acme_dns_core::packed::{references, relocate};
use std::collections::HashMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Means to copy records to the memory of a writer, which nobody else uses meanwhile.
pub(super) struct Copier<'a> {
    writer: &'a mut Writer,
    from: &'a Arc<SharedMemory>,
    /// Offsets in the writer's memory of the parts that lie at these places of the other one.
    parts: HashMap<Place, usize>,
    /// Number of references to the part at each offset of the writer's memory.
    users: HashMap<usize, usize>,
    /// The record that is being copied.
    packed: Zeroizing<Vec<u8>>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(writer: &'a mut Writer, from: &'a Arc<SharedMemory>) -> Self {
        let (parts, users, packed) = (HashMap::new(), HashMap::new(), Zeroizing::default());
        Self { writer, from, parts, users, packed }
    }

    /// Copies a record, and tells whether it is there now: the slot must not have had one, and there must be room.
    pub(super) fn copy(&mut self, from: CertificateId, to: CertificateId) -> bool {
        let reader = SlotReader::new(self.from, from);
        // Its service may be replacing it at this moment: parts are looked at before it is clear that they are its.
        let copied = reader.read_with(|memory, current| self.read(memory, current)).is_some();
        if !copied || self.writer.put_first(to, &self.packed).is_none() {
            return false;
        }
        for reference in references(&self.packed).unwrap_or_default().0 {
            *self.users.entry(reference.offset).or_default() += 1;
        }
        true
    }

    /// Reads a record, and has it refer to the writer's memory.
    fn read(&mut self, memory: &SharedMemory, current: CurrentRecord) -> Option<()> {
        let mut packed = std::mem::take(&mut self.packed);
        memory.copy_to(&mut packed, current.offset, current.length);
        let place = |offset, length| self.place(memory, Place { offset, length });
        let relocated = relocate(&mut packed, place);
        self.packed = packed;
        relocated
    }

    /// Gives the offset of a part in the writer's memory, to which it is copied if it is not there.
    fn place(&mut self, memory: &SharedMemory, part: Place) -> Option<usize> {
        let Place { offset, length } = part;
        if let Some(own) = self.parts.get(&part)
            && self.writer.memory().has_same_part(*own, (memory, offset), length)
        {
            return Some(*own);
        }
        let own = self.writer.place_of_part(&memory.part(offset, length)?)?;
        self.parts.insert(part, own);
        Some(own)
    }
}

impl Drop for Copier<'_> {
    fn drop(&mut self) {
        self.writer.note_copied(&self.users);
    }
}
