//! The state path itself: who it belongs to.

use super::StoreError;
use super::door::entries_of;
use super::error::failed;
use super::layout::{ACCOUNTS, ACTIONS, CERTS, JOURNAL, LOCK, ORDERS, PACKS, PROGRAMS};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chownat, fchmod, fstat,
    openat, openat2, statat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// The user of the service, with its group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// The outcome of a takeover.
#[derive(Debug)]
pub enum TakeOver {
    /// The state path belongs to the user, or there is none.
    NotNeeded,
    /// Another process holds the lock; nothing was changed.
    Busy,
    /// All that the store makes belongs to the user.
    Done {
        /// The owner of the state path until now.
        from: u32,
        /// The number of files, directories and links that have a new owner.
        files: usize,
    },
    /// Owners cannot be changed here, as on NFS with `root_squash` or in a user namespace. What
    /// was changed was given back.
    Refused(StoreError),
}

/// Checks that the state path can be used: it is a directory, or can be made in one. Writes nothing.
///
/// # Errors
/// Neither it nor the directory above is a directory that can be looked at.
pub fn check_state_path(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(StoreError::invalid(path, "it is not a directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("stat", path)(error)),
    }
    // A link to nothing cannot be made a directory.
    if fs::symlink_metadata(path).is_ok() {
        return Err(StoreError::invalid(path, "it is a symbolic link to nothing"));
    }
    let parent = parent(path);
    let metadata = fs::metadata(parent).map_err(failed("stat", parent))?;
    if metadata.is_dir() {
        Ok(())
    } else {
        Err(StoreError::invalid(parent, "it is not a directory"))
    }
}

/// Creates the state path for its user, unless it is there. A crash may leave it without its user:
/// [`take_over`] mends that.
///
/// # Errors
/// It cannot be created, or something else is in its place.
pub fn create_state_path(path: &Path, user: Option<User>) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return check_state_path(path);
        }
        Err(error) => return Err(failed("mkdir", path)(error)),
    }
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits();
    let directory = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
    let directory = directory.map_err(failed("open", path))?;
    directory.set_permissions(Permissions::from_mode(0o700)).map_err(failed("fchmod", path))?;
    if let Some(User { uid, gid }) = user {
        fchown(&directory, Some(uid), Some(gid)).map_err(failed("fchown", path))?;
    }
    directory.sync_all().map_err(failed("fsync", path))?;
    let parent = parent(path);
    let synced = File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(failed("fsync", parent))
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Gives the state path, and what the store has made in it, to another user. What else lies there stays
/// as it is. Nothing happens while another process holds the lock; a crash in between starts anew.
/// `forced`: even if the state path itself belongs to the user.
pub fn take_over(state_path: &Path, user: User, forced: bool) -> TakeOver {
    let begun = match OwnerChange::begin(state_path, user, forced) {
        Ok(begun) => begun,
        Err(outcome) => return outcome,
    };
    let from = begun.from;
    match begun.all(user) {
        Ok(files) => TakeOver::Done { from: from.uid, files },
        Err(error) => {
            // Whoever goes on as before must be able to read what was changed before it failed.
            let _ = begun.all(from);
            TakeOver::Refused(error)
        }
    }
}

/// The directories that the store makes.
const DIRECTORIES: [&str; 7] = [CERTS, ACCOUNTS, ORDERS, JOURNAL, ACTIONS, PROGRAMS, PACKS];

/// Directories with keys, which nobody else has a reason to read.
const PRIVATE: [&str; 3] = [ACCOUNTS, ORDERS, PACKS];

/// Depth of the store's directories: `certs/.versions/NAME/NUMBER`. What somebody else has put
/// below is not ours.
const MAX_DEPTH: usize = 4;

/// A takeover, with the lock.
struct OwnerChange<'a> {
    path: &'a Path,
    root: OwnedFd,
    device: u64,
    /// The owner until now.
    from: User,
    _lock: Option<File>,
}

impl<'a> OwnerChange<'a> {
    fn begin(path: &'a Path, user: User, forced: bool) -> Result<Self, TakeOver> {
        let refused = |operation: &'static str| {
            move |error: Errno| TakeOver::Refused(failed(operation, path)(error.into()))
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match openat(CWD, path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(TakeOver::NotNeeded),
            // Without CAP_DAC_OVERRIDE only its owner may open it, who may be the user already.
            Err(Errno::ACCESS) if is_of(path, user) => return Err(TakeOver::NotNeeded),
            root => root.map_err(refused("open"))?,
        };
        let stat = fstat(&root).map_err(refused("fstat"))?;
        if stat.st_uid == user.uid && !forced {
            return Err(TakeOver::NotNeeded);
        }
        let from = User { uid: stat.st_uid, gid: stat.st_gid };
        let lock = lock(&root)?;
        Ok(Self { path, root, device: stat.st_dev, from, _lock: lock })
    }

    /// Gives everything to a user, the state path itself last, and counts what was given.
    fn all(&self, user: User) -> Result<usize, StoreError> {
        let mut files = 0;
        // Where owners cannot be changed, this shows at the first one.
        self.give(&self.root, OsStr::new(LOCK), &self.path.join(LOCK), user, &mut files)?;
        for name in DIRECTORIES {
            let before = files;
            let path = self.path.join(name);
            self.descend(&self.root, OsStr::new(name), &path, user, &mut files, 0)?;
            if name == CERTS && files > before {
                // The store sees by its group whether the rest is as it should be.
                self.reset_group(user)?;
            }
        }
        let stat = fstat(&self.root).map_err(|e| failed("fstat", self.path)(e.into()))?;
        if stat.st_uid != user.uid {
            let failed = |operation| move |e: Errno| failed(operation, self.path)(e.into());
            fchmod(&self.root, Mode::from_raw_mode(0o700)).map_err(failed("fchmod"))?;
            chown(&self.root, user).map_err(failed("fchown"))?;
            files += 1;
        }
        Ok(files)
    }

    /// Gives something and, if it is a directory, all below it.
    fn descend(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
        user: User,
        files: &mut usize,
        depth: usize,
    ) -> Result<(), StoreError> {
        let Some(directory) = self.give(directory, name, path, user, files)? else {
            return Ok(());
        };
        if depth >= MAX_DEPTH {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let names = openat(&directory, ".", flags, Mode::empty()).and_then(entries_of);
        let names = match names {
            // It was removed meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            names => names.map_err(|e| failed("readdir", path)(e.into()))?,
        };
        for name in names {
            self.descend(&directory, &name, &path.join(&name), user, files, depth + 1)?;
        }
        Ok(())
    }

    /// Gives one thing, if it is of a kind that the store makes. A directory is opened.
    fn give(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
        user: User,
        files: &mut usize,
    ) -> Result<Option<OwnedFd>, StoreError> {
        // It opens nothing for real, and not what is mounted there.
        let opened = match open_here(directory, name) {
            Err(Errno::NOENT | Errno::XDEV | Errno::LOOP) => return Ok(None),
            opened => opened.map_err(|e| failed("open", path)(e.into()))?,
        };
        let stat = fstat(&opened).map_err(|e| failed("fstat", path)(e.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_ours = match kind {
            FileType::Directory => true,
            FileType::RegularFile | FileType::Symlink => stat.st_nlink == 1,
            _ => false,
        };
        if !is_ours || stat.st_dev != self.device {
            return Ok(None);
        }
        if stat.st_uid != user.uid {
            chown(&opened, user).map_err(|e| failed("fchown", path)(e.into()))?;
            *files += 1;
        }
        if kind.is_symlink() {
            return Ok(None);
        }
        self.tighten(directory, name, path, &stat)?;
        Ok(kind.is_dir().then_some(opened))
    }

    /// Takes keys away from whom they were opened for.
    fn tighten(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
        stat: &Stat,
    ) -> Result<(), StoreError> {
        let is_private = PRIVATE.iter().any(|name| path.starts_with(self.path.join(name)));
        if !is_private || stat.st_mode & 0o077 == 0 {
            return Ok(());
        }
        // A descriptor that opens nothing cannot change a mode.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match openat(directory, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
            opened => opened.map_err(|e| failed("open", path)(e.into()))?,
        };
        let now = fstat(&opened).map_err(|e| failed("fstat", path)(e.into()))?;
        // What has taken its place meanwhile is not ours.
        if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
            return Ok(());
        }
        fchmod(opened, Mode::from_raw_mode(now.st_mode & 0o700))
            .map_err(|e| failed("fchmod", path)(e.into()))
    }

    fn reset_group(&self, user: User) -> Result<(), StoreError> {
        match open_here(&self.root, OsStr::new(CERTS)) {
            Ok(certs) => chown(&certs, user)
                .map_err(|error| failed("fchown", &self.path.join(CERTS))(error.into())),
            Err(_) => Ok(()),
        }
    }
}

/// Tells whether a state path that cannot be opened belongs to a user.
fn is_of(path: &Path, user: User) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.uid() == user.uid)
}

/// Takes the lock as [`Store::lock`](super::Store::lock) does. What is no file is no lock, nor does it keep
/// anybody from taking over: whoever has put it there would decide who reads the keys.
fn lock(root: &OwnedFd) -> Result<Option<File>, TakeOver> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let is_lock =
        |stat: Stat| FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_nlink == 1;
    let opened = match statat(root, LOCK, AtFlags::SYMLINK_NOFOLLOW) {
        // NFS wants it to be open for writing, which not every capability allows.
        Ok(stat) if is_lock(stat) => openat(root, LOCK, flags | OFlags::RDWR, Mode::empty())
            .or_else(|_| openat(root, LOCK, flags | OFlags::RDONLY, Mode::empty())),
        Ok(_) => return Ok(None),
        // Nobody works there before it is made.
        Err(_) => {
            let made = flags | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
            openat(root, LOCK, made, Mode::from_raw_mode(0o600))
        }
    };
    let Ok(opened) = opened else { return Ok(None) };
    if !fstat(&opened).is_ok_and(is_lock) {
        return Ok(None);
    }
    let file = File::from(opened);
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(TakeOver::Busy),
        // A file system without locks: the store will say so.
        _ => Ok(Some(file)),
    }
}

/// Opens an entry of a directory by its name only, whatever it is, unless something is mounted there.
fn open_here(directory: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(directory, name, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => openat(directory, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// Changes the owner of what a descriptor stands for, a link itself too.
fn chown(opened: &OwnedFd, user: User) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    chownat(opened, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
}

#[cfg(test)]
mod tests;
