//! Failed attempts: when the next one is made, and with which CA.

use super::{Environment, Hold, Validity, hold};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// The pauses after consecutive failures: how many of a length in seconds. Most of what fails is a
/// mistake that is being corrected, or an outage that is over soon; the rest of the thirty days that a
/// certificate of ninety has left is for the long ones.
const PAUSES: [(u32, u64); 11] = [
    (1, 10),          // 10 s after the first failure
    (1, MINUTE),      // 70 s
    (1, 2 * MINUTE),  // 3 min
    (1, 5 * MINUTE),  // 8 min
    (2, 10 * MINUTE), // 28 min
    (3, 20 * MINUTE), // 1:28 h
    (4, 30 * MINUTE), // 3:28 h
    (4, HOUR),        // 7:28 h
    (4, 2 * HOUR),    // 15:28 h
    (4, 4 * HOUR),    // 31:28 h
    (115, 6 * HOUR),  // 30 days, and so on without an end
];

/// The pause after a problem that a person must solve.
const DAILY: Duration = Duration::from_secs(24 * HOUR);

/// The longest pause while a certificate is served that has expired.
const EXPIRED: Duration = Duration::from_secs(15 * MINUTE);

/// The pause before the next CA is tried.
const SWITCH: Duration = Duration::from_secs(10);

/// After so many consecutive failures the next CA is tried.
const FAILURES_BEFORE_SWITCH: u32 = 3;

/// A pause is at most this part of the lifetime that is left, so that attempts grow more frequent
/// towards the end, and the shortest such limit.
const PART_OF_REST: u32 = 10;
const SHORTEST: Duration = Duration::from_secs(5);

/// How much longer than its row a pause may be, as a fraction of it.
const PAUSE_JITTER: f64 = 0.25;

/// The longest pause after attempts that ended with the process, so that a helper that crashes
/// while it works does not place an order at every respawn.
const MAX_CRASH_PAUSE: Duration = Duration::from_secs(600);

/// Tells one loading of the configuration from all others, within a second too; a helper that is
/// started anew has the one of the helper before.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Loading(pub u64);

/// What of the attempts survives the process.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Progress {
    /// Consecutive attempts that failed.
    pub failures: u32,
    /// Consecutive attempts that began and never ended: the process died.
    pub unfinished: u32,
    /// When the last attempt began or ended.
    pub last: UnixTime,
    /// No attempt before this time, by our own pace.
    pub next: UnixTime,
    /// Who wants to be left alone.
    pub holds: Vec<Hold>,
    /// The name of the issuer that is tried; the preferred one if there is none.
    pub authority: Option<String>,
    /// Consecutive failures with it.
    pub failures_here: u32,
    /// How many issuers have failed since the first of them was tried.
    pub tried: usize,
    /// Whether all of these failures need a person.
    pub needs_person: bool,
    /// With which configuration the last one failed.
    pub loading: Loading,
    /// Whether the staging environment has to be satisfied first.
    pub staging: bool,
}

/// A CA that a certificate can be from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// Index into the configuration's issuers.
    pub issuer: usize,
    /// The issuer's name, by which the next process knows it.
    pub name: String,
    /// Whether it has a staging environment.
    pub has_staging: bool,
}

/// Why an attempt failed, as far as it matters for the next one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What it takes for the next one to succeed.
    pub kind: FailureKind,
    /// How long the CA or the DNS provider wants to be left alone.
    pub retry_after: Option<Duration>,
    /// By whom.
    pub scope: Scope,
}

/// What it takes for the next attempt to succeed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureKind {
    /// Time.
    Temporary,
    /// Other records: the CA has looked for them and was not satisfied.
    Validation,
    /// A person.
    Permanent,
}

/// What a pause that was asked for is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This certificate, whichever the CA: the DNS provider has asked for it.
    Provider,
    /// This certificate from this CA.
    Entry,
    /// Everything that the CA is asked for.
    Issuer,
}

impl Progress {
    /// The state to keep when an attempt begins.
    #[must_use]
    pub fn begun(self, now: UnixTime) -> Self {
        Self { unfinished: self.unfinished.saturating_add(1), last: now, ..self }
    }

    /// The state to keep when an attempt was given up in good order, by a reload or a stop.
    #[must_use]
    pub fn interrupted(self) -> Self {
        Self { unfinished: 0, ..self }
    }

    /// The state to keep when the staging environment was satisfied: the CA itself comes next, at
    /// once.
    #[must_use]
    pub(super) fn probed(self, now: UnixTime) -> Self {
        Self { staging: false, unfinished: 0, last: now, next: now, ..self }
    }

    pub(super) fn environment(&self) -> Environment {
        if self.staging { Environment::Staging } else { Environment::Production }
    }

    /// What of the state that was kept holds with this configuration: a person who has loaded another one
    /// since has perhaps solved the problem. The helper of the one before may have failed after that.
    #[must_use]
    pub(super) fn resumed(self, loading: Loading) -> Self {
        let is_void = self.needs_person && self.loading != loading;
        Self { next: if is_void { self.last } else { self.next }, ..self }
    }

    /// Which of these issuers is tried.
    pub(super) fn position(&self, authorities: &[Authority]) -> usize {
        let name = self.authority.as_deref();
        authorities.iter().position(|authority| Some(authority.name.as_str()) == name).unwrap_or(0)
    }

    /// Goes on with another of the certificate's issuers.
    #[must_use]
    pub(super) fn switched(self, authority: Option<&Authority>) -> Self {
        let authority = authority.map(|authority| authority.name.clone());
        Self { authority, failures_here: 0, staging: false, ..self }
    }

    /// The state to keep when an attempt failed. `current` is the certificate that is served, if any.
    #[must_use]
    pub(super) fn failed(
        mut self,
        now: UnixTime,
        failure: &Failure,
        authorities: &[Authority],
        current: Option<Validity>,
        jitter: f64,
    ) -> Self {
        let here = self.position(authorities);
        let environment = self.environment();
        self.holds.retain(|hold| hold.is_on(now));
        self.holds.extend(Hold::new(failure, authorities.get(here), environment, now));
        let failed = Self {
            failures: self.failures.saturating_add(1),
            failures_here: self.failures_here.saturating_add(1),
            unfinished: 0,
            last: now,
            ..self
        };
        let is_permanent = failure.kind == FailureKind::Permanent;
        let is_held_long = failure.scope != Scope::Provider
            && failure.retry_after.unwrap_or_default() > hold::LONG;
        let is_exhausted =
            is_permanent || failed.failures_here >= FAILURES_BEFORE_SWITCH || is_held_long;
        if authorities.len() > 1 && is_exhausted {
            let next = (here + 1) % authorities.len();
            let pause = failed.pause_between(is_permanent, authorities.len());
            return Self {
                next: now + own_pause(pause.length, now, current, jitter),
                tried: pause.tried,
                needs_person: pause.needs_person,
                ..failed.switched(authorities.get(next))
            };
        }
        let has_staging = authorities.get(here).is_some_and(|authority| authority.has_staging);
        let staging = match failure.kind {
            FailureKind::Validation => failed.staging || has_staging,
            // A staging environment that is down must not keep the CA itself from being tried.
            FailureKind::Temporary | FailureKind::Permanent => {
                failed.staging && !failed.failures_here.is_multiple_of(FAILURES_BEFORE_SWITCH)
            }
        };
        let pause = if is_permanent { DAILY } else { table(failed.failures) };
        Self {
            staging,
            needs_person: is_permanent,
            next: now + own_pause(pause, now, current, jitter),
            ..failed
        }
    }

    /// The pause before the next of so many issuers: a short one, until all of them have failed.
    fn pause_between(&self, is_permanent: bool, authorities: usize) -> Between {
        let tried = self.tried + 1;
        let needs_person = is_permanent && (self.tried == 0 || self.needs_person);
        let is_round_over = tried >= authorities;
        let length = match (is_round_over, needs_person) {
            (false, _) => SWITCH,
            (true, true) => DAILY,
            (true, false) => table(self.failures),
        };
        Between { length, tried: if is_round_over { 0 } else { tried }, needs_person }
    }

    /// When this certificate may be tried. A time of the last attempt that lies in the future means
    /// that the clock was set back: what was computed from it holds no more.
    pub(super) fn earliest(&self, now: UnixTime) -> UnixTime {
        if self.last > now {
            return now;
        }
        let crash_pause = match self.unfinished {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(10)).min(MAX_CRASH_PAUSE),
        };
        self.next.max(self.last + crash_pause)
    }
}

/// What lies between an issuer that has failed and the next one.
struct Between {
    length: Duration,
    tried: usize,
    needs_person: bool,
}

/// The pause after so many consecutive failures.
fn table(failures: u32) -> Duration {
    let mut left = failures.max(1);
    for (count, seconds) in PAUSES {
        if left <= count {
            return Duration::from_secs(seconds);
        }
        left -= count;
    }
    Duration::from_secs(PAUSES[PAUSES.len() - 1].1)
}

/// A pause of our own, with jitter, as short as the end of the certificate demands.
fn own_pause(pause: Duration, now: UnixTime, current: Option<Validity>, jitter: f64) -> Duration {
    let pause = limit(pause, now, current, PART_OF_REST, SHORTEST);
    let has_expired = current.is_some_and(|validity| validity.not_after <= now);
    let pause = if has_expired { pause.min(EXPIRED) } else { pause };
    pause.mul_f64(1.0 + PAUSE_JITTER * jitter.clamp(0.0, 1.0))
}

/// A pause of at most a part of the lifetime that is left, unless that is shorter than `shortest`.
pub(super) fn limit(
    pause: Duration,
    now: UnixTime,
    current: Option<Validity>,
    part: u32,
    shortest: Duration,
) -> Duration {
    match current.map(|validity| validity.not_after.since(now)) {
        Some(left) if !left.is_zero() => pause.min((left / part).max(shortest)),
        _ => pause,
    }
}

#[cfg(test)]
mod tests {
    use super::{HOUR, PAUSES, table};

    #[test]
    fn the_table_covers_thirty_days_and_goes_on() {
        let total: u64 = PAUSES.iter().map(|(count, seconds)| u64::from(*count) * seconds).sum();
        assert!(total >= 30 * 24 * HOUR, "{total}");
        let attempts: u32 = PAUSES.iter().map(|(count, _)| count).sum();
        let pauses: Vec<u64> = (0..attempts + 10).map(|n| table(n).as_secs()).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert_eq!((pauses[1], pauses[2], pauses[6], pauses[7]), (10, 60, 600, 1200));
        assert_eq!(pauses.last(), Some(&(6 * HOUR)));
        let first_day = pauses[1..].iter().scan(0, |sum, pause| {
            *sum += pause;
            Some(*sum)
        });
        assert_eq!(first_day.take_while(|sum| *sum <= 24 * HOUR).count(), 23, "front-weighted");
    }
}
