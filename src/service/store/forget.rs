//! Certificates that nobody wants any more.

use super::door::Place;
use super::layout::{ASIDE, VERSIONS};
use super::{Store, StoreError, files};

impl Store {
    /// Tells whether anything is kept of a certificate.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn keeps(&self, name: &str) -> Result<bool, StoreError> {
        Ok(!self.places_of(name)?.is_empty())
    }

    /// Removes all that is kept of a certificate: its files and those before them, its progress, its order,
    /// and what was set aside of these. TXT records in the journal stay until they are removed from the zone.
    ///
    /// # Errors
    /// Something cannot be removed; called again, it removes the rest.
    pub fn forget(&self, name: &str) -> Result<(), StoreError> {
        // It may have the key.
        self.remove_pack()?;
        // The first is what others look at.
        for place in self.places_of(name)? {
            files::remove_leftover(&place)?;
        }
        for directory in [self.certs(), self.certs().join(VERSIONS), self.orders()] {
            files::sync_directory(&directory)?;
        }
        Ok(())
    }

    /// All places of a certificate at which something is, that of its files first.
    fn places_of(&self, name: &str) -> Result<Vec<Place>, StoreError> {
        let (certs, orders) = (self.certs(), self.orders());
        let (progress, order) = (format!("{name}.json"), format!("{name}.order"));
        let mut places = vec![
            certs.join(name),
            certs.join(VERSIONS).join(name),
            orders.join(&progress),
            orders.join(&order),
        ];
        for (directory, stem) in [(&certs, name), (&orders, &progress), (&orders, &order)] {
            let files = files::list(directory)?.into_iter();
            let aside = files.filter(|file| is_aside_of(file, stem));
            places.extend(aside.map(|file| directory.join(file)));
        }
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            if place.stat()?.is_some() {
                found.push(place);
            }
        }
        Ok(found)
    }
}

/// Tells whether a file is what was set aside under a stem: see [`files::set_aside`].
fn is_aside_of(file: &str, stem: &str) -> bool {
    let rest = file.strip_suffix(ASIDE).and_then(|rest| rest.strip_prefix(stem));
    rest.is_some_and(|rest| {
        let number = rest.strip_prefix('~').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        rest.is_empty() || number
    })
}

#[cfg(test)]
mod tests {
    use crate::store::Store;
    use crate::store::testing::issued;
    use acme_dns_core::schedule::Progress;
    use std::fs;

    #[test]
    fn all_of_a_certificate_is_removed_and_nothing_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(!store.keeps("a").unwrap());
        for name in ["a", "a.b", "a~2", "b"] {
            for _ in 0..2 {
                store.save_certificate(name, &issued(&["a.example"])).unwrap();
            }
            store.save_progress(name, &Progress { failures: 1, ..Progress::default() }).unwrap();
        }
        for file in
            ["certs/a.invalid", "certs/a~2.invalid", "orders/a.order.invalid", "orders/a.order"]
        {
            fs::write(dir.path().join(file), "").unwrap();
        }
        fs::write(dir.path().join("certs/a~b.invalid"), "").unwrap();
        store.forget("a").unwrap();
        assert!(!store.keeps("a").unwrap());
        store.forget("a").unwrap();
        let entries = |place: &str| {
            let entries = fs::read_dir(dir.path().join(place)).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(entries("certs"), [".versions", "a.b", "a~2", "a~b.invalid", "b"]);
        assert_eq!(entries("certs/.versions"), ["a.b", "a~2", "b"]);
        assert_eq!(entries("orders"), ["a.b.json", "a~2.json", "b.json"]);
        assert!(store.load_certificate("b").unwrap().is_some());
    }

    #[test]
    fn a_plain_directory_is_removed_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        for path in [&elsewhere, &dir.path().join("certs/plain")] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("privkey.pem"), "key").unwrap();
        }
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("certs/link")).unwrap();
        for name in ["plain", "link"] {
            assert!(store.keeps(name).unwrap());
            store.forget(name).unwrap();
            assert!(!store.keeps(name).unwrap(), "{name}");
        }
        assert!(elsewhere.join("privkey.pem").exists());
    }
}
