//! The one loop that sleeps.

use super::Settings;
use super::actions::Actions;
use super::clock::{LOCAL_PAUSE, LONGEST_SLEEP, sleep_by_the_clock};
use super::data::DataWatch;
use super::failing::Volume;
use super::keeping::{Hold, Keeper, WATCH_INTERVAL};
use super::parties;
use super::reloading::Reloader;
use super::tasks::{self, Attempt, Outcome, Report};
use super::unreadable::Unreadable;
use crate::acme::Obtainer;
use crate::dns::{self, Notice, Wait};
use crate::event::{Event, FilesEvent};
use crate::host::{Host, NoRoom};
use crate::http::{Clients, HttpError};
use crate::import::Imports;
use crate::propagation::Checker;
use crate::reload::Watch;
use crate::store::{Facts, Lock, Store, load_material};
use acme_dns_core::config::{Config, SecretId};
use acme_dns_core::level::Level;
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::schedule::{Action, Fingerprint, Loading, Schedule, Validity};
use acme_dns_core::staple::Staples;
use acme_dns_core::time::UnixTime;
use secrecy::SecretString;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// A process that has worked for so long is not one of those that are started again and again.
const SETTLED: Duration = Duration::from_secs(3600);

/// Everything of the service, and the loop.
pub(super) struct Work {
    pub(super) config: Arc<Config>,
    certs_group: Option<u32>,
    secrets: Vec<SecretString>,
    loading: Loading,
    /// What orders are made with: another one may have another outcome.
    pub(super) settings: Fingerprint,
    pub(super) host: Arc<dyn Host>,
    /// What the master knows of variants that it has published.
    pub(super) facts: Vec<(usize, Facts)>,
    pub(super) imports: Imports,
    /// What is served of each variant.
    served: Vec<Option<Served>>,
    /// What stands in besides, for names that nothing above covers, by certificate: each with the algorithm of
    /// its key.
    pub(super) further: HashMap<usize, Vec<(&'static str, Pair)>>,
    pub(super) lock: Option<Lock>,
    pub(super) schedule: Option<(Store, Schedule)>,
    /// What is stapled to the variants.
    pub(super) staples: Staples,
    actions: Actions,
    watch: Option<Watch>,
    /// Files with secrets and domains.
    pub(super) data: DataWatch,
    /// The names of all certificates whose files nginx reads.
    read: BTreeSet<String>,
    /// Told when a certificate was written to the disk.
    pub(super) written: Rc<Notify>,
    /// What was said of failures lately.
    pub(super) volume: Volume,
    /// What the disk has refused, by variant.
    pub(super) unkept: HashMap<usize, AbortHandle>,
    pub(super) keeper: Keeper,
    pub(super) unreadable: Unreadable,
    pub(super) is_news: bool,
    /// When this service has begun.
    begun: Instant,
}

/// A variant that is served.
pub(super) struct Served {
    /// `None`: the master has published what is on disk, and nobody has asked for it here.
    pub(super) pair: Option<Pair>,
    /// The issuer that it is from, as an index into the configuration's, if it is one of them.
    pub(super) issuer: Option<usize>,
    /// Whether it is that of another name, served until there is one.
    pub(super) stands_in: bool,
}

/// The parts that the loop works with once there is something to do.
pub(super) struct Tools {
    obtainer: Rc<Obtainer>,
    pub(super) clients: Clients,
    pub(super) report: Report,
}

impl Work {
    pub(super) fn new(settings: Settings, host: Arc<dyn Host>) -> Self {
        let Settings { config, secrets, loading, watch, facts, imports, certs_group, is_news } =
            settings;
        let served = config.variants.iter().map(|_| None).collect();
        let fingerprint = parties::fingerprint(&config, &secrets);
        let read = watch.as_ref().map_or_else(BTreeSet::new, |watch| watch.read.clone());
        Self {
            config,
            certs_group,
            secrets,
            loading,
            settings: fingerprint,
            host,
            facts,
            imports,
            served,
            further: HashMap::new(),
            lock: None,
            schedule: None,
            staples: Staples::default(),
            actions: Actions::default(),
            data: DataWatch::new(watch.clone()),
            watch,
            read,
            written: Rc::default(),
            volume: Volume::default(),
            unkept: HashMap::new(),
            keeper: Keeper::default(),
            unreadable: Unreadable::default(),
            is_news,
            begun: Instant::now(),
        }
    }

    pub(super) async fn run(&mut self) {
        let store = self.open_store().await;
        let lock = self.lock(&store).await;
        self.lock = Some(lock);
        self.wait_for_rescue(&store).await;
        let (report, mut outcomes) = mpsc::unbounded_channel();
        let mut imported = self.import(&store, &report).await;
        let mut known = self.load(&store, &report).await;
        self.stand_by(&mut imported, &mut known);
        let validities: HashMap<usize, Validity> =
            known.iter().enumerate().filter_map(|(i, known)| Some((i, known.validity?))).collect();
        let schedule = Schedule::new(known, now(), self.loading, random);
        self.schedule = Some((store.clone(), schedule));
        self.bar_unreadable(|entry| validities.get(&entry).copied());
        self.tell_imported(&imported);
        self.tell_standing();
        self.tell_certificates(&validities);
        self.tell_orders();
        self.keep_refused(&report);
        self.start_reloader();
        self.read_actions(&store);
        self.idle(&store).await;
        let clients = Clients::default();
        let obtainer = match self.obtainer(&store, &clients) {
            Ok(obtainer) => Rc::new(obtainer),
            Err(error) => {
                self.log(Level::Error, format_args!("cannot work until the next reload: {error}"));
                return std::future::pending().await;
            }
        };
        let cleaning = Rc::new(Notify::new());
        tokio::task::spawn_local(tasks::clean(Rc::clone(&obtainer), Rc::clone(&cleaning)));
        let tools = Tools { obtainer, clients, report };
        while self.watch_over() == Hold::Kept {
            self.begin_due(&tools);
            self.tell_untold();
            self.tend_staples(&tools);
            self.act(&tools.obtainer, &tools.report);
            let pause = self.pause();
            tokio::select! {
                Some(outcome) = outcomes.recv() => {
                    self.handle(outcome, &tools.report);
                    cleaning.notify_one();
                }
                () = sleep_by_the_clock(pause) => {}
            }
        }
    }

    /// Lets nginx be reloaded from now on when files change that it reads, if there are any.
    pub(super) fn start_reloader(&mut self) {
        let Some(watch) = self.watch.take().filter(|watch| !watch.names.is_empty()) else { return };
        let reloader = Reloader {
            watch,
            state_path: self.config.state_path.clone(),
            host: Arc::clone(&self.host),
            written: Rc::clone(&self.written),
        };
        tokio::task::spawn_local(reloader.run());
    }

    /// Tells whether nginx reads files of a certificate, configured or not.
    pub(super) fn reads_files_of(&self, name: &str) -> bool {
        self.read.contains(name)
    }

    pub(super) fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        self.host.log(level, format_args!("acme_dns: {message}"));
    }

    pub(super) fn served(&self, variant: usize) -> Option<&Served> {
        self.served.get(variant)?.as_ref()
    }

    pub(super) fn served_mut(&mut self, variant: usize) -> Option<&mut Served> {
        self.served.get_mut(variant)?.as_mut()
    }

    pub(super) fn schedule(&mut self) -> Option<&mut Schedule> {
        self.schedule.as_mut().map(|(_, schedule)| schedule)
    }

    pub(super) fn planned(&self) -> Option<&Schedule> {
        self.schedule.as_ref().map(|(_, schedule)| schedule)
    }

    pub(super) fn store(&self) -> Option<Store> {
        self.schedule.as_ref().map(|(store, _)| store.clone())
    }

    pub(super) fn actions(&mut self) -> &mut Actions {
        &mut self.actions
    }

    /// Hands a certificate to the workers, as far as there is anything of it.
    pub(super) fn publish(&self, certificate: usize) {
        let Some(wanted) = self.config.certificates.get(certificate) else { return };
        let served = wanted.variants.clone().filter(|entry| self.served(*entry).is_some());
        let Some(pairs) = served.map(|entry| self.pair(entry)).collect::<Option<Vec<_>>>() else {
            return;
        };
        if pairs.is_empty() {
            return;
        }
        let further = self.further.get(&certificate).into_iter().flatten();
        let all = pairs.iter().chain(further.map(|(_, pair)| pair)).cloned().collect();
        let mut published = self.host.publish(certificate, &Material { pairs: all });
        if published.is_err() && self.further.contains_key(&certificate) {
            // There may be room for those alone that come first.
            published = self.host.publish(certificate, &Material { pairs });
        }
        if let Err(NoRoom) = published {
            self.host.tell(&Event::Files(wanted.name.clone(), FilesEvent::NoRoom));
        }
    }

    /// The same, unless the master has done it.
    pub(super) fn publish_anew(&self, certificate: usize) {
        let variants = self.config.certificates.get(certificate).map(|c| c.variants.clone());
        let mut served = variants.into_iter().flatten().filter_map(|entry| self.served(entry));
        if served.any(|served| served.pair.is_some()) {
            self.publish(certificate);
        }
    }

    /// What is served of a variant, from the disk if it is not here. An error is in the log.
    pub(super) fn pair(&self, entry: usize) -> Option<Pair> {
        if let Some(pair) = &self.served(entry)?.pair {
            return Some(pair.clone());
        }
        let name = &self.config.variants.get(entry)?.name;
        let error = match load_material(&self.config.state_path, name) {
            Ok(Some(material)) => return material.pairs.into_iter().next(),
            Ok(None) => "it is gone".to_owned(),
            Err(error) => error.to_string(),
        };
        self.log(
            Level::Error,
            format_args!(
                "certificate \"{name}\" on disk cannot be used, what is served stays: {error}"
            ),
        );
        self.published_pair(entry)
    }

    /// The leaf that is served of a variant, in DER.
    pub(super) fn leaf(&self, entry: usize) -> Option<Vec<u8>> {
        self.pair(entry)?.chain.into_iter().next()
    }

    /// Serves a variant from now on; [`Work::publish`] makes it so.
    pub(super) fn serve(&mut self, variant: usize, served: Served) {
        if let Some(place) = self.served.get_mut(variant) {
            *place = Some(served);
        }
    }

    /// Serves nothing of a variant from now on.
    pub(super) fn unserve(&mut self, variant: usize) {
        if let Some(place) = self.served.get_mut(variant) {
            *place = None;
        }
    }

    /// Ends the use of what stands in for a variant that was issued. What has another type of key goes on if
    /// another variant needs it.
    pub(super) fn end_stand_ins(&mut self, entry: usize) {
        let Some((variant, wanted)) = self.config.variant(entry) else { return };
        let (certificate, algorithm) = (variant.certificate, variant.key.algorithm());
        let is_missing = |other: usize| {
            let schedule = self.schedule.as_ref().map(|(_, schedule)| schedule);
            other != entry && schedule.is_some_and(|schedule| schedule.renewal(other).is_none())
        };
        let is_last = !wanted.variants.clone().any(is_missing);
        if let Some(further) = self.further.get_mut(&certificate) {
            further.retain(|(of, _)| !is_last && *of != algorithm);
        }
    }

    async fn open_store(&self) -> Store {
        loop {
            match Store::open_shared(&self.config.state_path, self.certs_group) {
                Ok(store) => return store,
                Err(error) => self.pause_after(&error).await,
            }
        }
    }

    pub(super) async fn pause_after(&self, error: &dyn fmt::Display) {
        let pause = LOCAL_PAUSE.as_secs();
        self.log(Level::Error, format_args!("{error}; next attempt in {pause} s"));
        sleep(LOCAL_PAUSE).await;
    }

    /// Waits until there is something to do. Before that no HTTP client is set up, which costs as much
    /// as a hundred handshakes: after a start with good certificates the machine is the workers'.
    async fn idle(&mut self, store: &Store) {
        let is_clean = || {
            let journal = store.journal_all().is_ok_and(|entries| entries.is_empty());
            journal && store.orders_all().is_ok_and(|orders| orders.is_empty())
        };
        while self.actions.is_empty() && is_clean() {
            let pause = self.pause();
            if pause.is_zero() {
                return;
            }
            sleep_by_the_clock(pause).await;
            if self.watch_over() == Hold::Lost {
                return;
            }
        }
    }

    pub(super) fn secret(&self, id: SecretId) -> SecretString {
        self.secrets.get(id.0).cloned().unwrap_or_else(|| SecretString::from(String::new()))
    }

    fn obtainer(&self, store: &Store, clients: &Clients) -> Result<Obtainer, HttpError> {
        let host = Arc::clone(&self.host);
        let tell = move |notice| {
            let line = match notice {
                Notice::Waiting(Wait { pause, payer: None }) => format!(
                    "the DNS provider takes no more requests for now, the next goes out in \
                     {} s: orders take longer",
                    pause.as_secs()
                ),
                Notice::Waiting(Wait { pause, payer: Some(name) }) => format!(
                    "certificate \"{name}\" has used its share of the requests that the DNS provider \
                     takes, its next goes out in {} s",
                    pause.as_secs()
                ),
                Notice::Repeated(error) => format!("{error}; trying again"),
            };
            host.log(Level::Notice, format_args!("acme_dns: {line}"));
        };
        let secret = |id: SecretId| self.secret(id);
        let providers = dns::providers(&self.config.providers, secret, clients, tell)?;
        let checker = Checker::new(&self.config.propagation);
        let config = Rc::new(Config::clone(&self.config));
        let host = Arc::clone(&self.host);
        Obtainer::new(config, providers, store.clone(), checker, clients, secret, host)
    }

    /// Begins what is due, as far as there is room.
    fn begin_due(&mut self, tools: &Tools) {
        let now = now();
        let Some((store, schedule)) = &mut self.schedule else { return };
        let mut asked = Vec::new();
        while let Some(action) = schedule.poll(now) {
            match action {
                Action::Obtain(due) => {
                    let Some(variant) = self.config.variants.get(due.entry) else { continue };
                    // What is left to do of the one before must not disturb this one.
                    if let Some(older) = self.unkept.remove(&due.entry) {
                        older.abort();
                    }
                    let attempt = Attempt {
                        key: self.actions.key_for(due.entry),
                        due: *due,
                        name: variant.name.clone(),
                        obtainer: Rc::clone(&tools.obtainer),
                        store: store.clone(),
                        is_settled: self.begun.elapsed() >= SETTLED,
                    };
                    attempt.spawn(tools.report.clone());
                }
                Action::AskRenewalInfo { entry } => {
                    asked.push(entry);
                }
            }
        }
        for entry in asked {
            let (leaf, issuer) = (self.leaf(entry), self.served(entry).and_then(|s| s.issuer));
            let obtainer = Rc::clone(&tools.obtainer);
            tasks::ask_renewal_info(entry, leaf.zip(issuer), obtainer, &tools.report);
        }
    }

    fn pause(&self) -> Duration {
        let next = self.schedule.as_ref().and_then(|(_, schedule)| schedule.poll_timeout());
        let next = next.into_iter().chain(self.staples.poll_timeout()).min();
        let next = next.map_or(LONGEST_SLEEP, |next| next.since(now()).min(LONGEST_SLEEP));
        next.min(self.actions.pause()).min(self.volume.pause()).min(WATCH_INTERVAL)
    }

    fn handle(&mut self, outcome: Outcome, report: &Report) {
        match outcome {
            Outcome::Issued { entry, issuer, issued, took, saved } => {
                self.commit((entry, issuer), *issued, took, &saved, report);
            }
            Outcome::Kept { entry } => self.commit_late(entry),
            Outcome::Probed { entry } => self.handle_probed(entry),
            Outcome::Failed { entry, issuer, environment, failure, error } => {
                self.handle_failure((entry, issuer, environment), &failure, &error);
            }
            Outcome::RenewalInfo { entry, leaf, answer } => {
                // It may have been replaced while the CA was asked.
                if leaf.is_none() || leaf == self.leaf(entry) {
                    self.handle_renewal_info(entry, answer);
                }
            }
            Outcome::Stapling { entry, leaf, host, answer } => {
                self.handle_stapling(entry, &leaf, &host, answer);
            }
            Outcome::Action { name, result } => self.handle_action(&name, result),
        }
        self.note_accounts();
    }

    fn handle_probed(&mut self, entry: usize) {
        let Some(name) = self.config.variants.get(entry).map(|variant| variant.name.clone()) else {
            return;
        };
        let Some((store, schedule)) = &mut self.schedule else { return };
        let progress = schedule.handle_probed(entry, now());
        if let Err(error) = store.save_progress(&name, &progress) {
            self.host.log(Level::Error, format_args!("acme_dns: {error}"));
        }
        self.log(
            Level::Notice,
            format_args!("certificate \"{name}\": the CA's staging environment is satisfied now"),
        );
    }

    fn handle_renewal_info(&mut self, entry: usize, answer: tasks::RenewalAnswer) {
        let Some(name) = self.config.variants.get(entry).map(|variant| variant.name.clone()) else {
            return;
        };
        let Some((store, schedule)) = &mut self.schedule else { return };
        let before = schedule.renewal(entry);
        let renewal = schedule.handle_renewal_info(entry, now(), &answer.info, random());
        let after = schedule.renewal(entry);
        if let Err(error) = store.save_renewal(&name, &renewal) {
            self.host.log(Level::Warn, format_args!("acme_dns: {error}"));
        }
        if let Some(error) = answer.error {
            self.log(Level::Info, format_args!("certificate \"{name}\": {error}"));
        }
        if let Some((time, reason)) = after.filter(|_| after != before) {
            let why = answer.explanation.map(|url| format!(", see {url}")).unwrap_or_default();
            // The CA changed something: that is worth a line that is shown by default.
            let level = if why.is_empty() { Level::Info } else { Level::Notice };
            self.log(
                level,
                format_args!("certificate \"{name}\": renewal at {time}, {reason}{why}"),
            );
        }
    }

    /// Gives the lock away. `is_complete`: nothing that was being written is left unfinished.
    pub(super) fn release(mut self, is_complete: bool) {
        match self.lock.take() {
            Some(lock) if is_complete => lock.release(),
            _ => {}
        }
    }

    /// Keeps that what is under way was given up in good order, so that it begins again at once. An
    /// order whose file is gone has ended with a certificate on disk: only its report is missing.
    pub(super) fn interrupt(&self) {
        let Some((store, schedule)) = &self.schedule else { return };
        for (variant, progress) in schedule.interrupted() {
            let name = self.config.variants.get(variant).map_or("", |v| v.name.as_str());
            if !store.has_progress(name) {
                continue;
            }
            if let Err(error) = store.save_progress(name, &progress) {
                self.log(Level::Error, format_args!("{error}"));
            }
        }
    }
}

pub(super) fn now() -> UnixTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

/// A number from 0 to 1.
pub(super) fn random() -> f64 {
    let mut bytes = [0; 4];
    match openssl::rand::rand_bytes(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
