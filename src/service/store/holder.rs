//! The process that holds the lock.

use super::layout::LOCK;
use acme_dns_core::text::excerpt;
use rustix::fs::{
    AtFlags, CWD, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens, statat, utimensat,
};
use rustix::io::Errno;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
const AS_IT_IS: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };

/// The most looks at the system's list of locks: it is read in pieces, and a lock that is there all the time may be
/// missing from a reading during which others go.
const LOOKS: usize = 20;

/// The length of a title in a line of the log.
const MAX_TITLE: usize = 80;

/// The process that holds the lock of a state path, as far as it can be seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Holder {
    pid: u32,
    title: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        match &self.title {
            Some(title) => write!(f, " (\"{title}\")"),
            None => Ok(()),
        }
    }
}

/// The process that holds the lock of a state path; `None` if nobody does, or it cannot be seen from
/// here, as from another container.
pub(crate) fn lock_holder(state_path: &Path) -> Option<Holder> {
    let stat = statat(CWD, state_path.join(LOCK), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let find = |_| pid_of(&fs::read_to_string("/proc/locks").ok()?, stat.st_ino);
    let pid = (0..LOOKS).find_map(find)?;
    Some(Holder { pid, title: title(pid) })
}

/// Asks the holder of a lock for a sign of life, which it gives within seconds unless it hangs.
///
/// The question is the access time of the lock's file, and the answer its modification time.
///
/// # Errors
/// The file is not there, or belongs to another user, so that nothing can be asked.
pub(crate) fn ask_for_sign(state_path: &Path) -> Result<(), Errno> {
    let times = Timestamps { last_access: NOW, last_modification: AS_IT_IS };
    utimensat(CWD, state_path.join(LOCK), &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Time of the last sign of life of a lock's holder; `None` if it cannot be seen.
pub(crate) fn last_sign(state_path: &Path) -> Option<(i64, u64)> {
    let stat = statat(CWD, state_path.join(LOCK), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((stat.st_mtime, stat.st_mtime_nsec))
}

/// Gives a sign of life, as the holder of a lock.
pub(super) fn give_sign(lock: &File) -> Result<(), Errno> {
    let alone = Timestamps { last_access: AS_IT_IS, last_modification: NOW };
    // Who may write to a file of another user's may set both times only.
    let both = Timestamps { last_access: NOW, last_modification: NOW };
    futimens(lock, &alone).or_else(|_| futimens(lock, &both))
}

/// Time of the last question, in the file of a lock.
pub(super) fn question(lock: &Stat) -> (i64, u64) {
    (lock.st_atime, lock.st_atime_nsec)
}

/// The holder of a `flock` of a file, in the form of `/proc/locks` (proc_locks(5)). The numbers of devices
/// are not those of `stat()` on every file system, and left alone.
fn pid_of(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Who waits has an arrow in the second place.
        let [_, "FLOCK", _, _, pid, file, ..] = words.as_slice() else { return None };
        let (_, number) = file.rsplit_once(':')?;
        let pid = pid.parse().ok().filter(|pid| *pid > 0)?;
        (number.parse() == Ok(inode)).then_some(pid)
    })
}

fn title(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line);
    let words: Vec<&str> = line.split('\0').filter(|word| !word.is_empty()).collect();
    let title = excerpt(&words.join(" "), MAX_TITLE);
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::{ask_for_sign, last_sign, lock_holder, pid_of};
    use crate::store::Store;
    use std::fs::{self, File};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::{Duration, SystemTime};

    #[test]
    fn who_holds_the_lock_is_found_in_the_list_of_the_system() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 0 08:01:78 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 12 00:1f:77 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 13 00:1f:79 0 EOF\n";
        for (inode, pid) in [(77, Some(12)), (78, None), (79, None), (7, None)] {
            assert_eq!(pid_of(locks, inode), pid, "{inode}");
        }
    }

    #[test]
    fn this_process_is_found_while_it_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(lock_holder(store.path()), None);
        let lock = store.lock().unwrap().unwrap();
        let holder = lock_holder(store.path()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.to_string().contains("acme_dns_service"), "{holder}");
        drop(lock);
    }

    #[test]
    fn the_holder_is_found_while_other_locks_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let others = tempfile::tempdir().unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for part in 0..3 {
                let path = |number: usize| others.path().join(format!("{part}-{number}"));
                let files: Vec<File> = (0..80).map(|n| File::create(path(n)).unwrap()).collect();
                let is_over = &is_over;
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        files.iter().for_each(|file| file.lock().unwrap());
                        files.iter().for_each(|file| file.unlock().unwrap());
                    }
                });
            }
            let store = Store::open(dir.path()).unwrap();
            let lock = store.lock().unwrap().unwrap();
            let missed = (0..200).filter(|_| lock_holder(store.path()).is_none()).count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(missed, 0);
            drop(lock);
        });
    }

    #[test]
    fn a_sign_of_life_is_given_once_for_each_question() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Store::open(dir.path()).unwrap().lock().unwrap().unwrap();
        // A time that no sign has.
        let mark = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let gives_sign = || {
            let file = File::options().write(true).open(dir.path().join("lock")).unwrap();
            file.set_modified(mark).unwrap();
            lock.answer();
            last_sign(dir.path()) != Some((1, 0))
        };
        assert!(gives_sign(), "somebody may have asked before");
        assert!(!gives_sign());
        for _ in 0..2 {
            // The times of files have a coarse clock.
            let question = || fs::metadata(dir.path().join("lock")).unwrap().accessed().unwrap();
            let before = question();
            while question() == before {
                ask_for_sign(dir.path()).unwrap();
            }
            assert!(gives_sign());
            assert!(!gives_sign());
        }
        fs::remove_file(dir.path().join("lock")).unwrap();
        assert!(ask_for_sign(dir.path()).is_err());
    }
}
