//! Errors of the store.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why something cannot be kept or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The system refused an operation.
    #[error(
        "{operation}() \"{path}\" failed ({text}){advice}",
        path = .path.display(), text = system(.source), advice = advice(.source)
    )]
    Io {
        /// The operation, as nginx names it.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file is there but does not hold what it should.
    #[error("\"{path}\" cannot be used: {reason}", path = .path.display())]
    Invalid {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it; never a part of a key.
        reason: String,
    },
}

impl StoreError {
    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), reason: reason.into() }
    }

    /// Whether it is known what is there, and it is not what is needed: it will not be another time.
    pub(crate) fn is_about_content(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
            Self::Invalid { .. } => true,
        }
    }

    /// Whether a file or directory is missing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether this process may not look at something: another one may.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Makes the error of an operation on a path, for `map_err`.
pub(crate) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { operation, path: path.to_owned(), source }
}

/// `13: Permission denied`, as nginx writes it.
pub(crate) fn system(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => {
            let suffix = format!(" (os error {number})");
            format!("{number}: {}", text.strip_suffix(&suffix).unwrap_or(&text))
        }
        None => text,
    }
}

/// What a person has to do, where the system's words do not say it.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the state path and all in it must belong to the user of the service"
        }
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            "; no symbolic link is followed within the state path"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::failed;
    use std::io;
    use std::path::Path;

    #[test]
    fn errors_read_like_those_of_nginx() {
        let error = failed("open", Path::new("/state/lock"))(io::Error::from_raw_os_error(28));
        assert_eq!(
            error.to_string(),
            "open() \"/state/lock\" failed (28: No space left on device)"
        );
        let error = failed("open", Path::new("/state/lock"))(io::Error::from_raw_os_error(13));
        assert_eq!(
            error.to_string(),
            "open() \"/state/lock\" failed (13: Permission denied); the state path and all in it must \
             belong to the user of the service"
        );
        assert!(!error.is_not_found());
    }
}
