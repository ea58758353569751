//! Files under the state path: what outlives the process. Where each of them lies is said in `layout.rs`.
//!
//! A crash at any instant leaves the old state or the new one. Only the helper writes, and sweeps
//! what a crash left only when it holds the lock; the master reads certificates and creates nothing.

mod accounts;
mod actions;
mod blocking;
mod certificates;
pub(crate) mod door;
mod error;
mod eviction;
mod files;
mod forget;
mod holder;
mod journal;
mod layout;
mod notes;
mod orders;
mod progress;
pub(crate) mod secret;
mod takeover;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use accounts::AccountsCopy;
pub use accounts::{Account, has_account};
pub use actions::ActionFile;
pub use certificates::{
    CertificateFacts, Certificates, IssuedPem, Packed, PackedCertificate, PackedRenewal,
    PublishedFact, PublishedFacts, StoredCertificate, certificate_stamp, certificates_stamp,
    is_aside, is_kept, load_certificate, load_material, traits_of,
};
pub(crate) use certificates::{Pem, pack_stamp};
pub use door::Trust;
pub use error::StoreError;
pub(crate) use holder::{ask_for_sign, last_sign, lock_holder};
pub(crate) use journal::journal_owner;
pub use journal::{JournalEntry, JournalFile, JournalRecord};
pub(crate) use layout::{certificate_of, certificate_path, full_chain_path, hooks_path};
pub use layout::{certificates_path, programs_path};
pub use notes::Notes;
pub use orders::PendingOrder;
pub use takeover::{TakeOver, User, check_state_path, create_state_path, take_over};

use door::{Door, Place};

use certificates::PackGuard;
use error::failed;
use layout::{ACCOUNTS, ACTIONS, CERTS, JOURNAL, LOCK, ORDERS, PACKS, VERSIONS};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// The state path, opened for writing. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    door: Arc<Door>,
    packing: PackGuard,
}

/// The lock of the state path: who holds it is the one helper that works.
#[derive(Debug)]
pub struct Lock {
    file: File,
    left: Option<StoreError>,
    /// The last question of those who wait that was answered.
    answered: Cell<Option<(i64, u64)>>,
}

/// Longest mark of the lock file that is read.
const MAX_MARK: u64 = 64;

/// Content of the lock file after a holder has ended in good order.
const IN_ORDER: &[u8] = b"ended in good order\n";

impl Lock {
    /// Gives the lock away, with a sign for the next holder that nothing is left unfinished. Without it,
    /// as after a crash, the next one looks.
    pub fn release(self) {
        // Without the sign it is looked in vain.
        let _looked_in_vain = self.file.write_all_at(IN_ORDER, 0);
    }

    /// Gives a sign of life, if somebody who waits for the lock has [asked](ask_for_sign) since the last one:
    /// where nobody waits, nothing is written.
    pub(crate) fn answer(&self) {
        let question = || fstat(&self.file).ok().map(|stat| holder::question(&stat));
        if question() == self.answered.get() {
            return;
        }
        // Without it whoever waits says that this process hangs, no more.
        let _missed = holder::give_sign(&self.file);
        self.answered.set(question());
    }

    /// Tells whether the file that is locked is still that of the state path.
    pub(crate) fn is_in_place(&self, state_path: &Path) -> bool {
        is_in_place(&self.file, state_path)
    }

    /// Gives the error that kept something unfinished, left by a crash, from being removed. It is in nobody's way.
    #[must_use]
    pub fn left(&self) -> Option<&StoreError> {
        self.left.as_ref()
    }
}

fn is_in_place(lock: &File, state_path: &Path) -> bool {
    let there = statat(CWD, state_path.join(LOCK), AtFlags::SYMLINK_NOFOLLOW);
    match (fstat(lock), there) {
        (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
        (_, Err(Errno::NOENT | Errno::NOTDIR)) => false,
        // A state path that cannot be seen for a moment is not lost.
        _ => true,
    }
}

impl Store {
    /// Opens a state path and creates what is missing in it.
    ///
    /// # Errors
    /// A directory cannot be created, or the state path cannot be made private.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_shared(path, None)
    }

    /// Opens a state path whose certificates and keys are readable by a group, of which this process is a
    /// member.
    ///
    /// # Errors
    /// As of [`Store::open`].
    pub fn open_shared(path: &Path, certs_group: Option<u32>) -> Result<Self, StoreError> {
        // The master makes it; the directory above may be one that this user cannot read.
        if !path.is_dir() {
            create_state_path(path, None)?;
        }
        let door = Arc::new(Door::open(path, Trust::here(), certs_group)?);
        let store = Self { door, packing: PackGuard::default() };
        store.prepare()?;
        Ok(store)
    }

    /// Opens a state path to look into it; nothing is created.
    ///
    /// # Errors
    /// It is not there, or closed to this user.
    pub(crate) fn look(path: &Path) -> Result<Self, StoreError> {
        let door = Arc::new(Door::open(path, Trust::here(), None)?);
        Ok(Self { door, packing: PackGuard::default() })
    }

    /// Goes on with the directory that has the name of the state path now, and creates it if there is none.
    ///
    /// # Errors
    /// As of [`Store::open`].
    pub(crate) fn reopen(&self) -> Result<(), StoreError> {
        if !self.path().is_dir() {
            create_state_path(self.path(), None)?;
        }
        self.door.reopen()?;
        self.prepare()
    }

    /// Creates the directories that are missing.
    fn prepare(&self) -> Result<(), StoreError> {
        files::tighten(&self.place(""), self.door.group)?;
        let (orders, journal, actions) = (self.orders(), self.journal(), self.actions());
        for directory in [self.accounts(), self.certs(), orders, journal, actions] {
            files::ensure_directory(&directory)?;
        }
        files::ensure_directory(&self.certs().join(VERSIONS))
    }

    /// The directory that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.door.path()
    }

    /// Takes the lock unless another process has it, and removes what a crash left unfinished, as far
    /// as that can be done. The lock lasts until it is dropped or the process ends.
    ///
    /// # Errors
    /// The lock file cannot be opened, locked, or made private.
    pub fn lock(&self) -> Result<Option<Lock>, StoreError> {
        let place = self.place(LOCK);
        let path = place.path();
        let file = self.open_lock(&place)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed("flock", &path)(error)),
        }
        if !is_in_place(&file, self.path()) {
            // It was opened before another one took its place.
            return Ok(None);
        }
        files::make_private(&file, &place)?;
        let mut mark = Vec::new();
        let read = (&file).take(MAX_MARK).read_to_end(&mut mark);
        read.map_err(failed("read", &path))?;
        if !mark.is_empty() {
            let emptied = file.set_len(0).and_then(|()| file.sync_all());
            emptied.map_err(failed("ftruncate", &path))?;
        }
        let adapted = files::adapt(&self.certs());
        // Nothing can be left after an end in good order, and a look at thousands of versions takes
        // time.
        let swept = if mark == IN_ORDER { Ok(()) } else { self.sweep() };
        Ok(Some(Lock { file, left: adapted.and(swept).err(), answered: Cell::default() }))
    }

    /// Opens the file of the lock, which whoever had the state path before may have replaced by a link to
    /// another file, or by something else that must not be written to.
    fn open_lock(&self, place: &Place) -> Result<File, StoreError> {
        let directory = place.parent().open_directory()?;
        match statat(&directory, LOCK, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.door.check_sole(&stat, &place.path())?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(place.failed("lstat")(error)),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(0o600);
        let file = openat(&directory, LOCK, flags | OFlags::NOCTTY | OFlags::CLOEXEC, mode);
        let file = file.map_err(place.failed("open"))?;
        let stat = fstat(&file).map_err(place.failed("fstat"))?;
        self.door.check_sole(&stat, &place.path())?;
        Ok(file.into())
    }

    /// Removes all that can be removed; the error is the first one.
    fn sweep(&self) -> Result<(), StoreError> {
        let written = [
            self.accounts(),
            self.certs(),
            self.orders(),
            self.journal(),
            self.actions(),
            self.place(PACKS),
        ];
        let mut result = Ok(());
        for path in written {
            result = result.and(files::sweep(&path));
        }
        result = result.and(self.sweep_aside());
        result
    }

    /// Lists the names of certificates of which there is progress or an order.
    pub(crate) fn under_way(&self) -> Result<BTreeSet<String>, StoreError> {
        let files = files::list(&self.orders())?;
        let name = |file: &String| Some(file.rsplit_once('.')?.0.to_owned());
        Ok(files.iter().filter_map(name).collect())
    }

    fn accounts(&self) -> Place {
        self.place(ACCOUNTS)
    }

    fn certs(&self) -> Place {
        self.place(CERTS)
    }

    fn orders(&self) -> Place {
        self.place(ORDERS)
    }

    fn journal(&self) -> Place {
        self.place(JOURNAL)
    }

    fn actions(&self) -> Place {
        self.place(ACTIONS)
    }

    fn place(&self, name: &str) -> Place {
        Place::new(&self.door, name)
    }
}

#[cfg(test)]
mod tests {
    use super::Store;
    use super::testing::issued;
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    use rustix::process::{getegid, geteuid};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_state_path_becomes_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let store = Store::open(&path).unwrap();
        let _lock = store.lock().unwrap().unwrap();
        for name in ["", "accounts", "certs", "certs/.versions", "orders", "journal", "actions"] {
            assert_eq!(mode(&path.join(name)), 0o700, "{name}");
        }
        assert_eq!(mode(&path.join("lock")), 0o600);
    }

    #[test]
    fn a_group_may_read_certificates_and_nothing_else() {
        // Root can give things to every group, others to their own.
        let group = if geteuid().is_root() { 65_534 } else { getegid().as_raw() };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        for (shared, root, below, file) in [
            (None, 0o700, 0o700, 0o600),
            (Some(group), 0o710, 0o750, 0o640),
            (Some(group), 0o710, 0o750, 0o640),
            (None, 0o700, 0o700, 0o600),
        ] {
            let store = Store::open_shared(&path, shared).unwrap();
            let _lock = store.lock().unwrap().unwrap();
            for row in ["first", "second"] {
                let modes =
                    ["", "certs", "certs/.versions", "accounts", "orders", "journal", "lock"]
                        .map(|name| mode(&path.join(name)));
                let expected = [root, below, below, 0o700, 0o700, 0o700, 0o600];
                assert_eq!(modes, expected, "{shared:?} {row}");
                for name in ["fullchain.pem", "privkey.pem", "renewal.json"] {
                    let path = path.join("certs/a.example").join(name);
                    let Ok(metadata) = fs::metadata(path) else { continue };
                    assert_eq!(metadata.mode() & 0o7777, file, "{shared:?} {row} {name}");
                    assert!(shared.is_none_or(|group| metadata.gid() == group), "{row} {name}");
                }
                store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
                store.save_renewal("a.example", &7).unwrap();
            }
        }
    }

    #[test]
    fn a_lock_that_is_no_file_is_not_even_opened() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (lock, precious) = (dir.path().join("lock"), dir.path().join("precious"));
        fs::write(&precious, "precious").unwrap();
        // A device that there is no driver for: to open it is another error.
        let device = makedev(4095, 7);
        let make = |kind, device| mknodat(CWD, &lock, kind, Mode::RWXU, device).unwrap();
        let rows: [(&str, &dyn Fn()); 5] = [
            ("symbolic link", &|| symlink(&precious, &lock).unwrap()),
            ("hard link", &|| fs::hard_link(&precious, &lock).unwrap()),
            ("not a regular file", &|| make(FileType::Fifo, 0)),
            ("not a regular file", &|| fs::create_dir(&lock).unwrap()),
            ("not a regular file", &|| make(FileType::CharacterDevice, device)),
        ];
        let is_root = geteuid().is_root();
        for (expected, put) in rows.into_iter().take(if is_root { 5 } else { 4 }) {
            put();
            let error = store.lock().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("/lock\""), "{error}");
            assert_eq!(fs::read(&precious).unwrap(), b"precious", "{expected}");
            let _removed = fs::remove_file(&lock).or_else(|_| fs::remove_dir(&lock));
        }
        assert!(store.lock().unwrap().is_some());
    }

    #[test]
    fn one_holds_the_lock_and_only_it_sweeps() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let lock = store.lock().unwrap().unwrap();
        let written = dir.path().join("orders/.tmp-0-a.json");
        fs::write(&written, "{").unwrap();
        let other = Store::open(dir.path()).unwrap();
        assert!(other.lock().unwrap().is_none());
        assert!(written.exists(), "what the working helper writes is not a leftover");
        drop(lock);
        assert!(other.lock().unwrap().is_some());
        assert!(!written.exists());
    }

    #[test]
    fn nothing_is_looked_for_after_an_end_in_good_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let leftover = dir.path().join("certs/.tmp-0-a");
        store.lock().unwrap().unwrap().release();
        for _ in 0..3 {
            fs::write(&leftover, "").unwrap();
            let lock = store.lock().unwrap().unwrap();
            assert!(leftover.exists(), "it was trusted");
            lock.release();
        }
        drop(store.lock().unwrap().unwrap());
        store.lock().unwrap().unwrap().release();
        assert!(!leftover.exists(), "the one before ended without a sign");
    }

    #[test]
    fn strange_things_stop_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for file in ["accounts/README", "certs/README", "certs/.versions/README"] {
            fs::write(dir.path().join(file), "a file").unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join(".tmp-1"), "not ours").unwrap();
        symlink(elsewhere.path(), dir.path().join("certs/a.example")).unwrap();
        symlink("nowhere", dir.path().join("accounts/ca")).unwrap();
        let lock = store.lock().unwrap().unwrap();
        assert!(lock.left().is_none(), "{:?}", lock.left());
        assert!(elsewhere.path().join(".tmp-1").exists());
    }
}
