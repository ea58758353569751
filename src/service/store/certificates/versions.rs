//! Numbers of versions, and the links to them.

use super::{Store, StoreError, VERSIONS, files};
use crate::store::door::Place;
use std::path::{Path, PathBuf};

/// Error of a link in the place of a certificate.
pub(super) const NO_VERSION: &str = "it is a symbolic link that leads elsewhere than to a version";

impl Store {
    /// The version that is served: the link may be swapped in between. A plain directory, as a copy
    /// that follows links leaves it, is one itself.
    pub(super) fn current(&self, name: &str) -> Result<Place, StoreError> {
        let link = self.certs().join(name);
        match link.read_link()? {
            Some(target) if version_of(&target, name).is_some() => Ok(self.certs().join(target)),
            Some(_) => Err(link.invalid(NO_VERSION)),
            None => Ok(link),
        }
    }
}

pub(super) fn version(versions: &Place, number: u64) -> Place {
    versions.join(number.to_string())
}

/// Gives the target of the link to a version.
pub(super) fn target(name: &str, number: u64) -> PathBuf {
    Path::new(VERSIONS).join(name).join(number.to_string())
}

/// The numbers of versions. Others than we would write are somebody else's.
pub(super) fn version_numbers(versions: &Place) -> Result<Vec<u64>, StoreError> {
    let number = |name: &String| name.parse::<u32>().ok().filter(|n| n.to_string() == *name);
    Ok(files::list(versions)?.iter().filter_map(number).map(u64::from).collect())
}

/// The version that a link leads to; `None` if there is no link, or it leads elsewhere.
pub(super) fn linked_version(link: &Place, name: &str) -> Result<Option<u64>, StoreError> {
    Ok(link.read_link()?.and_then(|target| version_of(&target, name)))
}

/// The version that the target of a link is.
pub(super) fn version_of(link: &Path, name: &str) -> Option<u64> {
    let number = link.strip_prefix(VERSIONS).and_then(|target| target.strip_prefix(name)).ok()?;
    let number = number.to_str()?.parse().ok()?;
    // Not by way of `..` or the like.
    (link == target(name, number)).then_some(number)
}

pub(super) fn next(numbers: &[u64]) -> u64 {
    numbers.iter().max().map_or(1, |last| last + 1)
}
