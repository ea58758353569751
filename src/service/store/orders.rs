//! Orders that are under way, so that the next process can go on with them.

use super::door::Place;
use super::{Store, StoreError, files, secret};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// End of the name of a file that holds an order. That of the progress beside it ends otherwise, so
/// the two cannot be mixed up whatever the name of the certificate is.
const SUFFIX: &str = ".order";

/// An order (RFC 8555 section 7.1.3) that has no certificate yet.
#[derive(Clone, Deserialize, Serialize)]
pub struct PendingOrder {
    /// Its URL.
    pub url: String,
    /// The URL of the account that it belongs to.
    pub account: String,
    /// The URL of the CA's directory.
    pub directory: String,
    /// The names that were ordered.
    pub names: Vec<String>,
    /// The profile that was ordered.
    pub profile: Option<String>,
    /// The private key, PKCS #8 in PEM, once the CSR may have been sent.
    #[serde(default, with = "secret::optional_text")]
    pub key: Option<Zeroizing<String>>,
}

impl fmt::Debug for PendingOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingOrder").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Store {
    /// Keeps the order of a certificate.
    ///
    /// # Errors
    /// The file cannot be written; what was there is still there.
    pub fn save_order(&self, name: &str, order: &PendingOrder) -> Result<(), StoreError> {
        let path = self.order_path(name);
        // Allocated once: a growing vector would leave copies of the key behind.
        let names: usize = order.names.iter().map(|name| name.len() + 4).sum();
        let key = order.key.as_ref().map_or(0, |key| key.len() * 2);
        let texts = [&order.url, &order.account, &order.directory].map(|text| text.len() * 2);
        let capacity = names + key + texts.iter().sum::<usize>() + 1024;
        let mut json = Zeroizing::new(Vec::with_capacity(capacity));
        serde_json::to_writer(&mut *json, order).map_err(|e| path.invalid(e.to_string()))?;
        files::replace(&path, &json)
    }

    /// Reads the order of a certificate, if one is under way. A file that holds something else is put out of
    /// the way, for a person to look at: it may hold the only copy of a key.
    ///
    /// # Errors
    /// The file cannot be read, or it held something else; the error says where it is then.
    pub fn load_order(&self, name: &str) -> Result<Option<PendingOrder>, StoreError> {
        let place = self.order_path(name);
        match place.read_json::<PendingOrder>() {
            Err(StoreError::Invalid { path, reason }) => {
                let aside = files::set_aside(&place, &format!("{name}{SUFFIX}"))?;
                let reason = format!("{reason}; moved to \"{}\"", aside.path().display());
                Err(StoreError::Invalid { path, reason })
            }
            read => read,
        }
    }

    /// Tells whether an order of a certificate is on disk.
    #[must_use]
    pub fn has_order(&self, name: &str) -> bool {
        self.order_path(name).stat().is_ok_and(|stat| stat.is_some())
    }

    /// Forgets the order of a certificate.
    ///
    /// # Errors
    /// The file is there and cannot be removed.
    pub fn remove_order(&self, name: &str) -> Result<(), StoreError> {
        files::remove(&self.order_path(name))
    }

    /// Lists the certificates of which an order is under way.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn orders_all(&self) -> Result<Vec<String>, StoreError> {
        let names = files::list(&self.orders())?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(SUFFIX)).map(str::to_owned).collect())
    }

    fn order_path(&self, name: &str) -> Place {
        self.orders().join(format!("{name}{SUFFIX}"))
    }
}

#[cfg(test)]
mod tests {
    use super::PendingOrder;
    use crate::store::Store;
    use std::fs;
    use zeroize::Zeroizing;

    fn order(key: Option<&str>) -> PendingOrder {
        PendingOrder {
            url: "https://ca.example/order/1".into(),
            account: "https://ca.example/account/1".into(),
            directory: "https://ca.example/directory".into(),
            names: vec!["a.example".into(), "*.a.example".into()],
            profile: Some("short".into()),
            key: key.map(|key| Zeroizing::new(key.to_owned())),
        }
    }

    #[test]
    fn orders_are_kept_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        // Names that look like those of the files.
        for name in ["a", "a.order", "a.json"] {
            store.save_order(name, &order(None)).unwrap();
            store.save_order(name, &order(Some("key\n"))).unwrap();
            let kept = store.load_order(name).unwrap().unwrap();
            assert_eq!((kept.url, kept.names), (order(None).url, order(None).names));
            assert_eq!(kept.key.as_ref().map(|key| key.as_str()), Some("key\n"));
        }
        assert_eq!(store.orders_all().unwrap(), ["a.json", "a", "a.order"]);
        store.remove_order("a").unwrap();
        store.remove_order("a").unwrap();
        assert!(store.load_order("a").unwrap().is_none());
        assert!(!format!("{:?}", order(Some("secret"))).contains("secret"));
    }

    #[test]
    fn garbage_is_an_error_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::write(dir.path().join("orders/a.order"), "{\"url\":").unwrap();
        let error = store.load_order("a").unwrap_err().to_string();
        assert!(error.contains("a.order\" cannot be used"), "{error}");
        assert!(error.contains("; moved to ") && error.contains("/a.order.invalid\""), "{error}");
        let aside = fs::read(dir.path().join("orders/a.order.invalid")).unwrap();
        assert_eq!(aside, b"{\"url\":");
        assert!(store.load_order("a").unwrap().is_none() && store.orders_all().unwrap().is_empty());
    }
}
