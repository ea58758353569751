//! When each certificate is obtained, and when it is tried again.
//!
//! The state machine of one certificate:
//!
//! ```text
//!            poll(now) at `next`                  handle_success
//!   Waiting ---------------------> Working ---------------------------> Waiting (renewal time)
//!      ^                              |
//!      +------------------------------+
//!        handle_failure (growing pause)
//! ```
//!
//! It owns no clock and no randomness: every method is told the time, and jitter is drawn by the
//! caller as a number from 0 to 1.

use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The pauses after consecutive failures; the last one repeats. Elapsed at the end of each row:
/// 10 s, 70 s, 6 min, 21 min, 51 min, 1:51 h, 3:51 h, 7:51 h, then every 6 hours.
const PAUSES: [Duration; 9] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(6 * 3600),
];

/// The longest pause after attempts that ended with the process, so that a helper that crashes
/// while it works does not place an order at every respawn.
const MAX_CRASH_PAUSE: Duration = Duration::from_secs(600);

/// Certificates of this lifetime or less are renewed at half of it, as there is less time to retry.
const SHORT_LIFETIME: Duration = Duration::from_secs(10 * 24 * 3600);

/// How much earlier than its time a renewal may come, as a fraction of the lifetime: certificates
/// that were obtained together drift apart.
const RENEWAL_JITTER: f64 = 0.02;

/// How much longer than its row a pause may be, as a fraction of it.
const PAUSE_JITTER: f64 = 0.25;

/// How many certificates are worked on at once.
pub const CONCURRENCY: usize = 20;

/// The validity of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// The first moment.
    pub not_before: UnixTime,
    /// The last moment.
    pub not_after: UnixTime,
}

impl Validity {
    /// When to renew: at two thirds of the lifetime, at half of it if it is short, up to
    /// [`RENEWAL_JITTER`] earlier. `jitter` is from 0 to 1.
    pub fn renewal_time(self, jitter: f64) -> UnixTime {
        let lifetime = self.not_after.since(self.not_before);
        let fraction = if lifetime <= SHORT_LIFETIME { 0.5 } else { 2.0 / 3.0 };
        self.not_before + lifetime.mul_f64(fraction - RENEWAL_JITTER * jitter.clamp(0.0, 1.0))
    }
}

/// What of the schedule survives the process.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Progress {
    /// Consecutive attempts that failed.
    pub failures: u32,
    /// Consecutive attempts that began and never ended: the process died.
    pub unfinished: u32,
    /// When the last attempt began or ended.
    pub last: UnixTime,
    /// No attempt before this time.
    pub next: UnixTime,
}

impl Progress {
    /// The state to keep when an attempt begins.
    #[must_use]
    pub fn begun(self, now: UnixTime) -> Self {
        Self { unfinished: self.unfinished.saturating_add(1), last: now, ..self }
    }

    /// The state to keep when an attempt failed. `retry_after` is what the CA asked for.
    #[must_use]
    pub fn failed(self, now: UnixTime, retry_after: Option<Duration>, jitter: f64) -> Self {
        let failures = self.failures.saturating_add(1);
        let row = usize::try_from(failures - 1).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
        let pause = PAUSES[row].mul_f64(1.0 + PAUSE_JITTER * jitter.clamp(0.0, 1.0));
        let next = now + pause.max(retry_after.unwrap_or_default());
        Self { failures, unfinished: 0, last: now, next }
    }

    /// The state to keep when an attempt was given up in good order, by a reload or a stop.
    #[must_use]
    pub fn interrupted(self) -> Self {
        Self { unfinished: 0, ..self }
    }

    /// When this certificate may be tried. A time of the last attempt that lies in the future means
    /// that the clock was set back: what was computed from it holds no more.
    fn earliest(self, now: UnixTime) -> UnixTime {
        if self.last > now {
            return now;
        }
        let crash_pause = match self.unfinished {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(10)).min(MAX_CRASH_PAUSE),
        };
        self.next.max(self.last + crash_pause)
    }
}

/// What is known of a certificate when the schedule begins.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The certificate on disk, if there is one that can be used.
    pub validity: Option<Validity>,
    /// What was kept of earlier attempts.
    pub progress: Progress,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    progress: Progress,
    next: UnixTime,
    working: bool,
}

/// Decides which certificate is worked on, and when.
#[derive(Debug)]
pub struct Schedule {
    entries: Vec<Entry>,
}

impl Schedule {
    /// Begins with what is known of each certificate; `jitter` gives a number from 0 to 1.
    pub fn new(
        known: impl IntoIterator<Item = Known>,
        now: UnixTime,
        mut jitter: impl FnMut() -> f64,
    ) -> Self {
        let entries = known.into_iter().map(|Known { validity, progress }| {
            let due = validity.map_or(now, |validity| validity.renewal_time(jitter()));
            Entry { progress, next: due.max(progress.earliest(now)), working: false }
        });
        Self { entries: entries.collect() }
    }

    /// A certificate to work on now, the longest due first. The caller ends the work with
    /// [`Schedule::handle_success`] or [`Schedule::handle_failure`]; it keeps the progress first.
    pub fn poll(&mut self, now: UnixTime) -> Option<(usize, Progress)> {
        if self.working() >= CONCURRENCY {
            return None;
        }
        let due = self.entries.iter_mut().enumerate();
        let (certificate, entry) = due
            .filter(|(_, entry)| !entry.working && entry.next <= now)
            .min_by_key(|(_, entry)| entry.next)?;
        entry.working = true;
        entry.progress = entry.progress.begun(now);
        Some((certificate, entry.progress))
    }

    /// When [`Schedule::poll`] will have something to do, unless an outcome comes first.
    pub fn poll_timeout(&self) -> Option<UnixTime> {
        if self.working() >= CONCURRENCY {
            return None;
        }
        self.entries.iter().filter(|entry| !entry.working).map(|entry| entry.next).min()
    }

    /// The certificate was obtained. Gives the time of its renewal.
    pub fn handle_success(
        &mut self,
        certificate: usize,
        validity: Validity,
        jitter: f64,
    ) -> UnixTime {
        let next = validity.renewal_time(jitter);
        if let Some(entry) = self.entries.get_mut(certificate) {
            *entry = Entry { progress: Progress::default(), next, working: false };
        }
        next
    }

    /// The attempt failed. Gives the progress to keep, with the time of the next attempt.
    pub fn handle_failure(
        &mut self,
        certificate: usize,
        now: UnixTime,
        retry_after: Option<Duration>,
        jitter: f64,
    ) -> Progress {
        let Some(entry) = self.entries.get_mut(certificate) else { return Progress::default() };
        let progress = entry.progress.failed(now, retry_after, jitter);
        *entry = Entry { progress, next: progress.next, working: false };
        progress
    }

    /// The certificates that are worked on, with what to keep when the work is given up in good
    /// order.
    pub fn interrupted(&self) -> impl Iterator<Item = (usize, Progress)> {
        let working = self.entries.iter().enumerate().filter(|(_, entry)| entry.working);
        working.map(|(certificate, entry)| (certificate, entry.progress.interrupted()))
    }

    fn working(&self) -> usize {
        self.entries.iter().filter(|entry| entry.working).count()
    }
}

#[cfg(test)]
mod tests {
    use super::{CONCURRENCY, Known, Progress, Schedule, Validity};
    use crate::time::UnixTime;
    use std::time::Duration;

    const DAY: i64 = 24 * 3600;
    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn validity(lifetime: i64) -> Validity {
        Validity { not_before: NOW, not_after: UnixTime(NOW.0 + lifetime) }
    }

    fn schedule(known: &[Known], now: UnixTime) -> Schedule {
        Schedule::new(known.iter().copied(), now, || 0.0)
    }

    fn new() -> Known {
        Known { validity: None, progress: Progress::default() }
    }

    #[test]
    fn renews_at_two_thirds_or_at_half_of_a_short_lifetime() {
        for (lifetime, jitter, expected) in [
            (90 * DAY, 0.0, 60 * DAY),
            (90 * DAY, 1.0, 58 * DAY + DAY / 5),
            (10 * DAY, 0.0, 5 * DAY),
            (6 * DAY, 0.0, 3 * DAY),
            (100, 0.0, 50),
            (100, 1.0, 48),
            (100, 7.0, 48),
        ] {
            let time = validity(lifetime).renewal_time(jitter).0 - NOW.0;
            assert!((time - expected).abs() <= 1, "{lifetime} {jitter}: {time} is not {expected}");
        }
    }

    #[test]
    fn what_is_missing_is_due_at_once_and_what_is_good_is_not() {
        let known = Known { validity: Some(validity(90 * DAY)), progress: Progress::default() };
        let mut schedule = schedule(&[known, new()], NOW);
        assert_eq!(schedule.poll(NOW).map(|(certificate, _)| certificate), Some(1));
        assert_eq!(schedule.poll(NOW), None);
        assert_eq!(schedule.poll_timeout(), Some(NOW + Duration::from_secs(60 * 24 * 3600)));
    }

    #[test]
    fn a_failure_holds_up_nobody_else_and_pauses_grow() {
        let mut schedule = schedule(&[new(), new()], NOW);
        assert_eq!(schedule.poll(NOW).map(|(certificate, _)| certificate), Some(0));
        let mut now = NOW;
        let mut last_pause = Duration::ZERO;
        for _ in 0..12 {
            let next = schedule.handle_failure(0, now, None, 0.0).next;
            assert!(next.since(now) >= last_pause);
            last_pause = next.since(now);
            now = next;
            schedule.entries[1].working = true;
            assert_eq!(schedule.poll(now - Duration::from_secs(1)), None);
            assert_eq!(schedule.poll(now).map(|(certificate, _)| certificate), Some(0));
        }
        assert_eq!(last_pause, Duration::from_secs(6 * 3600));
    }

    #[test]
    fn the_ca_may_ask_for_a_longer_pause_but_not_for_a_shorter_one() {
        for (asked, expected) in [(0, 10), (5, 10), (3600, 3600)] {
            let progress = Progress::default().failed(NOW, Some(Duration::from_secs(asked)), 0.0);
            assert_eq!(progress.next.since(NOW).as_secs(), expected, "{asked}");
        }
    }

    #[test]
    fn success_forgets_the_failures() {
        let mut schedule = schedule(&[new()], NOW);
        schedule.poll(NOW);
        schedule.handle_failure(0, NOW, None, 0.0);
        let later = NOW + Duration::from_secs(10);
        assert!(schedule.poll(later).is_some());
        schedule.handle_success(0, validity(90 * DAY), 0.0);
        let renewal = schedule.poll_timeout().unwrap_or_default();
        let (_, progress) = schedule.poll(renewal).unwrap_or_default();
        assert_eq!(progress.failures, 0);
    }

    #[test]
    fn a_process_that_dies_while_it_works_pauses_longer_each_time() {
        let mut progress = Progress::default();
        let mut now = NOW;
        for expected in [1, 2, 4, 8] {
            progress = progress.begun(now);
            let schedule = schedule(&[Known { validity: None, progress }], now);
            let next = schedule.poll_timeout().unwrap_or_default();
            assert_eq!(next.since(now).as_secs(), expected);
            now = next;
        }
        for _ in 0..40 {
            progress = progress.begun(now);
        }
        let schedule = schedule(&[Known { validity: None, progress }], now);
        assert_eq!(schedule.poll_timeout().unwrap_or_default().since(now).as_secs(), 600);
        assert_eq!(progress.interrupted().unfinished, 0, "a stop in good order is no crash");
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_work() {
        let progress = Progress::default().failed(NOW + Duration::from_secs(1_000_000), None, 0.0);
        let mut schedule = schedule(&[Known { validity: None, progress }], NOW);
        assert!(schedule.poll(NOW).is_some());
    }

    #[test]
    fn work_is_bounded() {
        let known = vec![new(); CONCURRENCY + 5];
        let mut schedule = schedule(&known, NOW);
        let started = std::iter::from_fn(|| schedule.poll(NOW)).count();
        assert_eq!(started, CONCURRENCY);
        assert_eq!(schedule.poll_timeout(), None, "only an outcome makes room");
        schedule.handle_success(3, validity(90 * DAY), 0.0);
        assert_eq!(schedule.poll(NOW).map(|(certificate, _)| certificate), Some(CONCURRENCY));
        assert_eq!(schedule.interrupted().count(), CONCURRENCY);
    }
}
