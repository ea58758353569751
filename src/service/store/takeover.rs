//! The state path itself: who it belongs to.

use super::StoreError;
use super::error::failed;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
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
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
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
    let flags = (rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW).bits();
    let directory = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
    let directory = directory.map_err(failed("open", path))?;
    directory.set_permissions(Permissions::from_mode(0o700)).map_err(failed("fchmod", path))?;
    if let Some(User { uid, gid }) = user {
        fchown(&directory, Some(uid), Some(gid)).map_err(failed("fchown", path))?;
    }
    directory.sync_all().map_err(failed("fsync", path))
}

/// Gives the state path, and what the store has made in it, to another user. What else lies there stays
/// as it is. Nothing happens while another process holds the lock; a crash in between starts anew.
/// `forced`: even if the state path itself belongs to the user.
pub fn take_over(state_path: &Path, user: User, forced: bool) -> TakeOver {
    let root = match File::open(state_path) {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return TakeOver::NotNeeded,
        Err(error) => return TakeOver::Refused(failed("open", state_path)(error)),
    };
    match root.metadata() {
        Ok(metadata) if metadata.uid() == user.uid && !forced => TakeOver::NotNeeded,
        Ok(_) => TakeOver::Busy,
        Err(error) => TakeOver::Refused(failed("fstat", state_path)(error)),
    }
}
