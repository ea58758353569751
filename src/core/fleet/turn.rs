//! The turn: which host orders a certificate, and when.

use super::record_key::fnv;
use crate::schedule::Validity;
use crate::time::UnixTime;
use std::time::Duration;

/// While the engine is away a renewal waits for this part of the lifetime.
const LAST_PART: u32 = 10;

/// While the engine is away a host without a valid certificate waits for so long: another may have ordered one.
const WITHOUT: Duration = Duration::from_secs(600);

/// Hosts that order for themselves spread over this part of the time that is left, and over as much of [`WITHOUT`].
const SPREAD: u32 = 2;

/// Reach of the engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// It answers, and its records were loaded.
    Here,
    /// It does not answer since this time.
    Away(UnixTime),
}

/// A host that has a certificate to order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claimant {
    /// The certificate that it serves, by its clock.
    pub validity: Option<Validity>,
    /// Set if a person has asked for the renewal, on this host.
    pub is_asked: bool,
    /// Its place among the hosts, from 0 to 1.
    pub place: f64,
}

/// Next step of a host that has a certificate to order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// It takes the certificate's lease, and orders if it gets that.
    Lease,
    /// It orders without a lease, since the engine has been away for too long.
    Alone,
    /// It waits until this time, unless the engine is back before.
    Wait(UnixTime),
}

impl Claimant {
    /// Decides what a host does.
    pub fn turn(self, reach: Reach, now: UnixTime) -> Turn {
        let since = match reach {
            Reach::Here => return Turn::Lease,
            // A clock that was set back must not make it wait for longer.
            Reach::Away(since) => since.min(now),
        };
        if self.is_asked {
            return Turn::Alone;
        }
        let (begin, spread) = match self.validity.filter(|validity| now < validity.not_after) {
            Some(validity) => {
                let left = validity.lifetime() / LAST_PART;
                (validity.not_after - left, left / SPREAD)
            }
            // One that has expired meanwhile was not to be replaced before that.
            None => {
                let expired = self.validity.map_or(since, |validity| validity.not_after);
                (since.max(expired.min(now)) + WITHOUT, WITHOUT / SPREAD)
            }
        };
        let begin = begin + spread.mul_f64(self.place.clamp(0.0, 1.0));
        if begin <= now { Turn::Alone } else { Turn::Wait(begin) }
    }
}

/// Gives the place of a host among the others for a certificate: the same each time, another for each certificate.
pub fn place_of(host: &str, key: &str) -> f64 {
    // The last bits of such a hash differ the most.
    let bits = (fnv(format!("{host} {key}").as_bytes()) ^ 0x5555) & 0xffff;
    u32::try_from(bits).map_or(0.5, |bits| f64::from(bits) / f64::from(u16::MAX))
}

/// A certificate that a host has on disk, or that is shared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held<'a> {
    /// The number of the certificate in the fleet; 0 before it was in one.
    pub number: u64,
    /// The end of its validity.
    pub not_after: UnixTime,
    /// The leaf, in DER.
    pub leaf: &'a [u8],
}

/// The newer one of two certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The one on this host's disk.
    Own,
    /// The one that is shared.
    Shared,
    /// Both are the same.
    Same,
}

/// Finds the newer one of two certificates. All hosts come to the same result, also where two have ordered without
/// seeing each other: what is offered has the number of what it follows, so that the engine's age says nothing.
pub fn newer(own: Option<Held<'_>>, shared: Option<Held<'_>>) -> Side {
    let age = |held: Held<'_>| (held.number, held.not_after, fnv(held.leaf));
    match (own, shared) {
        (None, None) => Side::Same,
        (Some(_), None) => Side::Own,
        (None, Some(_)) => Side::Shared,
        (Some(own), Some(shared)) if own.leaf == shared.leaf => Side::Same,
        (Some(own), Some(shared)) if age(own) > age(shared) => Side::Own,
        (Some(_), Some(_)) => Side::Shared,
    }
}

#[cfg(test)]
mod tests {
    use super::{Claimant, Held, Reach, Side, Turn, newer, place_of};
    use crate::schedule::Validity;
    use crate::time::UnixTime;
    use proptest::prelude::*;

    const DAY: i64 = 86_400;
    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn at(seconds: i64) -> UnixTime {
        UnixTime(NOW.0 + seconds)
    }

    fn validity(from: i64, to: i64) -> Option<Validity> {
        Some(Validity { not_before: at(from), not_after: at(to) })
    }

    #[test]
    fn a_host_without_the_engine_waits_as_long_as_that_is_safe() {
        let month = validity(-60 * DAY, 30 * DAY);
        let rows = [
            // What is served, since when the engine is away, the place, whether somebody has asked; the turn.
            ("a renewal", month, -1, 0.0, false, Turn::Wait(at(21 * DAY))),
            (
                "a renewal, of the last host",
                month,
                -1,
                1.0,
                false,
                Turn::Wait(at(25 * DAY + DAY / 2)),
            ),
            ("away for long", month, -50 * DAY, 0.0, false, Turn::Wait(at(21 * DAY))),
            ("the last tenth", validity(-82 * DAY, 8 * DAY), -1, 0.0, false, Turn::Alone),
            (
                "the last tenth, of the last host",
                validity(-82 * DAY, 8 * DAY),
                -1,
                1.0,
                false,
                Turn::Wait(at(8 * DAY - 9 * DAY / 2)),
            ),
            ("nothing is served", None, -1, 0.0, false, Turn::Wait(at(599))),
            ("nothing is served, the last host", None, -1, 1.0, false, Turn::Wait(at(899))),
            ("nothing for ten minutes", None, -600, 0.0, false, Turn::Alone),
            ("nothing for ten minutes, the last host", None, -600, 1.0, false, Turn::Wait(at(300))),
            ("has just expired", validity(-90 * DAY, -1), -DAY, 0.0, false, Turn::Wait(at(599))),
            (
                "has expired, away for long",
                validity(-90 * DAY, -600),
                -DAY,
                0.0,
                false,
                Turn::Alone,
            ),
            ("somebody has asked", month, -1, 1.0, true, Turn::Alone),
            ("the clock was set back", None, DAY, 0.0, false, Turn::Wait(at(600))),
        ];
        for (row, validity, since, place, is_asked, expected) in rows {
            let claimant = Claimant { validity, is_asked, place };
            assert_eq!(claimant.turn(Reach::Away(at(since)), NOW), expected, "{row}");
            assert_eq!(claimant.turn(Reach::Here, NOW), Turn::Lease, "{row}");
        }
    }

    #[test]
    fn hosts_are_spread() {
        let mut places: Vec<f64> =
            (0..1000).map(|host| place_of(&format!("web{host}"), "example.com~1")).collect();
        places.sort_by(f64::total_cmp);
        for (index, place) in places.iter().enumerate() {
            let even = f64::from(u32::try_from(index).unwrap()) / 1000.0;
            assert!((place - even).abs() < 0.1, "{index}: {place}");
        }
        assert!((place_of("web1", "a") - place_of("web1", "b")).abs() > f64::EPSILON);
    }

    #[test]
    fn an_engine_that_was_emptied_or_restored_makes_nothing_look_old() {
        let held = |number, end, leaf| Some(Held { number, not_after: at(end), leaf });
        let rows = [
            ("an empty engine", held(6, DAY, b"own"), None, Side::Own),
            ("an empty disk", None, held(6, DAY, b"shared"), Side::Shared),
            ("nothing at all", None, None, Side::Same),
            ("the same", held(6, DAY, b"one"), held(6, DAY, b"one"), Side::Same),
            ("the same, joined anew", held(0, DAY, b"one"), held(6, DAY, b"one"), Side::Same),
            ("a restored engine", held(6, 3 * DAY, b"own"), held(5, 9 * DAY, b"shared"), Side::Own),
            ("a month away", held(5, 9 * DAY, b"own"), held(6, DAY, b"shared"), Side::Shared),
            (
                "joining with an old one",
                held(0, DAY, b"own"),
                held(0, 2 * DAY, b"shared"),
                Side::Shared,
            ),
            (
                "joining with a new one",
                held(0, 2 * DAY, b"own"),
                held(0, DAY, b"shared"),
                Side::Own,
            ),
        ];
        for (row, own, shared, expected) in rows {
            assert_eq!(newer(own, shared), expected, "{row}");
        }
    }

    proptest! {
        /// Two hosts that meet after a partition agree on one certificate, whoever comes first.
        #[test]
        fn all_hosts_agree(
            one in (0u64..3, 0i64..3, proptest::collection::vec(0u8..4, 1..3)),
            other in (0u64..3, 0i64..3, proptest::collection::vec(0u8..4, 1..3)),
        ) {
            let held = |it: &'_ (u64, i64, Vec<u8>)| (it.0, at(it.1));
            let ((number, not_after), (number2, not_after2)) = (held(&one), held(&other));
            let one = Held { number, not_after, leaf: &one.2 };
            let other = Held { number: number2, not_after: not_after2, leaf: &other.2 };
            let (here, there) = (newer(Some(one), Some(other)), newer(Some(other), Some(one)));
            let expected = match here {
                Side::Own => Side::Shared,
                Side::Shared => Side::Own,
                Side::Same => Side::Same,
            };
            prop_assert_eq!(there, expected);
        }

        /// A host waits for nothing that is longer than the certificate is valid, and never waits for what is past.
        #[test]
        fn nobody_waits_for_too_long(
            from in -90i64..0, to in -5i64..90, since in -100i64..=0, place in 0.0f64..=1.0,
        ) {
            let validity = validity(from * DAY, to * DAY);
            let claimant = Claimant { validity, is_asked: false, place };
            if let Turn::Wait(until) = claimant.turn(Reach::Away(at(since * DAY)), NOW) {
                prop_assert!(until > NOW);
                let latest = if to > 0 { at(to * DAY) } else { at(900) };
                prop_assert!(until <= latest, "{until:?}");
                // It does begin then.
                prop_assert_eq!(claimant.turn(Reach::Away(at(since * DAY)), until), Turn::Alone);
            }
        }
    }
}
