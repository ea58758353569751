//! The subject of events: a certificate, an issuer, or the service as a whole.

use super::step::Step;
use crate::event::{
    AccountEvent, Event, OrderEvent, PersistEvent, RecordsEvent, Subject, VisibilityEvent,
};
use crate::host::Host;
use acme_dns_core::id::IssuerId;
use acme_dns_core::level::Level;
use acme_dns_core::status::{Code, Figure};
use http::StatusCode;
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

    /// Makes a counter of the requests to an issuer.
    pub(super) fn counter(&self, issuer: IssuerId) -> CaCounter {
        CaCounter { host: Arc::clone(&self.host), issuer }
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

/// Counter of the requests to an issuer.
#[derive(Clone)]
pub(super) struct CaCounter {
    host: Arc<dyn Host>,
    issuer: IssuerId,
}

impl CaCounter {
    /// Counts a request, with the status of its answer if one came.
    pub(super) fn count(&self, step: Step, status: Option<StatusCode>) {
        let code = status.map_or(Code::Error, |status| Code::Status(status.as_u16()));
        self.host.add(Figure::CaRequests(self.issuer, step.action(), code), 1);
    }
}
