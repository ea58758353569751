//! Files that a crash leaves either old or new, with exact modes.
//!
//! nginx sets its umask to 0, others do not: modes are set on the open descriptor. What is being
//! written has a name that begins with [`TEMPORARY`], in the directory where it will be; after a
//! crash [`sweep`] finds it there. No certificate, issuer or provider has such a name.

use super::error::{StoreError, failed};
use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, Stat, fstat, openat, renameat_with};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// How the name of everything unfinished begins.
const TEMPORARY: &str = ".tmp-";

/// How the name of what was put out of the way ends.
pub(crate) const ASIDE: &str = ".invalid";

/// The largest file that is read: many times the largest chain.
const MAX_FILE: u64 = 4 << 20;

const FILE_MODE: u32 = 0o600;
pub(crate) const DIRECTORY_MODE: u32 = 0o700;

/// A name next to `path` for what will become `path`.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{TEMPORARY}{number}-{name}"))
}

/// Replaces a file: after an error or a crash it is the old one, after a success it is durable.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary(path);
    let result = remove_leftover(&temporary)
        .and_then(|()| create(&temporary, bytes))
        .and_then(|()| rename(&temporary, path));
    if result.is_err() {
        // What matters is the first error; a leftover is swept at the next start.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Creates a file that must not exist yet, and writes it through to the disk.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(failed("open", path))?;
    file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(failed("fchmod", path))?;
    give_to_owner(&file, path)?;
    file.write_all(bytes).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("fsync", path))
}

/// Moves a file, link or directory over another name of the same directory, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(failed("rename", to))?;
    sync_parent(to)
}

/// Points a symbolic link at another target by one rename.
pub(crate) fn swap_link(link: &Path, target: &Path) -> Result<(), StoreError> {
    let temporary = temporary(link);
    remove_leftover(&temporary)?;
    symlink(target, &temporary).map_err(failed("symlink", &temporary))?;
    let result = rename(&temporary, link);
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Makes two names of one file system change places, each with what it stands for, by one step that
/// is durable. `false`: the file system cannot do that.
pub(crate) fn exchange(one: &Path, other: &Path) -> Result<bool, StoreError> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(false),
        Err(error) => return Err(failed("rename", one)(error.into())),
    }
    sync_parent(other)?;
    sync_parent(one).map(|()| true)
}

/// Puts something out of the way, for a person to look at: under a name that ends with
/// [`ASIDE`] and is free, so that what was put there before stays.
pub(crate) fn set_aside(path: &Path, stem: &str) -> Result<PathBuf, StoreError> {
    let mut aside = path.with_file_name(format!("{stem}{ASIDE}"));
    for number in 2_u32.. {
        match fs::symlink_metadata(&aside) {
            Ok(_) => aside = path.with_file_name(format!("{stem}~{number}{ASIDE}")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(failed("lstat", &aside)(error)),
        }
    }
    rename(path, &aside)?;
    Ok(aside)
}

/// Creates a directory unless it is there; a new one is 0700 whatever the umask. One that a crash
/// has left half made is finished.
pub(crate) fn ensure_directory(path: &Path) -> Result<(), StoreError> {
    let is_new = match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A link to a directory is as good.
            if !fs::metadata(path).map_err(failed("stat", path))?.is_dir() {
                return Err(failed("mkdir", path)(error));
            }
            false
        }
        Err(error) => return Err(failed("mkdir", path)(error)),
    };
    let metadata = fs::symlink_metadata(path).map_err(failed("lstat", path))?;
    let is_ours = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
    // What others have made, or opened for more users, stays as they want it.
    if is_new || is_ours && metadata.mode() & DIRECTORY_MODE != DIRECTORY_MODE {
        fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
            .map_err(failed("chmod", path))?;
    }
    if is_ours {
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let directory = OpenOptions::new().read(true).custom_flags(flags).open(path);
        give_to_owner(&directory.map_err(failed("open", path))?, path)?;
    }
    sync_parent(path)
}

/// Gives what this process has just made to the owner of the directory that it lies in. They differ
/// where nginx is a single process of root: nginx gives the state path to the workers' user.
pub(crate) fn give_to_owner(file: &File, path: &Path) -> Result<(), StoreError> {
    let stat = path.parent().map(fs::metadata).transpose().map_err(failed("stat", path))?;
    let mine = file.metadata().map_err(failed("fstat", path))?;
    match stat {
        Some(theirs) if theirs.uid() != mine.uid() && rustix::process::geteuid().is_root() => {
            fchown(file, Some(theirs.uid()), Some(theirs.gid())).map_err(failed("fchown", path))
        }
        _ => Ok(()),
    }
}

/// Removes a file; one that is not there counts as removed.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("unlink", path)(error)),
    }
}

/// Reads a file into memory that is wiped when it is dropped. `None`: there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    Ok(read_if(CWD, path, path, |_| Ok(()))?.map(|(bytes, _)| bytes))
}

/// Reads a file that holds JSON. `None`: there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    read(path)?.map(|bytes| json(&bytes, path)).transpose()
}

fn json<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Serde's own words quote what it has found, which may be a key.
        let (line, column) = (error.line(), error.column());
        let reason = match error.classify() {
            Category::Eof => format!("its JSON ends too early, at line {line} column {column}"),
            Category::Syntax => format!("it is not JSON at line {line} column {column}"),
            Category::Io | Category::Data => {
                format!("it holds something else than it should, at line {line} column {column}")
            }
        };
        StoreError::invalid(path, reason)
    })
}

/// What a file holds, and what the system knows of it.
type Content = (Zeroizing<Vec<u8>>, Stat);

/// A directory that is open: what is read in it is of this one, whatever takes its name. Thousands of
/// files are found faster this way than by their full names.
#[derive(Debug)]
pub(crate) struct Directory {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_at(CWD, path, path.to_owned())
    }

    /// Opens one of its entries, a directory or a link to one.
    pub(crate) fn open_in(&self, name: &str) -> Result<Self, StoreError> {
        Self::open_at(&self.descriptor, Path::new(name), self.path.join(name))
    }

    fn open_at(at: impl AsFd, name: &Path, path: PathBuf) -> Result<Self, StoreError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(at, name, flags, Mode::empty()) {
            Ok(descriptor) => Ok(Self { descriptor, path }),
            Err(error) => Err(failed("open", &path)(error.into())),
        }
    }

    /// The name by which it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file that must belong to the owner of the state path. The master reads as root what lies
    /// in a directory of another user: that user must not make it read, by a link, what only root can.
    pub(crate) fn read_of(&self, name: &str, owner: u32) -> Result<Option<Content>, StoreError> {
        let path = self.path.join(name);
        read_if(&self.descriptor, Path::new(name), &path, |stat| match stat.st_uid == owner {
            true => Ok(()),
            false => Err(StoreError::invalid(&path, "it has another owner than the state path")),
        })
    }

    /// See [`read_json`].
    pub(crate) fn read_json<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        let path = self.path.join(name);
        let content = read_if(&self.descriptor, Path::new(name), &path, |_| Ok(()))?;
        content.map(|(bytes, _)| json(&bytes, &path)).transpose()
    }
}

/// Reads a file, named from `at`; `path` is its full name.
fn read_if(
    at: impl AsFd,
    name: &Path,
    path: &Path,
    check: impl FnOnce(&Stat) -> Result<(), StoreError>,
) -> Result<Option<Content>, StoreError> {
    // Does not wait for the writer of a FIFO.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(at, name, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed("open", path)(error.into())),
    };
    // Half the time of `File::metadata`, which is `statx()`.
    let stat = fstat(&file).map_err(|error| failed("fstat", path)(error.into()))?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(StoreError::invalid(path, "it is not a regular file"));
    }
    check(&stat)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > MAX_FILE {
        return Err(StoreError::invalid(path, format!("it is larger than {MAX_FILE} bytes")));
    }
    // Allocated once: a growing vector would leave copies of a key behind.
    let capacity = usize::try_from(size).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    // No file here grows: each is replaced as a whole.
    file.take(size).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(Some((bytes, stat)))
}

/// The names in a directory that are those of finished things, sorted; none if it is not there.
pub(crate) fn list(path: &Path) -> Result<Vec<String>, StoreError> {
    let mut names: Vec<String> =
        all(path)?.into_iter().filter(|name| !name.starts_with('.')).collect();
    names.sort();
    Ok(names)
}

/// Removes what a crash left unfinished from a directory and all below it, as far as it can be
/// removed; the error is the first one. Links are not followed: what is elsewhere is not ours.
pub(crate) fn sweep(directory: &Path) -> Result<(), StoreError> {
    let mut result = Ok(());
    for name in all(directory)? {
        let path = directory.join(&name);
        let swept = if name.starts_with(TEMPORARY) {
            remove_leftover(&path)
        } else if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            sweep(&path)
        } else {
            Ok(())
        };
        result = result.and(swept);
    }
    result
}

/// Removes a file, a link or a whole directory that may not be there.
pub(crate) fn remove_leftover(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("unlink", path)(error)),
        _ => Ok(()),
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = File::open(path).map_err(failed("open", path))?;
    directory.sync_all().map_err(failed("fsync", path))
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), sync_directory)
}

fn all(path: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("opendir", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("readdir", path))?;
        // A name that is no text is not one of ours.
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{Directory, create, ensure_directory, read, remove, replace, swap_link, sweep};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::path::Path;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn modes_are_exact() {
        let dir = tempfile::tempdir().unwrap();
        let (sub, file) = (dir.path().join("sub"), dir.path().join("sub/file"));
        ensure_directory(&sub).unwrap();
        ensure_directory(&sub).unwrap();
        replace(&file, b"1").unwrap();
        assert_eq!((mode(&sub), mode(&file)), (0o700, 0o600));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&file, b"2").unwrap();
        assert_eq!(mode(&file), 0o600, "the mode of the file that was there does not stay");
        assert_eq!(read(&file).unwrap().unwrap().as_slice(), b"2");
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
        sweep(dir.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".versions", "account.json"]);
        assert!(!below.exists() && below.with_file_name("").exists());
        sweep(&dir.path().join("missing")).unwrap();
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        ensure_directory(&target).unwrap();
        let error = replace(&target, b"x").unwrap_err().to_string();
        assert!(error.starts_with("rename() ") && error.contains("directory"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(create(&target, b"x").is_err());
    }

    #[test]
    fn a_file_of_another_owner_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("privkey.pem");
        replace(&file, b"secret").unwrap();
        let owner = fs::metadata(dir.path()).unwrap().uid();
        let directory = Directory::open(dir.path()).unwrap();
        assert!(directory.read_of("privkey.pem", owner).unwrap().is_some());
        let error = directory.read_of("privkey.pem", owner + 1).unwrap_err().to_string();
        assert!(error.contains("another owner"), "{error}");
        let device = Path::new("/dev/zero");
        assert!(read(device).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_directory() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        chown(dir.path(), Some(65534), Some(65534)).unwrap();
        let (sub, file) = (dir.path().join("sub"), dir.path().join("sub/file"));
        ensure_directory(&sub).unwrap();
        replace(&file, b"1").unwrap();
        for path in [&sub, &file] {
            let metadata = fs::metadata(path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (65534, 65534), "{}", path.display());
        }
        assert!(Directory::open(&sub).unwrap().read_of("file", 65534).unwrap().is_some());
    }

    #[test]
    fn a_link_is_swapped_and_a_missing_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        for target in ["one", "two"] {
            swap_link(&link, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        }
        assert!(read(&link).unwrap().is_none());
        assert!(read(dir.path()).unwrap_err().to_string().contains("not a regular file"));
        remove(&dir.path().join("missing")).unwrap();
    }
}
