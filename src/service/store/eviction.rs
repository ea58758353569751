//! Taking the lock from a process that hangs.
//!
//! The kernel gives a lock back when its holder ends, however it ends. A holder that is stopped, or waits for a disk
//! for ever, keeps it. Then the file of the lock is replaced: what was locked is no longer that of the state path,
//! which its holder sees before it begins anything else once it responds. What it has under way then is what the
//! next holder has found on disk: the same order, with the same key.

use super::error::failed;
use super::holder::last_sign;
use super::layout::LOCK;
use super::{Lock, Store, StoreError, files};
use std::fs::{File, TryLockError};

impl Store {
    /// Takes the lock from its holder, whose last sign of life this was. `None`: it has given another one, or somebody
    /// else was faster.
    ///
    /// # Errors
    /// The file cannot be replaced; its holder has the lock still.
    pub(crate) fn evict(&self, seen: Option<(i64, u64)>) -> Result<Option<Lock>, StoreError> {
        let place = self.place(LOCK);
        // Of those who wait one does this at a time, and the next one sees a new file.
        let directory = File::from(place.parent().open_to_read()?);
        match directory.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                return Err(failed("flock", self.path())(error));
            }
        }
        if last_sign(self.path()) != seen {
            return Ok(None);
        }
        files::remove(&place)?;
        self.lock()
    }
}

#[cfg(test)]
mod tests {
    use crate::store::testing::give_sign;
    use crate::store::{Store, last_sign};
    use std::fs::File;

    #[test]
    fn the_lock_of_a_silent_holder_goes_to_one_of_those_who_wait() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let hung = store.lock().unwrap().unwrap();
        let seen = last_sign(dir.path());
        give_sign(dir.path(), 7);
        assert!(store.evict(seen).unwrap().is_none(), "it lives");
        assert!(hung.is_in_place(dir.path()));
        let seen = last_sign(dir.path());
        let other = File::open(dir.path()).unwrap();
        other.lock().unwrap();
        assert!(store.evict(seen).unwrap().is_none(), "somebody else is at it");
        drop(other);
        let ours = store.evict(seen).unwrap().unwrap();
        assert!(!hung.is_in_place(dir.path()) && ours.is_in_place(dir.path()));
        assert!(store.evict(seen).unwrap().is_none(), "it has gone to another");
        drop(hung);
        assert!(store.lock().unwrap().is_none(), "its end frees nothing");
    }
}
