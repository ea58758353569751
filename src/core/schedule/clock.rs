//! A clock that is wrong: judged by a fresh certificate and by the CA's `Date` (RFC 9110 section
//! 6.6.1).
//!
//! What a CA has just issued is good, whatever the clock of this host says of it: another order would
//! bring the same. So the difference of the clocks is noted, and the dates of the certificate are
//! read with it, until the clock is set right.

use super::Validity;
use crate::time::UnixTime;
use std::time::Duration;

/// Clocks that differ by less are equal.
pub(super) const TOLERANCE: Duration = Duration::from_secs(300);

/// A fresh certificate has not lived longer than this part of its lifetime, whatever a `Date` says:
/// with a clock further ahead each certificate would be renewed as soon as it is there.
const FRESH: u32 = 3;

/// Verdict on the dates of a certificate that a CA has just issued, with the CA's `Date`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// It can be served.
    Good(Skew),
    /// It becomes valid later, by the CA's own clock.
    Early {
        /// First moment.
        from: UnixTime,
        /// Time until then.
        wait: Duration,
    },
    /// It has expired, by the CA's own clock.
    Expired,
}

/// Seconds by which our clock is ahead of the CA's; negative: behind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Skew {
    /// Difference with which the dates of the certificate are read.
    pub applied: i64,
    /// Difference that a person should know of, zero if the clocks agree. It is not applied where a
    /// certificate is good without it.
    pub seen: i64,
}

impl Validity {
    /// Judges the dates of a fresh certificate. `date` is the CA's own time, if it tells.
    #[must_use]
    pub fn freshness(self, now: UnixTime, date: Option<UnixTime>) -> Freshness {
        let is_good_at =
            |time: UnixTime| self.not_before <= time + TOLERANCE && time < self.not_after;
        let Some(date) = date else {
            let skew = if is_good_at(now) { 0 } else { now.0.saturating_sub(self.not_before.0) };
            return Freshness::Good(Skew { applied: skew, seen: skew });
        };
        match (is_good_at(now), is_good_at(date)) {
            // A clock of the CA that its certificate refutes is worth nothing.
            (true, false) => Freshness::Good(Skew::default()),
            (false, false) if date < self.not_before => {
                let wait = self.not_before.since(date);
                Freshness::Early { from: self.not_before, wait }
            }
            (false, false) => Freshness::Expired,
            (is_good, true) => {
                let seen = now.0.saturating_sub(date.0);
                if seen.unsigned_abs() <= TOLERANCE.as_secs() {
                    return Freshness::Good(Skew::default());
                }
                let latest = self.not_before + self.lifetime() / FRESH;
                let applied = now.0.saturating_sub(date.clamp(self.not_before, latest).0);
                // One that is behind and has a good certificate renews it a little late.
                let applied = if is_good { applied.max(0) } else { applied };
                Freshness::Good(Skew { applied, seen })
            }
        }
    }

    /// The same dates by a clock that is ahead by so many seconds.
    pub(super) fn shifted(self, seconds: i64) -> Self {
        Self {
            not_before: self.not_before.shifted(seconds),
            not_after: self.not_after.shifted(seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Freshness, Skew};
    use crate::schedule::Validity;
    use crate::time::UnixTime;
    use std::time::Duration;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_fresh_certificate_is_good_whatever_our_clock_says() {
        let good = |applied, seen| Freshness::Good(Skew { applied, seen });
        // The certificate, backdated by an hour, is of NOW by the CA's clock, and of 90 days.
        for (row, ours, date, expected) in [
            ("clocks agree", 0, Some(0), good(0, 0)),
            ("nearly", 200, Some(0), good(0, 0)),
            ("no date", 0, None, good(0, 0)),
            ("behind, within the backdating", -1800, Some(0), good(0, -1800)),
            ("behind", -2 * HOUR, Some(0), good(-2 * HOUR, -2 * HOUR)),
            ("behind by a year", -365 * DAY, Some(0), good(-365 * DAY, -365 * DAY)),
            ("ahead, still within its life", 75 * DAY, Some(0), good(75 * DAY, 75 * DAY)),
            ("ahead of its life", 100 * DAY, Some(0), good(100 * DAY, 100 * DAY)),
            ("behind, no date", -2 * HOUR, None, good(-HOUR, -HOUR)),
            (
                "ahead of its life, no date",
                100 * DAY,
                None,
                good(100 * DAY + HOUR, 100 * DAY + HOUR),
            ),
            ("the CA's date is nonsense", 0, Some(-400 * DAY), good(0, 0)),
            ("the CA's date is ahead of its own certificate", 0, Some(400 * DAY), good(0, 0)),
            ("the CA's date is ahead", 0, Some(80 * DAY), good(0, -80 * DAY)),
        ] {
            let validity = Validity {
                not_before: UnixTime(NOW - HOUR),
                not_after: UnixTime(NOW - HOUR + 90 * DAY),
            };
            let date = date.map(|date| UnixTime(NOW + date));
            assert_eq!(validity.freshness(UnixTime(NOW + ours), date), expected, "{row}");
        }
    }

    #[test]
    fn one_that_both_clocks_refuse_is_early_or_has_expired() {
        let validity = Validity { not_before: UnixTime(NOW), not_after: UnixTime(NOW + 90 * DAY) };
        let early =
            |wait: u64| Freshness::Early { from: UnixTime(NOW), wait: Duration::from_secs(wait) };
        for (ours, date, expected) in [
            (-HOUR, -HOUR, early(3600)),
            (-2 * HOUR, -HOUR, early(3600)),
            (100 * DAY, -HOUR, early(3600)),
            (90 * DAY, 90 * DAY, Freshness::Expired),
            (-HOUR, 91 * DAY, Freshness::Expired),
        ] {
            let found = validity.freshness(UnixTime(NOW + ours), Some(UnixTime(NOW + date)));
            assert_eq!(found, expected, "{ours} {date}");
        }
    }

    #[test]
    fn no_date_makes_a_fresh_certificate_an_old_one() {
        let validity = Validity { not_before: UnixTime(NOW), not_after: UnixTime(NOW + 90 * DAY) };
        for (ours, date) in [(-HOUR, 89 * DAY), (100 * DAY, 89 * DAY), (80 * DAY, 2 * DAY)] {
            let Freshness::Good(Skew { applied, .. }) =
                validity.freshness(UnixTime(NOW + ours), Some(UnixTime(NOW + date)))
            else {
                panic!("{ours} {date}");
            };
            let age = ours - applied;
            assert!((0..=30 * DAY).contains(&age), "{ours} {date}: {age} s old");
        }
    }
}
