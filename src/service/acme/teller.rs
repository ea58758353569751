//! The subject of events: a certificate, an issuer, or the service as a whole.

use super::observer::Observer;
use crate::event::{
    AccountEvent, Event, OrderEvent, PersistEvent, RecordsEvent, Subject, VisibilityEvent,
};
use crate::host::Host;
use acme_dns_core::id::IssuerId;
use acme_dns_core::level::Level;
use std::fmt;
use std::sync::Arc;

/// Teller of events about one subject.
#[derive(Clone)]
pub(super) struct Teller {
    host: Arc<dyn Host>,
    subject: Subject,
}

impl Teller {
    pub(super) fn new(host: Arc<dyn Host>) -> Self {
        Self { host, subject: Subject::Service }
    }

    /// Makes a teller with another subject.
    pub(super) fn about(&self, subject: Subject) -> Self {
        Self { host: Arc::clone(&self.host), subject }
    }

    /// Makes an observer of the requests to a CA, which are counted for an issuer.
    pub(super) fn observer(&self, issuer: Option<IssuerId>) -> Observer {
        Observer::new(Arc::clone(&self.host), self.subject.clone(), issuer)
    }

    /// Tells whether single steps are told to anybody.
    pub(super) fn tells_steps(&self) -> bool {
        self.host.listens(Level::Debug)
    }

    pub(super) fn order(&self, event: OrderEvent) {
        self.host.tell(&Event::Order(self.subject.clone(), event));
    }

    pub(super) fn account(&self, event: AccountEvent) {
        self.host.tell(&Event::Account(self.subject.clone(), event));
    }

    pub(super) fn records(&self, event: RecordsEvent) {
        self.host.tell(&Event::Records(self.subject.clone(), event));
    }

    pub(super) fn persist(&self, event: PersistEvent) {
        self.host.tell(&Event::Persist(self.subject.clone(), event));
    }

    pub(super) fn visibility(&self, event: VisibilityEvent) {
        self.host.tell(&Event::Visibility(self.subject.clone(), event));
    }

    /// Tells of a failure that nothing follows from.
    pub(super) fn step_failed(&self, level: Level, error: &dyn fmt::Display) {
        self.order(OrderEvent::StepFailed { why: error.to_string(), level });
    }
}
