//! Orders for certificates that are not there yet, spread so that a known limit of the CA is never met.
//!
//! A domains file may gain more lines than an account may place orders for. Those that are too many wait for room, one by
//! one. Renewals do not wait for it: where the limit is known, the CA does not count them (RFC 9773 section 5).

use super::track::{GateSubject, Track};
use super::{Environment, Schedule};
use crate::id::{IssuerId, VariantId};
use crate::time::UnixTime;
use std::collections::HashMap;

/// Notes a certificate that is so young that its order may count, for the process before has placed it.
pub(super) fn note_recent(
    new_orders: &mut HashMap<IssuerId, Vec<UnixTime>>,
    track: &Track,
    now: UnixTime,
) {
    let placed = track.renewal.issued;
    if let Some(authority) = track.authorities.first() {
        let limit = authority.limit.filter(|limit| placed <= now && placed + limit.span > now);
        if limit.is_some() {
            new_orders.entry(authority.issuer).or_default().push(placed);
        }
    }
}

impl Schedule {
    /// Sorts the times of orders, of which those of one certificate were noted together.
    pub(super) fn sort_orders(&mut self) {
        let times = self.failed_orders.values_mut().chain(self.new_orders.values_mut());
        times.for_each(|times| times.sort_unstable());
    }

    /// Notes that an attempt begins that places an order for a certificate which is not there yet.
    pub(super) fn note_new_order(&mut self, variant: VariantId, authority: usize) {
        let Some(party) = self.tracks.get(variant).and_then(|it| it.authorities.get(authority))
        else {
            return;
        };
        let Some(limit) = party.limit else { return };
        let (issuer, now) = (party.issuer, self.now);
        let times = self.new_orders.entry(issuer).or_default();
        times.retain(|time| *time <= now && *time + limit.span > now);
        times.push(now);
        self.note_change(GateSubject::Issuer(issuer, Environment::Production));
    }

    /// Forgets the order of an attempt that began at this time, and has ended before it placed one.
    pub(super) fn forget_new_order(&mut self, issuer: IssuerId, begun: UnixTime) {
        let Some(times) = self.new_orders.get_mut(&issuer) else { return };
        if let Some(place) = times.iter().rposition(|time| *time == begun) {
            times.remove(place);
            self.note_change(GateSubject::Issuer(issuer, Environment::Production));
        }
    }

    /// Gives the time from which on there is room for an order of a certificate that is not there yet.
    pub(super) fn new_order_room_from(
        &self,
        track: &Track,
        authority: usize,
        now: UnixTime,
    ) -> UnixTime {
        let party = track.authorities.get(authority).filter(|_| {
            let is_new = track.validity.is_none() && !track.is_under_way;
            is_new && track.environment(authority) == Environment::Production
        });
        let limit =
            party.and_then(|party| Some((party.limit?, self.new_orders.get(&party.issuer)?)));
        limit.map_or(UnixTime::default(), |(limit, placed)| {
            limit.room_for_new(placed, self.others, now)
        })
    }
}
