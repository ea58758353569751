//! Files that a crash leaves either old or new, with exact modes.
//!
//! nginx sets its umask to 0, others do not: modes are set on the open descriptor. What is being
//! written has a name that begins with [`TEMPORARY`], in the directory where it will be; after a
//! crash [`sweep`] finds it there. No certificate, issuer or provider has such a name.

use super::door::{Place, entries_of};
use super::error::{StoreError, failed};
use super::layout::ASIDE;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, fchmod, fchown, fstat, fsync, mkdirat,
    openat, renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Start of the name of everything unfinished.
const TEMPORARY: &str = ".tmp-";

/// The mode of files, and of those that a group may read.
const FILE_MODES: (Mode, Mode) = (Mode::from_raw_mode(0o600), Mode::from_raw_mode(0o640));

/// The mode of directories, and of those that a group may read.
const DIRECTORY_MODES: (Mode, Mode) = (Mode::from_raw_mode(0o700), Mode::from_raw_mode(0o750));

/// The bits of a mode that are set by `chmod()`.
const MODE_BITS: u32 = 0o7777;

/// A name next to `place` for what will become it.
pub(crate) fn temporary(place: &Place) -> Place {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(format!("{TEMPORARY}{number}-"));
    name.push(place.file_name());
    place.with_file_name(name)
}

/// Replaces a file: after an error or a crash it is the old one, after a success it is durable.
pub(crate) fn replace(place: &Place, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary(place);
    let result = remove_leftover(&temporary)
        .and_then(|()| create(&temporary, bytes))
        .and_then(|()| rename(&temporary, place));
    if result.is_err() {
        // What matters is the first error; a leftover is swept at the next start.
        let _ = remove_leftover(&temporary);
    }
    result
}

/// Creates a file that must not exist yet, and writes it through to the disk.
pub(crate) fn create(place: &Place, bytes: &[u8]) -> Result<(), StoreError> {
    create_with(place, |file| file.write_all(bytes))
}

/// The same with what is written piece by piece.
pub(crate) fn create_with(
    place: &Place,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), StoreError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = place.parent().open_directory()?;
    let file = openat(directory, place.file_name(), flags, FILE_MODES.0);
    let mut file = File::from(file.map_err(place.failed("open"))?);
    set_mode(&file, place, FILE_MODES)?;
    write(&mut file).map_err(failed("write", &place.path()))?;
    fsync(file).map_err(place.failed("fsync"))
}

/// Makes what is new as private as all is, or readable by the group that may read it.
fn set_mode(file: impl AsFd, place: &Place, modes: (Mode, Mode)) -> Result<(), StoreError> {
    let mode = match place.group() {
        Some(group) if share(&file, place, group)? => modes.1,
        _ => modes.0,
    };
    fchmod(file, mode).map_err(place.failed("fchmod"))
}

/// Gives something to a group. `false`: this process is none of its members, as was said when the state
/// path was opened; what is private is better than nothing.
fn share(file: impl AsFd, place: &Place, group: u32) -> Result<bool, StoreError> {
    match fchown(file, None, Some(Gid::from_raw(group))) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) => Ok(false),
        Err(error) => Err(place.failed("fchown")(error)),
    }
}

/// Moves a file, link or directory over another name, durably if it is in the same directory.
pub(crate) fn rename(from: &Place, to: &Place) -> Result<(), StoreError> {
    let (old, new) = (from.parent().open_directory()?, to.parent().open_to_read()?);
    renameat(old, from.file_name(), &new, to.file_name()).map_err(to.failed("rename"))?;
    fsync(new).map_err(to.parent().failed("fsync"))
}

/// Points a symbolic link at another target by one rename.
pub(crate) fn swap_link(link: &Place, target: &Path) -> Result<(), StoreError> {
    let temporary = temporary(link);
    remove_leftover(&temporary)?;
    make_link(&temporary, target)?;
    let result = rename(&temporary, link);
    if result.is_err() {
        let _ = remove_leftover(&temporary);
    }
    result
}

/// Makes a symbolic link.
pub(crate) fn make_link(link: &Place, target: &Path) -> Result<(), StoreError> {
    let directory = link.parent().open_directory()?;
    symlinkat(target, directory, link.file_name()).map_err(link.failed("symlink"))
}

/// Makes two names of one file system change places, each with what it stands for, by one step that
/// is durable. `false`: the file system cannot do that.
pub(crate) fn exchange(one: &Place, other: &Place) -> Result<bool, StoreError> {
    let (first, second) = (one.parent().open_to_read()?, other.parent().open_to_read()?);
    let flags = RenameFlags::EXCHANGE;
    match renameat_with(&first, one.file_name(), &second, other.file_name(), flags) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(false),
        Err(error) => return Err(one.failed("rename")(error)),
    }
    fsync(second).map_err(other.parent().failed("fsync"))?;
    fsync(first).map_err(one.parent().failed("fsync")).map(|()| true)
}

/// Puts something out of the way, for a person to look at: under a name that ends with
/// [`ASIDE`] and is free, so that what was put there before stays.
pub(crate) fn set_aside(place: &Place, stem: &str) -> Result<Place, StoreError> {
    let mut aside = place.with_file_name(format!("{stem}{ASIDE}"));
    for number in 2_u32.. {
        if aside.stat()?.is_none() {
            break;
        }
        aside = place.with_file_name(format!("{stem}~{number}{ASIDE}"));
    }
    rename(place, &aside)?;
    Ok(aside)
}

/// Creates a directory unless it is there; a new one is private whatever the umask. One that a crash
/// has left half made is finished.
pub(crate) fn ensure_directory(place: &Place) -> Result<(), StoreError> {
    let parent = place.parent().open_to_read()?;
    let made = mkdirat(&parent, place.file_name(), DIRECTORY_MODES.0);
    if !matches!(made, Ok(()) | Err(Errno::EXIST)) {
        made.map_err(place.failed("mkdir"))?;
    }
    let directory = place.open_to_read()?;
    let stat = fstat(&directory).map_err(place.failed("fstat"))?;
    let (is_new, private) = (made.is_ok(), DIRECTORY_MODES.0.as_raw_mode());
    // What others have made, or opened for more users, stays as they want it.
    if is_new || is_ours(&stat) && stat.st_mode & private != private {
        set_mode(&directory, place, DIRECTORY_MODES)?;
    }
    fsync(parent).map_err(place.parent().failed("fsync"))
}

/// Sets the mode of a file that only this user may read, unless it belongs to another one, whose it is then.
pub(crate) fn make_private(file: &File, place: &Place) -> Result<(), StoreError> {
    match is_ours(&fstat(file).map_err(place.failed("fstat"))?) {
        true => fchmod(file, FILE_MODES.0).map_err(place.failed("fchmod")),
        false => Ok(()),
    }
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Sets the mode of the state path itself, unless it belongs to another user.
pub(crate) fn tighten(root: &Place, group: Option<u32>) -> Result<(), StoreError> {
    let directory = root.open_to_read()?;
    let stat = fstat(&directory).map_err(root.failed("fstat"))?;
    if !is_ours(&stat) {
        return Ok(());
    }
    // Whoever may read `certs/` must get there.
    let (mode, group) = match group {
        Some(group) if stat.st_gid == group || share(&directory, root, group)? => (0o710, group),
        _ => (0o700, stat.st_gid),
    };
    if (stat.st_mode & MODE_BITS, stat.st_gid) == (mode, group) {
        return Ok(());
    }
    fchmod(&directory, Mode::from_raw_mode(mode)).map_err(root.failed("fchmod"))
}

/// Lets the group of a directory, and nobody else, read it and all below it, or nobody at all. The
/// directory itself is last: if it is as it should be, so is the rest.
pub(crate) fn adapt(place: &Place) -> Result<(), StoreError> {
    let directory = place.open_to_read()?;
    if is_adapted(&directory, place, DIRECTORY_MODES)? {
        return Ok(());
    }
    let mut result = Ok(());
    for name in entries_of(&directory).map_err(place.failed("readdir"))? {
        result = result.and(adapt_below(&place.join(name)));
    }
    result.and_then(|()| set_group(&place.open_to_read()?, place, DIRECTORY_MODES))
}

fn adapt_below(place: &Place) -> Result<(), StoreError> {
    let Some(stat) = place.stat()? else { return Ok(()) };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let directory = place.open_to_read()?;
            for name in entries_of(&directory).map_err(place.failed("readdir"))? {
                adapt_below(&place.join(name))?;
            }
            set_group(&place.open_to_read()?, place, DIRECTORY_MODES)
        }
        FileType::RegularFile if is_ours(&stat) => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let directory = place.parent().open_directory()?;
            let file = openat(directory, place.file_name(), flags, Mode::empty());
            set_group(&file.map_err(place.failed("open"))?, place, FILE_MODES)
        }
        _ => Ok(()),
    }
}

fn is_adapted(file: &OwnedFd, place: &Place, modes: (Mode, Mode)) -> Result<bool, StoreError> {
    let stat = fstat(file).map_err(place.failed("fstat"))?;
    let mode = stat.st_mode & MODE_BITS;
    Ok(match place.group() {
        _ if !is_ours(&stat) => true,
        Some(group) => (mode, stat.st_gid) == (modes.1.as_raw_mode(), group),
        None => mode == modes.0.as_raw_mode(),
    })
}

fn set_group(file: &OwnedFd, place: &Place, modes: (Mode, Mode)) -> Result<(), StoreError> {
    if is_adapted(file, place, modes)? {
        return Ok(());
    }
    let Some(group) = place.group() else {
        return fchmod(file, modes.0).map_err(place.failed("fchmod"));
    };
    fchown(file, None, Some(Gid::from_raw(group))).map_err(place.failed("fchown"))?;
    fchmod(file, modes.1).map_err(place.failed("fchmod"))
}

/// Removes a file; one that is not there counts as removed.
pub(crate) fn remove(place: &Place) -> Result<(), StoreError> {
    let directory = place.parent().open_to_read()?;
    match unlinkat(&directory, place.file_name(), AtFlags::empty()) {
        Ok(()) => fsync(directory).map_err(place.parent().failed("fsync")),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(place.failed("unlink")(error)),
    }
}

/// Lists the names in a directory that are those of finished things, sorted; none if it is not there.
pub(crate) fn list(place: &Place) -> Result<Vec<String>, StoreError> {
    let mut names = place.entries()?;
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

/// Removes what a crash left unfinished from a directory and all below it, as far as it can be
/// removed; the error is the first one. Links are not followed: what is elsewhere is not ours.
pub(crate) fn sweep(place: &Place) -> Result<(), StoreError> {
    let mut result = Ok(());
    for name in place.entries()? {
        let entry = place.join(&name);
        let swept = if name.starts_with(TEMPORARY) {
            remove_leftover(&entry)
        } else if entry.stat()?.is_some_and(|stat| is_directory(&stat)) {
            sweep(&entry)
        } else {
            Ok(())
        };
        result = result.and(swept);
    }
    result
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}

/// Removes a file, a link or a whole directory that may not be there.
pub(crate) fn remove_leftover(place: &Place) -> Result<(), StoreError> {
    let directory = match place.parent().open_directory() {
        Err(error) if error.is_not_found() => return Ok(()),
        directory => directory?,
    };
    remove_all(&directory, place.file_name()).map_err(place.failed("unlink"))
}

fn remove_all(directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_directory(&stat) => {}
        Ok(_) => return gone(unlinkat(directory, name, AtFlags::empty())),
        Err(error) => return gone(Err(error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let below = openat(directory, name, flags, Mode::empty())?;
    for entry in entries_of(&below)? {
        remove_all(&below, &entry)?;
    }
    gone(unlinkat(directory, name, AtFlags::REMOVEDIR))
}

fn gone(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(place: &Place) -> Result<(), StoreError> {
    fsync(place.open_to_read()?).map_err(place.failed("fsync"))
}

#[cfg(test)]
mod tests {
    use super::{create, ensure_directory, remove, replace, swap_link, sweep};
    use crate::store::Trust;
    use crate::store::door::{Door, MAX_FILE, Place};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::Arc;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn root(path: &Path) -> Place {
        Place::new(&Arc::new(Door::open(path, Trust::here(), None).unwrap()), "")
    }

    #[test]
    fn modes_are_exact() {
        let dir = tempfile::tempdir().unwrap();
        let sub = root(dir.path()).join("sub");
        let file = sub.join("file");
        ensure_directory(&sub).unwrap();
        ensure_directory(&sub).unwrap();
        replace(&file, b"1").unwrap();
        assert_eq!((mode(&sub.path()), mode(&file.path())), (0o700, 0o600));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        replace(&file, b"2").unwrap();
        assert_eq!(mode(&file.path()), 0o600, "the mode of the file that was there does not stay");
        assert_eq!(file.read(MAX_FILE).unwrap().unwrap().as_slice(), b"2");
    }

    #[test]
    fn what_a_crash_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".tmp-7-account.json"), "half").unwrap();
        fs::create_dir(dir.path().join(".tmp-3")).unwrap();
        fs::write(dir.path().join(".tmp-3/privkey.pem"), "half").unwrap();
        fs::write(dir.path().join("account.json"), "whole").unwrap();
        fs::create_dir_all(dir.path().join(".versions/a/1")).unwrap();
        let below = dir.path().join(".versions/a/1/.tmp-9-renewal.json");
        fs::write(&below, "half").unwrap();
        sweep(&root(dir.path())).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".versions", "account.json"]);
        assert!(!below.exists() && below.with_file_name("").exists());
        sweep(&root(dir.path()).join("missing")).unwrap();
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let target = root(dir.path()).join("target");
        ensure_directory(&target).unwrap();
        let error = replace(&target, b"x").unwrap_err().to_string();
        assert!(error.starts_with("rename() ") && error.contains("directory"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(create(&target, b"x").is_err());
    }

    #[test]
    fn a_link_is_swapped_and_a_missing_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let link = root(dir.path()).join("link");
        for target in ["one", "two"] {
            swap_link(&link, Path::new(target)).unwrap();
            assert_eq!(link.read_link().unwrap().as_deref(), Some(Path::new(target)));
        }
        assert!(link.read(MAX_FILE).unwrap_err().to_string().contains("symbolic link"));
        remove(&link.with_file_name("missing")).unwrap();
    }
}
