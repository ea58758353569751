//! Numbers of orders and validations that may fail in a span of time.

use super::Validity;
use super::failure::FailureKind;
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// So many orders of a certificate may fail in a day, and so many validations in an hour. Let's Encrypt
/// refuses the sixth failed validation of a name within an hour.
const ORDERS: usize = 4;
const ORDERS_SPAN: Duration = Duration::from_secs(DAY);
const VALIDATIONS: usize = 3;
const VALIDATIONS_SPAN: Duration = Duration::from_secs(HOUR);

/// Certificates that live for less than some days have these parts of their lifetime instead.
const ORDERS_PART: u32 = 4;
const VALIDATIONS_PART: u32 = 24;

/// The failed orders of an account use up at most this part of what the CA admits.
const PART_OF_LIMIT: usize = 3;

/// Orders for certificates that are not there yet use up at most so many tenths of it: the account may have other uses,
/// and a renewal that the CA does not know as one counts, too.
const TENTHS_FOR_NEW: usize = 9;

/// Part of the CAs' limits that the failed attempts for a certificate have used up.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Spent {
    /// Times at which orders failed.
    pub orders: Vec<UnixTime>,
    /// Times at which validations failed.
    pub validations: Vec<UnixTime>,
}

impl Spent {
    /// Counts a failed attempt.
    pub(super) fn note(&mut self, now: UnixTime, kind: FailureKind, ordered: bool) {
        let is_recent =
            |time: &UnixTime| *time <= now && now.since(*time) < ORDERS_SPAN.max(VALIDATIONS_SPAN);
        for times in [&mut self.orders, &mut self.validations] {
            times.retain(is_recent);
        }
        if ordered {
            self.orders.push(now);
        }
        if kind == FailureKind::Validation {
            self.validations.push(now);
        }
    }

    /// From when on there is room for another order.
    pub(super) fn room_from(&self, now: UnixTime, current: Option<Validity>) -> UnixTime {
        let span = |span: Duration, part: u32| {
            current.map_or(span, |validity| span.min(validity.lifetime() / part))
        };
        let orders = (&self.orders, ORDERS, span(ORDERS_SPAN, ORDERS_PART));
        let validations =
            (&self.validations, VALIDATIONS, span(VALIDATIONS_SPAN, VALIDATIONS_PART));
        let free = |(times, most, span): (&Vec<UnixTime>, usize, Duration)| {
            let last = times.iter().rev().filter(|time| **time <= now).nth(most - 1);
            last.map(|time| *time + span)
        };
        [orders, validations].into_iter().filter_map(free).max().unwrap_or_default()
    }
}

/// Number of orders of an account that a CA admits in a span of time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct OrderLimit {
    /// The number.
    pub orders: usize,
    /// The span.
    pub span: Duration,
}

impl OrderLimit {
    /// From when on there is room for an order of a certificate that is not there yet, where so many orders were placed:
    /// sorted, the latest last.
    /// `others` is the number of hosts that leave equal parts of it to each other.
    pub(super) fn room_for_new(
        self,
        placed: &[UnixTime],
        others: usize,
        now: UnixTime,
    ) -> UnixTime {
        let most = (self.orders * TENTHS_FOR_NEW / 10 / (others + 1)).max(1);
        let last = placed.iter().rev().filter(|time| **time <= now).nth(most - 1);
        last.map_or(UnixTime::default(), |time| *time + self.span)
    }

    /// From when on another order may fail, where these have: sorted, the latest last.
    pub(super) fn room_from(self, failed: &[UnixTime], now: UnixTime) -> UnixTime {
        let most = (self.orders / PART_OF_LIMIT).max(1);
        let last = failed.iter().rev().filter(|time| **time <= now).nth(most - 1);
        last.map_or(UnixTime::default(), |time| *time + self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, HOUR, Spent};
    use crate::schedule::{FailureKind, Validity};
    use crate::time::UnixTime;
    use std::time::Duration;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn at(seconds: u64) -> UnixTime {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn orders_and_validations_are_counted() {
        let mut spent = Spent::default();
        for n in 0..4 {
            assert!(spent.room_from(at(n), None) <= at(n), "{n}");
            spent.note(at(n), FailureKind::Temporary, true);
        }
        assert_eq!(spent.room_from(at(5), None), at(DAY));
        let short = Validity { not_before: NOW, not_after: at(4 * HOUR) };
        assert_eq!(spent.room_from(at(5), Some(short)), at(HOUR), "by its lifetime");
        assert!(spent.room_from(NOW, None) <= NOW, "a clock that was set back");
        let mut spent = Spent::default();
        for n in 0..3 {
            spent.note(at(n), FailureKind::Validation, false);
        }
        assert_eq!(spent.room_from(at(5), None), at(HOUR));
    }
}
