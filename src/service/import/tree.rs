//! Reading in a tree of somebody else: regular files of a bounded size, through links too, as most
//! clients have them.
//!
//! The master reads as root. Where the tree belongs to another user, that user must not make it read, by a
//! link, what only root can: no link is followed out of the tree then. Files belong to root or to the
//! owner of the tree.

use super::{ImportOrigin, PemPart};
use crate::store::door::{MAX_FILE, MAX_KEY, entries_of, open_step, read_link_in};
use acme_dns_core::text::errno;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use url::Url;
use zeroize::Zeroizing;

/// Entries of a directory; none if it is not there.
pub(super) type List<T> = Result<Vec<T>, String>;

/// The bytes of a part of a certificate.
pub(super) type Bytes<'a> = Result<Option<Cow<'a, Zeroizing<Vec<u8>>>>, String>;

/// Largest number of links on the way to a file, as for the system.
const MAX_LINKS: usize = 40;

/// Largest depth of a tree.
const MAX_DEPTH: usize = 64;

/// A tree of another client.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    /// The directory and its owner; `None` if it is not there.
    root: Option<(OwnedFd, u32)>,
    /// Set if this process can read more than the tree's owner.
    is_root: bool,
}

impl Tree {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let is_root = rustix::process::geteuid().is_root();
        Self::open_as(path, is_root)
    }

    fn open_as(path: &Path, is_root: bool) -> Result<Self, String> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match openat(CWD, path, flags, Mode::empty()) {
            Ok(root) => {
                let owner = fstat(&root).map_err(|error| failed("fstat", path, error))?.st_uid;
                Some((root, owner))
            }
            Err(Errno::NOENT) => None,
            Err(error) => return Err(failed("open", path, error)),
        };
        Ok(Self { path: path.to_owned(), root, is_root })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Joins a name to that of the tree.
    pub(super) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Lists the names in a directory that are not hidden, sorted; none if it is not there.
    pub(super) fn names(&self, directory: &Path) -> List<String> {
        let open = |at: BorrowedFd<'_>, name: &OsStr, follow: OFlags| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | follow;
            entries_of(openat(at, name, flags, Mode::empty())?)
        };
        let names = self.reach(directory, open);
        let names = names.map_err(|error| self.explain("open", directory, error))?;
        let names = names.unwrap_or_default().into_iter();
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        Ok(names)
    }

    /// Reads a file; `None` if it is not there.
    pub(super) fn read(&self, path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        self.read_up_to(path, MAX_FILE)
    }

    /// Reads a part of a certificate; `None` if it is not there.
    pub(super) fn read_part<'a>(&self, part: &'a PemPart) -> Bytes<'a> {
        self.read_part_up_to(part, MAX_FILE)
    }

    /// Reads the part of a certificate that is its key; `None` if it is not there.
    pub(super) fn read_key<'a>(&self, part: &'a PemPart) -> Bytes<'a> {
        self.read_part_up_to(part, MAX_KEY)
    }

    fn read_part_up_to<'a>(&self, part: &'a PemPart, max: u64) -> Bytes<'a> {
        match part {
            PemPart::File(path) => Ok(self.read_up_to(path, max)?.map(Cow::Owned)),
            PemPart::Entry { file, pem } if pem.len() as u64 > max => Err(too_large(file, max)),
            PemPart::Entry { pem, .. } => Ok(Some(Cow::Borrowed(pem))),
        }
    }

    /// Reads a file of a given size at most; `None` if it is not there.
    pub(super) fn read_up_to(
        &self,
        path: &Path,
        max: u64,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let Some((file, size)) = self.open_file(path)? else { return Ok(None) };
        if size > max {
            return Err(too_large(path, max));
        }
        // Allocated once: a growing vector would leave copies of a key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0)));
        file.take(size)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("read() \"{}\" failed ({})", path.display(), errno(&error)))?;
        Ok(Some(bytes))
    }

    /// Opens a file and gives its size; `None` if it is not there.
    pub(super) fn open_file(&self, path: &Path) -> Result<Option<(File, u64)>, String> {
        let unusable = |why| format!("\"{}\" cannot be used: {why}", path.display());
        let open = |at: BorrowedFd<'_>, name: &OsStr, follow: OFlags| {
            // An open alone does things, with a tape or a terminal for instance.
            let flags = match follow.contains(OFlags::NOFOLLOW) {
                true => AtFlags::SYMLINK_NOFOLLOW,
                false => AtFlags::empty(),
            };
            if let Err(why) = self.check(&statat(at, name, flags)?) {
                return Ok(Err(why));
            }
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = openat(at, name, flags | follow, Mode::empty())?;
            let stat = fstat(&file)?;
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            Ok(self.check(&stat).map(|()| (File::from(file), size)))
        };
        match self.reach(path, open) {
            Ok(opened) => opened.transpose().map_err(unusable),
            // What lies beside the directories of certificates, such as a README.
            Err(Errno::NOTDIR) => Ok(None),
            Err(error) => Err(self.explain("open", path, error)),
        }
    }

    /// Reads a file of text; empty if it is not there.
    pub(super) fn text(&self, path: &Path) -> Result<String, String> {
        let bytes = self.read(path)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Tells whether the tree's owner could make this process read what that user cannot.
    fn is_confined(&self) -> bool {
        self.is_root && self.root.as_ref().is_some_and(|(_, owner)| *owner != 0)
    }

    fn check(&self, stat: &Stat) -> Result<(), &'static str> {
        let owner = self.root.as_ref().map_or(0, |(_, owner)| *owner);
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            Err("it is not a regular file")
        } else if self.is_root && ![0, owner].contains(&stat.st_uid) {
            Err("it belongs neither to root nor to the owner of the directory that is imported")
        } else if self.is_confined() && stat.st_nlink > 1 {
            Err("it has another name elsewhere, a hard link")
        } else {
            Ok(())
        }
    }

    /// Does something with a name, which is not there if the result is `None`.
    fn reach<T>(
        &self,
        path: &Path,
        act: impl FnOnce(BorrowedFd<'_>, &OsStr, OFlags) -> Result<T, Errno>,
    ) -> Result<Option<T>, Errno> {
        let Some((root, _)) = &self.root else { return Ok(None) };
        let reached = if self.is_confined() {
            let relative = path.strip_prefix(&self.path).map_err(|_| Errno::XDEV);
            relative.and_then(|relative| self.resolve(root.as_fd(), relative)).and_then(
                |(directory, name)| {
                    let directory = directory.as_ref().map_or(root.as_fd(), AsFd::as_fd);
                    act(directory, &name, OFlags::NOFOLLOW)
                },
            )
        } else {
            act(CWD, path.as_os_str(), OFlags::empty())
        };
        match reached {
            Ok(done) => Ok(Some(done)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Follows links within the tree; gives the directory, if it is not the tree's own, and the name in it
    /// that is no link any more.
    fn resolve(
        &self,
        root: BorrowedFd<'_>,
        path: &Path,
    ) -> Result<(Option<OwnedFd>, OsString), Errno> {
        let (mut reached, mut links) = (Vec::<OwnedFd>::new(), 0);
        let mut left = components(path)?;
        while let Some(name) = left.pop() {
            if name == ".." {
                reached.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            let here = reached.last().map_or(root, AsFd::as_fd);
            if let Some(target) = read_link_in(here, &name)? {
                links += 1;
                let relative = match target.is_absolute() {
                    true => target.strip_prefix(&self.path).map_err(|_| Errno::XDEV)?,
                    false => &target,
                };
                if target.is_absolute() {
                    reached.clear();
                }
                left.extend(components(relative)?);
                if links > MAX_LINKS || left.len() + reached.len() > MAX_DEPTH {
                    return Err(Errno::LOOP);
                }
            } else if left.is_empty() {
                return Ok((reached.pop(), name));
            } else {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = open_step(here, &name, flags)?;
                reached.push(below);
            }
        }
        Ok((reached.pop(), ".".into()))
    }

    fn explain(&self, operation: &str, path: &Path, error: Errno) -> String {
        match error {
            Errno::XDEV if self.is_confined() => format!(
                "\"{}\" cannot be used: it leads out of \"{}\", which does not belong to root",
                path.display(),
                self.path.display()
            ),
            error => failed(operation, path, error),
        }
    }
}

fn too_large(path: &Path, max: u64) -> String {
    format!("\"{}\" cannot be used: it is larger than {max} bytes", path.display())
}

/// Splits a relative path into its components, the first one last.
fn components(path: &Path) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for component in path.components().rev() {
        match component {
            Component::Normal(_) | Component::ParentDir => {
                names.push(component.as_os_str().to_owned());
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(Errno::XDEV),
        }
    }
    Ok(names)
}

fn failed(operation: &str, path: &Path, error: Errno) -> String {
    format!("{operation}() \"{}\" failed ({})", path.display(), errno(&error.into()))
}

/// Finds the last value of a variable in a text of lines such as `NAME=value`, `NAME='value'` or
/// `name = value`: shell and INI, as far as clients write such things themselves.
pub(super) fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut values = text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let value = line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim_start();
        Some(match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value.split(quote).nth(1).unwrap_or_default(),
            _ => value.split_whitespace().next().unwrap_or_default(),
        })
    });
    values.next_back().filter(|value| !value.is_empty())
}

/// Makes the origin of a directory's URL.
pub(super) fn directory(url: &str) -> ImportOrigin {
    Url::parse(url).map_or(ImportOrigin::Unknown, ImportOrigin::Directory)
}

/// Makes the origin of the URL of something else of a CA.
pub(super) fn server(url: &str) -> ImportOrigin {
    Url::parse(url).map_or(ImportOrigin::Unknown, ImportOrigin::Server)
}
