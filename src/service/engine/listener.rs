//! The listener that shows where attempts are: it hears every event before the log does.
//!
//! What is shown of a variant otherwise, its times and its failures, is in [`status`](super::status).

use crate::event::{Event, OrderEvent, RecordsEvent, ReloadEvent, StateEvent, Subject};
use crate::host::{Host, NoRoom};
use acme_dns_core::id::{CertificateId, VariantId};
use acme_dns_core::material::Material;
use acme_dns_core::status::{Counted, Figure, HelperState, Phase, Plan, Step, StepUnderWay};
use acme_dns_core::time::UnixTime;
use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Pause between two signs of life.
const LIFE_INTERVAL: Duration = Duration::from_secs(10);

/// Host that hears what is told.
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

impl Host for Listener {
    fn tell(&self, event: &Event) {
        self.hear(event);
        self.host.tell(event);
    }

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        self.host.publish(certificate, material)
    }

    fn reload(&self) -> Result<(), String> {
        self.host.reload()
    }

    fn published(&self, certificate: CertificateId) -> Option<Material> {
        self.host.published(certificate)
    }

    fn show_plan(&self, variant: VariantId, plan: &Plan) {
        self.host.show_plan(variant, plan);
    }

    fn shown_plan(&self, variant: VariantId) -> Option<Plan> {
        self.host.shown_plan(variant)
    }

    fn add(&self, figure: Figure, number: u64) {
        self.host.add(figure, number);
    }

    fn note(&self, figure: Figure, number: u64) {
        self.host.note(figure, number);
    }

    fn show_life(&self, state: HelperState) {
        self.host.show_life(state);
    }

    fn prepare_program(&self, command: &mut Command) {
        self.host.prepare_program(command);
    }

    fn died(&self) {
        self.host.died();
    }
}
