//! When each certificate is obtained, from which CA, and when it is tried again.
//!
//! The state machine of one certificate:
//!
//! ```text
//!              poll: Obtain(Production)            handle_issued
//!   Waiting --------------------------> Working ----------------> Waiting (renewal time)
//!     ^  ^                               |   |
//!     |  +-------------------------------+   | handle_failed, of a validation, with a staging
//!     |    handle_failed (growing pause,     | environment
//!     |    or the next CA)                   v
//!     |            poll: Obtain(Staging)
//!     |  Waiting ------------------------> Probing --+
//!     |     ^                                | |     |
//!     |     +--------------------------------+ |     |
//!     |       handle_failed (growing pause)    |     |
//!     +----------------------------------------+     |
//!       handle_probed (at once)
//! ```
//!
//! Beside that the CA is asked when it wants the certificate to be renewed (`AskRenewalInfo`,
//! `handle_renewal_info`). The schedule owns no clock and no randomness: every method is told the
//! time, and random numbers are drawn by the caller, from 0 to 1.

mod renewal;
mod retry;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use renewal::{Reason, Renewal, RenewalInfo, RenewalInfoError, RenewalInfoOutcome, Window};
pub use retry::{Authority, Failure, FailureKind, Progress, Scope};

use crate::time::UnixTime;
use std::collections::HashMap;
use std::time::Duration;

/// How many certificates are worked on at once.
pub const CONCURRENCY: usize = 20;

/// How many questions for renewal information are under way at once.
const POLLS: usize = 5;

/// A start with many certificates spreads their first questions: so long for each of them, but no
/// longer than this in all.
const SPREAD_EACH: Duration = Duration::from_secs(1);
const SPREAD_ALL: Duration = Duration::from_secs(3600);

/// The validity of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// The first moment.
    pub not_before: UnixTime,
    /// The last moment.
    pub not_after: UnixTime,
}

/// Which of a CA's two environments an attempt is made in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Environment {
    /// The one whose certificates are trusted.
    Production,
    /// The one where failures cost nothing.
    Staging,
}

/// What is known of a certificate when the schedule begins.
#[derive(Clone, Debug)]
pub struct Known {
    /// The certificate on disk, if there is one that can be used and is the one that is wanted.
    pub validity: Option<Validity>,
    /// What was kept beside it.
    pub renewal: Renewal,
    /// What was kept of earlier attempts.
    pub progress: Progress,
    /// The CAs that it can be from, at least one, the preferred one first.
    pub authorities: Vec<Authority>,
}

impl Known {
    /// Whether the attempts that were kept have ended with the certificate that is there: the process
    /// may have died before it could forget them.
    pub fn has_ended(&self, now: UnixTime) -> bool {
        self.progress != Progress::default()
            && self.validity.is_some_and(|validity| self.renewal.due(validity).0 > now)
    }
}

/// What is to be done now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Obtain a certificate.
    Obtain(Attempt),
    /// Ask the CA of a certificate when to renew it.
    AskRenewalInfo {
        /// The certificate.
        entry: usize,
    },
}

/// An attempt to obtain a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The certificate.
    pub entry: usize,
    /// Index into the configuration's issuers.
    pub issuer: usize,
    /// Where the attempt is made.
    pub environment: Environment,
    /// What to keep before it begins.
    pub progress: Progress,
}

#[derive(Debug)]
struct Entry {
    authorities: Vec<Authority>,
    validity: Option<Validity>,
    renewal: Renewal,
    progress: Progress,
    /// Somebody wants it to be renewed.
    asked: bool,
    working: bool,
    polling: bool,
}

impl Entry {
    /// When to renew, and why; `None` if there is no certificate.
    fn due(&self) -> Option<(UnixTime, Reason)> {
        let validity = self.validity?;
        if self.asked {
            return Some((UnixTime::default(), Reason::Asked));
        }
        Some(self.renewal.due(validity))
    }

    fn issuer(&self, authority: usize) -> usize {
        self.authorities.get(authority).map_or(0, |authority| authority.issuer)
    }

    /// What comes first among certificates that are due: what is missing or has expired.
    fn urgency(&self) -> UnixTime {
        self.validity.map_or(UnixTime::default(), |validity| validity.not_after)
    }
}

/// Decides which certificate is worked on, and when.
#[derive(Debug)]
pub struct Schedule {
    entries: Vec<Entry>,
    configured_at: UnixTime,
    /// The time that it was told last.
    now: UnixTime,
    /// Issuers that want to be left alone, each in its two environments.
    paused: HashMap<(usize, Environment), Pause>,
}

/// How long an issuer wants to be left alone.
#[derive(Clone, Copy, Debug)]
struct Pause {
    /// When it said so: if that lies in the future, the clock was set back, and this holds no more.
    since: UnixTime,
    until: UnixTime,
}

impl Schedule {
    /// Begins with what is known of each certificate. `configured_at` is when a person has last
    /// loaded the configuration; `random` gives numbers from 0 to 1.
    pub fn new(
        known: impl IntoIterator<Item = Known>,
        now: UnixTime,
        configured_at: UnixTime,
        mut random: impl FnMut() -> f64,
    ) -> Self {
        let known: Vec<Known> = known.into_iter().collect();
        let count = u32::try_from(known.len()).unwrap_or(u32::MAX);
        let spread = SPREAD_EACH.saturating_mul(count).min(SPREAD_ALL);
        let mut paused = HashMap::new();
        let entries = known.into_iter().map(|known| {
            let Known { validity, mut renewal, mut progress, authorities } = known;
            renewal.jitter = renewal.jitter.or_else(|| Some(random()));
            renewal.next_poll = renewal.poll_time(now).max(now + spread.mul_f64(random()));
            if progress.authority >= authorities.len() {
                progress = progress.switched(0);
            }
            let entry = Entry {
                authorities,
                validity,
                renewal,
                progress,
                asked: false,
                working: false,
                polling: false,
            };
            if progress.asked_of_issuer && progress.last <= now {
                let issuer = entry.issuer(progress.authority);
                let pause = Pause { since: progress.last, until: progress.asked };
                let place = (issuer, progress.environment());
                let longest = paused.entry(place).or_insert(pause);
                if longest.until < pause.until {
                    *longest = pause;
                }
            }
            entry
        });
        Self { entries: entries.collect(), configured_at, now, paused }
    }

    /// Something to do now. The caller ends an attempt with [`Schedule::handle_issued`],
    /// [`Schedule::handle_probed`] or [`Schedule::handle_failed`], a question with
    /// [`Schedule::handle_renewal_info`].
    pub fn poll(&mut self, now: UnixTime) -> Option<Action> {
        self.now = now;
        self.poll_attempt(now).map(Action::Obtain).or_else(|| self.poll_question(now))
    }

    fn poll_attempt(&mut self, now: UnixTime) -> Option<Attempt> {
        if self.working() >= CONCURRENCY {
            return None;
        }
        let due = (0..self.entries.len()).filter_map(|index| {
            let entry = self.entries.get(index).filter(|entry| !entry.working)?;
            let (time, authority) = self.wake(entry, now);
            (time <= now).then_some((entry.urgency(), time, index, authority))
        });
        let (_, _, index, authority) = due.min()?;
        let entry = self.entries.get_mut(index)?;
        if authority != entry.progress.authority {
            entry.progress = entry.progress.switched(authority);
        }
        entry.working = true;
        entry.progress = entry.progress.begun(now);
        Some(Attempt {
            entry: index,
            issuer: entry.issuer(authority),
            environment: entry.progress.environment(),
            progress: entry.progress,
        })
    }

    fn poll_question(&mut self, now: UnixTime) -> Option<Action> {
        if self.polling() >= POLLS {
            return None;
        }
        let mut due = self.entries.iter_mut().enumerate();
        let (index, entry) = due.find(|(_, entry)| {
            let is_quiet = entry.validity.is_some() && !entry.working && !entry.polling;
            is_quiet && entry.renewal.poll_time(now) <= now
        })?;
        entry.polling = true;
        Some(Action::AskRenewalInfo { entry: index })
    }

    /// When [`Schedule::poll`] will have something to do, unless an outcome comes first.
    pub fn poll_timeout(&self) -> Option<UnixTime> {
        let idle = self.entries.iter().filter(|entry| !entry.working);
        let attempt = idle.clone().map(|entry| self.wake(entry, self.now).0).min();
        let questions = idle.filter(|entry| entry.validity.is_some() && !entry.polling);
        let question = questions.map(|entry| entry.renewal.next_poll).min();
        let attempt = attempt.filter(|_| self.working() < CONCURRENCY);
        let question = question.filter(|_| self.polling() < POLLS);
        attempt.into_iter().chain(question).min()
    }

    /// When a certificate is worked on next, and with which of its CAs.
    fn wake(&self, entry: &Entry, now: UnixTime) -> (UnixTime, usize) {
        let progress = entry.progress;
        let due = entry.due().map_or(UnixTime::default(), |(time, _)| time);
        let mut time = due.max(progress.earliest(now, self.configured_at));
        if let Some(forced) = entry.validity.map(Validity::forced)
            && progress.last < forced
        {
            time = time.min(forced.max(progress.asked));
        }
        let until = |authority: usize| {
            let environment = match authority == progress.authority {
                true => progress.environment(),
                false => Environment::Production,
            };
            let place = (entry.issuer(authority), environment);
            let pause = self.paused.get(&place).filter(|pause| pause.since <= now);
            let until = pause.map_or(UnixTime::default(), |pause| pause.until);
            // Not into the last part of the lifetime.
            let forced = entry.validity.map(Validity::forced).filter(|forced| *forced > now);
            forced.map_or(until, |forced| until.min(forced))
        };
        let current = until(progress.authority);
        if current > time.max(now) + retry::LONG {
            let others = (0..entry.authorities.len()).find(|other| until(*other) <= time.max(now));
            if let Some(other) = others {
                return (time, other);
            }
        }
        (time.max(current), progress.authority)
    }

    /// The certificate was obtained. Gives what to keep beside it.
    pub fn handle_issued(
        &mut self,
        entry: usize,
        validity: Validity,
        now: UnixTime,
        random: f64,
    ) -> Renewal {
        self.now = now;
        let Some(entry) = self.entries.get_mut(entry) else { return Renewal::default() };
        let why = entry.due().map(|(_, reason)| reason);
        let new = Renewal::of_new(now, random, &entry.renewal, why);
        entry.renewal = Renewal { next_poll: now + SPREAD_EACH, ..new };
        entry.validity = Some(validity);
        entry.progress = Progress::default();
        // An answer that is still awaited is about the certificate before.
        (entry.asked, entry.working, entry.polling) = (false, false, false);
        entry.renewal
    }

    /// The staging environment was satisfied. Gives the progress to keep.
    pub fn handle_probed(&mut self, entry: usize, now: UnixTime) -> Progress {
        self.now = now;
        let Some(entry) = self.entries.get_mut(entry) else { return Progress::default() };
        entry.working = false;
        entry.progress = entry.progress.probed(now);
        entry.progress
    }

    /// The attempt failed. Gives the progress to keep, with the time of the next attempt.
    pub fn handle_failed(
        &mut self,
        entry: usize,
        now: UnixTime,
        failure: &Failure,
        random: f64,
    ) -> Progress {
        self.now = now;
        let Some(entry) = self.entries.get_mut(entry) else { return Progress::default() };
        entry.working = false;
        if let (Scope::Issuer, Some(asked)) = (failure.scope, failure.retry_after) {
            let pause = Pause { since: now, until: now + asked };
            let issuer = entry.issuer(entry.progress.authority);
            self.paused.insert((issuer, entry.progress.environment()), pause);
        }
        let Entry { authorities, validity, .. } = entry;
        entry.progress = entry.progress.failed(now, failure, authorities, *validity, random);
        entry.progress
    }

    /// When the next attempt will be made, and with which issuer.
    pub fn next_attempt(&self, entry: usize) -> Option<(UnixTime, usize, Environment)> {
        let entry = self.entries.get(entry)?;
        let (time, authority) = self.wake(entry, self.now);
        Some((time, entry.issuer(authority), entry.progress.environment()))
    }

    /// The CA was asked when to renew. Gives what to keep beside the certificate.
    pub fn handle_renewal_info(
        &mut self,
        entry: usize,
        now: UnixTime,
        outcome: &RenewalInfoOutcome,
        random: f64,
    ) -> Renewal {
        let Some(entry) = self.entries.get_mut(entry) else { return Renewal::default() };
        // A certificate that was obtained in the meantime is another one.
        if let Some(validity) = entry.validity.filter(|_| entry.polling && !entry.working) {
            entry.renewal = entry.renewal.informed(now, validity, outcome, random);
        }
        entry.polling = false;
        entry.renewal
    }

    /// When a certificate is renewed, and why; `None` if there is none.
    pub fn renewal(&self, entry: usize) -> Option<(UnixTime, Reason)> {
        self.entries.get(entry)?.due()
    }

    /// A person wants a certificate to be renewed now, whatever has failed before.
    pub fn renew_now(&mut self, entry: usize) {
        if let Some(entry) = self.entries.get_mut(entry) {
            entry.asked = true;
            entry.progress = Progress { next: UnixTime::default(), ..entry.progress };
        }
    }

    /// The certificates that are worked on, with what to keep when the work is given up in good
    /// order.
    pub fn interrupted(&self) -> impl Iterator<Item = (usize, Progress)> {
        let working = self.entries.iter().enumerate().filter(|(_, entry)| entry.working);
        working.map(|(certificate, entry)| (certificate, entry.progress.interrupted()))
    }

    fn working(&self) -> usize {
        self.entries.iter().filter(|entry| entry.working).count()
    }

    fn polling(&self) -> usize {
        self.entries.iter().filter(|entry| entry.polling).count()
    }
}
