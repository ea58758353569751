//! Files that are carried out: who could write to them.
//!
//! Who can write to a program, or to a directory on the way to it, does what the service may do. Links are
//! followed here step by step, as each lies in a directory of its own.

use acme_dns_core::config::ProgramFile;
use acme_dns_core::text::errno;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The longest chain of links, as in the kernel.
const MAX_LINKS: usize = 40;

/// A directory in which only owners rename and remove.
const STICKY: u32 = 0o1000;

/// A user who must not be able to write to a program.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// Its number.
    pub uid: u32,
    /// Its name.
    pub name: &'a str,
}

/// Checks a file that is to be carried out: it is there, it is a regular file, which can be executed unless it is
/// a script, and neither everyone, nor a group, nor `distrusted` can change it or put another one in its place.
///
/// # Errors
/// The mistake, with the path that it is about.
pub fn check_file(file: &ProgramFile, distrusted: Option<User<'_>>) -> Result<(), String> {
    match walk(Path::new(&file.path), distrusted)? {
        Some((_, found)) => check_kind(file, &found),
        None => Err(format!("\"{}\" is not a regular file", file.path)),
    }
}

/// Checks a directory that files with secrets are written into: it is there, and neither everyone, nor a group, nor
/// `distrusted` can put other files into it or another one in its place.
///
/// # Errors
/// The mistake, with the path that it is about.
pub fn check_directory(path: &Path, distrusted: Option<User<'_>>) -> Result<(), String> {
    match walk(path, distrusted)? {
        Some((_, found)) if found.is_dir() && found.mode() & 0o022 == 0 => Ok(()),
        Some((at, found)) if found.is_dir() => {
            Err(format!("\"{}\" can be written by others, set its mode to 0755", at.display()))
        }
        _ => Err(format!("\"{}\" is not a directory", path.display())),
    }
}

/// Checks that neither everyone, nor a group, nor `distrusted` can change a file or directory, or put another one in its
/// place.
///
/// # Errors
/// The mistake, with the path that it is about.
pub fn check_writers_of(path: &Path, distrusted: Option<User<'_>>) -> Result<(), String> {
    walk(path, distrusted).map(|_| ())
}

/// Follows a path step by step, and checks who can write to each. Gives what it leads to; `None`: the root.
fn walk(path: &Path, distrusted: Option<User<'_>>) -> Result<Option<(PathBuf, Metadata)>, String> {
    let mut todo = components(path);
    let path = &path.display().to_string();
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    check_writers(&at, &metadata(&at)?, path, distrusted)?;
    let mut last = None;
    while let Some(name) = todo.pop() {
        if name == ".." {
            at.pop();
            last = Some((at.clone(), metadata(&at)?));
            continue;
        }
        let next = at.join(name);
        let found = metadata(&next)?;
        check_writers(&next, &found, path, distrusted)?;
        if found.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(format!("\"{path}\" has too many levels of symbolic links"));
            }
            let target = fs::read_link(&next).map_err(|error| {
                format!("readlink() \"{}\" failed ({})", next.display(), errno(&error))
            })?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            todo.extend(components(&target));
        } else {
            last = Some((next.clone(), found));
            at = next;
        }
    }
    Ok(last)
}

/// Gives the names of a path, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let is_step = |c: &Component<'_>| matches!(c, Component::Normal(_) | Component::ParentDir);
    path.components().rev().filter(is_step).map(|c| c.as_os_str().to_owned()).collect()
}

fn metadata(path: &Path) -> Result<Metadata, String> {
    fs::symlink_metadata(path)
        .map_err(|error| format!("stat() \"{}\" failed ({})", path.display(), errno(&error)))
}

/// Checks one step of the way to a program.
fn check_writers(
    step: &Path,
    found: &Metadata,
    program: &str,
    distrusted: Option<User<'_>>,
) -> Result<(), String> {
    let mode = found.mode();
    let is_sticky = found.is_dir() && mode & STICKY != 0;
    // The mode of a link means nothing.
    let is_open = !found.is_symlink() && !is_sticky;
    let writer = match distrusted.filter(|user| user.uid == found.uid()) {
        Some(user) => format!("user \"{}\"", user.name),
        None if is_open && mode & 0o002 != 0 => "everyone".to_owned(),
        None if is_open && mode & 0o020 != 0 => format!("its group {}", found.gid()),
        None => return Ok(()),
    };
    let step = step.display().to_string();
    Err(match step == program {
        true => format!("\"{program}\" can be written by {writer}"),
        false => format!("\"{step}\" can be written by {writer}, and \"{program}\" depends on it"),
    })
}

fn check_kind(file: &ProgramFile, found: &Metadata) -> Result<(), String> {
    let path = &file.path;
    if !found.is_file() {
        return Err(format!("\"{path}\" is not a regular file"));
    }
    if !file.is_script && found.mode() & 0o111 == 0 {
        return Err(format!("\"{path}\" is not executable, set its mode to 0755"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{User, check_file};
    use acme_dns_core::config::ProgramFile;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn check(path: &Path, is_script: bool, distrusted: Option<User<'_>>) -> String {
        let path = path.display().to_string();
        check_file(&ProgramFile { path, is_script }, distrusted).err().unwrap_or_default()
    }

    #[test]
    fn a_program_that_others_can_write_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let (dir, other) = (base.path().join("dir"), base.path().join("other"));
        let (hook, link) = (dir.join("hook"), other.join("link"));
        for dir in [&dir, &other] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(&hook, "").unwrap();
        symlink("../dir/hook", &link).unwrap();
        // The mode of the file, of its directory, of the link's directory; the error of each way to it.
        for (file, own, links, expected, by_link) in [
            (0o755, 0o755, 0o755, "", ""),
            (0o700, 0o700, 0o700, "", ""),
            (0o755, 0o1777, 0o1777, "", ""),
            (0o644, 0o755, 0o755, "is not executable", "is not executable"),
            (0o757, 0o755, 0o755, "dir/hook\" can be written by everyone", "by everyone"),
            (0o775, 0o755, 0o755, "dir/hook\" can be written by its group", "by its group"),
            (0o755, 0o775, 0o755, "dir\" can be written by its group", "dir\" can be written"),
            (0o755, 0o757, 0o755, "dir\" can be written by everyone", "dir\" can be written"),
            (0o755, 0o755, 0o777, "", "other\" can be written by everyone"),
        ] {
            set_mode(&hook, file);
            set_mode(&dir, own);
            set_mode(&other, links);
            for (path, expected) in [(&hook, expected), (&link, by_link)] {
                let text = check(path, false, None);
                assert!(text.contains(expected), "{file:o} {own:o} {links:o}: {text}");
                assert_eq!(
                    text.is_empty(),
                    expected.is_empty(),
                    "{file:o} {own:o} {links:o}: {text}"
                );
            }
        }
    }

    #[test]
    fn a_program_must_be_a_file_of_somebody_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let hook = dir.path().join("hook");
        fs::write(&hook, "").unwrap();
        set_mode(&hook, 0o644);
        assert_eq!(check(&hook, true, None), "");
        set_mode(&hook, 0o755);
        let uid = fs::metadata(&hook).unwrap().uid();
        let own = User { uid, name: "nobody" };
        assert!(
            check(&hook, false, Some(own)).ends_with(
                "can be written by user \"nobody\", and \
             \"{}\" depends on it"
                    .replace("{}", &hook.display().to_string())
                    .as_str()
            )
        );
        let other = User { uid: uid + 1, name: "nobody" };
        assert_eq!(check(&hook, false, Some(other)), "");
        assert!(check(dir.path(), false, None).contains("is not a regular file"));
        assert!(check(Path::new("/"), false, None).contains("is not a regular file"));
        assert!(check(&dir.path().join("no"), false, None).contains("(2: No such file"));
        let circle = dir.path().join("circle");
        symlink(&circle, &circle).unwrap();
        assert!(check(&circle, false, None).contains("too many levels"));
    }
}
