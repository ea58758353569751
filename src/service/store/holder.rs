//! The process that holds the lock.

use super::LOCK;
use rustix::fs::{AtFlags, CWD, statat};
use std::fmt;
use std::fs;
use std::path::Path;

/// As much of a title is shown.
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
    let pid = pid_of(&fs::read_to_string("/proc/locks").ok()?, stat.st_ino)?;
    Some(Holder { pid, title: title(pid) })
}

/// Time of the file of a lock, which its holder sets as a sign of life; `None` if it cannot be seen.
pub(crate) fn last_sign(state_path: &Path) -> Option<(i64, u64)> {
    let stat = statat(CWD, state_path.join(LOCK), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((stat.st_mtime, stat.st_mtime_nsec))
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
    let shown = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let title: String = words.join(" ").trim().chars().map(shown).take(MAX_TITLE).collect();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::lock_holder;
    use super::pid_of;
    use crate::store::Store;

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
}
