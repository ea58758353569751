//! Failed attempts: the certificates that wait for the next one, and the level at which that is told.

use super::failure::{Failure, FailureKind, Scope};
use super::gate::{Closed, Shown};
use super::pace::Stake;
use super::pause::Pause;
use super::progress::Progress;
use super::track::{AttemptState, GateSubject, Track};
use super::{Environment, Schedule, note_held};
use crate::id::{IssuerId, VariantId};
use crate::level::Level;
use crate::time::UnixTime;
use std::collections::HashMap;

/// Consequences of an attempt that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Setback {
    /// State to keep, with the time of the next attempt.
    pub progress: Progress,
    /// Certificates that wait with it.
    pub extent: Extent,
    /// Level at which it is told.
    pub level: Level,
}

/// Certificates that wait after a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// This certificate.
    Own,
    /// All certificates that need what has failed.
    Shared {
        /// Their number, with this one.
        waiting: usize,
        /// Number of failures.
        attempts: u32,
    },
    /// Those who waited before: another attempt has failed by the same while this one was under way.
    Known,
}

/// Means to have the next attempt sooner than planned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// A reload.
    Reload,
    /// The file `actions/renew-NAME`: reloads have made too many attempts, or orders have failed too often.
    Request,
    /// Nothing: the CA or the DNS provider wants to be left alone.
    None,
}

impl Setback {
    /// Makes one that says nothing new.
    fn known(progress: Progress) -> Self {
        Self { progress, extent: Extent::Known, level: Level::Debug }
    }
}

impl Schedule {
    /// Notes that an attempt failed. Gives what to keep, who waits with it, and how loudly it is told.
    pub fn handle_failed(
        &mut self,
        variant: VariantId,
        now: UnixTime,
        failure: &Failure,
        random: f64,
    ) -> Setback {
        self.tell(now);
        self.throttle.note_failure();
        let under_way = self.under_way_like(variant, failure);
        self.leave(variant);
        let loading = self.loading;
        let Some(track) = self.tracks.get_mut(variant) else {
            return Setback::known(Progress::default());
        };
        (track.state, track.is_under_way) = (AttemptState::Waiting, false);
        let (begun, issuer) = (track.progress.last, track.issuer(track.authority()));
        track.progress.loading = loading;
        track.progress.fingerprint = track.fingerprint;
        let closed = self.gates.close(variant, track, failure, now, (under_way, random));
        let mut changed = self.gates.end(variant, track, Shown::by(failure));
        if failure.retry_after.is_some() {
            changed.extend(track.shares());
        }
        self.note_order(variant, failure, now);
        if !failure.ordered {
            self.forget_new_order(issuer, begun);
        }
        let setback = match closed {
            Closed::Before(pause) => self.handle_known(variant, now, pause),
            Closed::Own => self.handle_own(variant, now, failure, random),
            Closed::Now(subject, pause) => {
                changed.push(subject);
                self.handle_shared(variant, now, failure, random, (subject, pause))
            }
        };
        self.place(variant);
        self.note_changes(&changed);
        setback
    }

    /// Notes a failure for which others wait as well.
    fn handle_shared(
        &mut self,
        variant: VariantId,
        now: UnixTime,
        failure: &Failure,
        random: f64,
        (subject, mut pause): (GateSubject, Pause),
    ) -> Setback {
        self.count_zone(subject, &pause.scope);
        let needs_person = failure.kind != FailureKind::Temporary;
        let (waiting, stake) = self.waiting(variant, subject, now);
        let level = pause.told.tell(now, stake, pause.length(), needs_person);
        let attempts = pause.failures.saturating_add(pause.refusals);
        self.gates.note_told(subject, pause.told);
        let mut setback = self.handle_own(variant, now, failure, random);
        if let Some(track) = self.tracks.get_mut(variant) {
            track.progress.pauses = vec![pause];
            setback.progress = track.progress.clone();
        }
        Setback { extent: Extent::Shared { waiting, attempts }, level, ..setback }
    }

    /// Notes a failure that has said nothing new: no pause is longer for it.
    fn handle_known(&mut self, variant: VariantId, now: UnixTime, pause: Pause) -> Setback {
        let Some(track) = self.tracks.get_mut(variant) else {
            return Setback::known(Progress::default());
        };
        track.progress.pauses = vec![pause];
        (track.progress.unfinished, track.progress.last) = (0, now);
        Setback::known(track.progress.clone())
    }

    /// Notes a failure of a certificate itself.
    fn handle_own(
        &mut self,
        variant: VariantId,
        now: UnixTime,
        failure: &Failure,
        random: f64,
    ) -> Setback {
        let Some(track) = self.tracks.get_mut(variant) else {
            return Setback::known(Progress::default());
        };
        let parties = (&*track.authorities, &*track.provider.name);
        let progress = track.progress.take();
        let (mut progress, pause) = progress.failed(now, failure, parties, track.current(), random);
        progress.pauses.clear();
        let needs_person = failure.kind != FailureKind::Temporary;
        let stake = Stake::of(track.current(), now);
        let level = match failure.kind {
            // The record itself is told, once an hour.
            FailureKind::Waiting if stake != Stake::Pressing => Level::Info,
            _ => progress.told.tell(now, stake, pause, needs_person),
        };
        track.progress = progress.into();
        note_held(&mut self.held, track, now);
        Setback { progress: track.progress.clone(), extent: Extent::Own, level }
    }

    /// Counts an order that failed against the known limit of its issuer.
    fn note_order(&mut self, variant: VariantId, failure: &Failure, now: UnixTime) {
        let Some(track) = self.tracks.get(variant) else { return };
        let authority = track.authority();
        let is_counted = failure.ordered && track.environment(authority) == Environment::Production;
        let issuer = track.authorities.get(authority).filter(|a| a.limit.is_some() && is_counted);
        if let Some(issuer) = issuer {
            self.failed_orders.entry(issuer.issuer).or_default().push(now);
        }
    }

    /// Counts the certificates that wait for the end of a shared pause, with the one that has failed, and
    /// what is at stake at most.
    fn waiting(&self, failed: VariantId, subject: GateSubject, now: UnixTime) -> (usize, Stake) {
        let pool = self.pools.get(&subject);
        let (number, stake) = pool.map_or((0, Stake::Calm), |pool| pool.waiting(now));
        match self.tracks.get(failed).filter(|track| track.is_due(now)) {
            Some(track) => (number + 1, stake.max(Stake::of(track.current(), now))),
            None => (number, stake),
        }
    }

    /// Counts the attempts under way that need what has failed, with this one.
    fn under_way_like(&self, variant: VariantId, failure: &Failure) -> usize {
        let Scope::Room(zone) = &failure.scope else { return 1 };
        let provider = self.tracks.get(variant).map(|track| track.provider.id);
        let needs_it = |track: &&Track| Some(track.provider.id) == provider && track.is_in(zone);
        let working = self.working.iter().filter_map(|variant| self.tracks.get(*variant));
        working.filter(needs_it).count()
    }

    /// Until when a certificate waits although a person has loaded the configuration anew: it was tried
    /// too often, and nothing has changed.
    pub fn stands_until(&self, variant: VariantId) -> Option<UnixTime> {
        let (next, ..) = self.next_attempt(variant)?;
        let waiting = self.tracks.get(variant).filter(|track| track.is_waiting())?;
        let is_due = waiting.is_due(self.now);
        (is_due && next > self.now && self.remedy(variant) == Remedy::Request).then_some(next)
    }

    /// Finds the means to have the next attempt for a certificate sooner than planned.
    pub fn remedy(&self, variant: VariantId) -> Remedy {
        let Some(waiting) = self.tracks.get(variant) else { return Remedy::Reload };
        let Progress { reloads, spent, .. } = &*waiting.progress;
        let next = self.next_attempt(variant).map_or(self.now, |(next, ..)| next);
        let authority = waiting.authority();
        if self.held_until(waiting, authority, self.now) >= next {
            return Remedy::None;
        }
        let is_used_up = reloads.is_used_up(self.now)
            || self.gates.are_reloads_used_up(waiting, authority, self.now);
        let room = spent.room_from(self.now, waiting.current());
        let room = room.max(self.order_room_from(waiting, authority, self.now));
        if room > self.now || is_used_up { Remedy::Request } else { Remedy::Reload }
    }
}

/// Notes when orders have failed that count against the known limit of an issuer.
pub(super) fn note_orders(
    failed: &mut HashMap<IssuerId, Vec<UnixTime>>,
    track: &Track,
    now: UnixTime,
) {
    let issuer = track.authorities.get(track.authority()).filter(|issuer| issuer.limit.is_some());
    let Some(issuer) = issuer else { return };
    let orders = track.progress.spent.orders.iter().filter(|time| **time <= now);
    failed.entry(issuer.issuer).or_default().extend(orders);
}
