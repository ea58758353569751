//! Writing into a directory that belongs to other software.
//!
//! A file is complete, with its group and mode, before it takes its name; links are replaced, and never followed.

use crate::program::check_directory;
use acme_dns_core::text::errno;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, fchmod, fchown, fstat, fsync, openat, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest file that is compared, in octets.
const MAX_FILE: u64 = 4 << 20;

/// A file to be written.
pub(super) struct Target<'a> {
    pub(super) name: &'a str,
    pub(super) mode: u32,
    pub(super) group: Option<u32>,
}

/// Directory of exported files, open.
pub(super) struct Directory {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Directory {
    /// Opens it, unless others may put files into it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        check_directory(path, None)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = |error| failure("open", path, error);
        let descriptor = openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), descriptor })
    }

    /// Reads a file that has its group and mode already; `None` if it is another, or none.
    pub(super) fn read(&self, target: &Target<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let path = self.path.join(target.name);
        let failed = |operation: &'static str| {
            let path = path.clone();
            move |error| failure(operation, &path, error)
        };
        let stat = match statat(&self.descriptor, target.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("lstat")(error)),
        };
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let is_its = target.group.is_none_or(|group| group == stat.st_gid);
        if !is_file || !is_its || stat.st_mode & 0o7777 != target.mode {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.descriptor, target.name, flags, Mode::empty()) {
            Ok(file) => file,
            // That of somebody else is replaced, if the directory is ours.
            Err(Errno::ACCESS | Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(failed("open")(error)),
        };
        let length = fstat(&file).map_err(failed("fstat"))?.st_size;
        let length = usize::try_from(length).unwrap_or_default();
        let mut content = Zeroizing::new(Vec::with_capacity(length.min(MAX_FILE as usize) + 1));
        let read = File::from(file).take(MAX_FILE).read_to_end(&mut content);
        read.map_err(|error| format!("read() \"{}\" failed ({})", path.display(), errno(&error)))?;
        Ok(Some(content))
    }

    /// Writes a file. After an error or a crash there is what was there before.
    pub(super) fn write(&self, target: &Target<'_>, content: &[u8]) -> Result<(), String> {
        let temporary = format!(".{}.acme_dns", target.name);
        self.remove(&temporary)?;
        let written = self.create(&temporary, target, content).and_then(|()| {
            let renamed = renameat(&self.descriptor, &*temporary, &self.descriptor, target.name);
            renamed.map_err(|error| failure("rename", &self.path.join(target.name), error))
        });
        if written.is_err() {
            // What matters is the first error; a leftover is removed before the next attempt.
            let _left = self.remove(&temporary);
            return written;
        }
        fsync(&self.descriptor).map_err(|error| failure("fsync", &self.path, error))
    }

    fn create(&self, name: &str, target: &Target<'_>, content: &[u8]) -> Result<(), String> {
        let path = self.path.join(name);
        let failed = |operation: &'static str| {
            let path = path.clone();
            move |error| failure(operation, &path, error)
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o600);
        let file = openat(&self.descriptor, name, flags | OFlags::CLOEXEC, mode);
        let mut file = File::from(file.map_err(failed("open"))?);
        if let Some(group) = target.group {
            match fchown(&file, None, Some(Gid::from_raw(group))) {
                Ok(()) => {}
                Err(Errno::PERM) => {
                    return Err(format!(
                        "\"{}\" cannot belong to group {group}: the user of the service must be one of its \
                         members, and NGINX reloaded since it became one",
                        self.path.join(target.name).display()
                    ));
                }
                Err(error) => return Err(failed("fchown")(error)),
            }
        }
        fchmod(&file, Mode::from_raw_mode(target.mode)).map_err(failed("fchmod"))?;
        let failed_to_write =
            |error| format!("write() \"{}\" failed ({})", path.display(), errno(&error));
        file.write_all(content).map_err(failed_to_write)?;
        fsync(&file).map_err(failed("fsync"))
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        match unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failure("unlink", &self.path.join(name), error)),
        }
    }
}

fn failure(operation: &str, path: &Path, error: Errno) -> String {
    let advice = match error {
        Errno::ACCESS => ", give the directory to the user of the service",
        Errno::ROFS => ", add the directory to \"ReadWritePaths\" of NGINX's systemd unit",
        _ => "",
    };
    format!("{operation}() \"{}\" failed ({}){advice}", path.display(), errno(&error.into()))
}
