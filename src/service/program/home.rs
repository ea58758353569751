//! Home directories of programs: fresh, closed to others, and removed after.

use acme_dns_core::text::errno;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Directory that lasts as long as its program.
#[derive(Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    pub(super) fn new(homes: &Path, number: u64) -> Result<Self, String> {
        let path = homes.join(number.to_string());
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| format!("mkdir() \"{path}\" failed ({})", errno(&error))
        };
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder.create(homes).or_else(unless_there).map_err(failed(homes))?;
        builder.create(&path).map_err(failed(&path))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        remove_all(&self.0);
    }
}

/// Removes a directory with all that is in it, as far as that can be done; a later process tries again.
pub(super) fn remove_all(path: &Path) {
    let _left = fs::remove_dir_all(path);
}

fn unless_there(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    }
}
