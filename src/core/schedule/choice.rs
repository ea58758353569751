//! Choice of the next attempt: when a certificate may be worked on, with which of its CAs, and whose
//! turn is first.

use super::hold;
use super::line::{Outlook, Turn, spans};
use super::party::Authority;
use super::track::{AFTER_OTHERS, Track};
use super::tree::Span;
use super::{Environment, HeldParty, Schedule};
use crate::id::VariantId;
use crate::time::UnixTime;

impl Schedule {
    /// The certificate that is worked on next, and with which of its CAs, if there is one now.
    pub(super) fn first_in_turn(&mut self) -> Option<(VariantId, usize)> {
        let start = self.throttle.start_time(self.working.len(), self.now);
        start.filter(|start| *start <= self.now)?;
        loop {
            // What was seen of a line may have changed for the worse since.
            let first = self.lines.first()?;
            self.lines.change_line(first.1);
            self.settle();
            if self.lines.first() == Some(first) {
                let variant = first.0.variant();
                let (_, authority) = self.wake(self.tracks.get(variant)?, self.now);
                return Some((variant, authority));
            }
        }
    }

    /// Looks at a line: whose turn is first, and when something may change. An error is a certificate
    /// that is not in its place.
    pub(super) fn outlook(&self, line: usize) -> Result<Option<Outlook>, VariantId> {
        let now = self.now;
        let Some(any) = self.lines.soonest(line, Span::ALL) else { return Ok(None) };
        let mut outlook = Outlook { turn: None, next: AFTER_OTHERS };
        for span in spans(self.cuts(self.in_place(any, line)?)) {
            let Some(soonest) = self.lines.soonest(line, span) else { continue };
            let track = self.in_place(soonest, line)?;
            let (time, authority) = self.wake(track, now);
            if time > now {
                outlook.next = outlook.next.min(self.next_change(track));
                continue;
            }
            // Whoever has not tried yet finds out whether a shared pause is over: one certificate that
            // fails whatever happens must not hold up the others.
            let is_paused = self.is_paused(track, authority);
            let first = if is_paused { self.lines.first_in_turn(line, span) } else { None };
            let track = self.in_place(first.unwrap_or(soonest), line)?;
            let turn = self.turn(first.unwrap_or(soonest), track, is_paused);
            outlook.turn = Some(outlook.turn.map_or(turn, |best| best.min(turn)));
        }
        Ok(Some(outlook))
    }

    fn in_place(&self, variant: VariantId, line: usize) -> Result<&Track, VariantId> {
        let track = self.tracks.get(variant).filter(|_| self.is_in_place(variant, line));
        track.ok_or(variant)
    }

    /// Tells whether a shared pause concerns an attempt with one of a certificate's CAs.
    pub(super) fn is_paused(&self, track: &Track, authority: usize) -> bool {
        self.gates.until(track, authority, self.now).0 != UnixTime::default()
    }

    pub(super) fn turn(&self, variant: VariantId, track: &Track, is_paused: bool) -> Turn {
        Turn {
            is_new: !track.is_under_way,
            last: if is_paused { track.progress.last } else { UnixTime::default() },
            rank: track.rank(variant),
        }
    }

    /// The ends of certificates at which something changes for those that need the same as this one.
    fn cuts(&self, track: &Track) -> Vec<UnixTime> {
        let mut cuts = Vec::new();
        for (authority, party) in track.authorities.iter().enumerate() {
            self.gates.cut(&mut cuts, track, authority, self.now);
            let environment = track.environment(authority);
            let issuer = self.held.get(&HeldParty::Issuer(party.issuer, environment));
            let provider = self.held.get(&HeldParty::Provider(track.provider.id));
            let holds = issuer.into_iter().chain(provider).chain(&track.progress.holds);
            holds.for_each(|hold| hold.cut(&mut cuts, self.now));
        }
        cuts
    }

    /// Gives the time at which something may change for a certificate that is due and held up: not later than it can be
    /// worked on.
    fn next_change(&self, track: &Track) -> UnixTime {
        let now = self.now;
        if !track.has_choice() {
            return self.wake(track, now).0;
        }
        let times = (0..track.authorities.len()).flat_map(|authority| {
            let held = self.held_until(track, authority, now);
            let gate = self.gates.until(track, authority, now).0;
            let orders = self.order_room_from(track, authority, now);
            [held.max(gate).max(orders), held - hold::LONG]
        });
        times.filter(|time| *time > now).min().unwrap_or(AFTER_OTHERS)
    }

    /// Gives the time at which a certificate is worked on next, and with which of its CAs.
    pub(super) fn wake(&self, track: &Track, now: UnixTime) -> (UnixTime, usize) {
        let current = track.authority();
        let time = track.own_time(now);
        if track.is_at_once() {
            return (time.max(self.held_until(track, current, now)), current);
        }
        let until = |authority: usize| {
            let (gate, is_exhausted) = self.gates.until(track, authority, now);
            let held = self.held_until(track, authority, now);
            let orders = self.order_room_from(track, authority, now);
            let is_long = held > time.max(now) + hold::LONG;
            (is_exhausted || is_long, held.max(gate).max(orders))
        };
        let (is_long, held) = until(current);
        if is_long && held > time.max(now) {
            // Of those that are free in time, the one that is named first.
            let all = (0..track.authorities.len()).map(|authority| {
                let (is_long, free) = until(authority);
                (is_long, free.max(time).max(now), authority)
            });
            if let Some((_, free, authority)) = all.min().filter(|(_, free, _)| *free < held) {
                return (free, authority);
            }
        }
        (time.max(held), current)
    }

    /// Until when a certificate leaves one of its CAs alone, and its DNS provider, as they have asked for.
    pub(super) fn held_until(&self, track: &Track, authority: usize, now: UnixTime) -> UnixTime {
        let own = track.held_until(authority, now);
        if self.held.is_empty() {
            return own;
        }
        let environment = track.environment(authority);
        let Some(authority) = track.authorities.get(authority) else { return now };
        let parties = [
            HeldParty::Issuer(authority.issuer, environment),
            HeldParty::Provider(track.provider.id),
        ];
        let all = parties.iter().filter_map(|party| self.held.get(party));
        all.map(|hold| hold.heeded_until(now, track.current())).fold(own, UnixTime::max)
    }

    /// From when on an order may fail without using up more of a CA's limit than failures may, and may be placed at all.
    pub(super) fn order_room_from(
        &self,
        track: &Track,
        authority: usize,
        now: UnixTime,
    ) -> UnixTime {
        let Some(Authority { issuer, limit: Some(limit), .. }) = track.authorities.get(authority)
        else {
            return UnixTime::default();
        };
        if track.environment(authority) == Environment::Staging {
            return UnixTime::default();
        }
        let failed = self.failed_orders.get(issuer).map_or(&[][..], Vec::as_slice);
        limit.room_from(failed, now).max(self.new_order_room_from(track, authority, now))
    }
}
