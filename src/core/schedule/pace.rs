//! Lengths of pauses, and the levels at which failures are told.

use super::Validity;
use crate::level::Level;
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// The pauses after consecutive failures of what may work again by itself: how many of a length in
/// seconds. Most of it is over soon; the rest of the thirty days that a certificate of ninety has left
/// is for the long ones.
const PAUSES: [(u32, u64); 11] = [
    (1, 10),          // 10 s after the first failure
    (1, MINUTE),      // 70 s
    (1, 2 * MINUTE),  // 3 min
    (1, 5 * MINUTE),  // 8 min
    (2, 10 * MINUTE), // 28 min
    (3, 20 * MINUTE), // 1:28 h
    (4, 30 * MINUTE), // 3:28 h
    (4, HOUR),        // 7:28 h
    (4, 2 * HOUR),    // 15:28 h
    (4, 4 * HOUR),    // 31:28 h
    (115, 6 * HOUR),  // 30 days, and so on without an end
];

/// The pauses in seconds after refusals that cost no order. Many a refusal is a mishap of minutes, so
/// the first ones are short.
const REFUSED: [u64; 4] = [MINUTE, 10 * MINUTE, HOUR, DAY];

/// The same after refusals that cost an order: CAs limit their number.
const COSTLY: [u64; 3] = [10 * MINUTE, HOUR, DAY];

/// The pauses in seconds while our own records leave no room for more: orders that end make some.
const FULL: [u64; 3] = [10, 30, MINUTE];

/// The pauses in seconds between two looks for a record that a person adds. Who has just read what to add is
/// waiting for it; a look is a question to the zone's servers, which costs nothing.
const WAITING: [u64; 12] =
    [10, 10, 10, 15, 15, MINUTE, MINUTE, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE];

/// The longest pause while a certificate is served that has expired.
const EXPIRED: Duration = Duration::from_secs(15 * MINUTE);

/// A pause is at most this part of the lifetime that is left, so that attempts grow more frequent
/// towards the end, and the shortest such limit.
pub(super) const PART_OF_REST: u32 = 10;
const SHORTEST: Duration = Duration::from_secs(5);

/// A pause may be so much longer than its row, as a fraction of it.
const PAUSE_JITTER: f64 = 0.25;

/// So often in an hour a reload ends a pause, where nothing was changed.
const RELOADS: usize = 3;
const RELOADS_SPAN: Duration = Duration::from_secs(HOUR);

/// With this part of its lifetime left a renewal runs out of time.
const PRESSING: u32 = 10;

/// Interval of the reminders where the pauses grow no more.
const REMINDER: Duration = Duration::from_secs(DAY);

/// A row of pauses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ladder {
    /// Failures that may end by themselves.
    Temporary,
    /// Somebody has refused something.
    Refused,
    /// The same, at the cost of an order.
    Costly,
    /// Our own records leave no room for more.
    Full,
    /// A person has not added a record yet.
    Waiting,
}

impl Ladder {
    /// Tells whether a person, or better records, may be needed.
    pub(super) fn is_of_refusals(self) -> bool {
        matches!(self, Self::Refused | Self::Costly)
    }

    /// The pause after so many consecutive failures of this kind.
    pub(super) fn pause(self, failures: u32) -> Duration {
        let row: &[u64] = match self {
            Self::Temporary => return table(failures),
            Self::Refused => &REFUSED,
            Self::Costly => &COSTLY,
            Self::Full => &FULL,
            Self::Waiting => &WAITING,
        };
        let step = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        let seconds = row.get(step).or(row.last()).copied().unwrap_or(DAY);
        Duration::from_secs(seconds)
    }
}

/// The pause after so many consecutive temporary failures.
fn table(failures: u32) -> Duration {
    let mut left = failures.max(1);
    for (count, seconds) in PAUSES {
        if left <= count {
            return Duration::from_secs(seconds);
        }
        left -= count;
    }
    Duration::from_secs(PAUSES[PAUSES.len() - 1].1)
}

/// Adds jitter to a pause; `jitter` is from 0 to 1.
pub(super) fn jittered(pause: Duration, jitter: f64) -> Duration {
    pause.mul_f64(1.0 + PAUSE_JITTER * jitter.clamp(0.0, 1.0))
}

/// Shortens a pause of our own as much as the end of the certificate that is served demands.
pub(super) fn shortened(pause: Duration, now: UnixTime, current: Option<Validity>) -> Duration {
    let pause = limit(pause, now, current, PART_OF_REST, SHORTEST);
    let has_expired = current.is_some_and(|validity| validity.not_after <= now);
    if has_expired { pause.min(EXPIRED) } else { pause }
}

/// A pause of at most a part of the lifetime that is left, unless that is shorter than `shortest`.
pub(super) fn limit(
    pause: Duration,
    now: UnixTime,
    current: Option<Validity>,
    part: u32,
    shortest: Duration,
) -> Duration {
    match current.map(|validity| validity.not_after.since(now)) {
        Some(left) if !left.is_zero() => pause.min((left / part).max(shortest)),
        _ => pause,
    }
}

/// Appends the ends of certificates at which something changes for those that wait for a pause: it is
/// over for one of these ends, and lasts for the next. `since` is its beginning, and `part` that of
/// the lifetime left which limits it.
pub(super) fn cut(cuts: &mut Vec<UnixTime>, since: UnixTime, now: UnixTime, part: u32) {
    let passed = now.since(since).saturating_add(Duration::from_secs(1));
    cuts.push(since + Duration::from_secs(1));
    cuts.push(since + passed.saturating_mul(part));
}

/// Times at which a pause was ended by loading a configuration that was the same as before: each costs
/// an attempt.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Reloads(Vec<UnixTime>);

impl Reloads {
    /// Tells whether another reload ends the pause, and counts it.
    pub(super) fn admit(&mut self, now: UnixTime, has_changed: bool) -> bool {
        // Those to come were counted by a clock that has been set back since.
        self.0.iter_mut().for_each(|time| *time = (*time).min(now));
        self.0.retain(|time| now.since(*time) < RELOADS_SPAN);
        if has_changed {
            self.0.clear();
        } else if self.is_used_up(now) {
            return false;
        } else {
            self.0.push(now);
        }
        true
    }

    /// From when on another reload is admitted.
    pub(super) fn room_from(&self, now: UnixTime) -> UnixTime {
        let last = self.0.iter().rev().nth(RELOADS - 1);
        last.map_or(now, |time| (*time).min(now) + RELOADS_SPAN)
    }

    /// The number that is remembered.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Tells whether another reload changes nothing.
    pub(super) fn is_used_up(&self, now: UnixTime) -> bool {
        let is_recent = |time: &&UnixTime| now.since((**time).min(now)) < RELOADS_SPAN;
        self.0.iter().filter(is_recent).count() >= RELOADS
    }
}

/// Stake of an attempt that fails.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Stake {
    /// A certificate is served that is good for a while.
    Calm,
    /// It is not good for long.
    Pressing,
    /// Clients see a self-signed certificate, or an expired one.
    Unserved,
}

impl Stake {
    /// The last moment before a renewal presses.
    pub(super) fn pressing_from(current: Validity) -> UnixTime {
        let part = current.lifetime().as_secs().div_ceil(u64::from(PRESSING));
        current.not_after - Duration::from_secs(part)
    }

    pub(super) fn of(current: Option<Validity>, now: UnixTime) -> Self {
        match current {
            Some(validity) if validity.not_after > now => {
                if now > Self::pressing_from(validity) {
                    Self::Pressing
                } else {
                    Self::Calm
                }
            }
            _ => Self::Unserved,
        }
    }
}

/// Last report of consecutive failures as an error.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Told {
    /// Time of the report.
    pub at: UnixTime,
    /// The pause in seconds that followed.
    pub pause: u64,
}

impl Told {
    /// The level of the line about a failure that is followed by a pause. A site without a good
    /// certificate is an error, once and then whenever the pause grows; a renewal that has time is a
    /// warning, until what needs a person is tried once a day only.
    pub(super) fn tell(
        &mut self,
        now: UnixTime,
        stake: Stake,
        pause: Duration,
        needs_person: bool,
    ) -> Level {
        let has_grown = pause.as_secs() > self.pause;
        let is_old = self.at > now || now.since(self.at) >= REMINDER;
        let is_error = match stake {
            Stake::Unserved | Stake::Pressing => has_grown || is_old,
            Stake::Calm => needs_person && has_grown && pause.as_secs() >= DAY,
        };
        if !is_error {
            return Level::Warn;
        }
        *self = Self { at: now, pause: pause.as_secs() };
        Level::Error
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, HOUR, Ladder, MINUTE, PAUSES, Stake, Told, table};
    use crate::level::Level;
    use crate::schedule::Validity;
    use crate::time::UnixTime;
    use std::time::Duration;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn at(seconds: u64) -> UnixTime {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn the_table_covers_thirty_days_and_goes_on() {
        let total: u64 = PAUSES.iter().map(|(count, seconds)| u64::from(*count) * seconds).sum();
        assert!(total >= 30 * 24 * HOUR, "{total}");
        let attempts: u32 = PAUSES.iter().map(|(count, _)| count).sum();
        let pauses: Vec<u64> = (0..attempts + 10).map(|n| table(n).as_secs()).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert_eq!((pauses[1], pauses[2], pauses[6], pauses[7]), (10, 60, 600, 1200));
        assert_eq!(pauses.last(), Some(&(6 * HOUR)));
        let first_day = pauses[1..].iter().scan(0, |sum, pause| {
            *sum += pause;
            Some(*sum)
        });
        assert_eq!(first_day.take_while(|sum| *sum <= 24 * HOUR).count(), 23, "front-weighted");
    }

    #[test]
    fn refusals_climb_to_a_day() {
        assert_eq!([1, 2, 3, 9].map(|n| Ladder::Full.pause(n).as_secs()), [10, 30, 60, 60]);
        let waiting = [1, 3, 4, 6, 9, 12, 99].map(|n| Ladder::Waiting.pause(n).as_secs());
        assert_eq!(waiting, [10, 10, 15, 60, 120, 900, 900]);
        let row = |ladder: Ladder| [1, 2, 3, 4, 99].map(|n| ladder.pause(n).as_secs());
        assert_eq!(row(Ladder::Refused), [MINUTE, 10 * MINUTE, HOUR, DAY, DAY]);
        assert_eq!(row(Ladder::Costly), [10 * MINUTE, HOUR, DAY, DAY, DAY]);
    }

    #[test]
    fn levels_follow_what_a_person_must_know() {
        use Level::{Error, Warn};
        let minutes = |n: u64| Duration::from_secs(n * MINUTE);
        let tell = |rows: &[(u64, Stake, u64, bool)]| {
            let mut told = Told::default();
            let line = |(when, stake, pause, person): &(u64, Stake, u64, bool)| {
                told.tell(at(*when * MINUTE), *stake, minutes(*pause), *person)
            };
            rows.iter().map(line).collect::<Vec<_>>()
        };
        // Missing: once, then when the pause grows, or a day has passed.
        let rows = [(0, 1), (1, 2), (3, 2), (5, 2), (7, 20), (27, 20), (1500, 20)];
        let rows = rows.map(|(when, pause)| (when, Stake::Unserved, pause, false));
        assert_eq!(tell(&rows), [Error, Error, Warn, Warn, Error, Warn, Error]);
        // A renewal that has time, and then has none.
        let rows = [
            (0, Stake::Calm, 1, false),
            (1, Stake::Calm, 360, false),
            (400, Stake::Pressing, 300, false),
            (700, Stake::Pressing, 300, false),
            (2000, Stake::Pressing, 200, false),
        ];
        assert_eq!(tell(&rows), [Warn, Warn, Error, Warn, Error]);
        // A refusal that lasts.
        let rows = [(0, 1), (1, 10), (11, 60), (71, 1440), (1511, 1440)];
        let rows = rows.map(|(when, pause)| (when, Stake::Calm, pause, true));
        assert_eq!(tell(&rows), [Warn, Warn, Warn, Error, Warn]);
    }

    #[test]
    fn a_certificate_presses_with_a_tenth_of_its_life_left() {
        let validity = |left: u64| {
            let end = at(left * DAY);
            Some(Validity { not_before: end - Duration::from_secs(90 * DAY), not_after: end })
        };
        let stakes = [validity(30), validity(8), validity(0), None].map(|v| Stake::of(v, NOW));
        let expected = [Stake::Calm, Stake::Pressing, Stake::Unserved, Stake::Unserved];
        assert_eq!(stakes, expected);
    }
}
