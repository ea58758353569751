//! Care for the state path by the service that holds its lock.
//!
//! A state path may be emptied, removed or replaced under a running nginx, and a full disk may have refused
//! a certificate. What is served is good all the same: the service writes back what is missing, from its own
//! memory and from that of the workers, instead of obtaining it anew. It looks every few seconds, and once
//! more when it ends: a directory that only the master can make is made by a reload. The service after it
//! does the same for what shared memory has when it begins.

use super::clock::LOCAL_PAUSE;
use super::tasks::Report;
use super::work::{Served, Work, now};
use crate::stamp::FileStamp;
use crate::store::{
    AccountsCopy, Facts, IssuedPem, Store, StoreError, certificates_stamp, is_kept,
};
use crate::x509::reason;
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use openssl::error::ErrorStack;
use std::fmt;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Pause between two looks at the state path, and between two signs of life.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// How long the service before may take to write back the accounts, which only it has.
const RESCUE_LIMIT: Duration = Duration::from_secs(3);

/// Pause between two looks whether it has, and after that until it has written all.
const RESCUE_INTERVAL: Duration = Duration::from_millis(100);
const RESCUE_END: Duration = Duration::from_millis(300);

/// Whether this service is still the one that works in the state path.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Hold {
    #[default]
    Kept,
    /// The state path was made anew, and another process has its lock.
    Lost,
}

/// What is needed to write back what the state path loses.
#[derive(Default)]
pub(super) struct Keeper {
    /// When the state path was looked at last.
    looked: Option<Instant>,
    hold: Hold,
    accounts: AccountsCopy,
    stamp: Option<FileStamp>,
    /// Set once it was told that the state path is gone.
    is_told: bool,
    /// What the disk has refused while the service began.
    refused: Vec<(usize, IssuedPem)>,
}

impl Work {
    /// Looks after the state path, if it is time to.
    pub(super) fn watch_over(&mut self) -> Hold {
        let now = Instant::now();
        let is_early = |last: Instant| now.duration_since(last) < WATCH_INTERVAL;
        let (Some(lock), Some(store)) = (&self.lock, self.store()) else { return Hold::Kept };
        if self.keeper.looked.is_some_and(is_early) {
            return self.keeper.hold;
        }
        self.keeper.looked = Some(now);
        lock.answer();
        if !lock.is_in_place(store.path()) {
            self.reattach(&store);
            return self.keeper.hold;
        }
        self.keeper.is_told = false;
        self.copy_accounts(&store);
        let stamp = certificates_stamp(store.path());
        if self.keeper.stamp != stamp {
            self.write_back_missing(&store);
            self.keeper.stamp = certificates_stamp(store.path());
        }
        self.look_at_unreadable();
        self.look_at_data();
        Hold::Kept
    }

    /// Whether another process works in the state path.
    pub(super) fn has_lost_hold(&self) -> bool {
        self.keeper.hold == Hold::Lost
    }

    /// Something has come to its end that may have made or changed an account.
    pub(super) fn note_accounts(&mut self) {
        let (Some(lock), Some(store)) = (&self.lock, self.store()) else { return };
        if lock.is_in_place(store.path()) {
            self.copy_accounts(&store);
        }
    }

    fn copy_accounts(&mut self, store: &Store) {
        let names = self.config.issuers.iter().map(|issuer| issuer.name.as_str());
        store.copy_accounts(names, &mut self.keeper.accounts);
    }

    /// The state path is gone, or another directory has its name: goes on there.
    fn reattach(&mut self, store: &Store) {
        let path = store.path().display();
        match store.reopen().and_then(|()| store.lock()) {
            Ok(Some(lock)) => self.lock = Some(lock),
            Ok(None) => self.keeper.hold = Hold::Lost,
            Err(error) => {
                if !std::mem::replace(&mut self.keeper.is_told, true) {
                    self.log(
                        Level::Error,
                        format_args!(
                            "state path \"{path}\" is gone: its certificates are served from memory, and \
                             are written back, with the accounts, when the directory is there again, \
                             which a reload of NGINX makes: {error}"
                        ),
                    );
                }
                return;
            }
        }
        self.keeper.is_told = false;
        let accounts = self.write_back_accounts(store);
        let certificates = self.write_back_missing(store);
        self.keeper.stamp = certificates_stamp(store.path());
        self.log(
            Level::Warn,
            format_args!(
                "state path \"{path}\" was removed or replaced while NGINX ran: {certificates} \
                 certificates and {accounts} accounts were written back from memory"
            ),
        );
    }

    fn write_back_accounts(&self, store: &Store) -> usize {
        store.restore_accounts(&self.keeper.accounts).unwrap_or_else(|error| {
            self.log(Level::Error, format_args!("an account cannot be written back: {error}"));
            0
        })
    }

    /// Writes back the certificates that are served and not on disk; gives their number.
    fn write_back_missing(&self, store: &Store) -> usize {
        let mut count = 0;
        for (entry, variant) in self.config.variants.iter().enumerate() {
            let name = &variant.name;
            if is_kept(store.path(), name) || self.unkept.contains_key(&entry) {
                continue;
            }
            let Some(pair) = self.pair_in_memory(entry) else { continue };
            match write_back(store, name, &pair) {
                Ok(()) => {
                    count += 1;
                    self.log_written_back(name);
                }
                Err(error) => self.log(
                    Level::Error,
                    format_args!("certificate \"{name}\" cannot be written back to disk: {error}"),
                ),
            }
        }
        count
    }

    pub(super) fn log_written_back(&self, name: &str) {
        self.log(
            Level::Notice,
            format_args!(
                "certificate \"{name}\" was missing on disk, it was written back from memory"
            ),
        );
    }

    /// Says that the disk has refused a certificate.
    pub(super) fn log_not_kept(&self, name: &str, error: &impl fmt::Display) {
        self.log(
            Level::Error,
            format_args!(
                "certificate \"{name}\" is served, but cannot be kept on disk, and would be lost by a \
                 restart: {error}; tried again every {} s",
                LOCAL_PAUSE.as_secs()
            ),
        );
    }

    /// What is served of a variant, if it is its own and worth keeping.
    fn pair_in_memory(&self, entry: usize) -> Option<Pair> {
        let (variant, certificate) = self.config.variant(entry)?;
        let served = self.served(entry);
        if served.is_some_and(|served| served.stands_in) {
            return None;
        }
        let own = served.and_then(|served| served.pair.clone());
        let pair = own.or_else(|| self.published_pair(entry))?;
        let facts = Facts::of(&pair)?;
        let is_own = served.is_some()
            || facts.traits().difference(&self.config, variant, certificate).is_none();
        (is_own && now() < facts.validity.not_after).then_some(pair)
    }

    /// What the workers have of a variant: the pair with its type of key, or the only one.
    pub(super) fn published_pair(&self, entry: usize) -> Option<Pair> {
        let (variant, certificate) = self.config.variant(entry)?;
        let pairs = self.host.published(variant.certificate)?.pairs;
        let is_alone = certificate.variants.len() == 1 && pairs.len() == 1;
        let algorithm = variant.key.algorithm();
        let is_it = |pair: &Pair| {
            is_alone || Facts::of(pair).is_some_and(|facts| facts.key.algorithm() == algorithm)
        };
        pairs.into_iter().find(is_it)
    }

    /// Writes back what was lost since the last look, when the service ends: by then a reload has made the
    /// directory.
    pub(super) fn rescue_at_end(&mut self) {
        let (Some(lock), Some(store)) = (&self.lock, self.store()) else { return };
        if lock.is_in_place(store.path()) || !store.path().is_dir() {
            return;
        }
        // The next service may have its lock already, and waits for the accounts.
        if store.reopen().is_ok() {
            self.write_back_accounts(&store);
            self.write_back_missing(&store);
        }
    }

    /// Waits for the service before, if the state path has lost all while the workers have certificates: it
    /// alone has the accounts.
    pub(super) async fn wait_for_rescue(&self, store: &Store) {
        let variants = &self.config.variants;
        let has_files = variants.iter().any(|variant| is_kept(store.path(), &variant.name));
        let mut certificates = 0..self.config.certificates.len();
        let is_lost = !has_files
            && self.imports.certificates.is_empty()
            && certificates.any(|index| self.host.published(index).is_some());
        if !is_lost {
            return;
        }
        let begun = Instant::now();
        while store.has_no_account() && begun.elapsed() < RESCUE_LIMIT {
            sleep(RESCUE_INTERVAL).await;
        }
        sleep(RESCUE_END).await;
    }

    /// What shared memory has of a variant that the disk had refused, if it is what is wanted.
    pub(super) fn unkept_pair(&self, entry: usize) -> Option<Pair> {
        let (variant, certificate) = self.config.variant(entry)?;
        let mut pair = self.published_pair(entry)?;
        let is_unkept = pair.source.as_ref().is_some_and(|source| !source.is_kept);
        let facts = Facts::of(&pair).filter(|_| is_unkept)?;
        let is_wanted = facts.traits().difference(&self.config, variant, certificate).is_none();
        if !certificate.staples {
            pair.staple = None;
        }
        (is_wanted && now() < facts.validity.not_after).then_some(pair)
    }

    /// Writes to the disk what it had refused before.
    pub(super) fn take_back(
        &mut self,
        store: &Store,
        entry: usize,
        mut pair: Pair,
    ) -> Option<(Facts, Option<Pair>)> {
        let name = self.config.variants.get(entry)?.name.clone();
        let facts = Facts::of(&pair)?;
        let written = write_back(store, &name, &pair);
        if let Some(source) = &mut pair.source {
            source.is_kept = written.is_ok();
        }
        match written {
            Ok(()) => {
                self.log_written_back(&name);
                if let Ok(Some(stored)) = store.load_certificate(&name) {
                    self.forget_ended_order(store, &name, &stored);
                }
            }
            Err(error) => {
                self.log_not_kept(&name, &error);
                let issued = IssuedPem::of(&pair).ok();
                self.keeper.refused.extend(issued.map(|issued| (entry, issued)));
            }
        }
        Some((facts, Some(pair)))
    }

    /// Goes on trying to write what the disk has refused while the service began.
    pub(super) fn keep_refused(&mut self, report: &Report) {
        for (entry, issued) in std::mem::take(&mut self.keeper.refused) {
            self.keep_later(entry, Some(issued), report);
        }
    }

    /// The disk has taken what it had refused before: so the next service reads it there.
    pub(super) fn note_kept(&mut self, entry: usize) {
        let pair = self.served_mut(entry).and_then(|Served { pair, .. }| pair.as_mut());
        let Some(source) = pair.and_then(|pair| pair.source.as_mut()) else { return };
        source.is_kept = true;
        if let Some(variant) = self.config.variants.get(entry) {
            self.publish(variant.certificate);
        }
    }
}

/// Writes a pair that is served to the disk.
fn write_back(store: &Store, name: &str, pair: &Pair) -> Result<(), StoreError> {
    let invalid = |error: ErrorStack| StoreError::invalid(store.path(), reason(&error));
    store.save_certificate(name, &IssuedPem::of(pair).map_err(invalid)?)
}

#[cfg(test)]
mod tests {
    use super::{Hold, Work};
    use crate::engine::testing::{Recorder, work};
    use crate::engine::work::now;
    use crate::host::Host;
    use crate::store::testing::{DIRECTORY, issued_with};
    use crate::store::{Account, IssuedPem, Store};
    use crate::x509::testing::{NOW, key};
    use acme_dns_core::key::KeyType;
    use acme_dns_core::level::Level;
    use acme_dns_core::material::Material;
    use acme_dns_core::schedule::{Known, Loading, Schedule};
    use std::fs;
    use std::os::unix::fs::chown;
    use std::path::Path;
    use std::sync::Arc;

    const DAY: i64 = 86_400;
    const NAME: &str = "a.example";
    const ECDSA: &[KeyType] = &[KeyType::EcdsaP256];

    /// A certificate that is valid from and to these days around now.
    fn issued(from: i64, to: i64) -> IssuedPem {
        let now = now().0 - NOW;
        issued_with(&key(), &[NAME], (now + from * DAY, now + to * DAY))
    }

    /// What the workers have of a certificate.
    fn publish(host: &Recorder, issued: &IssuedPem, is_kept: bool) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save_certificate(NAME, issued).unwrap();
        let mut material = store.load_certificate(NAME).unwrap().unwrap().material;
        material.pairs[0].source = issued.source(is_kept);
        host.publish(0, &material).unwrap();
    }

    fn full_chain(path: &Path) -> Option<String> {
        fs::read_to_string(path.join("certs").join(NAME).join("fullchain.pem")).ok()
    }

    /// Begins as a service does after a reload.
    async fn begin(path: &Path, host: &Arc<Recorder>) -> (Work, Vec<Known>) {
        let store = Store::open(path).unwrap();
        let mut work = work(path, Arc::clone(host), &[(&[NAME], ECDSA)]);
        work.lock = Some(work.lock(&store).await);
        let (report, _outcomes) = tokio::sync::mpsc::unbounded_channel();
        let known = work.load(&store, &report).await;
        work.schedule =
            Some((store, Schedule::new(known.clone(), now(), Loading::default(), || 0.5)));
        (work, known)
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
            let (_work, known) = begin(dir.path(), &host).await;
            let expected = expected.map(|issued| issued.fullchain.clone());
            assert_eq!(known[0].validity.is_some(), expected.is_some(), "{row}: no order");
            assert_eq!(full_chain(dir.path()), expected, "{row}");
            if expected.is_some() {
                let file = dir.path().join("certs").join(NAME).join("issuer.json");
                assert!(fs::read_to_string(file).unwrap().contains(DIRECTORY), "{row}");
                assert!(host.published(0).unwrap().pairs[0].source.as_ref().unwrap().is_kept);
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
        let (work, known) = begin(dir.path(), &host).await;
        assert!(known[0].validity.is_some(), "it is not due");
        assert_eq!(work.keeper.refused.len(), 1, "it is tried again");
        let errors = host.at(Level::Error);
        assert!(errors.len() == 1 && errors[0].contains("cannot be kept on disk"), "{errors:?}");
        assert!(!host.published(0).unwrap().pairs[0].source.as_ref().unwrap().is_kept);
    }

    /// A service with a certificate and an account.
    async fn running(path: &Path, host: &Arc<Recorder>) -> (Work, String) {
        let store = Store::open(path).unwrap();
        let issued = issued(-10, 80);
        store.save_certificate(NAME, &issued).unwrap();
        let account = Account {
            url: "https://ca.example/account/1".to_owned(),
            directory: DIRECTORY.to_owned(),
            contacts: Vec::new(),
            key: b"a key".to_vec().into(),
            taken_from: None,
        };
        store.save_account("ca", &account).unwrap();
        store.save_account("ca/staging", &account).unwrap();
        let (mut work, _) = begin(path, host).await;
        assert_eq!(work.watch_over(), Hold::Kept);
        (work, issued.fullchain)
    }

    fn look(work: &mut Work) -> Hold {
        work.keeper.looked = None;
        work.watch_over()
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
            let (mut work, expected) = running(&path, &host).await;
            lose(&path);
            assert_eq!(look(&mut work), Hold::Kept, "{row}");
            assert_eq!(full_chain(&path), Some(expected), "{row}");
            let store = Store::open(&path).unwrap();
            assert!(store.lock().unwrap().is_none(), "{row}: it has the lock again");
            for account in ["ca", "ca/staging"] {
                assert!(store.load_account(account).unwrap().is_some(), "{row}: {account}");
            }
            let warnings = host.at(Level::Warn);
            assert_eq!(!warnings.is_empty(), is_warning, "{row}: {warnings:?}");
            assert_eq!(look(&mut work), Hold::Kept, "{row}");
            assert_eq!(host.at(Level::Warn), warnings, "{row}: once");
        }
    }

    #[tokio::test]
    async fn who_loses_the_state_path_to_another_leaves_it_the_accounts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let host = Arc::new(Recorder::default());
        let (mut work, expected) = running(&path, &host).await;
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
        };
        other.save_account("ca/staging", &account).unwrap();
        assert_eq!(look(&mut work), Hold::Lost);
        assert_eq!(full_chain(&path), Some(expected));
        let urls = ["ca", "ca/staging"].map(|name| other.load_account(name).unwrap().unwrap().url);
        assert_eq!(urls.map(|url| url.ends_with('1')), [true, false]);
        work.release(true);
    }

    #[tokio::test]
    async fn a_state_path_that_a_reload_makes_gets_the_accounts_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let host = Arc::new(Recorder::default());
        let (mut work, expected) = running(&path, &host).await;
        fs::remove_dir_all(&path).unwrap();
        work.rescue_at_end();
        assert!(!path.exists(), "whoever removes it and ends nginx wants it to be gone");
        fs::create_dir(&path).unwrap();
        work.rescue_at_end();
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
        let (mut work, known) = begin(&path, &host).await;
        assert!(known[0].validity.is_none());
        work.bar_unreadable(|_| None);
        let errors = host.at(Level::Error);
        assert!(errors.len() == 1 && errors[0].contains("nothing is ordered in its place: \"/"));
        assert!(
            errors[0].contains("belongs to user 65534, the state path to user 0"),
            "{errors:?}"
        );
        assert!(!work.planned().unwrap().is_due(0));
        assert_eq!(look(&mut work), Hold::Kept);
        assert!(!work.planned().unwrap().is_due(0), "it is looked at again");
        chown(&key, Some(0), None).unwrap();
        assert_eq!(look(&mut work), Hold::Kept);
        assert!(work.planned().unwrap().renewal(0).is_some(), "{:?}", host.lines());
        assert!(host.published(0).is_some() && full_chain(&path) == Some(issued.fullchain));
        // What is none after all is ordered.
        work.release(true);
        // What workers have would be written back.
        host.forget();
        chown(&key, Some(65_534), None).unwrap();
        let (mut work, _) = begin(&path, &host).await;
        work.bar_unreadable(|_| None);
        fs::remove_file(path.join("certs").join(NAME)).unwrap();
        assert_eq!(look(&mut work), Hold::Kept);
        assert!(work.planned().unwrap().is_due(0), "{:?}", host.lines());
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
        host.publish(0, &Material { pairs: pairs.clone() }).unwrap();
        let keys = &[KeyType::EcdsaP256, KeyType::Rsa2048][..];
        let work = work(dir.path(), Arc::clone(&host), &[(&[NAME], keys)]);
        fs::remove_file(dir.path().join("certs/a.example-rsa")).unwrap();
        assert_eq!(work.pair_in_memory(0), pairs.first().cloned());
        assert_eq!(work.pair_in_memory(1), pairs.last().cloned());
    }
}
