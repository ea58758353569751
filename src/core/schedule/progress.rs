//! Failed attempts: when the next one is made, and with which CA.

use super::failure::{Failure, FailureKind, Scope};
use super::hold::{self, Hold};
use super::limits::Spent;
use super::pace::{Ladder, Reloads, Told, jittered, shortened};
use super::party::Authority;
use super::pause::Pause;
use super::{Environment, Validity};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The pause before the next CA is tried.
const SWITCH: Duration = Duration::from_secs(10);

/// After so many consecutive failures the next CA is tried.
const FAILURES_BEFORE_SWITCH: u32 = 3;

/// No pause is longer, whatever a file holds.
const LONGEST: Duration = Duration::from_secs(2 * 86_400);

/// The longest pause after attempts that ended with the process, so that a helper that crashes
/// while it works does not place an order at every respawn.
const MAX_CRASH_PAUSE: Duration = Duration::from_secs(600);

/// Tells one loading of the configuration from all others, within a second too; a helper that is
/// started anew has the one of the helper before.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Loading(pub u64);

/// Tells what an attempt works with, the configuration of a certificate and the secrets, from what
/// another one has worked with.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u64);

/// State of the attempts that survives the process.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Progress {
    /// Consecutive attempts that failed.
    pub failures: u32,
    /// Consecutive attempts that began and never ended: the process died.
    pub unfinished: u32,
    /// Time at which the last attempt began or ended.
    pub last: UnixTime,
    /// No attempt before this time, by our own pace.
    pub next: UnixTime,
    /// Parties that want to be left alone.
    pub holds: Vec<Hold>,
    /// The name of the issuer that is tried; the preferred one if there is none.
    pub authority: Option<String>,
    /// Consecutive failures with it.
    pub failures_here: u32,
    /// Number of issuers that have failed since the first of them was tried.
    pub tried: usize,
    /// Set if all of these failures need a person.
    pub needs_person: bool,
    /// With which loading of the configuration the last one failed.
    pub loading: Loading,
    /// The configuration and the secrets that it failed with.
    pub fingerprint: Fingerprint,
    /// Consecutive failures that were refusals.
    pub refusals: u32,
    /// Cost of the failures.
    pub spent: Spent,
    /// Reloads that have ended the pause.
    pub reloads: Reloads,
    /// The shared pauses that the last attempt has met.
    pub pauses: Vec<Pause>,
    /// Last report of the failures.
    pub told: Told,
    /// Set if the staging environment has to be satisfied first.
    pub staging: bool,
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
        Environment::of(self.staging)
    }

    /// Decides what of the state that was kept holds with a configuration that was loaded later: a person who has
    /// loaded it has perhaps solved the problem. `None`: it is the one that the last attempt failed with,
    /// or there was none; else whether something has changed.
    pub(super) fn reloaded(&self, loading: Loading, fingerprint: Fingerprint) -> Option<bool> {
        let has_failed = self.failures > 0 || self.unfinished > 0 || !self.pauses.is_empty();
        (has_failed && self.loading != loading).then_some(self.fingerprint != fingerprint)
    }

    /// The state after a reload: what has failed is tried at once, but not too often if nothing has changed.
    #[must_use]
    pub(super) fn resumed(mut self, now: UnixTime, has_changed: bool) -> Self {
        if has_changed {
            (self.spent, self.refusals) = (Spent::default(), 0);
            self.told = Told::default();
        }
        let has_crashed = self.unfinished > 0;
        let is_held_up = self.next > now || has_crashed;
        if !is_held_up {
            return self;
        }
        if self.reloads.admit(now, has_changed) {
            (self.next, self.unfinished) = (self.last, 0);
            // The attempt that follows takes the place of the one that was waited for.
            self.refusals = self.refusals.saturating_sub(1);
            return self;
        }
        if self.last > now {
            // The clock was set back, which is no reason to try more often.
            (self.last, self.next) = (now, now + self.next.since(self.last).min(LONGEST));
        }
        if has_crashed {
            // Who is killed and started again and again has no failures whose pauses grow.
            self.next = self.next.max(self.reloads.room_from(now));
        }
        self
    }

    /// Finds the one of these issuers that is tried.
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

    /// The state to keep when an attempt failed, and the pause without jitter. `current` is the
    /// certificate that is served, if any.
    #[must_use]
    pub(super) fn failed(
        mut self,
        now: UnixTime,
        failure: &Failure,
        (authorities, provider): (&[Authority], &str),
        current: Option<Validity>,
        jitter: f64,
    ) -> (Self, Duration) {
        let here = self.position(authorities);
        let environment = self.environment();
        self.holds.retain(|hold| hold.is_on(now));
        let asked = Hold::new(failure, authorities.get(here), provider, environment, now);
        self.holds.extend(asked);
        let is_production = environment == Environment::Production;
        self.spent.note(now, failure.kind, failure.ordered && is_production);
        let ladder = failure.ladder();
        let failed = Self {
            failures: self.failures.saturating_add(1),
            failures_here: self.failures_here.saturating_add(1),
            refusals: self.refusals.saturating_add(u32::from(ladder.is_of_refusals())),
            unfinished: 0,
            last: now,
            ..self
        };
        let is_permanent = failure.kind == FailureKind::Permanent;
        let is_held_long = failure.retry_after.unwrap_or_default() > hold::LONG;
        let is_exhausted = failed.failures_here >= FAILURES_BEFORE_SWITCH || is_held_long;
        // Another CA needs the same DNS provider.
        let is_of_ca = matches!(failure.scope, Scope::Entry | Scope::Issuer);
        if authorities.len() > 1 && is_of_ca && (is_exhausted || is_permanent) {
            let next = (here + 1) % authorities.len();
            let between = failed.pause_between(ladder, is_permanent, authorities.len());
            let pause = shortened(between.length, now, current);
            let failed = Self {
                next: now + jittered(pause, jitter),
                tried: between.tried,
                needs_person: between.needs_person,
                ..failed.switched(authorities.get(next))
            };
            return (failed, between.length);
        }
        let has_staging = authorities.get(here).is_some_and(|authority| authority.has_staging);
        let staging = match failure.kind {
            FailureKind::Validation => failed.staging || has_staging,
            FailureKind::Permanent if failure.is_lost => failed.staging || has_staging,
            // A staging environment that is down must not keep the CA itself from being tried.
            FailureKind::Temporary | FailureKind::Permanent | FailureKind::Waiting => {
                failed.staging && !failed.failures_here.is_multiple_of(FAILURES_BEFORE_SWITCH)
            }
        };
        let length = failed.pause(ladder, 1);
        let pause = shortened(length, now, current);
        let next = now + jittered(pause, jitter);
        (Self { staging, needs_person: is_permanent, next, ..failed }, length)
    }

    /// The pause after the failures so far, where each of so many issuers has its share of them.
    fn pause(&self, ladder: Ladder, issuers: usize) -> Duration {
        if !ladder.is_of_refusals() {
            return ladder.pause(self.failures);
        }
        let issuers = u32::try_from(issuers).unwrap_or(u32::MAX).max(1);
        ladder.pause(self.refusals.div_ceil(issuers))
    }

    /// The pause before the next of so many issuers: a short one, until all of them have failed.
    fn pause_between(&self, ladder: Ladder, is_permanent: bool, authorities: usize) -> Between {
        let tried = self.tried + 1;
        let needs_person = is_permanent && (self.tried == 0 || self.needs_person);
        let is_round_over = tried >= authorities;
        let ladder = match ladder {
            // One of them may work again by itself.
            Ladder::Refused if !needs_person => Ladder::Temporary,
            other => other,
        };
        let length = if is_round_over { self.pause(ladder, authorities) } else { SWITCH };
        Between { length, tried: if is_round_over { 0 } else { tried }, needs_person }
    }

    /// Gives the time from which this certificate may be tried. A time of the last attempt that lies in the future means
    /// that the clock was set back: what was computed from it holds no more.
    pub(super) fn earliest(&self, now: UnixTime) -> UnixTime {
        if self.last > now {
            return now;
        }
        let crash_pause = match self.unfinished {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(10)).min(MAX_CRASH_PAUSE),
        };
        // It comes from a file.
        self.next.min(self.last + LONGEST).max(self.last + crash_pause)
    }
}

/// Pause between an issuer that has failed and the next one.
struct Between {
    length: Duration,
    tried: usize,
    needs_person: bool,
}
