//! Schedule of OCSP staples (RFC 6960): questions to the CAs' responders, and the time for which
//! their answers are served.
//!
//! The state machine of one certificate:
//!
//! ```text
//!              poll: Ask              handle_answer: Good
//!   Waiting ---------------> Asking --------------------> Waiting (half of the answer's time)
//!     ^  ^                     | |
//!     |  +---------------------+ |   handle_answer: Failed (growing pause)
//!     +--------------------------+   handle_answer: Revoked (the longest pause, nothing is served)
//! ```
//!
//! An answer is served until its `nextUpdate` at the most, whatever comes later (`Withdraw`). Like
//! the schedule of the certificates this one owns no clock and no randomness.

#[cfg(test)]
mod tests;

use crate::id::{Table, VariantId};
use crate::time::UnixTime;
use std::collections::BTreeSet;
use std::time::Duration;
use thiserror::Error;

/// Questions that are under way at once.
const CONCURRENCY: usize = 10;

/// The responder's clock may be ahead by this.
const SKEW: Duration = Duration::from_secs(300);

/// The responder is asked so long before the end at the latest, where the answer's time allows it.
const MARGIN: Duration = Duration::from_secs(3600);

/// The responder may be asked so much later than at half of the answer's time, as a fraction of
/// that time: not all certificates are to ask at once.
const JITTER: f64 = 0.1;

/// Two questions are so far apart at least ...
const SHORTEST: Duration = Duration::from_secs(60);
/// ... unless the answer that is served ends soon: then half of what is left of it, and at least
/// this.
const SHORTEST_NEAR_END: Duration = Duration::from_secs(5);

/// An answer that is beyond its half already, from a cache, has the responder asked again after this
/// part of what is left of it.
const PART_BEYOND_HALF: u32 = 10;

/// The pauses after failures: doubling, from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A pause after a failure is at most this part of what is left of the answer that is served, but
/// not shorter than the first.
const PART_OF_REST: u32 = 4;

/// A pause may be so much longer than its row, as a fraction of it.
const PAUSE_JITTER: f64 = 0.25;

/// The time that a responder gives to its answer (RFC 6960 section 4.2.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StapleWindow {
    /// Time at which the status was known to be correct.
    pub this_update: UnixTime,
    /// Time at which newer information will be available.
    pub next_update: UnixTime,
}

/// Reason not to use an answer at a time.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum StapleWindowError {
    /// `thisUpdate` lies in the future.
    #[error("it is about the future: it holds from {0}")]
    Future(UnixTime),
    /// There is no `nextUpdate`: nobody knows how long it may be stapled.
    #[error("it does not say how long it holds")]
    Endless,
    /// `nextUpdate` is over, or before `thisUpdate`.
    #[error("it is out of date since {0}")]
    Past(UnixTime),
}

impl StapleWindow {
    /// Checks the two times of an answer.
    ///
    /// # Errors
    /// They do not make an answer that may be stapled now.
    pub fn new(
        this_update: UnixTime,
        next_update: Option<UnixTime>,
        now: UnixTime,
    ) -> Result<Self, StapleWindowError> {
        let next_update = next_update.ok_or(StapleWindowError::Endless)?;
        if this_update > now + SKEW {
            return Err(StapleWindowError::Future(this_update));
        }
        if next_update <= now || next_update <= this_update {
            return Err(StapleWindowError::Past(next_update));
        }
        Ok(Self { this_update, next_update })
    }

    /// Gives the time for the next answer: at half, and the margin before the end. `jitter`: from 0
    /// to 1.
    fn half(self, jitter: f64) -> UnixTime {
        let length = self.next_update.since(self.this_update);
        let half = self.this_update + length.mul_f64(0.5 + JITTER * jitter.clamp(0.0, 1.0));
        if length >= 2 * MARGIN { half.min(self.next_update - MARGIN) } else { half }
    }

    /// Gives the time to ask again after this answer.
    fn refresh(self, now: UnixTime, jitter: f64) -> UnixTime {
        let rest = self.next_update.since(now);
        let pause = if rest < 2 * SHORTEST {
            (rest / 2).max(SHORTEST_NEAR_END)
        } else {
            (rest / PART_BEYOND_HALF).max(SHORTEST)
        };
        self.half(jitter).max(now + pause)
    }
}

/// Result of a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StapleAnswer {
    /// The certificate is good for this time.
    Good(StapleWindow),
    /// The certificate is revoked.
    Revoked,
    /// There is no answer that can be used.
    Failed,
}

/// Step to be done now, for a variant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StapleTask {
    /// Ask the responder.
    Ask(VariantId),
    /// Serve the certificate without a staple: it has ended.
    Withdraw(VariantId),
}

/// Change that an answer has made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StapleChange {
    /// Time of the next question.
    pub next: UnixTime,
    /// Result of the questions before.
    pub before: StapleStanding,
    /// Number of questions in a row that have failed: with this one, or before it.
    pub failures: u32,
    /// Until when the answer before is served, if there is one and it still is.
    pub served_until: Option<UnixTime>,
}

/// Result of the questions so far, since the certificate is served.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StapleStanding {
    /// There was no answer that could be used.
    #[default]
    New,
    /// The last one that could be used said that the certificate is good.
    Good,
    /// The last one that could be used said that it is revoked.
    Revoked,
}

/// One certificate.
#[derive(Clone, Copy, Debug)]
struct StapleEntry {
    is_asking: bool,
    /// Time at which `next` was computed: if that lies in the future, the clock was set back.
    since: UnixTime,
    next: UnixTime,
    failures: u32,
    standing: StapleStanding,
    /// Of the answer that is served.
    window: Option<StapleWindow>,
    /// Sort key among the questions; `None` while the responder is being asked.
    question: Option<UnixTime>,
}

impl StapleEntry {
    fn new(now: UnixTime) -> Self {
        Self {
            is_asking: false,
            since: now,
            next: now,
            failures: 0,
            standing: StapleStanding::New,
            window: None,
            question: None,
        }
    }

    /// Gives the time of the next question, by a clock that may have been set back; `None` while one is
    /// under way.
    fn question(&self, now: UnixTime) -> Option<UnixTime> {
        let next = if self.since > now { UnixTime::default() } else { self.next };
        (!self.is_asking).then_some(next)
    }

    /// The pause after a failure.
    fn pause(&self, now: UnixTime) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        match self.window {
            Some(window) => {
                pause.min((window.next_update.since(now) / PART_OF_REST).max(FIRST_PAUSE))
            }
            None => pause,
        }
    }

    fn handle(&mut self, now: UnixTime, answer: StapleAnswer, jitter: f64) -> StapleChange {
        let before = self.standing;
        if answer == StapleAnswer::Failed {
            self.failures = self.failures.saturating_add(1);
        }
        let failures = self.failures;
        self.is_asking = false;
        self.since = now;
        self.next = match answer {
            StapleAnswer::Good(window) => {
                (self.failures, self.standing, self.window) =
                    (0, StapleStanding::Good, Some(window));
                window.refresh(now, jitter)
            }
            StapleAnswer::Revoked => {
                (self.failures, self.standing, self.window) = (0, StapleStanding::Revoked, None);
                now + longer(LONGEST_PAUSE, jitter)
            }
            StapleAnswer::Failed => now + longer(self.pause(now), jitter),
        };
        let served_until = self.window.map(|window| window.next_update).filter(|end| *end > now);
        StapleChange { next: self.next, before, failures, served_until }
    }
}

fn longer(pause: Duration, jitter: f64) -> Duration {
    pause.mul_f64(1.0 + PAUSE_JITTER * jitter.clamp(0.0, 1.0))
}

/// The certificates that something can be stapled to, by variant.
///
/// They are sorted by time, so that an event costs the logarithm of their number.
#[derive(Debug, Default)]
pub struct Staples {
    entries: Table<VariantId, Option<StapleEntry>>,
    /// Next questions, by time.
    questions: BTreeSet<(UnixTime, VariantId)>,
    /// Ends of the answers that are served.
    ends: BTreeSet<(UnixTime, VariantId)>,
    /// The questions that are under way, also those about certificates that were replaced.
    asking: usize,
    /// The time that it was told last.
    now: UnixTime,
}

impl Staples {
    /// Begins with a new certificate: its responder is asked at once.
    pub fn begin(&mut self, variant: VariantId, now: UnixTime) {
        self.tell(now);
        self.set(variant, Some(StapleEntry::new(now)));
    }

    /// Begins with a certificate and an answer that is there already, from the process before.
    /// `jitter`: from 0 to 1.
    pub fn begin_with(
        &mut self,
        variant: VariantId,
        window: StapleWindow,
        now: UnixTime,
        jitter: f64,
    ) {
        self.tell(now);
        let (next, standing) = (window.half(jitter), StapleStanding::Good);
        self.set(
            variant,
            Some(StapleEntry { next, standing, window: Some(window), ..StapleEntry::new(now) }),
        );
    }

    /// Staples nothing to this certificate any more.
    pub fn end(&mut self, variant: VariantId) {
        self.set(variant, None);
    }

    /// Puts a certificate in the place of another one.
    fn set(&mut self, variant: VariantId, entry: Option<StapleEntry>) {
        self.entries.extend_to(variant);
        if let Some(StapleEntry { question, window, .. }) = self.entries[variant] {
            question.map(|time| self.questions.remove(&(time, variant)));
            window.map(|window| self.ends.remove(&(window.next_update, variant)));
        }
        let entry = entry.map(|entry| StapleEntry { question: entry.question(self.now), ..entry });
        if let Some(StapleEntry { question, window, .. }) = entry {
            question.map(|time| self.questions.insert((time, variant)));
            window.map(|window| self.ends.insert((window.next_update, variant)));
        }
        self.entries[variant] = entry;
    }

    /// Takes note of the time: what was computed by a clock that has been set back since holds no more.
    fn tell(&mut self, now: UnixTime) {
        if std::mem::replace(&mut self.now, now) > now {
            for variant in self.entries.ids() {
                self.set(variant, self.entries[variant]);
            }
        }
    }

    /// Gives the next task; to be called until there is none.
    pub fn poll(&mut self, now: UnixTime) -> Option<StapleTask> {
        self.tell(now);
        let first = |queue: &BTreeSet<(UnixTime, VariantId)>| {
            queue.first().filter(|(time, _)| *time <= now).map(|(_, variant)| *variant)
        };
        if let Some((variant, entry)) = first(&self.ends).and_then(|v| Some((v, self.entries[v]?)))
        {
            self.set(variant, Some(StapleEntry { window: None, ..entry }));
            return Some(StapleTask::Withdraw(variant));
        }
        let variant = first(&self.questions).filter(|_| self.asking < CONCURRENCY)?;
        let entry = self.entries[variant]?;
        self.set(variant, Some(StapleEntry { is_asking: true, ..entry }));
        self.asking += 1;
        Some(StapleTask::Ask(variant))
    }

    /// Gives the time at which [`Staples::poll`] has something to do, unless an answer comes first.
    pub fn poll_timeout(&self) -> Option<UnixTime> {
        let end = self.ends.first();
        let next = self.questions.first().filter(|_| self.asking < CONCURRENCY);
        end.into_iter().chain(next).map(|(time, _)| *time).min()
    }

    /// Notes that a question has ended; `None`: nothing is stapled to this entry any more. `jitter`: from
    /// 0 to 1.
    pub fn handle_answer(
        &mut self,
        variant: VariantId,
        now: UnixTime,
        answer: StapleAnswer,
        jitter: f64,
    ) -> Option<StapleChange> {
        self.asking = self.asking.saturating_sub(1);
        self.tell(now);
        let mut changed = self.entries.get(variant).copied().flatten()?;
        let change = changed.handle(now, answer, jitter);
        self.set(variant, Some(changed));
        Some(change)
    }

    /// Notes that a question has ended about a certificate that is served no more.
    pub fn handle_stale(&mut self) {
        self.asking = self.asking.saturating_sub(1);
    }
}
