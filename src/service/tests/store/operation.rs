//! What the store does, with what must be true before, after, and in between.

use acme_dns_core::schedule::Progress;
use acme_dns_service::dns::{Placed, TxtRecord, Zone};
use acme_dns_service::store::{Account, Entry, IssuedPem, PendingOrder, Store, StoreError};
use openssl::asn1::Asn1Time;
use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::X509;
use openssl::x509::extension::SubjectAlternativeName;
use std::fs;
use std::path::Path;

const NAME: &str = "a.example";

/// An operation of the store.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    kind: Kind,
    /// How many versions there are before.
    before: u32,
}

#[derive(Clone, Copy)]
enum Kind {
    Certificate,
    Account,
    SetAccountAside,
    Order,
    RemoveOrder,
    Renewal,
    Progress,
    Journal,
    RemoveJournal,
}

const fn operation(name: &'static str, kind: Kind, before: u32) -> Operation {
    Operation { name, kind, before }
}

pub(crate) const OPERATIONS: [Operation; 12] = [
    operation("first certificate", Kind::Certificate, 0),
    operation("second certificate", Kind::Certificate, 1),
    operation("third certificate", Kind::Certificate, 2),
    operation("first account", Kind::Account, 0),
    operation("account again", Kind::Account, 1),
    operation("account set aside", Kind::SetAccountAside, 1),
    operation("order", Kind::Order, 1),
    operation("order removed", Kind::RemoveOrder, 1),
    operation("renewal", Kind::Renewal, 1),
    operation("progress", Kind::Progress, 1),
    operation("journal", Kind::Journal, 1),
    operation("journal removed, action", Kind::RemoveJournal, 1),
];

impl Operation {
    /// Makes what is there before.
    pub(crate) fn prepare(&self, state: &Path) {
        let store = Store::open(state).unwrap();
        drop(store.lock().unwrap());
        // What the child is to keep: keys cannot be made twice.
        for version in 0..=self.before {
            let IssuedPem { key, fullchain, .. } = make();
            fs::write(material(state, version, "key"), key.as_bytes()).unwrap();
            fs::write(material(state, version, "pem"), fullchain).unwrap();
        }
        for version in 0..self.before {
            self.keep(&store, state, version).unwrap();
        }
    }

    /// Does it.
    pub(crate) fn perform(&self, state: &Path) -> Result<(), StoreError> {
        let store = Store::open(state)?;
        match self.kind {
            // Done a second time, when there is nothing any more.
            Kind::SetAccountAside if store.load_account("ca")?.is_none() => Ok(()),
            Kind::SetAccountAside => store.set_account_aside("ca").map(drop),
            Kind::RemoveOrder => store.remove_order(NAME),
            Kind::RemoveJournal => {
                store.journal_remove(NAME)?;
                store.action_write("revoke-a.example", b"new")
            }
            _ => self.keep(&store, state, self.before),
        }
    }

    /// Keeps a version.
    fn keep(&self, store: &Store, state: &Path, version: u32) -> Result<(), StoreError> {
        let number = i64::from(version);
        let issued = issued(state, version);
        match self.kind {
            Kind::Certificate => store.save_certificate(NAME, &issued),
            Kind::Account | Kind::SetAccountAside => {
                store.save_account("ca", &account(state, version))
            }
            Kind::Order | Kind::RemoveOrder => store.save_order(NAME, &order(&issued, version)),
            Kind::Renewal => {
                if store.load_certificate(NAME)?.is_none() {
                    store.save_certificate(NAME, &issued)?;
                }
                store.save_renewal(NAME, &number)
            }
            Kind::Progress => {
                store.save_progress(NAME, &Progress { failures: version, ..Progress::default() })
            }
            Kind::Journal => store.journal_write(NAME, &entry(version)),
            Kind::RemoveJournal => {
                store.journal_write(NAME, &entry(version))?;
                store.action_write("revoke-a.example", b"old")
            }
        }
    }

    /// The state is that before or that after.
    pub(crate) fn check(&self, store: &Store, what: &str) {
        let found = self.version(store, what);
        let (old, new) = (self.before.checked_sub(1), Some(self.before));
        assert!(found == old || found == new, "{what}: found {found:?}");
    }

    /// The state is that after.
    pub(crate) fn check_done(&self, store: &Store, what: &str) {
        assert_eq!(self.version(store, what), Some(self.before), "{what}");
    }

    /// Which version is there; it must be whole.
    fn version(&self, store: &Store, what: &str) -> Option<u32> {
        let state = store.path();
        let versions = 0..=self.before;
        match self.kind {
            Kind::Certificate => {
                let stored = store.load_certificate(NAME);
                let stored = stored.unwrap_or_else(|error| panic!("{what}: {error}"))?;
                let mut versions = versions;
                let leaf = |version| {
                    let pem = issued(state, version).fullchain;
                    X509::from_pem(pem.as_bytes()).unwrap().to_der().unwrap()
                };
                let found = versions.find(|v| stored.material.pairs[0].chain[0] == leaf(*v));
                assert!(found.is_some(), "{what}: a certificate of nobody");
                let previous = fs::read_dir(state.join("certs/.versions").join(NAME)).unwrap();
                let expected = usize::try_from(found.unwrap_or(0).min(1)).unwrap();
                assert!(previous.count() > expected, "{what}: the version before is kept");
                found
            }
            Kind::Account => {
                let account = store.load_account("ca");
                let account = account.unwrap_or_else(|error| panic!("{what}: {error}"))?;
                Some(account.contacts[0].parse().unwrap())
            }
            Kind::SetAccountAside => {
                let is_there = |name: &str| {
                    let account = store.load_account(name);
                    account.unwrap_or_else(|error| panic!("{what}: {error}")).is_some()
                };
                let (here, aside) = (is_there("ca"), is_there("ca~1"));
                assert!(here != aside, "{what}: here {here}, aside {aside}");
                Some(u32::from(aside))
            }
            Kind::Order => {
                let order = store.load_order(NAME);
                let order = order.unwrap_or_else(|error| panic!("{what}: {error}"))?;
                assert!(order.key.is_some());
                order.url.parse().ok()
            }
            Kind::RemoveOrder => {
                let order = store.load_order(NAME);
                let order = order.unwrap_or_else(|error| panic!("{what}: {error}"));
                Some(u32::from(order.is_none()))
            }
            Kind::Renewal => {
                store.load_renewal(NAME).unwrap_or_else(|error| panic!("{what}: {error}"))
            }
            Kind::Progress => {
                let progress = store.load_progress(NAME);
                Some(progress.unwrap_or_else(|error| panic!("{what}: {error}")).failures)
            }
            Kind::Journal => {
                let all = store.journal_all().unwrap_or_else(|error| panic!("{what}: {error}"));
                let [(_, Ok(entry))] = all.as_slice() else { panic!("{what}: {all:?}") };
                entry.records[0].record.value.parse().ok()
            }
            Kind::RemoveJournal => {
                let asked = store.actions_all().unwrap_or_else(|error| panic!("{what}: {error}"));
                let [(_, Ok(content))] = asked.as_slice() else { panic!("{what}") };
                let is_new = content.as_slice() == b"new";
                assert!(is_new || content.as_slice() == b"old", "{what}");
                assert!(!is_new || !store.journal_has(NAME), "{what}: in the wrong order");
                Some(u32::from(is_new))
            }
        }
    }
}

/// Where the parts of a version are, outside of the state path.
fn material(state: &Path, version: u32, what: &str) -> std::path::PathBuf {
    state.with_extension(format!("{version}.{what}"))
}

fn issued(state: &Path, version: u32) -> IssuedPem {
    let read = |what| fs::read_to_string(material(state, version, what)).unwrap();
    IssuedPem {
        key: read("key").into(),
        fullchain: read("pem"),
        directory: "https://ca.example/".to_owned(),
        profile: None,
    }
}

fn account(state: &Path, version: u32) -> Account {
    // The contacts of an account change, not its key.
    let key = PKey::private_key_from_pem(issued(state, 0).key.as_bytes()).unwrap();
    Account {
        url: "https://ca.example/account/1".to_owned(),
        directory: "https://ca.example/".to_owned(),
        contacts: vec![version.to_string()],
        key: key.private_key_to_pkcs8().unwrap().into(),
    }
}

fn order(issued: &IssuedPem, version: u32) -> PendingOrder {
    PendingOrder {
        url: version.to_string(),
        account: String::new(),
        directory: issued.directory.clone(),
        names: vec![NAME.to_owned()],
        profile: None,
        key: Some(issued.key.clone()),
    }
}

fn entry(version: u32) -> Entry {
    let record = TxtRecord { name: NAME.to_owned(), value: version.to_string() };
    let zone = Zone { id: "z".to_owned(), name: NAME.to_owned() };
    Entry { provider: "p".to_owned(), records: vec![Placed { record, zone, id: None }] }
}

/// A new key with a certificate.
fn make() -> IssuedPem {
    let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    group.set_asn1_flag(Asn1Flag::NAMED_CURVE);
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
    let mut names = SubjectAlternativeName::new();
    let names = names.dns(NAME).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let pem = builder.build().to_pem().unwrap();
    IssuedPem {
        key: String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap().into(),
        fullchain: String::from_utf8(pem).unwrap(),
        directory: String::new(),
        profile: None,
    }
}
