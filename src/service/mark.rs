//! The mark of an attempt, which all its lines share at level `debug`.
//!
//! An attempt is a task, with others that it starts. The parts that tell what happens know nothing of it: the task carries
//! its mark, as it carries its payer. Nobody has a mark where level `debug` is not logged.

use crate::event::Event;
use crate::host::Host;
use crate::random::random_hex;
use acme_dns_core::level::Level;
use std::rc::Rc;
use tokio::task::JoinHandle;

tokio::task_local! {
    static MARK: Mark;
}

/// Mark of an attempt, or of none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark(Option<Rc<str>>);

impl Mark {
    /// Makes the mark of an attempt whose lines `host` is told; none where nobody would see it.
    pub(crate) fn new(host: &dyn Host) -> Self {
        let digits = host.listens(Level::Debug).then(random_hex::<3>).flatten();
        Self(digits.map(Rc::from))
    }

    /// Does the work of a task under this mark.
    pub(crate) async fn on<F: Future>(self, work: F) -> F::Output {
        MARK.scope(self, work).await
    }

    /// Tells something under this mark.
    pub(crate) fn on_lines<T>(self, tell: impl FnOnce() -> T) -> T {
        MARK.sync_scope(self, tell)
    }

    fn current() -> Self {
        MARK.try_with(Self::clone).unwrap_or_default()
    }
}

/// Starts a task that has the mark of this one.
pub(crate) fn spawn_local<F: Future + 'static>(work: F) -> JoinHandle<F::Output> {
    tokio::task::spawn_local(Mark::current().on(work))
}

/// Line of the log for an event, with the mark of the attempt that tells it.
#[must_use]
pub fn line(event: &Event) -> String {
    match Mark::current().0 {
        Some(mark) => format!("acme_dns: attempt {mark}: {event}"),
        None => format!("acme_dns: {event}"),
    }
}
