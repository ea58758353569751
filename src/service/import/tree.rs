//! Reading in a tree of somebody else: regular files of a bounded size, through links too, as most
//! clients have them.

use super::Origin;
use crate::store::{StoreError, list_directory, read_file};
use std::io::ErrorKind;
use std::path::Path;
use url::Url;
use zeroize::Zeroizing;

/// What is found in a directory; none if it is not there.
pub(super) type List<T> = Result<Vec<T>, String>;

/// The names in a directory, sorted.
pub(super) fn names(directory: &Path) -> List<String> {
    list_directory(directory).map_err(|error| error.without_advice())
}

/// A file; `None` if it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    match read_file(path) {
        // What lies beside the directories of certificates, such as a README.
        Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotADirectory => Ok(None),
        read => read.map_err(|error| error.without_advice()),
    }
}

/// A file that is text; empty if it is not there.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let bytes = read(path)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last value of a variable in a text of lines such as `NAME=value`, `NAME='value'` or
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

/// The CA whose directory a text names.
pub(super) fn directory(url: &str) -> Origin {
    Url::parse(url).map_or(Origin::Unknown, Origin::Directory)
}

/// The CA that something with this URL belongs to.
pub(super) fn server(url: &str) -> Origin {
    Url::parse(url).map_or(Origin::Unknown, Origin::Server)
}
