//! Pauses that all certificates share which need the same: a CA, a DNS provider, a zone.
//!
//! ```text
//!            the first attempt fails            the pause is over
//!   (none) -------------------------> Closed ---------------------> Probing
//!      ^                                 ^                            |   |
//!      |                                 +----------------------------+   |
//!      |                                    it fails again: longer        |
//!      +------------------------------------------------------------------+
//!                 it gets through: all others follow
//! ```
//!
//! While a gate is probed, one attempt is under way and the others wait for what becomes of it; where
//! room has run out, as many as may fit. Attempts that were under way when the gate closed say nothing
//! about it, whatever becomes of them.

use super::failure::{Failure, Scope};
use super::pace::{self, PART_OF_REST, Told};
use super::party::Authority;
use super::pause::Pause;
use super::throttle::CONCURRENCY;
use super::track::{AFTER_OTHERS, GateSubject, Track};
use super::{Environment, Validity};
use crate::id::VariantId;
use crate::time::UnixTime;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{HashMap, HashSet};

/// After so many failures an issuer makes room for the next one.
const FAILURES_BEFORE_SWITCH: u32 = 3;

/// A shared pause with the attempts that find out whether it is over.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) pause: Pause,
    /// The certificates with attempts that began after the last failure.
    probing: HashSet<VariantId>,
}

impl Gate {
    fn new(pause: Pause) -> Self {
        Self { pause, probing: HashSet::new() }
    }

    fn until(&self, now: UnixTime, current: Option<Validity>) -> UnixTime {
        if self.pause.since > now {
            return UnixTime::default();
        }
        match self.pause.until(current) {
            until if until > now => until,
            _ if self.probing.len() >= self.pause.room.max(1) => AFTER_OTHERS,
            until => until,
        }
    }

    /// Tells whether its issuer has failed so often that the next one is tried.
    fn is_exhausted(&self) -> bool {
        self.pause.refusals > 0 || self.pause.failures >= FAILURES_BEFORE_SWITCH
    }
}

/// All gates that are not open.
#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: HashMap<GateSubject, Gate>,
    /// The numbers of the zones.
    zones: HashMap<String, usize>,
}

/// Parts that an attempt has shown to work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Shown {
    issuer: bool,
    provider: bool,
    zones: bool,
}

impl Shown {
    pub(super) const ALL: Self = Self { issuer: true, provider: true, zones: true };
    pub(super) const NOTHING: Self = Self { issuer: false, provider: false, zones: false };

    /// Finds what a failed attempt has shown, besides what failed.
    pub(super) fn by(failure: &Failure) -> Self {
        let (issuer, provider, zones) = match failure.scope {
            Scope::Entry => (true, failure.published, failure.published),
            Scope::Issuer => (false, failure.published, failure.published),
            Scope::Zone(_) | Scope::Room(_) | Scope::Certificate => (failure.ordered, true, false),
            Scope::Provider => (failure.ordered, false, false),
        };
        Self { issuer, provider, zones }
    }

    fn includes(self, subject: GateSubject) -> bool {
        match subject {
            GateSubject::Issuer(..) => self.issuer,
            GateSubject::Provider(_) => self.provider,
            GateSubject::Zone(..) => self.zones,
        }
    }
}

impl Gates {
    /// Takes over what the process before has kept with a certificate. `reloaded`: a person has
    /// loaded the configuration since; `changed`: and has changed something.
    pub(super) fn restore(&mut self, track: &Track, now: UnixTime, reloaded: Option<bool>) {
        for pause in track.progress.pauses.iter().filter(|pause| pause.since <= now) {
            let by_name = |authority: &&Authority| authority.name == pause.party;
            let subject = match &pause.scope {
                Scope::Issuer => track.authorities.iter().find(by_name).map(|authority| {
                    let staging = pause.staging;
                    GateSubject::Issuer(authority.issuer, Environment::of(staging))
                }),
                _ if *track.provider.name != *pause.party => None,
                Scope::Provider => Some(GateSubject::Provider(track.provider.id)),
                Scope::Zone(zone) | Scope::Room(zone) => {
                    Some(GateSubject::Zone(track.provider.id, self.number(zone)))
                }
                Scope::Entry | Scope::Certificate => None,
            };
            let Some(subject) = subject else { continue };
            // Of what failed within one second the last has seen the most reloads.
            let age = |pause: &Pause| (pause.since, pause.reloads.count());
            let known = self.gates.get(&subject).map(|gate| age(&gate.pause));
            if known.is_none_or(|known| known <= age(pause)) {
                let mut pause = pause.clone();
                if let Some(changed) = reloaded {
                    pause.reload(now, changed);
                }
                self.gates.insert(subject, Gate::new(pause));
            }
        }
    }

    /// Ends the pauses that hold up a certificate, as a reload would; gives what they are about.
    pub(super) fn resume(&mut self, track: &Track, now: UnixTime) -> Vec<GateSubject> {
        let subjects = self.subjects(track, track.authority());
        for subject in &subjects {
            if let Some(gate) = self.gates.get_mut(subject).filter(|gate| gate.pause.next > now) {
                gate.pause.reload(now, false);
            }
        }
        subjects
    }

    fn number(&mut self, zone: &str) -> usize {
        let next = self.zones.len();
        *self.zones.entry(zone.to_ascii_lowercase()).or_insert(next)
    }

    /// The subjects of a certificate's attempt with one of its issuers, as far as there are gates.
    pub(super) fn subjects(&self, track: &Track, authority: usize) -> Vec<GateSubject> {
        if self.gates.is_empty() {
            return Vec::new();
        }
        let provider = track.provider.id;
        let issuer = track.authorities.get(authority);
        let issuer = issuer.map(|a| GateSubject::Issuer(a.issuer, track.environment(authority)));
        let zones = self.zones(track).into_iter().map(|zone| GateSubject::Zone(provider, zone));
        let all = issuer.into_iter().chain([GateSubject::Provider(provider)]);
        all.filter(|subject| self.has(*subject)).chain(zones).collect()
    }

    /// The numbers of a certificate's zones that have a gate.
    pub(super) fn zones(&self, track: &Track) -> Vec<usize> {
        if self.zones.is_empty() || self.gates.is_empty() {
            return Vec::new();
        }
        let zones = track.names.iter().flat_map(|name| suffixes(name));
        let zones = zones.filter_map(|zone| self.zones.get(zone).copied());
        let has_gate = |zone: &usize| self.has(GateSubject::Zone(track.provider.id, *zone));
        let mut found: Vec<usize> = zones.filter(has_gate).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Tells whether there is a gate.
    pub(super) fn has(&self, subject: GateSubject) -> bool {
        self.gates.contains_key(&subject)
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(GateSubject, Scope)> {
        self.gates.iter().map(|(subject, gate)| (*subject, gate.pause.scope.clone())).collect()
    }

    /// Appends the ends of certificates at which the pauses before an attempt with one of the issuers
    /// are over.
    pub(super) fn cut(
        &self,
        cuts: &mut Vec<UnixTime>,
        track: &Track,
        authority: usize,
        now: UnixTime,
    ) {
        for subject in self.subjects(track, authority) {
            if let Some(gate) = self.gates.get(&subject) {
                pace::cut(cuts, gate.pause.since, now, PART_OF_REST);
            }
        }
    }

    /// Until when the gates hold up an attempt with one of a certificate's issuers, and whether that
    /// issuer has failed so often that another one is better.
    pub(super) fn until(&self, track: &Track, authority: usize, now: UnixTime) -> (UnixTime, bool) {
        let (mut until, mut is_exhausted) = (UnixTime::default(), false);
        for subject in self.subjects(track, authority) {
            let Some(gate) = self.gates.get(&subject) else { continue };
            until = until.max(gate.until(now, track.current()));
            is_exhausted |= matches!(subject, GateSubject::Issuer(..)) && gate.is_exhausted();
        }
        (until, is_exhausted)
    }

    /// Tells whether another reload does not end what holds up an attempt with one of a certificate's issuers.
    pub(super) fn are_reloads_used_up(
        &self,
        track: &Track,
        authority: usize,
        now: UnixTime,
    ) -> bool {
        let gates = self.subjects(track, authority);
        let mut gates = gates.iter().filter_map(|subject| self.gates.get(subject));
        gates.any(|gate| gate.pause.reloads.is_used_up(now))
    }

    /// Notes that an attempt has begun; gives the pauses that it finds the end of.
    pub(super) fn begin(&mut self, variant: VariantId, track: &Track) -> Vec<Pause> {
        let subjects = self.subjects(track, track.authority());
        let probe = |subject| {
            let gate = self.gates.get_mut(subject)?;
            gate.probing.insert(variant);
            Some(gate.pause.clone())
        };
        subjects.iter().filter_map(probe).collect()
    }

    /// Notes that an attempt has ended, and opens the gates that it got through. Gives the subjects of
    /// those that it has probed.
    pub(super) fn end(
        &mut self,
        variant: VariantId,
        track: &Track,
        shown: Shown,
    ) -> Vec<GateSubject> {
        let mut probed = self.subjects(track, track.authority());
        probed.retain(|subject| {
            self.gates.get_mut(subject).is_some_and(|gate| gate.probing.remove(&variant))
        });
        for subject in probed.iter().filter(|subject| shown.includes(**subject)) {
            let Some(gate) = self.gates.get_mut(subject) else { continue };
            let is_room = matches!(gate.pause.scope, Scope::Room(_));
            gate.pause.room = gate.pause.room.saturating_add(usize::from(is_room));
            if !is_room || gate.pause.room > CONCURRENCY {
                self.gates.remove(subject);
            }
        }
        probed
    }

    /// Closes the gate of what has failed. `under_way`: how many attempts need the same, with this one.
    pub(super) fn close(
        &mut self,
        variant: VariantId,
        track: &Track,
        failure: &Failure,
        now: UnixTime,
        (under_way, jitter): (usize, f64),
    ) -> Closed {
        let environment = track.environment(track.authority());
        let authority = track.authorities.get(track.authority());
        let (subject, party) = match (&failure.scope, authority) {
            (Scope::Issuer, Some(a)) => {
                (GateSubject::Issuer(a.issuer, environment), a.name.as_str())
            }
            (Scope::Entry | Scope::Certificate | Scope::Issuer, _) => return Closed::Own,
            (Scope::Zone(zone) | Scope::Room(zone), _) if !track.is_in(zone) => return Closed::Own,
            (Scope::Provider, _) => {
                (GateSubject::Provider(track.provider.id), &*track.provider.name)
            }
            (Scope::Zone(zone) | Scope::Room(zone), _) => {
                (GateSubject::Zone(track.provider.id, self.number(zone)), &*track.provider.name)
            }
        };
        let (gate, under_way) = match self.gates.entry(subject) {
            Vacant(place) => {
                let pause = Pause::none(party, environment, &failure.scope);
                (place.insert(Gate::new(pause)), under_way)
            }
            Occupied(place) => {
                let gate = place.into_mut();
                let under_way = gate.probing.len();
                if !gate.probing.remove(&variant) {
                    return Closed::Before(gate.pause.clone());
                }
                (gate, under_way)
            }
        };
        gate.pause.lengthen(failure, now, under_way, jitter);
        gate.probing.clear();
        Closed::Now(subject, gate.pause.clone())
    }

    /// Keeps what was said of a pause.
    pub(super) fn note_told(&mut self, subject: GateSubject, told: Told) {
        if let Some(gate) = self.gates.get_mut(&subject) {
            gate.pause.told = told;
        }
    }
}

/// Effect of a failure on a gate.
pub(super) enum Closed {
    /// Nothing: it concerns nobody else.
    Own,
    /// Nothing: it was closed while the attempt was under way.
    Before(Pause),
    /// It is closed for this pause from now on.
    Now(GateSubject, Pause),
}

/// The domains that a name is in, itself first.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
    starts.filter_map(|start| name.get(start..))
}
