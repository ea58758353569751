//! The listener that shows where attempts are: it hears every event before the log does.
//!
//! A variant's times and failures are shown by [`status`](super::status).

use crate::event::{Event, OrderEvent, RecordsEvent, ReloadEvent, StateEvent, Subject};
use crate::host::{Host, overheard};
use acme_dns_core::id::VariantId;
use acme_dns_core::status::{Counted, Figure, HelperState, Phase, Plan, Step, StepUnderWay};
use acme_dns_core::time::UnixTime;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Pause between two signs of life.
const LIFE_INTERVAL: Duration = Duration::from_secs(10);

/// Listener to what is told to a host.
pub(super) struct Listener {
    host: Arc<dyn Host>,
    /// Attempts by the names of their variants, a few at a time.
    attempts: Mutex<HashMap<String, Attempt>>,
    state: Mutex<HelperState>,
    now: fn() -> UnixTime,
}

/// Attempt under way.
struct Attempt {
    variant: VariantId,
    step: Step,
    since: Instant,
}

impl Listener {
    pub(super) fn new(host: Arc<dyn Host>, now: fn() -> UnixTime) -> Self {
        let state = Mutex::new(HelperState::Starting);
        Self { host, attempts: Mutex::default(), state, now }
    }

    /// Gives the host that the service is to tell, so that it is heard here.
    pub(super) fn host(self: &Arc<Self>) -> Arc<dyn Host> {
        let listener = Arc::clone(self);
        overheard(Arc::clone(&self.host), move |event| listener.hear(event))
    }

    /// Shows that the process does something else.
    pub(super) fn enter(&self, state: HelperState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.host.show_life(state);
    }

    /// Shows signs of life, for ever. Whatever keeps the thread from its work keeps it from this as well.
    pub(super) async fn live(self: Arc<Self>) {
        loop {
            let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.host.show_life(state);
            tokio::time::sleep(LIFE_INTERVAL).await;
        }
    }

    /// Notes that an attempt begins; gives its step.
    pub(super) fn begin(&self, name: &str, variant: VariantId) -> StepUnderWay {
        let attempt = Attempt { variant, step: Step::Ordering, since: Instant::now() };
        self.attempts().insert(name.to_owned(), attempt);
        StepUnderWay { name: Step::Ordering, since: (self.now)() }
    }

    /// Notes that an attempt has ended, and how.
    pub(super) fn end(&self, name: &str, is_issued: bool) {
        let ended = self.attempts().remove(name);
        if let Some(attempt) = ended.filter(|_| is_issued) {
            self.note_duration(&attempt);
        }
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<String, Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the next step of an attempt.
    fn step(&self, name: &str, step: Step) {
        let mut attempts = self.attempts();
        let Some(attempt) = attempts.get_mut(name).filter(|attempt| attempt.step != step) else {
            return;
        };
        self.note_duration(attempt);
        (attempt.step, attempt.since) = (step, Instant::now());
        if let Some(plan) = self.host.shown_plan(attempt.variant) {
            let step = Some(StepUnderWay { name: step, since: (self.now)() });
            self.host.show_plan(attempt.variant, &Plan { step, ..plan });
        }
    }

    /// Notes how long the step took that has just ended.
    fn note_duration(&self, attempt: &Attempt) {
        let phase = match attempt.step {
            Step::Ordering => return,
            Step::Records => Phase::Dns,
            Step::Propagation => Phase::Propagation,
            Step::Validation => Phase::Validation,
            Step::Finalize => Phase::Finalize,
        };
        let took = attempt.since.elapsed();
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.host.add(Figure::duration(phase, took), 1);
        self.host.add(Figure::DurationSum(phase), millis);
    }

    fn hear(&self, event: &Event) {
        match event {
            Event::Records(Subject::Certificate(name), RecordsEvent::Creating { .. }) => {
                self.step(name, Step::Records);
            }
            Event::Order(Subject::Certificate(name), event) => match event {
                OrderEvent::WaitingForServers => self.step(name, Step::Propagation),
                OrderEvent::Answered { .. } => self.step(name, Step::Validation),
                OrderEvent::Ready => self.step(name, Step::Finalize),
                _ => {}
            },
            Event::Reload(ReloadEvent::Reloading(_)) => {
                self.host.add(Figure::Reloads(Counted::Ok), 1);
            }
            Event::Reload(ReloadEvent::Refused { .. } | ReloadEvent::WithoutEffect { .. }) => {
                self.host.add(Figure::Reloads(Counted::Failed), 1);
            }
            Event::State(StateEvent::Shared { .. }) => self.enter(HelperState::Following),
            _ => {}
        }
    }
}
