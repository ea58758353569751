//! The queue of one listener: one notice after the other, and again those that have failed.

use super::failure::Failure;
use super::teller::Teller;
use crate::event::{Event, ListenerEvent};
use crate::host::Host;
use acme_dns_core::notice::Notice;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// So many notices wait, besides those of new files.
const ROOM: usize = 1000;

/// Pauses of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Pause after the first failure; it doubles with each.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// Time after which a notice is given up that is not about new files.
    pub patience: Duration,
    /// Pause between two looks at the ends of certificates.
    pub look: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self { first: Duration::from_secs(10), longest: hour, patience: hour * 24, look: hour }
    }
}

/// Notice for one listener.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) notice: Notice,
    /// The certificate whose files are new. Such a task lasts until it has succeeded.
    pub(super) deployed: Option<Deployed>,
}

/// Certificate that a listener has.
#[derive(Clone, Debug)]
pub(super) struct Deployed {
    pub(super) name: String,
    pub(super) fingerprint: String,
    /// Place of the listener.
    pub(super) listener: usize,
}

struct Pending {
    task: Task,
    since: Instant,
    pause: Duration,
    due: Instant,
}

/// Queue of a listener.
pub(super) struct Queue {
    pub(super) teller: Teller,
    /// The listener, as the log calls it.
    pub(super) label: String,
    pub(super) host: Arc<dyn Host>,
    pub(super) timing: Timing,
    pub(super) tasks: mpsc::UnboundedReceiver<Task>,
    pub(super) done: mpsc::UnboundedSender<Deployed>,
}

impl Queue {
    /// Works until nobody can give it a task any more.
    pub(super) async fn run(mut self) {
        let mut pending = Vec::new();
        loop {
            let next = (0..pending.len()).min_by_key(|at| pending.get(*at).map(Pending::due));
            let due = next.and_then(|at| pending.get(at)).map(Pending::due);
            tokio::select! {
                biased;
                task = self.tasks.recv() => match task {
                    Some(task) => self.add(&mut pending, task),
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some(at) = next {
                        let first = pending.swap_remove(at);
                        pending.extend(self.tell(first).await);
                    }
                }
            }
        }
    }

    fn add(&self, pending: &mut Vec<Pending>, task: Task) {
        let name = |task: &Task| task.deployed.as_ref().map(|deployed| deployed.name.clone());
        match name(&task) {
            // The new files are in the place of those before.
            Some(new) => pending.retain(|other| name(&other.task).as_ref() != Some(&new)),
            None if pending.len() >= ROOM => {
                self.host.tell(&self.event(ListenerEvent::Dropped { number: 1 }));
                return;
            }
            None => {}
        }
        let now = Instant::now();
        pending.push(Pending { task, since: now, pause: self.timing.first, due: now });
    }

    /// Tells a notice; gives it back if it is to be told again.
    async fn tell(&self, mut pending: Pending) -> Option<Pending> {
        let about = about(&pending.task.notice);
        let Failure { why, retry_after } = match self.teller.tell(&pending.task.notice).await {
            Ok(()) => {
                if let Some(deployed) = pending.task.deployed {
                    // Without a desk nobody needs to know.
                    let _noted = self.done.send(deployed);
                }
                self.host.tell(&self.event(ListenerEvent::Told { about }));
                return None;
            }
            Err(failure) => failure,
        };
        let is_old = pending.since.elapsed() >= self.timing.patience;
        if pending.task.deployed.is_none() && is_old {
            self.host.tell(&self.event(ListenerEvent::GivenUp { about, why }));
            return None;
        }
        let longest = self.timing.longest;
        let pause = pending.pause.max(retry_after.unwrap_or_default()).min(longest);
        self.host.tell(&self.event(ListenerEvent::Failed { about, why, pause }));
        pending.due = Instant::now() + pause;
        pending.pause = (pending.pause * 2).min(longest);
        Some(pending)
    }

    fn event(&self, event: ListenerEvent) -> Event {
        Event::Listener(self.label.clone(), event)
    }
}

impl Pending {
    fn due(&self) -> Instant {
        self.due
    }
}

/// Names a notice in a line.
fn about(notice: &Notice) -> String {
    match &notice.subject.certificate {
        Some(certificate) => format!("\"{}\" of certificate \"{certificate}\"", notice.kind),
        None => format!("\"{}\"", notice.kind),
    }
}
