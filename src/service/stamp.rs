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

    /// Gives what tells the file from others of the same file system.
    pub(crate) fn words(self) -> [u64; 4] {
        let (seconds, nanoseconds) = self.modified;
        [self.inode, self.size.cast_unsigned(), seconds.cast_unsigned(), nanoseconds]
    }

    /// Tells whether the file was changed after another one.
    pub(crate) fn is_newer_than(self, other: Self) -> bool {
        self.modified > other.modified
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
