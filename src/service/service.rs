//! The thread of the service, and the one loop that sleeps.
//!
//! Only the holder of the lock of the state path works, so that the helpers of an old and a new
//! configuration, or of two binaries, overlap safely. Everything that is under way is a task of one
//! thread; stopping drops the tasks, and what they leave behind is in the journal.

use crate::acme::{Issued, Left, ObtainError, Obtainer};
use crate::dns::{self, Budget};
use crate::host::Host;
use crate::http::{Clients, HttpError};
use crate::propagation::Checker;
use crate::store::{Lock, Store, StoreError, Stored};
use acme_dns_core::config::{Certificate, Config, SecretId, Variant};
use acme_dns_core::level::Level;
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::schedule::{Known, Progress, Schedule, Validity};
use acme_dns_core::time::UnixTime;
use secrecy::SecretString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

/// How often a helper looks whether the one before it has left.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// The pause before something of this machine, such as the disk, is tried again.
const LOCAL_PAUSE: Duration = Duration::from_secs(30);

/// The longest sleep. The clock may be set, and a machine may sleep, without a timer noticing.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// The pauses between two attempts to remove TXT records that were left behind: doubling.
const CLEANING_PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));

/// The pause before records are looked for again that may still appear.
const LOOKING_PAUSE: Duration = Duration::from_secs(5);

/// How long a stop waits for what other threads write to the disk. A look-up of a name may hang in
/// the system's resolver for much longer; it must not delay the stop.
const STOP_GRACE: Duration = Duration::from_millis(300);

/// The pause before a process that has lost its thread ends and is started anew.
const DEATH_PAUSE: Duration = Duration::from_secs(2);

/// The running service.
#[derive(Debug)]
pub struct Service {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Service {
    /// Starts the thread; `secrets` are what the configuration's [`SecretId`]s refer to.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        config: Arc<Config>,
        secrets: Vec<SecretString>,
        host: Arc<dyn Host>,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            let work = AssertUnwindSafe(|| run(config, secrets, &host, stopped));
            let error = match catch_unwind(work) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "a bug in the module, its message is on standard error".to_owned(),
            };
            host.log(Level::Error, format_args!("acme_dns: the service ended: {error}"));
            thread::sleep(DEATH_PAUSE);
            host.died();
        };
        let thread = thread::Builder::new().name("acme_dns".to_owned()).spawn(body)?;
        Ok(Self { stop, thread })
    }

    /// Gives up what is under way and waits for the end of the thread.
    pub fn stop(self) {
        // A thread that has ended does not listen.
        let _ended = self.stop.send(());
        let _panicked = self.thread.join();
    }
}

fn run(
    config: Arc<Config>,
    secrets: Vec<SecretString>,
    host: &Arc<dyn Host>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    let host = Arc::clone(host);
    let pairs = vec![Vec::new(); config.variants.len()];
    let mut work = Work { config, secrets, host, pairs, lock: None, schedule: None };
    tasks.block_on(&runtime, async {
        tokio::select! {
            () = work.run() => {}
            _ = stopped => {}
        }
    });
    drop(tasks);
    runtime.shutdown_timeout(STOP_GRACE);
    work.interrupt();
    // Last, with the lock: the next helper begins when nothing is written any more.
    drop(work);
    Ok(())
}

struct Work {
    config: Arc<Config>,
    secrets: Vec<SecretString>,
    host: Arc<dyn Host>,
    /// What is served of each variant: nothing, or a key with its chain.
    pairs: Vec<Vec<Pair>>,
    lock: Option<Lock>,
    schedule: Option<(Store, Schedule)>,
}

/// What a task reports.
struct Outcome {
    variant: usize,
    /// What was obtained, and whether it is on disk.
    result: Result<(Issued, Result<(), StoreError>), ObtainError>,
    took: Duration,
}

impl Work {
    async fn run(&mut self) {
        let store = self.open_store().await;
        self.lock = Some(self.lock(&store).await);
        let known = self.load(&store).await;
        let now = now();
        self.schedule = Some((store.clone(), Schedule::new(known, now, jitter)));
        self.idle(&store).await;
        let obtainer = match self.obtainer(&store) {
            Ok(obtainer) => Rc::new(obtainer),
            Err(error) => {
                self.log(Level::Error, format_args!("cannot work until the next reload: {error}"));
                return std::future::pending().await;
            }
        };
        let cleaning = Rc::new(Notify::new());
        tokio::task::spawn_local(clean(Rc::clone(&obtainer), Rc::clone(&cleaning)));
        let (report, mut outcomes) = mpsc::unbounded_channel();
        loop {
            self.begin_due(&obtainer, &report);
            let pause = self.pause();
            tokio::select! {
                Some(outcome) = outcomes.recv() => {
                    self.handle(outcome);
                    cleaning.notify_one();
                }
                () = sleep(pause) => {}
            }
        }
    }

    fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        self.host.log(level, format_args!("acme_dns: {message}"));
    }

    async fn open_store(&self) -> Store {
        loop {
            match Store::open(&self.config.state_path) {
                Ok(store) => return store,
                Err(error) => {
                    let pause = LOCAL_PAUSE.as_secs();
                    self.log(Level::Error, format_args!("{error}; next attempt in {pause} s"));
                    sleep(LOCAL_PAUSE).await;
                }
            }
        }
    }

    async fn lock(&self, store: &Store) -> Lock {
        let mut waiting = false;
        loop {
            match store.lock() {
                Ok(Some(lock)) => return lock,
                Ok(None) => {
                    if !waiting {
                        let path = store.path().display();
                        self.log(
                            Level::Info,
                            format_args!(
                                "waiting for the process that works in \"{path}\" to leave"
                            ),
                        );
                        waiting = true;
                    }
                    sleep(LOCK_INTERVAL).await;
                }
                Err(error) => {
                    let pause = LOCAL_PAUSE.as_secs();
                    self.log(Level::Error, format_args!("{error}; next attempt in {pause} s"));
                    sleep(LOCAL_PAUSE).await;
                }
            }
        }
    }

    /// Waits until there is something to do. Before that no HTTP client is set up, which costs as much
    /// as a hundred handshakes: after a start with good certificates the machine is the workers'.
    async fn idle(&self, store: &Store) {
        let is_clean = || store.journal_all().is_ok_and(|entries| entries.is_empty());
        while is_clean() {
            let pause = self.pause();
            if pause.is_zero() {
                return;
            }
            sleep(pause).await;
        }
    }

    fn obtainer(&self, store: &Store) -> Result<Obtainer, HttpError> {
        let budget = Rc::new(Budget::new());
        let secret = |id: SecretId| {
            self.secrets.get(id.0).cloned().unwrap_or_else(|| SecretString::from(String::new()))
        };
        let providers = self.config.providers.iter();
        let clients = Clients::default();
        let providers = providers
            .map(|p| dns::provider(p, secret, Rc::clone(&budget), &clients))
            .collect::<Result<_, _>>()?;
        let checker = Checker::new(&self.config.propagation);
        let config = Rc::new(Config::clone(&self.config));
        let host = Arc::clone(&self.host);
        Obtainer::new(config, providers, store.clone(), checker, &clients, secret, host)
    }

    /// Publishes what is on disk, as the helper before may have published into an older zone, and
    /// gathers what the schedule begins with.
    async fn load(&mut self, store: &Store) -> Vec<Known> {
        let config = Arc::clone(&self.config);
        let mut known = Vec::with_capacity(config.variants.len());
        for (index, variant) in config.variants.iter().enumerate() {
            // Thousands take seconds, and a stop must not wait for them.
            tokio::task::yield_now().await;
            let name = &variant.name;
            let progress = store.load_progress(name).unwrap_or_else(|error| {
                self.log(Level::Warn, format_args!("{error}; it is ignored"));
                Progress::default()
            });
            let stored = store.load_certificate(name).unwrap_or_else(|error| {
                self.log(Level::Error, format_args!("certificate \"{name}\" on disk cannot be used, a new one will be obtained: {error}"));
                None
            });
            let validity = stored.and_then(|stored| self.take_over(index, stored));
            known.push(Known { validity, progress });
        }
        for certificate in 0..config.certificates.len() {
            self.publish(certificate);
        }
        known
    }

    /// Hands a certificate to the workers, as far as there is anything of it.
    fn publish(&self, certificate: usize) {
        let variants = self.config.certificates.get(certificate).map(|c| c.variants.clone());
        let pairs = variants.and_then(|variants| self.pairs.get(variants)).unwrap_or_default();
        let material = Material { pairs: pairs.concat() };
        if material.pairs.is_empty() {
            return;
        }
        if let Err(error) = self.host.publish(certificate, &material) {
            self.host.log(Level::Error, format_args!("{error}"));
        }
    }

    /// Serves a variant from now on.
    fn serve(&mut self, variant: usize, material: Material) {
        if let Some(pairs) = self.pairs.get_mut(variant) {
            *pairs = material.pairs;
        }
    }

    /// Serves a variant from the disk; gives its validity if it is the one that is wanted.
    fn take_over(&mut self, index: usize, stored: Stored) -> Option<Validity> {
        let config = Arc::clone(&self.config);
        let (variant, certificate) = config.variant(index)?;
        let validity = stored.validity;
        let difference = self.difference(variant, certificate, &stored);
        self.serve(index, stored.material);
        let Some(difference) = difference else { return Some(validity) };
        let name = &variant.name;
        self.log(
            Level::Notice,
            format_args!("certificate \"{name}\" {difference}, a new one will be obtained"),
        );
        None
    }

    /// What makes a certificate from the disk another than the one that is wanted.
    fn difference(
        &self,
        variant: &Variant,
        wanted: &Certificate,
        stored: &Stored,
    ) -> Option<&'static str> {
        let mut names: Vec<_> = wanted.names.iter().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let issuers = wanted.issuers.iter().filter_map(|index| self.config.issuers.get(*index));
        let mut directories = issuers.map(|issuer| &issuer.directory);
        let is_from = |directory: &String| directories.any(|configured| configured == directory);
        if stored.names != names {
            Some("holds other names than configured")
        } else if stored.key != variant.key {
            Some("has another type of key than configured")
        } else if !stored.directory.as_ref().is_none_or(is_from) {
            Some("is from another CA than configured")
        } else {
            None
        }
    }

    /// Begins what is due, as far as there is room.
    fn begin_due(&mut self, obtainer: &Rc<Obtainer>, report: &mpsc::UnboundedSender<Outcome>) {
        let now = now();
        let Some((store, schedule)) = &mut self.schedule else { return };
        while let Some((variant, progress)) = schedule.poll(now) {
            let Some(wanted) = self.config.variants.get(variant) else { continue };
            let attempt = Attempt {
                variant,
                name: wanted.name.clone(),
                progress,
                obtainer: Rc::clone(obtainer),
                store: store.clone(),
                host: Arc::clone(&self.host),
            };
            let report = report.clone();
            tokio::task::spawn_local(async move {
                let started = Instant::now();
                // In a task of its own, so that a panic is an outcome like any other.
                let outcome = tokio::task::spawn_local(attempt.run()).await;
                let outcome = outcome.unwrap_or_else(|_| Outcome {
                    variant,
                    result: Err(ObtainError::Bug),
                    took: started.elapsed(),
                });
                // The receiver lives as long as the tasks.
                let _ended = report.send(outcome);
            });
        }
    }

    fn pause(&self) -> Duration {
        let next = self.schedule.as_ref().and_then(|(_, schedule)| schedule.poll_timeout());
        next.map_or(LONGEST_SLEEP, |next| next.since(now()).min(LONGEST_SLEEP))
    }

    fn handle(&mut self, outcome: Outcome) {
        let Outcome { variant, result, took } = outcome;
        match result {
            Ok((issued, kept)) => self.handle_issued(variant, &issued, kept, took),
            Err(error) => self.handle_failure(variant, &error),
        }
    }

    fn handle_issued(
        &mut self,
        index: usize,
        issued: &Issued,
        kept: Result<(), StoreError>,
        took: Duration,
    ) {
        let config = Arc::clone(&self.config);
        let Some((variant, certificate)) = config.variant(index) else { return };
        let Some((_, schedule)) = &mut self.schedule else { return };
        let renewal = schedule.handle_success(index, issued.validity, jitter());
        // Served even if the disk refuses it: better than nothing, or than the old one.
        self.serve(index, issued.material.clone());
        self.publish(variant.certificate);
        let name = &variant.name;
        let names = certificate.names.iter().map(|name| name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let Issued { issuer, serial, validity, .. } = issued;
        self.log(
            Level::Notice,
            format_args!(
                "certificate \"{name}\" issued by \"{issuer}\" in {:.1} s, serial {serial}, for \
                 {names}, valid until {}, renewal at {renewal}",
                took.as_secs_f64(),
                validity.not_after
            ),
        );
        if let Err(error) = kept {
            self.log(
                Level::Error,
                format_args!(
                    "certificate \"{name}\" is served, but cannot be kept on disk, and would be \
                     lost by a restart: {error}; tried again every {} s",
                    LOCAL_PAUSE.as_secs()
                ),
            );
            self.keep_later(name.clone(), issued.clone());
        }
    }

    /// Goes on trying to write a certificate that the disk has refused.
    fn keep_later(&self, name: String, issued: Issued) {
        let Some((store, _)) = &self.schedule else { return };
        let (store, host) = (store.clone(), Arc::clone(&self.host));
        tokio::task::spawn_local(async move {
            loop {
                sleep(LOCAL_PAUSE).await;
                if store.save_certificate(&name, &issued.pem).is_ok() {
                    host.log(
                        Level::Notice,
                        format_args!("acme_dns: certificate \"{name}\" is kept on disk now"),
                    );
                    return;
                }
            }
        });
    }

    fn handle_failure(&mut self, index: usize, error: &ObtainError) {
        let Some(variant) = self.config.variants.get(index) else { return };
        let name = &variant.name;
        let Some((store, schedule)) = &mut self.schedule else { return };
        let progress = schedule.handle_failure(index, now(), error.retry_after(), jitter());
        if let Err(error) = store.save_progress(name, &progress) {
            self.host.log(Level::Error, format_args!("acme_dns: {error}"));
        }
        let level = if error.is_permanent() { Level::Error } else { Level::Warn };
        let (next, failures) = (progress.next, progress.failures);
        self.log(level, format_args!(
            "certificate \"{name}\" was not obtained, attempt {failures}: {error}; next attempt at {next}"
        ));
    }

    /// Keeps that what is under way was given up in good order, so that it begins again at once. An
    /// order whose file is gone has ended with a certificate on disk: only its report is missing.
    fn interrupt(&self) {
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

/// One attempt to obtain a certificate. Disks may be slow: files are written on other threads, so
/// that the orders do not wait for each other.
struct Attempt {
    variant: usize,
    name: String,
    progress: Progress,
    obtainer: Rc<Obtainer>,
    store: Store,
    host: Arc<dyn Host>,
}

impl Attempt {
    async fn run(self) -> Outcome {
        let started = Instant::now();
        let Self { variant, name, progress, obtainer, store, host } = self;
        // Kept before the work begins: if the process dies, the next one pauses.
        let (begun, of) = (store.clone(), name.clone());
        if let Err(error) = on_disk(&store, move || begun.save_progress(&of, &progress)).await {
            host.log(Level::Error, format_args!("acme_dns: {error}"));
        }
        let result = match obtainer.obtain(variant).await {
            Ok(issued) => {
                let (ended, pem) = (store.clone(), issued.pem.clone());
                let keep = move || {
                    ended.save_certificate(&name, &pem).and_then(|()| ended.remove_progress(&name))
                };
                let kept = on_disk(&store, keep).await;
                Ok((issued, kept))
            }
            Err(error) => Err(error),
        };
        Outcome { variant, result, took: started.elapsed() }
    }
}

/// Does something with files on another thread.
async fn on_disk(
    store: &Store,
    action: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    let done = tokio::task::spawn_blocking(action).await;
    // A task that did not end by itself panicked, or the runtime is shutting down.
    done.unwrap_or_else(|error| Err(StoreError::invalid(store.path(), error.to_string())))
}

/// Removes TXT records that were left behind: at once, and after each order that ended.
async fn clean(obtainer: Rc<Obtainer>, order_ended: Rc<Notify>) {
    let (shortest, longest) = CLEANING_PAUSES;
    let mut pause = shortest;
    loop {
        let (wait, next) = match obtainer.clean_journal().await {
            Left { failed: 0, waiting: 0 } => (LONGEST_SLEEP, shortest),
            Left { failed: 0, .. } => (LOOKING_PAUSE, shortest),
            Left { .. } => (pause, (pause * 2).min(longest)),
        };
        pause = next;
        tokio::select! {
            () = order_ended.notified() => {}
            () = sleep(wait) => {}
        }
    }
}

fn now() -> UnixTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

/// A number from 0 to 1.
fn jitter() -> f64 {
    let mut bytes = [0; 4];
    match openssl::rand::rand_bytes(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
