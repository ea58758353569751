//! Schedule of all certificates: the time of each attempt, its CA, and the pauses after failures.
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

mod agenda;
mod choice;
mod clock;
mod failure;
#[cfg(test)]
mod fleet;
mod gate;
mod hold;
mod limits;
mod line;
mod names;
mod outcome;
mod pace;
mod party;
mod pause;
mod pool;
mod progress;
mod renewal;
mod request;
mod setback;
mod shared;
#[cfg(test)]
mod simulation;
mod spreading;
#[cfg(test)]
mod tests;
mod throttle;
mod track;
mod tree;
mod view;
#[cfg(test)]
mod year;

pub use clock::{Freshness, Skew};
pub use failure::{Failure, FailureKind, Scope};
pub use hold::Hold;
pub use limits::{OrderLimit, Spent};
pub use pace::{Reloads, Told};
pub use party::{Authority, ProviderIdentity};
pub use pause::Pause;
pub use progress::{Fingerprint, Loading, Progress};
pub use renewal::{
    Reason, Renewal, RenewalInfo, RenewalInfoError, RenewalInfoOutcome, RenewalWindow,
};
pub use request::NotNow;
pub use setback::{Extent, Remedy, Setback};
pub use view::Standing;

#[cfg(test)]
pub(crate) use simulation::config as test_config;

use crate::id::{IssuerId, ProviderId, Table, VariantId};
use crate::time::UnixTime;
use gate::Gates;
use line::Lines;
use names::{Kin, Names};
use pool::DuePool;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use throttle::Throttle;
use track::{AFTER_OTHERS, AttemptState, GateSubject, Track, Wish};

/// The most questions for renewal information that are under way at once.
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
    /// Seconds by which our clock is ahead of the CA's, as far as that matters.
    pub skew: i64,
    /// In a fleet, the number of the certificate that is shared until now.
    pub follows: Option<u64>,
}

impl From<Validity> for Obtained {
    fn from(validity: Validity) -> Self {
        Self { validity, skew: 0, follows: None }
    }
}

/// Environment of a CA in which an attempt is made.
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

/// State of a certificate when the schedule begins.
#[derive(Clone, Debug)]
pub struct Known {
    /// The certificate on disk, if there is one that can be used and is the one that is wanted.
    pub validity: Option<Validity>,
    /// Renewal state that was stored next to it.
    pub renewal: Renewal,
    /// State of earlier attempts.
    pub progress: Progress,
    /// The CAs that it can be from, at least one, the preferred one first.
    pub authorities: Arc<[Authority]>,
    /// The DNS provider of its names.
    pub provider: ProviderIdentity,
    /// Its names, without the `*.` of wildcards.
    pub names: Vec<String>,
    /// The configuration and the secrets that it is obtained with.
    pub fingerprint: Fingerprint,
    /// Set if the process before has left an order that can be resumed.
    pub is_under_way: bool,
}

impl Known {
    /// Tells whether the attempts that were kept have ended with the certificate that is there: the process
    /// may have died before it could forget them.
    pub fn has_ended(&self, now: UnixTime) -> bool {
        self.progress != Progress::default()
            && self.validity.is_some_and(|validity| self.renewal.due(validity).0 > now)
    }
}

/// Task that is due.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Task {
    /// Obtain a certificate.
    Obtain(Box<Attempt>),
    /// Ask the CA of a certificate when to renew it.
    AskRenewalInfo {
        /// Its variant.
        variant: VariantId,
    },
}

/// An attempt to obtain a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The variant that it is for.
    pub variant: VariantId,
    /// The CA.
    pub issuer: IssuerId,
    /// Environment in which the attempt is made.
    pub environment: Environment,
    /// State to keep before it begins.
    pub progress: Progress,
}

/// Decides which certificate is worked on, and when.
///
/// Each certificate waits in one place: among those that are looked at later, sorted by time, or in
/// the line of those that are due and need the same. So an event costs the logarithm of their number.
#[derive(Debug, Default)]
pub struct Schedule {
    tracks: Table<VariantId, Track>,
    /// Their lists of CAs.
    kin: Kin,
    loading: Loading,
    /// The time that it was told last.
    now: UnixTime,
    /// The latest time since the dates of all certificates were compared with the clock.
    latest: UnixTime,
    /// Parties that want to be left alone by all certificates.
    held: HashMap<HeldParty, Hold>,
    /// Shared pauses.
    gates: Gates,
    /// Times at which orders have failed at each issuer whose limit is known.
    failed_orders: HashMap<IssuerId, Vec<UnixTime>>,
    /// Times at which orders of certificates that were not there were placed with each of these issuers.
    new_orders: HashMap<IssuerId, Vec<UnixTime>>,
    /// The number of other hosts that share these CAs' limits.
    others: usize,
    /// Certificates that cannot be worked on before a time of their own.
    later: BTreeSet<(UnixTime, VariantId)>,
    /// Those that are due.
    lines: Lines,
    /// Those whose CA is asked when to renew them, by time.
    questions: BTreeSet<(UnixTime, VariantId)>,
    working: BTreeSet<VariantId>,
    throttle: Throttle,
    asking: BTreeSet<VariantId>,
    /// Those that wait after a failure.
    failing: BTreeSet<VariantId>,
    /// Those that are due and need the same, whether they may be tried or not.
    pools: HashMap<GateSubject, DuePool>,
    /// Their names, sorted by zone.
    names: Names,
}

/// Party that all certificates may have to leave alone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum HeldParty {
    Issuer(IssuerId, Environment),
    Provider(ProviderId),
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
        let mut schedule = Self { loading, now, latest: now, ..Self::default() };
        for known in known {
            schedule.begin(known, spread, &mut random);
        }
        schedule.sort_orders();
        schedule.names = Names::of(&schedule.tracks);
        schedule.place_all();
        schedule
    }

    /// Adds a certificate while others are worked on; `random` gives numbers from 0 to 1.
    pub fn add(
        &mut self,
        known: Known,
        now: UnixTime,
        mut random: impl FnMut() -> f64,
    ) -> VariantId {
        self.tell(now);
        let variant = self.begin(known, Duration::ZERO, &mut random);
        self.sort_orders();
        self.names.add(variant, &self.tracks);
        self.place(variant);
        self.settle();
        variant
    }

    /// Makes the track of a certificate, whose first question comes within `spread`.
    fn begin(
        &mut self,
        known: Known,
        spread: Duration,
        random: &mut impl FnMut() -> f64,
    ) -> VariantId {
        let (now, loading) = (self.now, self.loading);
        let (number, authorities) = self.kin.of(&known.authorities);
        let mut track = Track::new(known, number, authorities);
        let Track { renewal, progress, fingerprint, .. } = &mut track;
        renewal.set_right(now);
        renewal.jitter = renewal.jitter.or_else(|| Some(random()));
        renewal.next_poll =
            renewal.poll_time(now).max(now + SPREAD_EACH + spread.mul_f64(random()));
        let reloaded = progress.reloaded(loading, *fingerprint);
        if let Some(has_changed) = reloaded {
            *progress = progress.take().resumed(now, has_changed).into();
        }
        note_held(&mut self.held, &track, now);
        setback::note_orders(&mut self.failed_orders, &track, now);
        self.gates.restore(&track, now, reloaded);
        spreading::note_recent(&mut self.new_orders, &track, now);
        self.tracks.push(track)
    }

    /// Gives the next task. The caller ends an attempt with [`Schedule::handle_issued`],
    /// [`Schedule::handle_probed`] or [`Schedule::handle_failed`], a question with
    /// [`Schedule::handle_renewal_info`].
    pub fn poll(&mut self, now: UnixTime) -> Option<Task> {
        self.set_right(now);
        self.tell(now);
        self.poll_attempt()
            .map(|attempt| Task::Obtain(Box::new(attempt)))
            .or_else(|| self.poll_question())
    }

    /// Compares the dates of all certificates with a clock that was set back.
    fn set_right(&mut self, now: UnixTime) {
        if now < self.latest {
            self.tracks.values_mut().for_each(|track| track.renewal.set_right(now));
            (self.latest, self.now) = (now, now);
            self.place_all();
        }
    }

    fn poll_attempt(&mut self) -> Option<Attempt> {
        let (variant, authority) = self.first_in_turn()?;
        let now = self.now;
        self.leave(variant);
        self.throttle.note_start(now);
        let track = self.tracks.get_mut(variant)?;
        let mut progress = track.progress.take();
        if authority != progress.position(&track.authorities) {
            progress = progress.switched(track.authorities.get(authority));
        }
        if track.is_at_once() {
            track.wish = Wish::Tried;
        }
        // If the process dies, the next one tells a respawn from a restart by these.
        (progress.loading, progress.fingerprint) = (self.loading, track.fingerprint);
        track.last_before = progress.last;
        track.progress = progress.begun(now).into();
        let places_new = track.validity.is_none() && !track.is_under_way;
        track.progress.pauses = self.gates.begin(variant, track);
        let probed = self.gates.subjects(track, track.authority());
        let environment = track.progress.environment();
        track.state = match environment {
            Environment::Production => AttemptState::Working,
            Environment::Staging => AttemptState::Probing,
        };
        let (issuer, progress) = (track.issuer(authority), track.progress.clone());
        if places_new && environment == Environment::Production {
            self.note_new_order(variant, authority);
        }
        self.place(variant);
        self.note_changes(&probed);
        Some(Attempt { variant, issuer, environment, progress })
    }

    fn poll_question(&mut self) -> Option<Task> {
        let (time, variant) = self.questions.first().copied()?;
        if self.asking.len() >= POLLS || time > self.now {
            return None;
        }
        self.tracks.get_mut(variant)?.is_asking = true;
        self.place_question(variant);
        Some(Task::AskRenewalInfo { variant })
    }

    /// Gives the time to call [`Schedule::poll`] at the latest, unless an outcome comes first.
    pub fn poll_timeout(&self) -> Option<UnixTime> {
        let is_ready = self.lines.first().map(|_| self.now);
        let later = self.later.first().map(|(time, _)| *time);
        let attempt = [is_ready, later, self.lines.next_time()].into_iter().flatten().min();
        let attempt = attempt.filter(|time| *time < AFTER_OTHERS);
        let question = self.questions.first().map(|(time, _)| *time);
        let start = self.throttle.start_time(self.working.len(), self.now);
        let attempt = attempt.zip(start).map(|(time, start)| time.max(start));
        let question = question.filter(|_| self.asking.len() < POLLS);
        attempt.into_iter().chain(question).min()
    }

    /// Tells whether a certificate is to be obtained now, as soon as there is room.
    pub fn is_due(&self, variant: VariantId) -> bool {
        let now = self.now;
        self.tracks.get(variant).is_some_and(|track| self.wake(track, now).0 <= now)
    }

    /// Gives the time of the next attempt, with its issuer.
    pub fn next_attempt(&self, variant: VariantId) -> Option<(UnixTime, IssuerId, Environment)> {
        let track = self.tracks.get(variant).filter(|track| !track.is_withdrawn)?;
        let (time, authority) = self.wake(track, self.now);
        // What waits for another attempt begins when that ends.
        let time = if time == AFTER_OTHERS { self.now } else { time };
        Some((time, track.issuer(authority), track.environment(authority)))
    }

    /// Gives the time of a renewal and the reason for it; `None` if there is no certificate, or nobody wants it any more.
    pub fn renewal(&self, variant: VariantId) -> Option<(UnixTime, Reason)> {
        self.tracks.get(variant).filter(|track| !track.is_withdrawn)?.renewal_due()
    }

    /// Tells whether anything that is due has failed, and waits for its next attempt.
    pub fn has_failures(&self) -> bool {
        !self.failing.is_empty()
    }

    /// The certificates that are worked on, with what to keep when the work is given up in good
    /// order.
    pub fn interrupted(&self) -> impl Iterator<Item = (VariantId, Progress)> {
        let track = |variant: &VariantId| self.tracks.get(*variant).map(|track| (*variant, track));
        let working = self.working.iter().filter_map(track);
        working.map(|(variant, track)| (variant, track.progress.clone().interrupted()))
    }
}

/// Notes who wants to be left alone by all certificates, as an attempt for one of them was told.
fn note_held(held: &mut HashMap<HeldParty, Hold>, track: &Track, now: UnixTime) {
    for hold in track.progress.holds.iter().filter(|hold| hold.is_on(now)) {
        let by_name = |authority: &&Authority| authority.name == hold.authority;
        let party = match hold.scope {
            Scope::Issuer => track
                .authorities
                .iter()
                .find(by_name)
                .map(|authority| HeldParty::Issuer(authority.issuer, hold.environment())),
            Scope::Provider if *track.provider.name == *hold.authority => {
                Some(HeldParty::Provider(track.provider.id))
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
