//! Places in which certificates wait, and what is kept sorted of them.

use super::failure::Scope;
use super::line::{Common, Need};
use super::track::{AFTER_OTHERS, Due, GateSubject, Track, WaitingPlace};
use super::{Progress, Schedule};
use crate::id::VariantId;
use crate::time::UnixTime;

impl Schedule {
    /// Takes note of the time. What was computed by a clock that has been set back since is computed
    /// anew.
    pub(super) fn tell(&mut self, now: UnixTime) {
        let is_back = now < self.now;
        self.now = now;
        self.latest = self.latest.max(now);
        if is_back {
            self.place_all();
            return;
        }
        while let Some((_, variant)) = self.later.first().copied().filter(|(time, _)| *time <= now)
        {
            self.replace(variant);
        }
        self.lines.advance(now);
        self.settle();
    }

    /// Puts all certificates in their places.
    pub(super) fn place_all(&mut self) {
        for variant in self.tracks.ids() {
            self.replace(variant);
        }
        self.lines.advance(UnixTime(i64::MAX));
        self.settle();
    }

    /// Takes a certificate out of its place, changes it and puts it into the right one.
    pub(super) fn change<T>(
        &mut self,
        variant: VariantId,
        change: impl FnOnce(&mut Track) -> T,
    ) -> Option<T> {
        self.leave(variant);
        let changed = self.tracks.get_mut(variant).map(change);
        self.place(variant);
        self.settle();
        changed
    }

    fn replace(&mut self, variant: VariantId) {
        self.leave(variant);
        self.place(variant);
    }

    /// Takes a certificate out of all places, before it changes.
    pub(super) fn leave(&mut self, variant: VariantId) {
        let Some(track) = self.tracks.get_mut(variant) else { return };
        match std::mem::take(&mut track.place) {
            WaitingPlace::Nowhere => {}
            WaitingPlace::Later(time) => {
                self.later.remove(&(time, variant));
            }
            WaitingPlace::Line(line) => self.lines.remove(line, variant),
        }
        if let Some(Due { ends, subjects }) = track.due.take() {
            for subject in subjects {
                if let Some(pool) = self.pools.get_mut(&subject) {
                    pool.remove(variant, ends);
                }
            }
        }
        self.working.remove(&variant);
        self.failing.remove(&variant);
    }

    /// Puts a certificate where it belongs now.
    pub(super) fn place(&mut self, variant: VariantId) {
        let now = self.now;
        let Some(track) = self.tracks.get(variant) else { return };
        let due = match track.is_withdrawn {
            true => AFTER_OTHERS,
            false => track.renewal_due().map_or(now, |(time, _)| time),
        };
        let place = if !track.is_waiting() {
            self.working.insert(variant);
            // It is worked on before its time only if the clock was set back since.
            if due > now { WaitingPlace::Later(due) } else { WaitingPlace::Nowhere }
        } else {
            if *track.progress != Progress::default() && !track.is_withdrawn {
                self.failing.insert(variant);
            }
            let time = track.ready_time(now);
            if time > now {
                WaitingPlace::Later(time)
            } else {
                WaitingPlace::Line(self.line_up(variant))
            }
        };
        if let WaitingPlace::Later(time) = place {
            self.later.insert((time, variant));
        }
        if let Some(track) = self.tracks.get_mut(variant) {
            track.place = place;
        }
        if due <= now {
            self.count(variant);
        }
        self.place_question(variant);
    }

    /// Puts the question for renewal information where it belongs now. Where the certificate waits does not depend on it.
    pub(super) fn place_question(&mut self, variant: VariantId) {
        let now = self.now;
        let Some(track) = self.tracks.get_mut(variant) else { return };
        let question = track.question_time(now);
        let before = std::mem::replace(&mut track.question, question);
        match track.is_asking {
            true => self.asking.insert(variant),
            false => self.asking.remove(&variant),
        };
        if before != question {
            before.map(|time| self.questions.remove(&(time, variant)));
            question.map(|time| self.questions.insert((time, variant)));
        }
    }

    /// Puts a certificate into the line of those that need the same.
    fn line_up(&mut self, variant: VariantId) -> usize {
        let Some(track) = self.tracks.get(variant) else { return 0 };
        let need = self.need(variant);
        let provider = track.provider.id;
        let zones = need.zones.clone();
        let common = || {
            let issuers = track.authorities.iter().map(|a| Common::Issuer(a.issuer));
            let zones = zones.into_iter().map(|zone| Common::Zone(provider, zone));
            issuers.chain([Common::Provider(provider)]).chain(zones).collect()
        };
        self.lines.insert(need, common, track.rank(variant), track.progress.last)
    }

    /// Gives the needs of a certificate, as far as others have the same.
    pub(super) fn need(&self, variant: VariantId) -> Need {
        let Some(track) = self.tracks.get(variant) else { return Need::default() };
        let is_held = track.progress.holds.iter().any(|hold| hold.is_on(self.now));
        Need {
            authorities: track.kin,
            current: (track.authority(), track.progress.staging),
            provider: track.provider.id,
            zones: self.gates.zones(track),
            is_under_way: track.is_under_way,
            is_at_once: track.is_at_once(),
            own: (track.has_choice() && is_held).then_some(variant),
        }
    }

    /// Tells whether a certificate is in the right line: a zone may have failed, or time may have passed,
    /// since it was put there.
    pub(super) fn is_in_place(&self, variant: VariantId, line: usize) -> bool {
        let is_ready =
            self.tracks.get(variant).is_some_and(|track| track.ready_time(self.now) <= self.now);
        let Some(of_line) = self.lines.need(line).filter(|_| is_ready) else { return false };
        let need = self.need(variant);
        need == *of_line || {
            // A zone that has got through is nothing to look at any more.
            let has_gate = |zone: &usize| self.gates.has(GateSubject::Zone(need.provider, *zone));
            let zones = of_line.zones.iter().copied().filter(has_gate).collect();
            need == Need { zones, ..of_line.clone() }
        }
    }

    /// Counts a certificate among those that are due.
    fn count(&mut self, variant: VariantId) {
        let Some(track) = self.tracks.get_mut(variant) else { return };
        let provider = track.provider.id;
        let zones =
            self.gates.zones(track).into_iter().map(|zone| GateSubject::Zone(provider, zone));
        let subjects: Vec<GateSubject> = track.shares().chain(zones).collect();
        let ends = track.ends();
        for subject in &subjects {
            self.pools.entry(*subject).or_default().insert(variant, ends);
        }
        track.due = Some(Due { ends, subjects });
    }

    /// Counts the certificates of a zone that has failed. Only that looks at all of them.
    pub(super) fn count_zone(&mut self, subject: GateSubject, scope: &Scope) {
        let (Scope::Zone(zone) | Scope::Room(zone)) = scope else { return };
        let GateSubject::Zone(provider, _) = subject else { return };
        if self.pools.contains_key(&subject) {
            return;
        }
        let pool = self.pools.entry(subject).or_default();
        let within: Vec<VariantId> = self.names.within(zone, &self.tracks).collect();
        for variant in within {
            let Some(track) = self.tracks.get_mut(variant) else { continue };
            let is_served = track.provider.id == provider;
            if let Some(due) = track.due.as_mut().filter(|_| is_served) {
                due.subjects.push(subject);
                pool.insert(variant, due.ends);
            }
        }
    }

    /// Has all lines looked at again that what has changed concerns.
    pub(super) fn note_change(&mut self, subject: GateSubject) {
        if matches!(subject, GateSubject::Zone(..)) && !self.gates.has(subject) {
            self.pools.remove(&subject);
        }
        self.lines.change(subject.into());
    }

    /// The same for several, at once.
    pub(super) fn note_changes(&mut self, subjects: &[GateSubject]) {
        subjects.iter().for_each(|subject| self.note_change(*subject));
        self.settle();
    }

    /// Looks at all lines that have changed.
    pub(super) fn settle(&mut self) {
        while let Some(line) = self.lines.changed() {
            let outlook = loop {
                match self.outlook(line) {
                    Ok(outlook) => break outlook,
                    Err(misplaced) => self.replace(misplaced),
                }
            };
            self.lines.see(line, outlook);
        }
    }
}
