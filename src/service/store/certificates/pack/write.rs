//! Writing the pack.

use super::form::{MAGIC, PackEntry};
use crate::stamp::FileStamp;
use crate::status::served_record;
use crate::store::certificates::{Certificates, PackedRenewal, RENEWAL};
use crate::store::door::MAX_KEY;
use crate::store::layout::{PACK, PACKS};
use crate::store::{Store, StoreError, Trust, files};
use acme_dns_core::material::Material;
use acme_dns_core::packed::{Reference, common_parts, pack};
use openssl::sha::Sha256;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::{Zeroize, Zeroizing};

/// Bytes that are gathered before they are written.
const BUFFER: usize = 64 << 10;

/// Counts how often the pack had to go, so that one that is being written meanwhile does not come.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct PackGuard(Arc<Mutex<u64>>);

impl PackGuard {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts how often the pack had to go. `None`: it may be going just now.
    fn removals(&self) -> Option<u64> {
        self.0.try_lock().ok().map(|count| *count)
    }
}

impl Store {
    /// Writes the pack anew, of the certificates with these names that can be read at a glance. It is given up once `goes_on`,
    /// which is asked before each of them, says no, and if a certificate is forgotten meanwhile. Tells whether it was
    /// written.
    ///
    /// # Errors
    /// It cannot be written; the one before stays.
    pub fn write_pack(
        &self,
        mut names: Vec<String>,
        goes_on: impl FnMut() -> bool,
    ) -> Result<bool, StoreError> {
        let Some(all) = Certificates::open(self.path(), &Trust::here())? else { return Ok(false) };
        let begun = *self.packing.lock();
        names.sort_unstable();
        let (directory, place) = (self.place(PACKS), self.place(PACKS).join(PACK));
        files::ensure_directory(&directory)?;
        let temporary = files::temporary(&place);
        files::remove_leftover(&temporary)?;
        let mut is_whole = false;
        let written = files::create_with(&temporary, |file| {
            is_whole = fill(file, &all, &names, goes_on)?;
            Ok(())
        });
        let packing = self.packing.lock();
        is_whole &= *packing == begun;
        let written = written.and_then(|()| match is_whole {
            true => files::rename(&temporary, &place),
            false => files::remove_leftover(&temporary),
        });
        if written.is_err() {
            // What matters is the first error; a leftover is swept at the next start.
            let _ = files::remove_leftover(&temporary);
        }
        written.map(|()| is_whole)
    }

    /// Removes the pack, and has one that is being written not come.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub fn remove_pack(&self) -> Result<(), StoreError> {
        self.without_pack(|| Ok(()))
    }

    /// Removes the pack, and changes what it must not have as it was: one that is being written meanwhile does not come.
    ///
    /// # Errors
    /// The pack is there and cannot be removed; then nothing is changed. Or as of `change`.
    pub(in crate::store) fn without_pack(
        &self,
        change: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut packing = self.packing.lock();
        *packing += 1;
        match files::remove(&self.place(PACKS).join(PACK)) {
            Err(error) if error.is_not_found() => {}
            removed => removed?,
        }
        change()
    }

    /// Counts how often the pack was removed in this process. `None`: it may be just now.
    pub(crate) fn pack_removals(&self) -> Option<u64> {
        self.packing.removals()
    }
}

/// Fills the file of a pack. `false`: it was given up.
fn fill(
    file: &mut File,
    all: &Certificates,
    names: &[String],
    mut goes_on: impl FnMut() -> bool,
) -> io::Result<bool> {
    let mut out = PackFile::new(file);
    out.put(MAGIC)?;
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        if !goes_on() {
            return Ok(false);
        }
        // One that cannot be read at a glance is read from its files at each start.
        let Some(certificate) = Readable::of(all, name) else { continue };
        places.push(out.add(name, certificate)?);
    }
    for place in &places {
        out.put(&place.to_le_bytes())?;
    }
    out.put(&(places.len() as u64).to_le_bytes())?;
    out.end()?;
    Ok(true)
}

/// Certificate as its files have it.
struct Readable {
    material: Material,
    entry: PackEntry<'static>,
    renewal: Option<Zeroizing<Vec<u8>>>,
}

impl Readable {
    fn of(all: &Certificates, name: &str) -> Option<Self> {
        let files = all.read(name).ok()??;
        let (material, facts) = all.at_a_glance(&files).ok()?;
        let mut facts = facts?;
        let served = served_record(material.pairs.first()?)?.encode();
        // A file that takes its place after the look has another stamp.
        let stat = files.directory.stat(RENEWAL).ok()?;
        let renewal = files.directory.read(RENEWAL, MAX_KEY).ok()?.map(|(text, _)| text);
        let parsed = renewal.as_ref().map(|text| serde_json::from_slice(text)).transpose().ok()?;
        let saved = stat.map(|stat| FileStamp::new(&stat).words()).zip(parsed);
        let renewal = renewal.filter(|_| saved.is_some());
        facts.renewal = Some(saved.map_or(PackedRenewal::Absent, |(stamp, renewal)| {
            PackedRenewal::Saved(stamp, renewal)
        }));
        let (stamp, owners) = (facts.stamp.words(), files.owners);
        let entry = PackEntry { name: "", stamp, owners, facts, served, record: &[] };
        Some(Self { material, entry, renewal })
    }
}

/// File that is written from its beginning to its end.
struct PackFile<'a> {
    file: &'a mut File,
    /// Bytes that are not written yet; it does not grow, which would leave copies of keys behind.
    buffer: Zeroizing<Vec<u8>>,
    /// Entry that is being made, with as much room.
    entry: Zeroizing<Vec<u8>>,
    digest: Sha256,
    place: u64,
    /// Places of parts.
    parts: HashMap<Vec<u8>, u64>,
}

impl<'a> PackFile<'a> {
    fn new(file: &'a mut File) -> Self {
        let [buffer, entry] = [0; 2].map(|_| Zeroizing::new(Vec::with_capacity(BUFFER)));
        let (digest, parts) = (Sha256::new(), HashMap::new());
        Self { file, buffer, entry, digest, place: 0, parts }
    }

    /// Adds a certificate; gives the place of its entry.
    fn add(&mut self, name: &str, certificate: Readable) -> io::Result<u64> {
        let Readable { material, entry, renewal } = certificate;
        let record = material.encode();
        let mut references = Vec::new();
        for range in common_parts(&record) {
            let offset = self.add_part(record.get(range.clone()).unwrap_or_default())?;
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            references.push(Reference { range, offset });
        }
        let packed = pack(&record, &references);
        let place = self.place;
        let entry = PackEntry { name, record: &packed, ..entry };
        let mut bytes = std::mem::take(&mut self.entry);
        bytes.zeroize();
        entry.encode(renewal.as_ref().map(|text| text.as_slice()), &mut bytes);
        self.put(&bytes)?;
        self.entry = bytes;
        Ok(place)
    }

    fn add_part(&mut self, part: &[u8]) -> io::Result<u64> {
        if let Some(place) = self.parts.get(part) {
            return Ok(*place);
        }
        let place = self.place;
        self.put(part)?;
        self.parts.insert(part.to_vec(), place);
        Ok(place)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.place += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() > BUFFER {
            return self.file.write_all(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.zeroize();
        Ok(())
    }

    /// Writes the digest of all, and what is left.
    fn end(mut self) -> io::Result<()> {
        let digest = self.digest.clone().finish();
        self.put(&digest)?;
        self.flush()
    }
}
