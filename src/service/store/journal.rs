//! The TXT records that are up, or may be.
//!
//! A record is written here before it is created and leaves after it is removed, so that a process
//! that dies in between cleans up at its next start. Each order has a file of its own, named after
//! its certificate; while the file of an earlier order is still there, `~2`, `~3`, ... is appended,
//! which no certificate's name can contain.

use super::door::Place;
use super::{Store, StoreError, files};
use crate::dns::Placed;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The records of one order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// The name of the provider in the configuration.
    pub provider: String,
    /// The records.
    pub records: Vec<Placed>,
}

/// A file of the journal: which order's, and what it holds.
pub type Journaled = (String, Result<Entry, StoreError>);

impl Store {
    /// Keeps the records of an order.
    ///
    /// # Errors
    /// The file cannot be written; what was there is still there.
    pub fn journal_write(&self, id: &str, entry: &Entry) -> Result<(), StoreError> {
        let path = self.journal_path(id);
        let json = serde_json::to_vec(entry).map_err(|e| path.invalid(e.to_string()))?;
        files::replace(&path, &json)
    }

    /// Forgets the records of an order.
    ///
    /// # Errors
    /// The file is there and cannot be removed.
    pub fn journal_remove(&self, id: &str) -> Result<(), StoreError> {
        files::remove(&self.journal_path(id))
    }

    /// All that is kept; a file that cannot be read stands with its error.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn journal_all(&self) -> Result<Vec<Journaled>, StoreError> {
        let names = files::list(&self.journal())?;
        let ids = names.iter().filter_map(|name| name.strip_suffix(".json"));
        Ok(ids.filter_map(|id| Some((id.to_owned(), self.journal_read(id).transpose()?))).collect())
    }

    /// Puts a file that cannot be read out of the way, for a person to look at.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn journal_set_aside(&self, id: &str) -> Result<PathBuf, StoreError> {
        Ok(files::set_aside(&self.journal_path(id), id)?.path())
    }

    /// Whether there may be a file of this order.
    #[must_use]
    pub fn journal_has(&self, id: &str) -> bool {
        self.journal_path(id).stat().map_or(true, |stat| stat.is_some())
    }

    fn journal_read(&self, id: &str) -> Result<Option<Entry>, StoreError> {
        self.journal_path(id).read_json()
    }

    fn journal_path(&self, id: &str) -> Place {
        self.journal().join(format!("{id}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;
    use crate::dns::{Placed, TxtRecord, Zone};
    use crate::store::Store;
    use std::fs;

    fn entry(id: Option<&str>) -> Entry {
        let record = TxtRecord { name: "_acme-challenge.a.example".into(), value: "v".into() };
        let zone = Zone { id: "z".into(), name: "a.example".into() };
        Entry {
            provider: "p".into(),
            records: vec![Placed { record, zone, id: id.map(Into::into) }],
        }
    }

    #[test]
    fn entries_are_kept_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.journal_write("b", &entry(None)).unwrap();
        store.journal_write("a", &entry(None)).unwrap();
        store.journal_write("a", &entry(Some("1"))).unwrap();
        let all: Vec<_> = store.journal_all().unwrap();
        let all: Vec<_> = all.into_iter().map(|(id, entry)| (id, entry.unwrap())).collect();
        assert_eq!(all, [("a".into(), entry(Some("1"))), ("b".into(), entry(None))]);
        store.journal_remove("a").unwrap();
        store.journal_remove("a").unwrap();
        assert!(!store.journal_has("a") && store.journal_has("b"));
    }

    #[test]
    fn garbage_stands_with_its_error_and_can_be_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::write(dir.path().join("journal/a.json"), "{\"provider\":\"p\",\"records\":[{").unwrap();
        let all = store.journal_all().unwrap();
        let [(id, Err(error))] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(id, "a");
        assert!(error.to_string().contains("cannot be used"), "{error}");
        for expected in ["journal/a.invalid", "journal/a~2.invalid", "journal/a~3.invalid"] {
            assert!(store.journal_set_aside("a").unwrap().ends_with(expected), "{expected}");
            assert!(dir.path().join(expected).exists(), "{expected}");
            assert!(store.journal_all().unwrap().is_empty());
            fs::write(dir.path().join("journal/a.json"), "more garbage").unwrap();
        }
    }
}
