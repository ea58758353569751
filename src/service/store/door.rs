//! The one door to the files of the state path.
//!
//! Everything is reached from a descriptor of the state path, whose own name may lead through links;
//! below it no link is followed. The few that are there by design are read as text, and resolved here.
//! Who has got hold of the state path's user can therefore make nobody, the master above all, open what
//! lies elsewhere: not by a link, nor by a device, a FIFO or a hard link, as owner and type are looked at
//! before anything is opened.

use super::error::{StoreError, failed};
use super::layout::CERTS;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2,
    readlinkat, statat,
};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use zeroize::Zeroizing;

/// The largest file that is read: many times the largest chain.
pub(crate) const MAX_FILE: u64 = 4 << 20;

/// The largest file of a key that is read: many times the largest key that is supported.
pub(crate) const MAX_KEY: u64 = 64 << 10;

/// Error of a file that has more names than one.
const HARD_LINK: &str = "it has another name elsewhere, a hard link";

/// Users whom a reader trusts as owners of files in the state path, besides root and the owner of the
/// state path itself.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Everybody: the reader is not root, and can be made to read nothing that others cannot.
    Everyone,
    /// These users.
    Owners(Vec<u32>),
}

impl Trust {
    /// The trust of this process.
    pub(crate) fn here() -> Self {
        match rustix::process::geteuid().is_root() {
            true => Self::Owners(Vec::new()),
            false => Self::Everyone,
        }
    }
}

/// The state path, open.
#[derive(Debug)]
pub(crate) struct Door {
    root: RwLock<Root>,
    path: PathBuf,
    trust: Trust,
    /// The group that may read `certs/`.
    pub(super) group: Option<u32>,
}

/// The directory of the state path.
#[derive(Debug)]
struct Root {
    descriptor: OwnedFd,
    owner: u32,
}

impl Root {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = openat(CWD, path, flags, Mode::empty());
        let descriptor = descriptor.map_err(|error| failed("open", path)(error.into()))?;
        let stat = fstat(&descriptor).map_err(|error| failed("fstat", path)(error.into()))?;
        Ok(Self { descriptor, owner: stat.st_uid })
    }
}

/// A file's content, and what the system knows of it.
pub(crate) type Content = (Zeroizing<Vec<u8>>, Stat);

impl Door {
    pub(crate) fn open(path: &Path, trust: Trust, group: Option<u32>) -> Result<Self, StoreError> {
        let root = RwLock::new(Root::open(path)?);
        Ok(Self { root, path: path.to_owned(), trust, group })
    }

    /// Goes on with the directory that has the name now: the one before was removed, or has moved.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let root = Root::open(&self.path)?;
        *self.root.write().unwrap_or_else(PoisonError::into_inner) = root;
        Ok(())
    }

    fn root(&self) -> RwLockReadGuard<'_, Root> {
        self.root.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name by which it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory, to look for entries in it.
    pub(crate) fn open_directory(&self, name: &Path) -> Result<OwnedFd, StoreError> {
        open_beneath(&self.root().descriptor, name, OFlags::PATH)
            .map_err(|error| failed("open", &self.path.join(name))(error.into()))
    }

    /// Refuses what a reader must not be made to read.
    pub(super) fn check(&self, stat: &Stat, path: &Path) -> Result<(), StoreError> {
        let invalid = |reason| Err(StoreError::invalid(path, reason));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => return invalid("it is a symbolic link, and is not followed"),
            _ => return invalid("it is not a regular file"),
        }
        let Trust::Owners(owners) = &self.trust else { return Ok(()) };
        let (owner, expected) = (stat.st_uid, self.root().owner);
        if ![0, expected].contains(&owner) && !owners.contains(&owner) {
            return Err(StoreError::Foreign { path: path.to_owned(), owner, expected });
        }
        match stat.st_nlink {
            // It may have been removed since it was opened.
            0 | 1 => Ok(()),
            _ => invalid(HARD_LINK),
        }
    }

    /// Refuses what must not be written to, in whatever user's directory it lies.
    pub(super) fn check_sole(&self, stat: &Stat, path: &Path) -> Result<(), StoreError> {
        self.check(stat, path)?;
        match stat.st_nlink {
            0 | 1 => Ok(()),
            _ => Err(StoreError::invalid(path, HARD_LINK)),
        }
    }

    /// Reads a file of a directory. `None`: there is no such file.
    pub(crate) fn read_in(
        &self,
        directory: impl AsFd,
        name: &OsStr,
        path: &Path,
        max: u64,
    ) -> Result<Option<Content>, StoreError> {
        // An open alone does things, with a tape or a terminal for instance.
        match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.check(&stat, path)?,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("lstat", path)(error.into())),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match openat(&directory, name, flags | OFlags::CLOEXEC, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("open", path)(error.into())),
        };
        // Half the time of `File::metadata`, which is `statx()`.
        let stat = fstat(&file).map_err(|error| failed("fstat", path)(error.into()))?;
        self.check(&stat, path)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > max {
            return Err(StoreError::invalid(path, format!("it is larger than {max} bytes")));
        }
        // Allocated once: a growing vector would leave copies of a key behind.
        let capacity = usize::try_from(size).unwrap_or(0);
        let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
        // No file here grows: each is replaced as a whole.
        file.take(size).read_to_end(&mut bytes).map_err(failed("read", path))?;
        Ok(Some((bytes, stat)))
    }
}

/// Place in the state path, whether or not anything is there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    door: Arc<Door>,
    /// Relative to the state path; empty for itself.
    name: PathBuf,
}

impl Place {
    pub(crate) fn new(door: &Arc<Door>, name: &str) -> Self {
        Self { door: Arc::clone(door), name: name.into() }
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> Self {
        Self { door: Arc::clone(&self.door), name: self.name.join(name) }
    }

    /// Another entry of the same directory.
    pub(crate) fn with_file_name(&self, name: impl AsRef<OsStr>) -> Self {
        Self { door: Arc::clone(&self.door), name: self.name.with_file_name(name) }
    }

    pub(crate) fn parent(&self) -> Self {
        let name = self.name.parent().unwrap_or(Path::new("")).to_owned();
        Self { door: Arc::clone(&self.door), name }
    }

    /// The name within its directory.
    pub(crate) fn file_name(&self) -> &OsStr {
        self.name.file_name().unwrap_or(OsStr::new("."))
    }

    /// The full name.
    pub(crate) fn path(&self) -> PathBuf {
        match self.name.as_os_str().is_empty() {
            true => self.door.path.clone(),
            false => self.door.path.join(&self.name),
        }
    }

    /// The group that may read it.
    pub(crate) fn group(&self) -> Option<u32> {
        self.door.group.filter(|_| self.name.starts_with(CERTS))
    }

    /// Makes the error of an operation on it, for `map_err`.
    pub(crate) fn failed(&self, operation: &'static str) -> impl FnOnce(Errno) -> StoreError {
        let path = self.path();
        move |error| failed(operation, &path)(error.into())
    }

    pub(crate) fn invalid(&self, reason: impl Into<String>) -> StoreError {
        StoreError::invalid(&self.path(), reason)
    }

    /// Opens it as a directory, to look for entries in it.
    pub(crate) fn open_directory(&self) -> Result<OwnedFd, StoreError> {
        self.open_with(OFlags::PATH)
    }

    /// Opens it as a directory, to be read, changed or synchronized.
    pub(crate) fn open_to_read(&self) -> Result<OwnedFd, StoreError> {
        self.open_with(OFlags::RDONLY)
    }

    fn open_with(&self, flags: OFlags) -> Result<OwnedFd, StoreError> {
        open_beneath(&self.door.root().descriptor, &self.name, flags).map_err(self.failed("open"))
    }

    /// Looks at it, or at the link that it is; `None` if there is nothing.
    pub(crate) fn stat(&self) -> Result<Option<Stat>, StoreError> {
        let directory = match self.parent().open_directory() {
            Err(error) if error.is_not_found() => return Ok(None),
            directory => directory?,
        };
        match statat(directory, self.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("lstat")(error)),
        }
    }

    /// Reads the text of a link; `None` if it is none, or not there.
    pub(crate) fn read_link(&self) -> Result<Option<PathBuf>, StoreError> {
        let directory = self.parent().open_directory()?;
        read_link_in(directory, self.file_name()).map_err(self.failed("readlink"))
    }

    /// Reads a file into memory that is wiped when it is dropped. `None`: there is no such file.
    pub(crate) fn read(&self, max: u64) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let directory = match self.parent().open_directory() {
            Err(error) if error.is_not_found() => return Ok(None),
            directory => directory?,
        };
        let content = self.door.read_in(directory, self.file_name(), &self.path(), max)?;
        Ok(content.map(|(bytes, _)| bytes))
    }

    /// Reads a file that holds JSON. `None`: there is no such file.
    pub(crate) fn read_json<T: DeserializeOwned>(&self) -> Result<Option<T>, StoreError> {
        self.read(MAX_FILE)?.map(|bytes| json(&bytes, &self.path())).transpose()
    }

    /// Lists the names in a directory, as far as they are text; none if it is not there.
    pub(crate) fn entries(&self) -> Result<Vec<String>, StoreError> {
        let directory = match self.open_to_read() {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            directory => directory?,
        };
        // A name that is no text is not one of ours.
        let names = entries_of(&directory).map_err(self.failed("readdir"))?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }
}

/// A directory of a version of a certificate, open: what is read in it is of this one, whatever takes its
/// name.
#[derive(Debug)]
pub(crate) struct OpenDirectory<'a> {
    door: &'a Door,
    descriptor: OwnedFd,
    path: PathBuf,
}

impl<'a> OpenDirectory<'a> {
    pub(crate) fn new(door: &'a Door, descriptor: OwnedFd, path: PathBuf) -> Self {
        Self { door, descriptor, path }
    }

    pub(crate) fn open(place: &'a Place) -> Result<Self, StoreError> {
        Ok(Self::new(&place.door, place.open_directory()?, place.path()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file. In a tree that dehydrated has made it may be a link to one beside it.
    pub(crate) fn read(&self, name: &str, max: u64) -> Result<Option<Content>, StoreError> {
        let path = self.path.join(name);
        let read = |name: &OsStr| self.door.read_in(&self.descriptor, name, &path, max);
        match read(OsStr::new(name)) {
            Err(StoreError::Invalid { path: of, reason }) => {
                let target = read_link_in(&self.descriptor, OsStr::new(name));
                match target.ok().flatten().as_deref().and_then(only_component) {
                    Some(beside) => read(beside),
                    None => Err(StoreError::Invalid { path: of, reason }),
                }
            }
            read => read,
        }
    }

    /// Looks at a file, as before it is read. `None`: there is no such file.
    pub(crate) fn stat(&self, name: &str) -> Result<Option<Stat>, StoreError> {
        let path = self.path.join(name);
        match statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.door.check(&stat, &path).map(|()| Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("lstat", &path)(error.into())),
        }
    }

    /// See [`Place::read_json`].
    pub(crate) fn read_json<T: DeserializeOwned>(
        &self,
        name: &str,
        max: u64,
    ) -> Result<Option<T>, StoreError> {
        let path = self.path.join(name);
        let content = self.door.read_in(&self.descriptor, OsStr::new(name), &path, max)?;
        content.map(|(bytes, _)| json(&bytes, &path)).transpose()
    }
}

/// The name that a path consists of, if that is all.
fn only_component(path: &Path) -> Option<&OsStr> {
    let mut components = path.components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(name)), None) => Some(name),
        _ => None,
    }
}

/// Opens a directory below another one, and follows no link on the way.
pub(crate) fn open_beneath(root: impl AsFd, name: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    /// Set if the system has `openat2()`, and lets it be called.
    static HAS_OPENAT2: AtomicBool = AtomicBool::new(true);
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if name.as_os_str().is_empty() {
        return openat(root, ".", flags, Mode::empty());
    }
    if only_component(name).is_some() {
        return open_step(root, name.as_os_str(), flags);
    }
    if HAS_OPENAT2.load(Ordering::Relaxed) {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // With it, a link would not be told from what is no directory.
        let flags = flags - OFlags::NOFOLLOW;
        match openat2(&root, name, flags, Mode::empty(), resolve) {
            // Linux before 5.6, or a container whose seccomp profile is older than that.
            Err(Errno::NOSYS | Errno::PERM) => HAS_OPENAT2.store(false, Ordering::Relaxed),
            opened => return opened,
        }
    }
    open_by_steps(root, name, flags)
}

/// Opens a directory below another one, component by component.
fn open_by_steps(root: impl AsFd, name: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut reached: Option<OwnedFd> = None;
    let mut components = name.components().peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(Errno::XDEV) };
        let flags = match components.peek() {
            Some(_) => OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            None => flags,
        };
        reached = Some(match &reached {
            Some(directory) => open_step(directory, name, flags)?,
            None => open_step(&root, name, flags)?,
        });
    }
    reached.ok_or(Errno::NOENT)
}

pub(crate) fn open_step(
    directory: impl AsFd,
    name: &OsStr,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    match openat(&directory, name, flags, Mode::empty()) {
        // A link is not a directory; `openat2()` says it better.
        Err(Errno::NOTDIR) => match read_link_in(directory, name) {
            Ok(Some(_)) => Err(Errno::LOOP),
            _ => Err(Errno::NOTDIR),
        },
        opened => opened,
    }
}

/// Reads the text of a link in a directory; `None` if it is none, or not there.
pub(crate) fn read_link_in(directory: impl AsFd, name: &OsStr) -> Result<Option<PathBuf>, Errno> {
    match readlinkat(directory, name, Vec::new()) {
        Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()).into())),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lists the names in a directory that is open for reading.
pub(crate) fn entries_of(directory: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
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

#[cfg(test)]
mod tests {
    use super::{Door, Place, Trust, open_beneath, open_by_steps};
    use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat};
    use rustix::io::Errno;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Arc;

    #[test]
    fn directories_are_opened_beneath_whether_or_not_the_system_helps() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/a/b/c")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("root/a/file"), "").unwrap();
        symlink("b", dir.path().join("root/a/beside")).unwrap();
        symlink("../../outside", dir.path().join("root/a/out")).unwrap();
        let root = dir.path().join("root");
        let door = Door::open(&root, Trust::here(), None).unwrap();
        let rows = [
            ("a/b/c", Ok(())),
            ("a/b", Ok(())),
            ("a/missing", Err(Errno::NOENT)),
            ("a/file", Err(Errno::NOTDIR)),
            ("a/file/b", Err(Errno::NOTDIR)),
            ("a/beside", Err(Errno::LOOP)),
            ("a/beside/c", Err(Errno::LOOP)),
            ("a/out", Err(Errno::LOOP)),
            ("a/../../outside", Err(Errno::XDEV)),
            ("../outside", Err(Errno::XDEV)),
            ("/etc/ssl", Err(Errno::XDEV)),
        ];
        let root = door.root();
        for (name, expected) in rows {
            for open in [open_beneath, open_by_steps] {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                let opened = open(&root.descriptor, Path::new(name), flags).map(drop);
                assert_eq!(opened, expected, "{name}");
            }
        }
    }

    #[test]
    fn a_directory_that_is_a_link_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        symlink("elsewhere", dir.path().join("orders")).unwrap();
        let door = Arc::new(Door::open(dir.path(), Trust::here(), None).unwrap());
        let error = Place::new(&door, "orders").join("a").read(9).unwrap_err().to_string();
        assert!(error.contains("no symbolic link is followed within the state path"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let door = Arc::new(Door::open(dir.path(), Trust::here(), None).unwrap());
        mknodat(CWD, dir.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::create_dir(dir.path().join("directory")).unwrap();
        symlink("/dev/zero", dir.path().join("link")).unwrap();
        if rustix::process::geteuid().is_root() {
            // There is no driver for it: to open it is another error.
            let (kind, device) = (FileType::CharacterDevice, makedev(4095, 7));
            mknodat(CWD, dir.path().join("device"), kind, Mode::RUSR, device).unwrap();
        } else {
            fs::create_dir(dir.path().join("device")).unwrap();
        }
        for (name, expected) in [
            ("device", "it is not a regular file"),
            ("fifo", "it is not a regular file"),
            ("directory", "it is not a regular file"),
            ("link", "it is a symbolic link, and is not followed"),
        ] {
            let error = Place::new(&door, name).read(9).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
