//! Time, chance and pauses: the one clock that the engine reads, and sleeping by it.
//!
//! Timers count the time that the machine is awake. When it wakes, or when its clock is set, what is due
//! by the calendar is due now: a sleep ends when the clock has moved otherwise than the timer.

use crate::event::{Event, StateEvent};
use crate::host::Host;
use acme_dns_core::time::UnixTime;
use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;

/// The pause before something of this machine, such as the disk, is tried again.
pub(super) const LOCAL_PAUSE: Duration = Duration::from_secs(30);

/// The longest sleep.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Pause between two looks of a sleeper at the clock. A descriptor that the kernel wakes (timerfd) would see a clock
/// that is set at once, but not one that a library changes for tests.
const GLANCE: Duration = Duration::from_secs(5);

/// A clock that has moved by so much more than it should was set.
const JUMP: Duration = Duration::from_secs(2);

/// Returns the time by which certificates expire.
pub(super) fn now() -> UnixTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

/// Random numbers that are fetched at once: OpenSSL takes as long for one as for all of them.
const RANDOM: usize = 64;

thread_local! {
    /// Numbers that no one has had yet.
    static NUMBERS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Returns a number from 0 to 1.
pub(super) fn random() -> f64 {
    let number = NUMBERS.with_borrow_mut(|numbers| {
        if numbers.is_empty() {
            let mut bytes = [0; RANDOM * size_of::<u32>()];
            openssl::rand::rand_bytes(&mut bytes).ok()?;
            let (words, _) = bytes.as_chunks();
            numbers.extend(words.iter().map(|word| u32::from_le_bytes(*word)));
        }
        numbers.pop()
    });
    number.map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// Lets other tasks run during a long round: thousands of certificates take time, and a stop must not wait for
/// them.
pub(super) async fn let_others_work(index: usize) {
    /// Number that takes a millisecond or two. Each pause is a system call.
    const BATCH: usize = 64;
    if index.is_multiple_of(BATCH) {
        tokio::task::yield_now().await;
    }
}

/// Pauses after an error of this machine, and tells so.
pub(super) async fn pause_after(host: &dyn Host, error: &dyn fmt::Display) {
    host.tell(&Event::State(StateEvent::Retrying { why: error.to_string(), pause: LOCAL_PAUSE }));
    sleep(LOCAL_PAUSE).await;
}

/// Sleeps for so long, or until the clock jumps.
pub(super) async fn sleep_by_the_clock(pause: Duration) {
    sleep_by(pause, SystemTime::now).await;
}

async fn sleep_by(pause: Duration, now: impl Fn() -> SystemTime) {
    let mut left = pause;
    loop {
        let step = left.min(GLANCE);
        let before = now();
        sleep(step).await;
        left -= step;
        let has_jumped = now().duration_since(before).map_or(true, |moved| moved > step + JUMP);
        if left.is_zero() || has_jumped {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GLANCE, sleep_by};
    use std::cell::Cell;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    use tokio::time::{Instant, sleep};

    const DAY: u64 = 24 * 3600;
    const LONG: Duration = Duration::from_secs(600);

    /// Measures a sleep while the clock is changed after 7 s.
    async fn slept(pause: Duration, change: impl Fn(SystemTime) -> SystemTime) -> Duration {
        let (begun, is_changed) = (Instant::now(), Cell::new(false));
        let now = || {
            let right = UNIX_EPOCH + Duration::from_secs(1_800_000_000) + begun.elapsed();
            if is_changed.get() { change(right) } else { right }
        };
        let setting = async {
            sleep(Duration::from_secs(7)).await;
            is_changed.set(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sleep_by(pause, now) => {}
            () = setting => {}
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_within_seconds_when_the_clock_jumps() {
        let latest = Duration::from_secs(7) + GLANCE;
        for seconds in [DAY * 75, DAY, 3600, 60, 10] {
            let jump = Duration::from_secs(seconds);
            assert!(slept(LONG, |now| now + jump).await <= latest, "{seconds} s ahead");
            assert!(slept(LONG, |now| now - jump).await <= latest, "{seconds} s back");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_adjusted_a_little_disturbs_nobody() {
        for pause in [Duration::ZERO, Duration::from_millis(10), Duration::from_secs(8), LONG] {
            let late = slept(pause, |now| now + Duration::from_millis(500)).await;
            assert!(late >= pause && late < pause + Duration::from_secs(1), "{pause:?}: {late:?}");
        }
    }
}
