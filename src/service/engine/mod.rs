//! The thread of the service: what is done when, and what becomes of it.
//!
//! `startup.rs` leads to the loop of `main_loop.rs`, which begins what is due and hands reports to the part that
//! they are for; each part is a file with its own state. How a certificate is obtained, how DNS is asked and how
//! files are written is not here ([`acme`](crate::acme), [`dns`](crate::dns), [`store`](crate::store)), nor when
//! something is due ([`schedule`](acme_dns_core::schedule)).
//!
//! Only the holder of the lock of the state path works, so that the helpers of an old and a new
//! configuration, or of two binaries, overlap safely. Everything that is under way is a task of one
//! thread; stopping drops the tasks, and what they leave behind is in the state path: TXT records in
//! the journal, orders beside their progress.

mod actions;
mod clock;
mod commit;
mod data;
mod failing;
mod fleet;
mod following;
mod forgetting;
mod importing;
mod keeper;
mod listener;
mod listening;
mod load;
mod lock_wait;
mod locking;
mod main_loop;
mod outcome;
mod packing;
mod parties;
mod plan;
mod reloading;
mod requests;
mod revoking;
mod round;
mod saving;
mod secrets;
mod served;
mod site;
mod stapling;
mod startup;
mod status;
mod succession;
mod tasks;
#[cfg(test)]
mod testing;
mod unreadable;
mod unsaved;
mod watching;

pub use lock_wait::LockWait;
pub use saving::{Saved, save_issued};

use crate::event::{Event, ProcessEvent};
use crate::host::Host;
use crate::import::Imports;
use crate::reload::Watch;
use crate::store::{Lock, PublishedFacts};
use acme_dns_core::config::Config;
use acme_dns_core::schedule::Loading;
use listener::Listener;
use listening::Listening;
use main_loop::Running;
use secrecy::SecretString;
use secrets::UnknownSecret;
use startup::Waiting;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// Time that a stop waits for what other threads write to the disk. A look-up of a name may hang in
/// the system's resolver for much longer; it must not delay the stop.
const STOP_GRACE: Duration = Duration::from_millis(300);

/// Time for which a host has a certificate's lease without being heard of.
pub const LEASE: Duration = Duration::from_secs(15);

/// The pause before a process that has lost its thread ends and is started anew.
const DEATH_PAUSE: Duration = Duration::from_secs(2);

/// Service that was started.
#[derive(Debug)]
pub struct Service {
    stop: oneshot::Sender<()>,
    /// Set if the thread has left nothing behind; closed when it has ended.
    ended: mpsc::Receiver<bool>,
}

/// Settings that a service is started with.
pub struct Settings {
    /// The configuration.
    pub config: Arc<Config>,
    /// The secrets that the configuration's [`SecretId`](acme_dns_core::config::SecretId)s refer to.
    pub secrets: Vec<SecretString>,
    /// The loading of the configuration: with another one a person may have changed something.
    pub loading: Loading,
    /// Facts of the variants that the master has published from the disk.
    pub facts: Arc<PublishedFacts>,
    /// Certificates and accounts that the master has found in the trees of other clients.
    pub imports: Imports,
    /// The group that may read `certs/`; this process is a member of it.
    pub certs_group: Option<u32>,
    /// Files of the state path that nginx reads; without it nginx is never reloaded.
    pub watch: Option<Watch>,
    /// Time for which a host has a certificate's lease without being heard of, where several hosts share certificates.
    pub lease: Duration,
    /// Set if the certificates are listed at the start: the configuration is a new one, and no service has
    /// begun with it yet.
    pub is_news: bool,
    /// Set if a service has run with this configuration before, and may have ended in the middle of anything.
    pub is_restart: bool,
    /// Set if the master has found a pack of certificates that cannot be used.
    pub has_bad_pack: bool,
    /// Number of certificates on disk that the master has not found in the pack.
    pub unpacked: usize,
}

impl Service {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(settings: Settings, host: Arc<dyn Host>) -> io::Result<Self> {
        Self::start_after(settings, host, || ())
    }

    /// Starts the thread, which does something else first.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_after(
        settings: Settings,
        host: Arc<dyn Host>,
        before: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (tell, ended) = mpsc::channel();
        let body = move || {
            let work = AssertUnwindSafe(|| {
                before();
                run(settings, &host, stopped)
            });
            let error = match catch_unwind(work) {
                Ok(Ok(is_complete)) => {
                    let _nobody_waits = tell.send(is_complete);
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "a bug in the module, its message is on standard error".to_owned(),
            };
            host.tell(&Event::Process(ProcessEvent::Ended { why: error }));
            thread::sleep(DEATH_PAUSE);
            host.died();
        };
        thread::Builder::new().name("acme_dns".to_owned()).spawn(body)?;
        Ok(Self { stop, ended })
    }

    /// Gives up what is under way and waits for the end of the thread.
    pub fn stop(self) {
        let _complete = self.stop_within(Duration::MAX);
    }

    /// Gives up what is under way and waits for the end of the thread, but not longer than `limit`. Tells
    /// whether nothing is left at work, in this thread or in those that it has started.
    #[must_use]
    pub fn stop_within(self, limit: Duration) -> bool {
        // A thread that has ended does not listen.
        let _ended = self.stop.send(());
        self.ended.recv_timeout(limit).unwrap_or(false)
    }
}

/// Phases that a service comes to its end in.
enum Phase {
    /// Another process has the lock.
    Waiting,
    /// The files of the state path were being loaded.
    Loading(Lock),
    /// The loop ran.
    Running(Box<Running>),
}

fn run(
    settings: Settings,
    host: &Arc<dyn Host>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    let end = tasks.block_on(&runtime, work(settings, Arc::clone(host), stopped));
    drop(tasks);
    if let Ok(Phase::Running(running)) = &end {
        runtime.block_on(running.leave());
    }
    let begun = Instant::now();
    runtime.shutdown_timeout(STOP_GRACE);
    let is_complete = begun.elapsed() < STOP_GRACE;
    let lock = match end.map_err(io::Error::other)? {
        Phase::Waiting => return Ok(is_complete),
        Phase::Loading(lock) => lock,
        Phase::Running(running) => match running.end() {
            Some(lock) => lock,
            None => {
                return Err(io::Error::other(
                    "the state path was made anew, and another process works there now",
                ));
            }
        },
    };
    // Last, with the lock: the next helper begins when nothing is written any more.
    if is_complete {
        lock.release();
    }
    Ok(is_complete)
}

/// Works until the service is stopped; says how far it has come.
async fn work(
    settings: Settings,
    host: Arc<dyn Host>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Phase, UnknownSecret> {
    let (host, listening) = Listening::begin(&settings, host);
    let listener = Arc::new(Listener::new(host, clock::now));
    tokio::task::spawn_local(Arc::clone(&listener).live());
    let opening = Waiting::open(settings, listener);
    let Some(waiting) = unless(&mut stopped, opening).await else { return Ok(Phase::Waiting) };
    let mut waiting = waiting?;
    let locking = waiting.take_lock();
    let Some(lock) = unless(&mut stopped, locking).await else { return Ok(Phase::Waiting) };
    let loading = waiting.load();
    let Some(loaded) = unless(&mut stopped, loading).await else { return Ok(Phase::Loading(lock)) };
    let store = loaded.site.store.clone();
    let mut running = Running::new(loaded, lock);
    let working = async {
        if let Some(listening) = listening {
            listening.open(store).await;
        }
        running.run().await;
    };
    let _stopped = unless(&mut stopped, working).await;
    Ok(Phase::Running(Box::new(running)))
}

/// Does something unless the service is stopped before its end.
async fn unless<T>(
    stopped: &mut oneshot::Receiver<()>,
    doing: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        done = doing => Some(done),
        _ = stopped => None,
    }
}
