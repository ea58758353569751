//! Errors of the store.

use acme_dns_core::text::errno;
use rustix::fs::lstat;
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Failure to save or to read something.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The system refused an operation.
    #[error(
        "{operation}() \"{path}\" failed ({text}){advice}",
        path = .path.display(), text = errno(.source)
    )]
    Io {
        /// The operation, as nginx names it.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
        /// Advice to a person, where the system's words do not say what to do.
        advice: String,
    },
    /// A file belongs to somebody whom this process, which is root, does not trust.
    #[error(
        "\"{path}\" is not read by root: it belongs to user {owner}, the state path to user {expected}; \
         give both to the same user",
        path = .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The owner of the state path.
        expected: u32,
    },
    /// A file is there but does not hold what it should.
    #[error("\"{path}\" cannot be used: {reason}", path = .path.display())]
    Invalid {
        /// The file or directory.
        path: PathBuf,
        /// The mistake in it; never a part of a key.
        reason: String,
    },
}

impl StoreError {
    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), reason: reason.into() }
    }

    /// Tells whether the content is known and is not what is needed: it will be the same another time.
    pub(crate) fn is_about_content(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
            Self::Invalid { .. } => true,
            Self::Foreign { .. } => false,
        }
    }

    /// Tells whether a file or directory is missing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Tells whether this process may not look at something: another one may, and this one when a person has changed
    /// the owner or the mode.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Foreign { .. } => true,
            Self::Invalid { .. } => false,
        }
    }
}

/// Makes the error of an operation on a path, for `map_err`.
pub(crate) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| {
        let advice = advice(&source, path);
        StoreError::Io { operation, path: path.to_owned(), source, advice }
    }
}

/// Advice to a person, where the system's words do not say what to do.
fn advice(error: &io::Error, path: &Path) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let (user, group) = (geteuid().as_raw(), getegid().as_raw());
            let held = lstat(path).map_or_else(
                |_| String::new(),
                |stat| {
                    let (owner, mode) = (stat.st_uid, stat.st_mode & 0o7777);
                    format!("it belongs to user {owner}, with mode {mode:04o}, and ")
                },
            );
            format!(
                "; {held}the service is user {user}, group {group}: the state path and all in it must \
                 be readable and writable by it: run \"chown -R {user}\""
            )
        }
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            "; no symbolic link is followed within the state path".to_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::failed;
    use rustix::process::{getegid, geteuid};
    use std::fs::Permissions;
    use std::io;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    #[test]
    fn errors_read_like_those_of_nginx() {
        let error = failed("open", Path::new("/state/lock"))(io::Error::from_raw_os_error(28));
        assert_eq!(
            error.to_string(),
            "open() \"/state/lock\" failed (28: No space left on device)"
        );
        let error = failed("open", Path::new("/state/lock"))(io::Error::from_raw_os_error(13));
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        assert_eq!(
            error.to_string(),
            format!(
                "open() \"/state/lock\" failed (13: Permission denied); the service is user {user}, \
                 group {group}: the state path and all in it must be readable and writable by it: \
                 run \"chown -R {user}\""
            )
        );
        assert!(!error.is_not_found());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::File::create(&path)
            .unwrap()
            .set_permissions(Permissions::from_mode(0o640))
            .unwrap();
        let error = failed("open", &path)(io::Error::from_raw_os_error(13)).to_string();
        assert!(
            error.contains(&format!("belongs to user {user}, with mode 0640, and ")),
            "{error}"
        );
    }
}
