//! Requests to be left alone (`Retry-After`), and the time for which they are heeded.

use super::failure::{Failure, Scope};
use super::pace::{cut, limit};
use super::party::Authority;
use super::{Environment, Validity};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A CA that wants to be left alone for longer than this makes room for the next one.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// The longest that is heeded, whatever a CA says or a file holds.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// It is heeded for at most this part of the lifetime that is left, but for the shortest time in any
/// case: a CA that wants a day of rest with an hour to go would take the site down.
const PART_OF_REST: u32 = 2;
const SHORTEST: Duration = Duration::from_secs(60);

/// A CA or a DNS provider wants to be left alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hold {
    /// The name of the issuer, or of the DNS provider.
    pub authority: String,
    /// Set if its staging environment wants it.
    pub staging: bool,
    /// Part that it is about.
    pub scope: Scope,
    /// Time at which it said so: if that lies in the future, the clock was set back, and this holds no more.
    pub since: UnixTime,
    /// Until when.
    pub until: UnixTime,
}

impl Hold {
    /// Notes what was asked for when an attempt failed, if anything.
    pub(super) fn new(
        failure: &Failure,
        authority: Option<&Authority>,
        provider: &str,
        environment: Environment,
        now: UnixTime,
    ) -> Option<Self> {
        let asked = failure.retry_after.filter(|asked| !asked.is_zero())?;
        let party = match failure.scope {
            Scope::Entry | Scope::Issuer => &authority?.name,
            Scope::Certificate | Scope::Provider | Scope::Zone(_) | Scope::Room(_) => provider,
        };
        Some(Self {
            authority: party.to_owned(),
            staging: environment == Environment::Staging,
            scope: failure.scope.clone(),
            since: now,
            until: now + asked,
        })
    }

    pub(super) fn environment(&self) -> Environment {
        Environment::of(self.staging)
    }

    /// Tells whether it holds at a time.
    pub(super) fn is_on(&self, now: UnixTime) -> bool {
        self.since <= now && now < self.until
    }

    /// Tells whether it is about an attempt with an issuer.
    pub(super) fn concerns(&self, authority: &Authority, environment: Environment) -> bool {
        match self.scope {
            Scope::Entry | Scope::Issuer => {
                self.authority == authority.name && self.environment() == environment
            }
            Scope::Certificate | Scope::Provider | Scope::Zone(_) | Scope::Room(_) => true,
        }
    }

    /// Until when it is heeded, if it holds; `current` is the certificate that is served, if any.
    pub(super) fn heeded_until(&self, now: UnixTime, current: Option<Validity>) -> UnixTime {
        if !self.is_on(now) {
            return UnixTime::default();
        }
        let asked = self.until.since(self.since).min(LONGEST);
        self.since + limit(asked, self.since, current, PART_OF_REST, SHORTEST)
    }
    /// Appends the ends of certificates at which it is heeded no more, or for no long time.
    pub(super) fn cut(&self, cuts: &mut Vec<UnixTime>, now: UnixTime) {
        cut(cuts, self.since, now, PART_OF_REST);
        cut(cuts, self.since, now + LONG, PART_OF_REST);
    }
}
