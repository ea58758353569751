//! From the stand-in to PowerDNS: at once, late, or not yet.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::powerdns::{Api, Rrset};
use crate::rt;

/// Time that an answer of the API waits for PowerDNS, which may be stopped by a test.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(50);

struct Job {
    due: Instant,
    zone: String,
    rrsets: Vec<Rrset>,
    done: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(super) struct Publisher {
    jobs: mpsc::UnboundedSender<Job>,
    delay: Mutex<Duration>,
    paused: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Publisher {
    pub(super) fn start(dns: Api) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (paused, until_resumed) = watch::channel(false);
        let task = rt::runtime().spawn(work(dns, queue, until_resumed));
        Self { jobs, delay: Mutex::default(), paused, task }
    }

    pub(super) fn set_delay(&self, delay: Duration) {
        *self.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Queues record sets; they are applied in the order of the calls.
    pub(super) fn publish(&self, zone: &str, rrsets: Vec<Rrset>) -> Published {
        let delay = *self.delay.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, published) = oneshot::channel();
        let job = Job { due: Instant::now() + delay, zone: zone.to_owned(), rrsets, done };
        let _ = self.jobs.send(job);
        let at_once = delay.is_zero() && !*self.paused.borrow();
        Published(at_once.then_some(published))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The way of a change to PowerDNS.
#[must_use]
pub(super) struct Published(Option<oneshot::Receiver<()>>);

impl Published {
    /// Waits until PowerDNS has the change, unless it is meant to be late.
    pub(super) async fn wait(self) {
        if let Some(published) = self.0 {
            let _ = timeout(PATIENCE, published).await;
        }
    }
}

async fn work(
    dns: Api,
    mut queue: mpsc::UnboundedReceiver<Job>,
    mut paused: watch::Receiver<bool>,
) {
    while let Some(job) = queue.recv().await {
        sleep_until(job.due).await;
        let _ = paused.wait_for(|paused| !paused).await;
        // A server that was stopped gets the change when it is back; a zone that is gone, never.
        while let Err(error) = dns.set_rrsets(&job.zone, &job.rrsets).await {
            if error.starts_with("PowerDNS has no zone") {
                break;
            }
            sleep(RETRY).await;
        }
        let _ = job.done.send(());
    }
}
