//! Notes of what hooks, webhooks and exports were told of each certificate.

use super::door::Place;
use super::layout::NOTICES;
use super::{Store, StoreError, files};
use acme_dns_core::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Notes about one certificate.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Notes {
    /// The certificate that each listener has, by the listener's number: its fingerprint, or nothing.
    pub delivered: BTreeMap<String, String>,
    /// Time of the last notice of each kind that is not told again and again; that of a failure is gone when a
    /// certificate was obtained.
    pub told: BTreeMap<String, UnixTime>,
}

impl Store {
    /// Reads the notes about a certificate; the default if there are none.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn load_notes(&self, name: &str) -> Result<Notes, StoreError> {
        Ok(self.notes_path(name).read_json()?.unwrap_or_default())
    }

    /// Keeps the notes about a certificate.
    ///
    /// # Errors
    /// The file cannot be written; what was there is still there.
    pub fn save_notes(&self, name: &str, notes: &Notes) -> Result<(), StoreError> {
        let place = self.notes_path(name);
        files::ensure_directory(&place.parent())?;
        let json = serde_json::to_vec(notes).map_err(|e| place.invalid(e.to_string()))?;
        files::replace(&place, &json)
    }

    fn notes_path(&self, name: &str) -> Place {
        self.place(NOTICES).join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::Notes;
    use crate::store::Store;
    use acme_dns_core::time::UnixTime;
    use std::fs;

    #[test]
    fn notes_are_kept_and_garbage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.load_notes("a").unwrap(), Notes::default());
        let mut notes = Notes::default();
        notes.told.insert("failed".to_owned(), UnixTime(7));
        notes.delivered.insert("0123".to_owned(), String::new());
        store.save_notes("a", &notes).unwrap();
        assert_eq!(store.load_notes("a").unwrap(), notes);
        fs::write(dir.path().join("notices/a.json"), "{").unwrap();
        let error = store.load_notes("a").unwrap_err().to_string();
        assert!(error.contains("notices/a.json\" cannot be used"), "{error}");
    }
}
