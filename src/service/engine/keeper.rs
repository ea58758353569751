//! Care for the state path by the service that holds its lock.
//!
//! A state path may be emptied, removed or replaced under a running nginx, and a full disk may have refused
//! a certificate. What is served is good all the same: the service writes back what is missing, from its own
//! memory and from that of the workers, instead of obtaining it anew. It looks every few seconds, and once
//! more when it ends: a directory that only the master can make is made by a reload. The service after it
//! does the same for what shared memory has when it begins ([`load`](super::load)).

use super::round::Round;
use super::served::Served;
use super::site::Site;
use super::unsaved::Unsaved;
use crate::event::{Event, FilesEvent, StateEvent};
use crate::stamp::FileStamp;
use crate::store::{AccountsCopy, IssuedPem, Lock, Store, StoreError, certificates_stamp, is_kept};
use crate::x509::reason;
use acme_dns_core::id::VariantId;
use acme_dns_core::material::Pair;
use openssl::error::ErrorStack;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Pause between two looks at the state path, and between two signs of life.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// Time that the service before may take to write back the accounts, which only it has.
const RESCUE_LIMIT: Duration = Duration::from_secs(3);

/// Pause between two looks whether it has, and after that until it has written all.
const RESCUE_INTERVAL: Duration = Duration::from_millis(100);
const RESCUE_END: Duration = Duration::from_millis(300);

/// Number of certificates that one look looks for. The directory changes with each certificate that is saved, and a look
/// for all of a hundred thousand would hold up the loop.
const LOOKED_FOR: usize = 2_000;

/// Result of a look at the state path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Look {
    /// It is not time for one.
    Early,
    /// All is in place: what else lies there can be looked at.
    InPlace,
    /// The state path is gone, or was until now.
    Amiss,
    /// The state path was made anew, and another process has its lock.
    Lost,
}

/// The lock of the state path, with what is needed to write back what the state path loses.
pub(super) struct Keeper {
    site: Rc<Site>,
    lock: Lock,
    looked: Option<Instant>,
    is_lost: bool,
    accounts: AccountsCopy,
    stamp: Option<FileStamp>,
    round: Round,
    /// Set once it was told that the state path is gone.
    is_told: bool,
}

/// Source of what is written back, and what is being written anyway.
#[derive(Clone, Copy)]
pub(super) struct InMemory<'a> {
    pub(super) served: &'a Served,
    pub(super) unsaved: &'a Unsaved,
}

impl Keeper {
    pub(super) fn new(site: Rc<Site>, lock: Lock) -> Self {
        let (accounts, stamp, round) = (AccountsCopy::default(), None, Round::default());
        Self { site, lock, looked: None, is_lost: false, accounts, stamp, round, is_told: false }
    }

    /// Looks after the state path, if it is time to.
    pub(super) fn look(&mut self, memory: InMemory<'_>) -> Look {
        let now = Instant::now();
        let is_early = |last: Instant| now.duration_since(last) < WATCH_INTERVAL;
        if self.is_lost {
            return Look::Lost;
        }
        if self.looked.is_some_and(is_early) {
            return Look::Early;
        }
        self.looked = Some(now);
        self.lock.answer();
        if !self.is_in_place() {
            self.reattach(memory);
            return if self.is_lost { Look::Lost } else { Look::Amiss };
        }
        self.is_told = false;
        self.copy_accounts();
        self.look_for_missing(memory);
        Look::InPlace
    }

    /// Tells whether another process works in the state path.
    pub(super) fn has_lost(&self) -> bool {
        self.is_lost
    }

    /// Notes that something has come to its end that may have made or changed an account.
    pub(super) fn note_accounts(&mut self) {
        if self.is_in_place() {
            self.copy_accounts();
        }
    }

    fn is_in_place(&self) -> bool {
        self.lock.is_in_place(self.site.store.path())
    }

    fn stamp_now(&self) -> Option<FileStamp> {
        certificates_stamp(self.site.store.path())
    }

    fn copy_accounts(&mut self) {
        let names = self.site.config.issuers.values().map(|issuer| issuer.name.as_str());
        self.site.store.copy_accounts(names, &mut self.accounts);
    }

    /// Looks for some of the certificates, if the directory has changed since all were seen there; where one is missing,
    /// for all.
    fn look_for_missing(&mut self, memory: InMemory<'_>) {
        let variants = self.site.variants();
        let stamp = self.stamp_now();
        if self.stamp != stamp {
            self.stamp = stamp;
            self.round.begin(variants.len());
        }
        let path = self.site.store.path();
        let mut looked_for = self.round.take(LOOKED_FOR, variants.len()).map(VariantId::new);
        if looked_for.any(|variant| !is_kept(path, self.site.name(variant))) {
            self.write_back_missing(memory);
            self.stamp = self.stamp_now();
        }
    }

    /// Continues in the directory that has the name of the state path now.
    fn reattach(&mut self, memory: InMemory<'_>) {
        let store = &self.site.store;
        let path = store.path().to_owned();
        match store.reopen().and_then(|()| store.lock()) {
            Ok(Some(lock)) => self.lock = lock,
            Ok(None) => self.is_lost = true,
            Err(error) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    let event = StateEvent::Gone { path, why: error.to_string() };
                    self.site.tell(&Event::State(event));
                }
                return;
            }
        }
        self.is_told = false;
        let accounts = self.write_back_accounts();
        let certificates = self.write_back_missing(memory);
        self.stamp = self.stamp_now();
        let event = StateEvent::WrittenBack { path, certificates, accounts };
        self.site.tell(&Event::State(event));
    }

    fn write_back_accounts(&self) -> usize {
        self.site.store.restore_accounts(&self.accounts).unwrap_or_else(|error| {
            let event = StateEvent::AccountNotWrittenBack { why: error.to_string() };
            self.site.tell(&Event::State(event));
            0
        })
    }

    /// Writes back the certificates that are served and not on disk; returns their number.
    fn write_back_missing(&self, InMemory { served, unsaved }: InMemory<'_>) -> usize {
        let mut count = 0;
        for variant in self.site.variants() {
            let name = self.site.name(variant);
            if is_kept(self.site.store.path(), name) || unsaved.contains(variant) {
                continue;
            }
            let Some(pair) = served.pair_to_keep(variant) else { continue };
            match write_back(&self.site.store, name, &pair) {
                Ok(()) => {
                    count += 1;
                    self.site.tell_files(variant, FilesEvent::WrittenBack);
                }
                Err(error) => {
                    let event = FilesEvent::NotWrittenBack { why: error.to_string() };
                    self.site.tell_files(variant, event);
                }
            }
        }
        count
    }

    /// Writes back what was lost since the last look, when the service ends: by then a reload has made the
    /// directory.
    pub(super) fn rescue_at_end(&self, memory: InMemory<'_>) {
        let store = &self.site.store;
        if self.is_in_place() || !store.path().is_dir() {
            return;
        }
        // The next service may have its lock already, and waits for the accounts.
        if store.reopen().is_ok() {
            self.write_back_accounts();
            self.write_back_missing(memory);
        }
    }

    /// Gives the lock away.
    pub(super) fn into_lock(self) -> Lock {
        self.lock
    }
}

/// Waits for the service before, if the state path has lost all while the workers have certificates: it
/// alone has the accounts.
pub(super) async fn wait_for_rescue(site: &Site, imports_any: bool) {
    let has_files = site.variants().any(|variant| is_kept(site.store.path(), site.name(variant)));
    let is_lost = !has_files
        && !imports_any
        && site.certificates().any(|certificate| site.host.published(certificate).is_some());
    if !is_lost {
        return;
    }
    let begun = Instant::now();
    while site.store.has_no_account() && begun.elapsed() < RESCUE_LIMIT {
        sleep(RESCUE_INTERVAL).await;
    }
    sleep(RESCUE_END).await;
}

/// Writes a pair that is served to the disk.
pub(super) fn write_back(store: &Store, name: &str, pair: &Pair) -> Result<(), StoreError> {
    let invalid = |error: ErrorStack| StoreError::invalid(store.path(), reason(&error));
    store.save_certificate(name, &IssuedPem::of(pair).map_err(invalid)?)
}

#[cfg(test)]
mod tests {
    use crate::engine::clock::now;
    use crate::engine::main_loop::Running;
    use crate::engine::served::Served;
    use crate::engine::testing::{CERTIFICATE, Recorder, VARIANT, site_of, start};
    use crate::event::{Event, FilesEvent};
    use crate::host::Host;
    use crate::store::testing::{DIRECTORY, issued_with};
    use crate::store::{Account, IssuedPem, Store};
    use crate::x509::testing::{NOW, key};
    use acme_dns_core::id::VariantId;
    use acme_dns_core::key::KeyType;
    use acme_dns_core::level::Level;
    use acme_dns_core::material::Material;
    use std::fs;
    use std::os::unix::fs::chown;
    use std::path::Path;
    use std::sync::Arc;
    use tokio::task::LocalSet;

    const DAY: i64 = 86_400;
    const NAME: &str = "a.example";
    const ECDSA: &[KeyType] = &[KeyType::EcdsaP256];

    /// A certificate that is valid from and to these days around now.
    fn issued(from: i64, to: i64) -> IssuedPem {
        let now = now().0 - NOW;
        issued_with(&key(), &[NAME], (now + from * DAY, now + to * DAY))
    }

    /// Publishes what the workers have of a certificate.
    fn publish(host: &Recorder, issued: &IssuedPem, is_kept: bool) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save_certificate(NAME, issued).unwrap();
        let mut material = store.load_certificate(NAME).unwrap().unwrap().material;
        material.pairs[0].source = issued.source(is_kept);
        host.publish(CERTIFICATE, &material).unwrap();
    }

    fn full_chain(path: &Path) -> Option<String> {
        fs::read_to_string(path.join("certs").join(NAME).join("fullchain.pem")).ok()
    }

    /// Starts as a service does after a reload.
    async fn begin(path: &Path, host: &Arc<Recorder>) -> Running {
        LocalSet::new().run_until(start(path, host, &[(&[NAME], ECDSA)])).await
    }

    #[tokio::test]
    async fn what_the_disk_has_lost_is_written_back_at_the_start() {
        let (old, new) = (issued(-20, 70), issued(-10, 80));
        let (expired, by_hand) = (issued(-90, -1), issued(-30, 60));
        type Damage = fn(&Path);
        let nothing: Damage = |_| {};
        let broken: Damage = |path| {
            fs::write(path.join("certs").join(NAME).join("fullchain.pem"), "garbage").unwrap();
        };
        // On disk, what happens to it; in memory, whether the disk had it; which is served then.
        let rows = [
            ("lost", None, nothing, Some((&new, true)), Some(&new)),
            ("never kept", None, nothing, Some((&new, false)), Some(&new)),
            ("an older one", Some(&old), nothing, Some((&new, false)), Some(&new)),
            ("broken", Some(&new), broken, Some((&new, true)), Some(&new)),
            ("replaced by hand", Some(&by_hand), nothing, Some((&new, true)), Some(&by_hand)),
            ("the same", Some(&new), nothing, Some((&new, true)), Some(&new)),
            ("nothing in memory", None, nothing, None, None),
            ("expired in memory", None, nothing, Some((&expired, true)), None),
            ("expired and never kept", Some(&old), nothing, Some((&expired, false)), Some(&old)),
        ];
        for (row, on_disk, damage, in_memory, expected) in rows {
            let dir = tempfile::tempdir().unwrap();
            let host = Arc::new(Recorder::default());
            if let Some(issued) = on_disk {
                Store::open(dir.path()).unwrap().save_certificate(NAME, issued).unwrap();
            }
            damage(dir.path());
            if let Some((issued, is_kept)) = in_memory {
                publish(&host, issued, is_kept);
            }
            let running = begin(dir.path(), &host).await;
            let expected = expected.map(|issued| issued.fullchain.clone());
            let is_there = running.schedule.renewal(VARIANT).is_some();
            assert_eq!(is_there, expected.is_some(), "{row}: no order");
            assert_eq!(full_chain(dir.path()), expected, "{row}");
            if expected.is_some() {
                let file = dir.path().join("certs").join(NAME).join("issuer.json");
                assert!(fs::read_to_string(file).unwrap().contains(DIRECTORY), "{row}");
                assert!(
                    host.published(CERTIFICATE).unwrap().pairs[0].source.as_ref().unwrap().is_kept
                );
            }
        }
    }

    #[tokio::test]
    async fn what_a_full_disk_refuses_is_served_and_not_ordered() {
        let dir = tempfile::tempdir().unwrap();
        let host = Arc::new(Recorder::default());
        let store = Store::open(dir.path()).unwrap();
        // Nothing can be written there, as on a full disk.
        fs::write(dir.path().join("certs/.versions").join(NAME), "").unwrap();
        publish(&host, &issued(-10, 80), false);
        drop(store);
        let running = begin(dir.path(), &host).await;
        assert!(running.schedule.renewal(VARIANT).is_some(), "it is not due");
        assert!(running.unsaved.contains(VARIANT), "it is tried again");
        let errors = host.at(Level::Error);
        let [Event::Files(name, FilesEvent::Unsaved { .. })] = errors.as_slice() else {
            panic!("{errors:?}");
        };
        assert_eq!(name, NAME);
        assert!(!host.published(CERTIFICATE).unwrap().pairs[0].source.as_ref().unwrap().is_kept);
    }

    /// A service with a certificate and an account.
    async fn running(path: &Path, host: &Arc<Recorder>) -> (Running, String) {
        let store = Store::open(path).unwrap();
        let issued = issued(-10, 80);
        store.save_certificate(NAME, &issued).unwrap();
        let account = Account {
            url: "https://ca.example/account/1".to_owned(),
            directory: DIRECTORY.to_owned(),
            contacts: Vec::new(),
            key: b"a key".to_vec().into(),
            taken_from: None,
            former_keys: Vec::new(),
        };
        store.save_account("ca", &account).unwrap();
        store.save_account("ca/staging", &account).unwrap();
        let mut running = begin(path, host).await;
        assert!(running.has_lock());
        (running, issued.fullchain)
    }

    fn look(running: &mut Running) -> bool {
        running.keeper.looked = None;
        running.has_lock()
    }

    #[tokio::test]
    async fn a_state_path_that_goes_while_it_is_in_use_is_written_back() {
        type Loss = fn(&Path);
        let rows: [(&str, Loss, bool); 5] = [
            ("removed", |path| fs::remove_dir_all(path).unwrap(), true),
            ("moved", |path| fs::rename(path, path.with_extension("old")).unwrap(), true),
            (
                "emptied",
                |path| {
                    fs::remove_dir_all(path).unwrap();
                    fs::create_dir(path).unwrap();
                },
                true,
            ),
            ("without its lock", |path| fs::remove_file(path.join("lock")).unwrap(), true),
            (
                "without a certificate",
                |path| fs::remove_file(path.join("certs").join(NAME)).unwrap(),
                false,
            ),
        ];
        for (row, lose, is_warning) in rows {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("state");
            let host = Arc::new(Recorder::default());
            let (mut running, expected) = running(&path, &host).await;
            lose(&path);
            assert!(look(&mut running), "{row}");
            assert_eq!(full_chain(&path), Some(expected), "{row}");
            let store = Store::open(&path).unwrap();
            assert!(store.lock().unwrap().is_none(), "{row}: it has the lock again");
            for account in ["ca", "ca/staging"] {
                assert!(store.load_account(account).unwrap().is_some(), "{row}: {account}");
            }
            let warnings = host.at(Level::Warn);
            assert_eq!(!warnings.is_empty(), is_warning, "{row}: {warnings:?}");
            assert!(look(&mut running), "{row}");
            assert_eq!(host.at(Level::Warn), warnings, "{row}: once");
        }
    }

    #[tokio::test]
    async fn who_loses_the_state_path_to_another_leaves_it_the_accounts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let host = Arc::new(Recorder::default());
        let (mut running, expected) = running(&path, &host).await;
        fs::remove_dir_all(&path).unwrap();
        let other = Store::open(&path).unwrap();
        let _held = other.lock().unwrap().unwrap();
        // What it has by now stays.
        let account = Account {
            url: "https://ca.example/account/2".to_owned(),
            directory: DIRECTORY.to_owned(),
            contacts: Vec::new(),
            key: b"another key".to_vec().into(),
            taken_from: None,
            former_keys: Vec::new(),
        };
        other.save_account("ca/staging", &account).unwrap();
        assert!(!look(&mut running));
        assert_eq!(full_chain(&path), Some(expected));
        let urls = ["ca", "ca/staging"].map(|name| other.load_account(name).unwrap().unwrap().url);
        assert_eq!(urls.map(|url| url.ends_with('1')), [true, false]);
        assert!(running.end().is_none());
    }

    #[tokio::test]
    async fn a_state_path_that_a_reload_makes_gets_the_accounts_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let host = Arc::new(Recorder::default());
        let (running, expected) = running(&path, &host).await;
        fs::remove_dir_all(&path).unwrap();
        running.rescue();
        assert!(!path.exists(), "whoever removes it and ends nginx wants it to be gone");
        fs::create_dir(&path).unwrap();
        running.rescue();
        assert_eq!(full_chain(&path), Some(expected));
        let store = Store::open(&path).unwrap();
        assert!(store.load_account("ca").unwrap().is_some());
    }

    #[tokio::test]
    async fn what_root_does_not_read_because_of_its_owner_is_not_ordered() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let host = Arc::new(Recorder::default());
        let issued = issued(-10, 80);
        Store::open(&path).unwrap().save_certificate(NAME, &issued).unwrap();
        let key = path.join("certs").join(NAME).join("privkey.pem");
        chown(&key, Some(65_534), None).unwrap();
        let mut running = begin(&path, &host).await;
        assert!(running.schedule.renewal(VARIANT).is_none());
        let errors = host.at(Level::Error);
        let [Event::Files(name, FilesEvent::Unreadable { why })] = errors.as_slice() else {
            panic!("{errors:?}");
        };
        assert_eq!(name, NAME);
        assert!(why.contains("belongs to user 65534, the state path to user 0"), "{why}");
        assert!(!running.schedule.is_due(VARIANT));
        assert!(look(&mut running));
        assert!(!running.schedule.is_due(VARIANT), "it is looked at again");
        chown(&key, Some(0), None).unwrap();
        assert!(look(&mut running));
        assert!(running.schedule.renewal(VARIANT).is_some(), "{:?}", host.events());
        assert!(
            host.published(CERTIFICATE).is_some() && full_chain(&path) == Some(issued.fullchain)
        );
        // What is none after all is ordered.
        drop(running);
        // What workers have would be written back.
        host.forget();
        chown(&key, Some(65_534), None).unwrap();
        let mut running = begin(&path, &host).await;
        fs::remove_file(path.join("certs").join(NAME)).unwrap();
        assert!(look(&mut running));
        assert!(running.schedule.is_due(VARIANT), "{:?}", host.events());
    }

    #[tokio::test]
    async fn of_two_types_of_key_one_that_is_lost_does_not_hold_up_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let host = Arc::new(Recorder::default());
        let store = Store::open(dir.path()).unwrap();
        let rsa = openssl::pkey::PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap());
        let now = now().0 - NOW;
        let rsa = issued_with(&rsa.unwrap(), &[NAME], (now - DAY, now + 90 * DAY));
        let both = [(NAME, &issued(-10, 80)), ("a.example-rsa", &rsa)];
        let mut pairs = Vec::new();
        for (name, issued) in both {
            store.save_certificate(name, issued).unwrap();
            pairs.extend(store.load_certificate(name).unwrap().unwrap().material.pairs);
        }
        host.publish(CERTIFICATE, &Material { pairs: pairs.clone() }).unwrap();
        let keys = &[KeyType::EcdsaP256, KeyType::Rsa2048][..];
        let served = Served::new(site_of(dir.path(), Arc::clone(&host), &[(&[NAME], keys)]));
        fs::remove_file(dir.path().join("certs/a.example-rsa")).unwrap();
        assert_eq!(served.pair_to_keep(VARIANT), pairs.first().cloned());
        assert_eq!(served.pair_to_keep(VariantId::new(1)), pairs.last().cloned());
    }
}
