//! File stamps: they tell a file from any that takes its place.

use rustix::fs::{Stat, stat};
use std::io;
use std::path::Path;

/// Identity and last change of a file or directory; the default is that of none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
}

impl FileStamp {
    /// Looks at what has this name, through links.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::new(&stat(path)?))
    }

    pub(crate) fn new(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
        }
    }
}
