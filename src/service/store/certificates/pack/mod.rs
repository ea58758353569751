//! The pack: one file with all that a start needs of all certificates.
//!
//! A start with a hundred thousand certificates would open and read three files of each. The pack has what those files
//! say, as a start has read it before, so that a look at each certificate is enough: an entry is used only if the file
//! with its chain is still the one that the entry was made of. The files stay the truth. What the pack does not have, or
//! has otherwise, is read from them, and so is everything if there is no pack, or it is not whole.
//!
//! The service [writes](crate::store::Store::write_pack) it when enough of it is out of date. It holds keys, so it
//! [goes](crate::store::Store::remove_pack) when a certificate is forgotten. So it does when one is marked as revoked, whose
//! files stay as they are.

mod form;
#[cfg(test)]
mod tests;
mod write;

pub(in crate::store) use write::PackGuard;

use super::facts::CertificateFacts;
use super::{Certificates, FULL_CHAIN};
use crate::stamp::FileStamp;
use crate::store::StoreError;
use crate::store::door::Door;
use crate::store::layout::{PACK, PACKS, pack_path};
use acme_dns_core::status::encode::SERVED;
use form::{Pack, PackEntry};
use std::ffi::OsStr;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest pack that is read.
const MAX_PACK: u64 = 2 << 30;

/// A certificate as the pack has it.
pub struct PackedCertificate {
    /// Its record for shared memory.
    pub record: Zeroizing<Vec<u8>>,
    /// Its public record.
    pub served: [u8; SERVED],
    /// Facts about it.
    pub facts: CertificateFacts,
}

/// The pack of a state path, to be looked up in.
pub struct Packed<'a> {
    certificates: &'a Certificates,
    pack: Pack,
}

impl Certificates {
    /// Opens the pack. `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not whole.
    pub fn packed(&self) -> Result<Option<Packed<'_>>, StoreError> {
        let pack = read(&self.door)?;
        Ok(pack.map(|pack| Packed { certificates: self, pack }))
    }
}

impl Packed<'_> {
    /// Tells whether a certificate is in the pack as its files are.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let entry = self.pack.find(name);
        let stamp = || self.certificates.chain_stamp(name);
        entry.is_some_and(|entry| stamp().is_some_and(|stamp| entry.is_of(stamp)))
    }

    /// Gives a certificate, if its files are still those that the pack was made of.
    #[must_use]
    pub fn certificate(&self, name: &str) -> Option<PackedCertificate> {
        let entry = self.pack.find(name)?;
        let stamp = self.certificates.stamp(name, FULL_CHAIN)?;
        if !entry.is_of(stamp) {
            return None;
        }
        let record = self.pack.record(&entry)?;
        let PackEntry { owners, served, facts, .. } = entry;
        self.certificates.owners.borrow_mut().extend(owners);
        Some(PackedCertificate { record, served, facts: CertificateFacts { stamp, ..facts } })
    }
}

/// Gives the stamp of the pack; `None` if there is none, or it cannot be seen.
pub(crate) fn pack_stamp(state_path: &Path) -> Option<FileStamp> {
    FileStamp::of(&pack_path(state_path)).ok()
}

fn read(door: &Door) -> Result<Option<Pack>, StoreError> {
    let directory = match door.open_directory(Path::new(PACKS)) {
        Err(error) if error.is_not_found() => return Ok(None),
        directory => directory?,
    };
    let path = pack_path(door.path());
    let content = door.read_in(directory, OsStr::new(PACK), &path, MAX_PACK)?;
    let Some((bytes, _)) = content else { return Ok(None) };
    Pack::of(bytes).map(Some).ok_or_else(|| StoreError::invalid(&path, "it is not whole"))
}
