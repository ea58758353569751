//! The time that the check of a certificate may take, whoever does not answer.

use acme_dns_core::findings::{Finding, rows};
use acme_dns_core::text::list;
use std::cell::RefCell;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// One of so many parts is kept for the removal of a test record.
const PARTS: u32 = 3;

/// A limit that has begun, and what was not known when it ended.
pub(super) struct TimeLimit {
    length: Duration,
    begun: Instant,
    /// Subject of it all, behind the rest of the words.
    subject: String,
    unknown: RefCell<Vec<String>>,
}

impl TimeLimit {
    /// Begins a limit.
    pub(super) fn begin(length: Duration) -> Self {
        let (begun, subject) = (Instant::now(), String::new());
        Self { length, begun, subject, unknown: RefCell::default() }
    }

    /// Makes the same limit for what is to be known of a zone, which is told for itself.
    pub(super) fn of_zone(&self, zone: &str) -> Self {
        let subject = format!(" of zone \"{zone}\"");
        Self { subject, unknown: RefCell::default(), ..*self }
    }

    /// Does something that only reads, as far as there is time for it; `what` is what is not known without.
    pub(super) async fn hold<T>(&self, what: &str, work: impl Future<Output = T>) -> Option<T> {
        let done = timeout_at(self.last_work(), work).await;
        if done.is_err() {
            self.unknown.borrow_mut().push(what.to_owned());
        }
        done.ok()
    }

    /// Gives the time for the removal of a record: it is made in any case.
    pub(super) fn removal(&self) -> Duration {
        self.length / PARTS
    }

    /// Gives the time that is left for a request that changes something; `what` is what is not known without. `None` if
    /// there is none.
    pub(super) fn left(&self, what: &str) -> Option<Duration> {
        let left = self.last_work().checked_duration_since(Instant::now());
        let left = left.filter(|left| !left.is_zero());
        if left.is_none() {
            self.unknown.borrow_mut().push(what.to_owned());
        }
        left
    }

    /// Says what is not known, if there is something.
    pub(super) fn finding(&self) -> Option<Finding> {
        let unknown = self.unknown.borrow();
        let seconds = (self.length - self.removal()).as_secs().to_string();
        let words = list(&unknown) + &self.subject;
        let values = [("seconds", seconds.as_str()), ("words", words.as_str())];
        (!unknown.is_empty()).then(|| rows::T01.finding(&values))
    }

    fn last_work(&self) -> Instant {
        self.begun + (self.length - self.removal())
    }
}
