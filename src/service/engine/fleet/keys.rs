//! Keys of the records of certificates. Watched domains files add certificates while the service runs, which are met here
//! when they are asked about.

use super::super::site::Site;
use acme_dns_core::fleet::RecordKey;
use acme_dns_core::id::{Table, VariantId};
use acme_dns_core::name::Name;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Keys of the certificates of a configuration.
pub(super) struct Keys {
    site: Rc<Site>,
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    keys: Table<VariantId, RecordKey>,
    variants: HashMap<String, VariantId>,
}

impl Keys {
    pub(super) fn new(site: Rc<Site>) -> Self {
        Self { site, known: RefCell::default() }
    }

    /// Gives the key of a certificate.
    pub(super) fn of(&self, variant: VariantId) -> RecordKey {
        self.catch_up();
        self.known.borrow().keys[variant].clone()
    }

    /// Gives the certificate with a key. Of two that are the same but for their provider, the last.
    pub(super) fn variant(&self, key: &str) -> Option<VariantId> {
        self.catch_up();
        self.known.borrow().variants.get(key).copied()
    }

    fn catch_up(&self) {
        let Known { keys, variants } = &mut *self.known.borrow_mut();
        for number in keys.len()..self.site.variants().len() {
            let variant = VariantId::new(number);
            let key = self.make(variant);
            variants.insert(key.as_str().to_owned(), variant);
            keys.push(key);
        }
    }

    fn make(&self, variant: VariantId) -> RecordKey {
        let (wanted, certificate) = self.site.variant(variant);
        let issuer = certificate.issuers.first().map(|issuer| self.site.issuer(*issuer));
        let directory = issuer.map_or("", |issuer| issuer.directory.as_str());
        RecordKey::new(certificate.names.iter().map(Name::as_str), wanted.key, directory)
    }
}
