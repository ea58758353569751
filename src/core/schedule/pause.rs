//! Pauses that are shared, as they are kept with each certificate that has met them.

use super::failure::{Failure, Scope};
use super::pace::{Ladder, Reloads, Told, jittered, shortened};
use super::{Environment, Validity};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// No pause is longer, whatever a file holds.
const LONGEST: Duration = Duration::from_secs(2 * 86_400);

/// A shared pause, as it is kept with each certificate whose attempt has met it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pause {
    /// The name of the issuer or of the DNS provider.
    pub party: String,
    /// Set if it is the issuer's staging environment.
    #[serde(default)]
    pub staging: bool,
    /// Part that was refused or is away.
    pub scope: Scope,
    /// Consecutive failures that may end by themselves.
    pub failures: u32,
    /// Consecutive refusals.
    pub refusals: u32,
    /// Time of the last failure: if that lies in the future, the clock was set back, and this holds no more.
    pub since: UnixTime,
    /// No attempt before this time.
    pub next: UnixTime,
    /// Number of attempts that may be under way then.
    pub room: usize,
    /// Last report of it.
    #[serde(default)]
    pub told: Told,
    /// Reloads that have ended it.
    #[serde(default)]
    pub reloads: Reloads,
}

impl Pause {
    /// Until when it holds up a certificate; `current` is what is served of it.
    pub(super) fn until(&self, current: Option<Validity>) -> UnixTime {
        // Its length comes from a file.
        let length = self.next.since(self.since).min(LONGEST);
        self.since + shortened(length, self.since, current)
    }

    /// A pause of nothing yet.
    pub(super) fn none(party: &str, environment: Environment, scope: &Scope) -> Self {
        Self {
            party: party.to_owned(),
            staging: environment == Environment::Staging,
            scope: scope.clone(),
            failures: 0,
            refusals: 0,
            since: UnixTime::default(),
            next: UnixTime::default(),
            room: 1,
            told: Told::default(),
            reloads: Reloads::default(),
        }
    }

    /// Ends the pause, as a person has loaded the configuration anew, unless that has happened too often
    /// without a change of it.
    pub(super) fn reload(&mut self, now: UnixTime, has_changed: bool) {
        if !self.reloads.admit(now, has_changed) {
            return;
        }
        self.next = self.since;
        if has_changed {
            (self.failures, self.refusals, self.told) = (0, 0, Told::default());
        }
        // The attempt that follows takes the place of the one that was waited for.
        self.refusals = self.refusals.saturating_sub(1);
    }

    /// Lengthens the pause after another failure. `under_way`: how many attempts were, with this one.
    pub(super) fn lengthen(
        &mut self,
        failure: &Failure,
        now: UnixTime,
        under_way: usize,
        jitter: f64,
    ) {
        self.scope = failure.scope.clone();
        if failure.ladder().is_of_refusals() {
            self.refusals = self.refusals.saturating_add(1);
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        self.room = match failure.scope {
            Scope::Room(_) => (under_way / 2).max(1),
            _ => 1,
        };
        (self.since, self.next) = (now, now + jittered(self.length(), jitter));
    }

    /// The pause without jitter, as far as it tells whether it has grown.
    pub(super) fn length(&self) -> Duration {
        match (&self.scope, self.refusals) {
            (Scope::Room(_), _) => Ladder::Full.pause(self.failures),
            (_, 0) => Ladder::Temporary.pause(self.failures),
            (_, refusals) => Ladder::Refused.pause(refusals),
        }
    }
}
