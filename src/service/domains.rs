//! Domains files on disk: which ones there are, and whether they have changed.

use crate::stamp::FileStamp;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Number of looks in a row that have to fail before it is said.
const PATIENCE: u32 = 4;

/// Lists the domains files of a path: itself, or, if it is a directory, the files in it. What begins with a dot or ends
/// with `~` is left out: editors and copying programs leave such files.
///
/// # Errors
/// The path cannot be looked at.
pub fn domains_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') && !name.ends_with('~') && is_file(&entry)? {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Tells whether an entry is a file, or a link to one. For most file systems the list of the directory says so.
fn is_file(entry: &fs::DirEntry) -> io::Result<bool> {
    let kind = entry.file_type()?;
    Ok(kind.is_file() || kind.is_symlink() && entry.path().is_file())
}

/// Content of a domains file.
#[derive(Debug)]
pub(crate) struct DomainsFile {
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
}

impl DomainsFile {
    /// Tells whether its last line ends: who still writes has not written that.
    pub(crate) fn is_complete(&self) -> bool {
        self.content.last().is_none_or(|last| *last == b'\n')
    }
}

/// Files of a path with their stamps.
type Stamps = Vec<(PathBuf, FileStamp)>;

/// Domains file, or directory of such files, that is looked at again and again.
#[derive(Debug)]
pub(crate) struct DomainsSource {
    pub(crate) path: PathBuf,
    /// The files at the last look.
    seen: Option<Stamps>,
    /// The files that were read last.
    read: Option<Stamps>,
    /// Number of looks in a row that have failed.
    failures: u32,
}

impl DomainsSource {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, seen: None, read: None, failures: 0 }
    }

    /// Reads the files if they have changed since they were read. Files that have changed since the last look are still
    /// being written, perhaps, and are left for the next. So is what is not there: it may be being replaced.
    pub(crate) fn look(&mut self) -> io::Result<Option<Vec<DomainsFile>>> {
        let looked = self.look_now();
        self.failures = if looked.is_err() { self.failures.saturating_add(1) } else { 0 };
        match looked {
            Err(_) if self.failures < PATIENCE => Ok(None),
            looked => looked,
        }
    }

    fn look_now(&mut self) -> io::Result<Option<Vec<DomainsFile>>> {
        let now = stamps(&self.path)?;
        if self.read.as_ref() == Some(&now) {
            return Ok(None);
        }
        if self.seen.as_ref() != Some(&now) {
            self.seen = Some(now);
            return Ok(None);
        }
        let files = now.iter().map(|(path, _)| {
            let content = fs::read(path)?;
            Ok(DomainsFile { path: path.clone(), content })
        });
        let files = files.collect::<io::Result<_>>()?;
        if stamps(&self.path)? != now {
            return Ok(None);
        }
        self.read = Some(now);
        Ok(Some(files))
    }
}

fn stamps(path: &Path) -> io::Result<Stamps> {
    let files = domains_files(path)?.into_iter();
    files.map(|path| FileStamp::of(&path).map(|stamp| (path, stamp))).collect()
}

#[cfg(test)]
mod tests {
    use super::{DomainsSource, PATIENCE, domains_files};
    use std::fs;

    #[test]
    fn a_file_is_read_once_when_two_looks_have_seen_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        let mut source = DomainsSource::new(path.clone());
        for look in 1..=PATIENCE {
            assert_eq!(source.look().is_err(), look == PATIENCE, "it is not there at look {look}");
        }
        for text in ["a.test\n", "a.test\nb.test\n", ""] {
            fs::write(&path, text).unwrap();
            assert!(source.look().unwrap().is_none(), "{text:?}: it may be half of it");
            let files = source.look().unwrap().expect("the files");
            assert_eq!(files[0].content, text.as_bytes());
            assert!(source.look().unwrap().is_none(), "{text:?}: it is known");
        }
        fs::write(&path, "a").unwrap();
        assert!(source.look().unwrap().is_none());
        fs::write(&path, "a.t").unwrap();
        assert!(source.look().unwrap().is_none(), "it is still being written");
        assert!(!source.look().unwrap().expect("the files")[0].is_complete());
    }

    #[test]
    fn a_directory_has_its_files_but_those_of_editors() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a.txt", ".a.txt.swp", "a.txt~"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("c")).unwrap();
        let files = domains_files(dir.path()).unwrap();
        assert_eq!(files, ["a.txt", "b"].map(|name| dir.path().join(name)));
    }
}
