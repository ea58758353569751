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

mod clock;
mod failure;
#[cfg(test)]
mod fleet;
mod gate;
mod hold;
mod limits;
mod pace;
mod party;
mod pause;
mod progress;
mod renewal;
mod setback;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod track;

pub use clock::{Freshness, Skew};
pub use failure::{Failure, FailureKind, Scope};
pub use hold::Hold;
pub use limits::{OrderLimit, Spent};
pub use pace::{Reloads, Told};
pub use party::{Authority, Provider};
pub use pause::Pause;
pub use progress::{Fingerprint, Loading, Progress};
pub use renewal::{Reason, Renewal, RenewalInfo, RenewalInfoError, RenewalInfoOutcome, Window};
pub use setback::{Extent, Remedy, Setback};

use crate::time::UnixTime;
use gate::{Gates, Shown};
use std::collections::HashMap;
use std::time::Duration;
use track::{AFTER_OTHERS, Track};

/// How many certificates are worked on at once.
pub const CONCURRENCY: usize = 20;

/// How many questions for renewal information are under way at once.
const POLLS: usize = 5;

/// A start has other things to do at first. Then, with many certificates, it spreads their first
/// questions: so long for each of them, but no longer than this in all.
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

/// A certificate that was obtained, for the schedule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Obtained {
    /// Its dates.
    pub validity: Validity,
    /// How far our clock is ahead of the CA's, in seconds, as far as that matters.
    pub skew: i64,
}

impl From<Validity> for Obtained {
    fn from(validity: Validity) -> Self {
        Self { validity, skew: 0 }
    }
}

/// Which of a CA's two environments an attempt is made in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Environment {
    /// The one whose certificates are trusted.
    Production,
    /// The one where failures cost nothing.
    Staging,
}

impl Environment {
    fn of(is_staging: bool) -> Self {
        if is_staging { Self::Staging } else { Self::Production }
    }
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
    /// The DNS provider of its names.
    pub provider: Provider,
    /// Its names, without the `*.` of wildcards.
    pub names: Vec<String>,
    /// The configuration and the secrets that it is obtained with.
    pub fingerprint: Fingerprint,
    /// Whether the process before has left an order that can be resumed.
    pub is_under_way: bool,
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
    Obtain(Box<Attempt>),
    /// Ask the CA of a certificate when to renew it.
    AskRenewalInfo {
        /// The certificate.
        entry: usize,
    },
}

/// An attempt to obtain a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
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

/// Decides which certificate is worked on, and when.
#[derive(Debug)]
pub struct Schedule {
    entries: Vec<Track>,
    loading: Loading,
    /// The time that it was told last.
    now: UnixTime,
    /// Who wants to be left alone by all certificates.
    held: HashMap<Party, Hold>,
    /// What has failed for all that need it.
    gates: Gates,
    /// When orders have failed at each issuer whose limit is known.
    failed_orders: HashMap<usize, Vec<UnixTime>>,
}

/// Whom all certificates may have to leave alone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Party {
    Issuer(usize, Environment),
    Provider(usize),
}

impl Schedule {
    /// Begins with what is known of each certificate. `loading` is that of the configuration; `random`
    /// gives numbers from 0 to 1.
    pub fn new(
        known: impl IntoIterator<Item = Known>,
        now: UnixTime,
        loading: Loading,
        mut random: impl FnMut() -> f64,
    ) -> Self {
        let known: Vec<Known> = known.into_iter().collect();
        let count = u32::try_from(known.len()).unwrap_or(u32::MAX);
        let spread = SPREAD_EACH.saturating_mul(count).min(SPREAD_ALL);
        let (mut held, mut gates) = (HashMap::new(), Gates::default());
        let mut failed_orders = HashMap::new();
        let entries = known.into_iter().map(|known| {
            let mut entry = Track::new(known);
            let Track { renewal, progress, fingerprint, .. } = &mut entry;
            renewal.set_right(now);
            renewal.jitter = renewal.jitter.or_else(|| Some(random()));
            renewal.next_poll =
                renewal.poll_time(now).max(now + SPREAD_EACH + spread.mul_f64(random()));
            let reloaded = progress.reloaded(loading, *fingerprint);
            if let Some(has_changed) = reloaded {
                *progress = std::mem::take(progress).resumed(now, has_changed);
            }
            note_held(&mut held, &entry, now);
            setback::note_orders(&mut failed_orders, &entry, now);
            gates.restore(&entry, now, reloaded);
            entry
        });
        let entries = entries.collect();
        failed_orders.values_mut().for_each(|times| times.sort_unstable());
        Self { entries, loading, now, held, gates, failed_orders }
    }

    /// Something to do now. The caller ends an attempt with [`Schedule::handle_issued`],
    /// [`Schedule::handle_probed`] or [`Schedule::handle_failed`], a question with
    /// [`Schedule::handle_renewal_info`].
    pub fn poll(&mut self, now: UnixTime) -> Option<Action> {
        self.now = now;
        self.entries.iter_mut().for_each(|entry| entry.renewal.set_right(now));
        self.poll_attempt(now)
            .map(|attempt| Action::Obtain(Box::new(attempt)))
            .or_else(|| self.poll_question(now))
    }

    fn poll_attempt(&mut self, now: UnixTime) -> Option<Attempt> {
        if self.working() >= CONCURRENCY {
            return None;
        }
        let due = (0..self.entries.len()).filter_map(|index| {
            let entry = self.entries.get(index).filter(|entry| !entry.working)?;
            if entry.own_time(now) > now {
                return None;
            }
            let (time, authority) = self.wake(entry, now);
            if time > now {
                return None;
            }
            // Whoever has not tried yet finds out whether a shared pause is over: one certificate that
            // fails whatever happens must not hold up the others.
            let turn = match self.gates.until(entry, authority, now).0 {
                UnixTime(0) => UnixTime::default(),
                _ => entry.progress.last,
            };
            Some((!entry.is_under_way, turn, entry.urgency(), time, index, authority))
        });
        let (.., index, authority) = due.min()?;
        let entry = self.entries.get_mut(index)?;
        let mut progress = std::mem::take(&mut entry.progress);
        if authority != progress.position(&entry.authorities) {
            progress = progress.switched(entry.authorities.get(authority));
        }
        (entry.working, entry.at_once) = (true, false);
        // If the process dies, the next one tells a respawn from a restart by these.
        (progress.loading, progress.fingerprint) = (self.loading, entry.fingerprint);
        entry.progress = progress.begun(now);
        entry.progress.pauses = self.gates.begin(index, entry);
        Some(Attempt {
            entry: index,
            issuer: entry.issuer(authority),
            environment: entry.progress.environment(),
            progress: entry.progress.clone(),
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
        let attempt = attempt.filter(|time| *time < AFTER_OTHERS);
        let questions = idle.filter(|entry| entry.validity.is_some() && !entry.polling);
        let question = questions.map(|entry| entry.renewal.next_poll).min();
        let attempt = attempt.filter(|_| self.working() < CONCURRENCY);
        let question = question.filter(|_| self.polling() < POLLS);
        attempt.into_iter().chain(question).min()
    }

    /// When a certificate is worked on next, and with which of its CAs.
    fn wake(&self, entry: &Track, now: UnixTime) -> (UnixTime, usize) {
        let current = entry.authority();
        let time = entry.own_time(now);
        if entry.at_once {
            return (time.max(self.held_until(entry, current, now)), current);
        }
        let until = |authority: usize| {
            let (gate, is_exhausted) = self.gates.until(entry, authority, now);
            let held = self.held_until(entry, authority, now);
            let orders = self.order_room_from(entry, authority, now);
            let is_long = held > time.max(now) + hold::LONG;
            (is_exhausted || is_long, held.max(gate).max(orders))
        };
        let (is_long, held) = until(current);
        if is_long && held > time.max(now) {
            let all = (0..entry.authorities.len()).map(|authority| (until(authority), authority));
            if let Some(((_, free), authority)) = all.min().filter(|((_, free), _)| *free < held) {
                return (time.max(free), authority);
            }
        }
        (time.max(held), current)
    }

    /// Until when a certificate leaves one of its CAs alone, and its DNS provider, as they have asked for.
    fn held_until(&self, entry: &Track, authority: usize, now: UnixTime) -> UnixTime {
        let environment = entry.environment(authority);
        let Some(authority) = entry.authorities.get(authority) else { return now };
        if self.held.is_empty() && entry.progress.holds.is_empty() {
            return UnixTime::default();
        }
        let own = entry.progress.holds.iter().filter(|hold| hold.concerns(authority, environment));
        let parties =
            [Party::Issuer(authority.issuer, environment), Party::Provider(entry.provider.index)];
        let all = parties.iter().filter_map(|party| self.held.get(party));
        own.chain(all).map(|hold| hold.heeded_until(now, entry.current())).max().unwrap_or_default()
    }

    /// From when on an order may fail without using up more of a CA's limit than failures may.
    fn order_room_from(&self, entry: &Track, authority: usize, now: UnixTime) -> UnixTime {
        let Some(Authority { issuer, limit: Some(limit), .. }) = entry.authorities.get(authority)
        else {
            return UnixTime::default();
        };
        if entry.environment(authority) == Environment::Staging {
            return UnixTime::default();
        }
        let failed = self.failed_orders.get(issuer).map_or(&[][..], Vec::as_slice);
        limit.room_from(failed, now)
    }

    /// The certificate was obtained. Gives what to keep beside it.
    pub fn handle_issued(
        &mut self,
        entry: usize,
        obtained: impl Into<Obtained>,
        now: UnixTime,
        random: f64,
    ) -> Renewal {
        self.now = now;
        let (index, obtained) = (entry, obtained.into());
        let Some(entry) = self.entries.get_mut(index) else { return Renewal::default() };
        self.gates.end(index, entry, Shown::ALL);
        let why = entry.due().map(|(_, reason)| reason);
        let new = Renewal::of_new(now, random, obtained, &entry.renewal, why);
        entry.renewal = Renewal { next_poll: now + SPREAD_EACH, ..new };
        entry.validity = Some(obtained.validity);
        entry.progress = Progress::default();
        (entry.is_under_way, entry.is_barred) = (false, false);
        // An answer that is still awaited is about the certificate before.
        (entry.asked, entry.working, entry.polling) = (false, false, false);
        entry.renewal
    }

    /// The staging environment was satisfied. Gives the progress to keep.
    pub fn handle_probed(&mut self, entry: usize, now: UnixTime) -> Progress {
        self.now = now;
        let index = entry;
        let Some(entry) = self.entries.get_mut(index) else { return Progress::default() };
        self.gates.end(index, entry, Shown::ALL);
        entry.working = false;
        entry.progress = std::mem::take(&mut entry.progress).probed(now);
        entry.progress.clone()
    }

    /// Whether a certificate is to be obtained now, as soon as there is room.
    pub fn is_due(&self, entry: usize) -> bool {
        let now = self.now;
        self.entries.get(entry).is_some_and(|entry| self.wake(entry, now).0 <= now)
    }

    /// When the next attempt will be made, and with which issuer.
    pub fn next_attempt(&self, entry: usize) -> Option<(UnixTime, usize, Environment)> {
        let entry = self.entries.get(entry)?;
        let (time, authority) = self.wake(entry, self.now);
        // What waits for another attempt begins when that ends.
        let time = if time == AFTER_OTHERS { self.now } else { time };
        Some((time, entry.issuer(authority), entry.environment(authority)))
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
            (entry.asked, entry.at_once) = (true, true);
        }
    }

    /// There may be a good certificate on disk that cannot be read for now: nothing is ordered in its place,
    /// unless somebody asks for it.
    pub fn bar(&mut self, entry: usize) {
        if let Some(entry) = self.entries.get_mut(entry) {
            entry.is_barred = true;
        }
    }

    /// Ends that something could not be read; `found` is the certificate with what was kept beside it, if it is the one
    /// that is wanted.
    pub fn unbar(
        &mut self,
        entry: usize,
        found: Option<(Validity, Renewal)>,
        now: UnixTime,
        random: f64,
    ) {
        let Some(entry) = self.entries.get_mut(entry).filter(|entry| entry.is_barred) else {
            return;
        };
        (self.now, entry.is_barred) = (now, false);
        // What was obtained meanwhile is newer.
        let Some((validity, renewal)) = found.filter(|_| entry.validity.is_none()) else { return };
        let jitter = renewal.jitter.or(Some(random));
        let next_poll = renewal.poll_time(now).max(now + SPREAD_EACH);
        entry.renewal = Renewal { jitter, next_poll, ..renewal };
        entry.validity = Some(validity);
    }

    /// Tells whether anything that is due has failed, and waits for its next attempt.
    pub fn has_failures(&self) -> bool {
        self.entries.iter().any(|entry| !entry.working && entry.progress != Progress::default())
    }

    /// The certificates that are worked on, with what to keep when the work is given up in good
    /// order.
    pub fn interrupted(&self) -> impl Iterator<Item = (usize, Progress)> {
        let working = self.entries.iter().enumerate().filter(|(_, entry)| entry.working);
        working.map(|(certificate, entry)| (certificate, entry.progress.clone().interrupted()))
    }

    fn working(&self) -> usize {
        self.entries.iter().filter(|entry| entry.working).count()
    }

    fn polling(&self) -> usize {
        self.entries.iter().filter(|entry| entry.polling).count()
    }
}

/// Notes who wants to be left alone by all certificates, as an attempt for one of them was told.
fn note_held(held: &mut HashMap<Party, Hold>, entry: &Track, now: UnixTime) {
    for hold in entry.progress.holds.iter().filter(|hold| hold.is_on(now)) {
        let by_name = |authority: &&Authority| authority.name == hold.authority;
        let party = match hold.scope {
            Scope::Issuer => entry
                .authorities
                .iter()
                .find(by_name)
                .map(|authority| Party::Issuer(authority.issuer, hold.environment())),
            Scope::Provider if entry.provider.name == hold.authority => {
                Some(Party::Provider(entry.provider.index))
            }
            _ => None,
        };
        let Some(party) = party else { continue };
        let longest = held.entry(party).or_insert(hold.clone());
        if !longest.is_on(now) || longest.until < hold.until {
            *longest = hold.clone();
        }
    }
}
