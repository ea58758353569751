//! Requests of a person: files in `actions/`.

use super::door::MAX_FILE;
use super::layout::ASIDE;
use super::{Store, StoreError, files};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// A file of the directory: its name, and what it holds.
pub type ActionFile = (String, Result<Zeroizing<Vec<u8>>, StoreError>);

impl Store {
    /// Lists all that is asked for; a file that cannot be read stands with its error.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn actions_all(&self) -> Result<Vec<ActionFile>, StoreError> {
        let names = files::list(&self.actions())?.into_iter();
        let asked = names.filter(|name| !name.ends_with(ASIDE));
        Ok(asked
            .filter_map(|name| Some((self.actions().join(&name).read(MAX_FILE).transpose()?, name)))
            .map(|(content, name)| (name, content))
            .collect())
    }

    /// Writes down what is to be remembered of an action.
    ///
    /// # Errors
    /// The file cannot be written; what was there is still there.
    pub fn action_write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        files::replace(&self.actions().join(name), content)
    }

    /// Removes what was done.
    ///
    /// # Errors
    /// The file is there and cannot be removed.
    pub fn action_done(&self, name: &str) -> Result<(), StoreError> {
        files::remove(&self.actions().join(name))
    }

    /// Puts a file that cannot be done out of the way; gives its new path.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn action_refuse(&self, name: &str) -> Result<PathBuf, StoreError> {
        Ok(files::set_aside(&self.actions().join(name), name)?.path())
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Store;
    use std::fs;

    #[test]
    fn what_is_asked_for_is_read_written_refused_and_done() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for name in ["b", "a", "c.invalid", ".hidden"] {
            fs::write(dir.path().join("actions").join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("actions/d")).unwrap();
        let all = store.actions_all().unwrap();
        let names: Vec<_> =
            all.iter().map(|(name, content)| (name.as_str(), content.is_ok())).collect();
        assert_eq!(names, [("a", true), ("b", true), ("d", false)]);
        store.action_write("a", b"more").unwrap();
        assert_eq!(store.actions_all().unwrap()[0].1.as_ref().unwrap().as_slice(), b"more");
        store.action_done("a").unwrap();
        assert!(store.action_refuse("b").unwrap().exists());
        assert!(store.action_refuse("d").unwrap().exists());
        assert!(store.actions_all().unwrap().is_empty());
    }
}
