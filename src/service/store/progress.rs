//! Progress of the attempts for each certificate.

use super::door::Place;
use super::{Store, StoreError, files};
use acme_dns_core::schedule::Progress;

impl Store {
    /// Reads the progress of earlier attempts; the default if there is none.
    ///
    /// # Errors
    /// The file cannot be read or holds something else; the default is then a good answer.
    pub fn load_progress(&self, name: &str) -> Result<Progress, StoreError> {
        Ok(self.progress_path(name).read_json()?.unwrap_or_default())
    }

    /// Keeps the progress of a certificate.
    ///
    /// # Errors
    /// The file cannot be written; what was there is still there.
    pub fn save_progress(&self, name: &str, progress: &Progress) -> Result<(), StoreError> {
        let path = self.progress_path(name);
        let json = serde_json::to_vec(progress).map_err(|e| path.invalid(e.to_string()))?;
        files::replace(&path, &json)
    }

    /// Tells whether there is a file of this certificate's progress.
    #[must_use]
    pub fn has_progress(&self, name: &str) -> bool {
        self.progress_path(name).stat().is_ok_and(|stat| stat.is_some())
    }

    /// Forgets the progress of a certificate.
    ///
    /// # Errors
    /// The file is there and cannot be removed.
    pub fn remove_progress(&self, name: &str) -> Result<(), StoreError> {
        files::remove(&self.progress_path(name))
    }

    fn progress_path(&self, name: &str) -> Place {
        self.orders().join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Store;
    use acme_dns_core::schedule::Progress;
    use acme_dns_core::time::UnixTime;
    use std::fs;

    #[test]
    fn progress_is_kept_and_forgotten_and_garbage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let progress = Progress { failures: 3, next: UnixTime(7), ..Progress::default() };
        assert_eq!(store.load_progress("a").unwrap(), Progress::default());
        store.save_progress("a", &progress).unwrap();
        assert_eq!(store.load_progress("a").unwrap(), progress);
        for garbage in ["", "{", "1", "{\"failures\":-1}"] {
            fs::write(dir.path().join("orders/a.json"), garbage).unwrap();
            let error = store.load_progress("a").unwrap_err().to_string();
            assert!(error.contains("orders/a.json\" cannot be used"), "{error}");
        }
        store.remove_progress("a").unwrap();
        store.remove_progress("a").unwrap();
        assert_eq!(store.load_progress("a").unwrap(), Progress::default());
    }
}
