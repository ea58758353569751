//! The lines about a lock that another process holds.
//!
//! Whoever waits for the lock asks the holder for signs of life, so that one that hangs is told from one that
//! works. Taking the lock is not here ([`locking`](super::locking)): the process that waits before the service
//! starts writes the same lines.

use crate::event::{Event, StateEvent};
use crate::host::Host;
use crate::store::{ask_for_sign, last_sign, lock_holder};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pauses of who waits between two questions for a sign of life, and between two looks for one.
const ASK_INTERVAL: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A reload or an upgrade has given the lock away by then: another nginx works in the state path.
pub(super) const SHARED: Duration = Duration::from_secs(10);

/// Returns the silence of the holder after which it is told once more: more and more rarely.
pub(super) fn silence_line(told: usize) -> Duration {
    const TIMES: [u64; 2] = [60, 600];
    const HOUR: u64 = 3600;
    let more = told.saturating_sub(TIMES.len()).saturating_add(1);
    let hours = HOUR.saturating_mul(u64::try_from(more).unwrap_or(u64::MAX));
    Duration::from_secs(TIMES.get(told).copied().unwrap_or(hours))
}

/// Wait for a lock that another process holds, with what was told of it. The one before mostly leaves within a second; one
/// that hangs keeps certificates from being renewed.
#[derive(Debug)]
pub struct LockWait {
    state_path: PathBuf,
    is_told: bool,
    is_shared_told: bool,
    /// Number of times that its silence was told.
    silence_told: usize,
    sign: Option<Sign>,
}

/// Sign of life of a holder.
#[derive(Debug)]
struct Sign {
    /// The time of the file, which another host's clock may have set: only a change counts.
    time: Option<(i64, u64)>,
    /// Time spent waiting for the lock when it changed, and when it was looked at.
    changed: Duration,
    looked: Duration,
    /// Time spent waiting for the lock when the holder is asked again.
    next_question: Duration,
}

impl LockWait {
    /// Begins a wait of which nothing was told yet.
    #[must_use]
    pub fn new(state_path: &Path) -> Self {
        Self {
            state_path: state_path.to_owned(),
            is_told: false,
            is_shared_told: false,
            silence_told: 0,
            sign: None,
        }
    }

    /// Tells what there is to tell once the lock was waited for so long.
    pub fn tell(&mut self, waited: Duration, host: &dyn Host) {
        let silence = self.silence(waited);
        let path = self.state_path.clone();
        if !self.is_told {
            self.is_told = true;
            return host.tell(&Event::State(StateEvent::Locked { path }));
        }
        if silence >= silence_line(self.silence_told) {
            self.silence_told += 1;
            let holder = self.holder();
            return host.tell(&Event::State(StateEvent::Silent { path, holder, waited, silence }));
        }
        if self.silence_told > 0 && silence < LOOK_INTERVAL {
            self.silence_told = 0;
            let holder = self.holder();
            return host.tell(&Event::State(StateEvent::Responding { path, holder }));
        }
        if waited >= SHARED && !self.is_shared_told {
            self.is_shared_told = true;
            let holder = self.holder();
            host.tell(&Event::State(StateEvent::Shared { path, holder }));
        }
    }

    /// Returns the last sign of life of a holder that hangs, as far as it can be told: whoever waits may take its lock.
    pub(super) fn hung_since(&self, waited: Duration) -> Option<(Duration, Option<(i64, u64)>)> {
        let Sign { time, changed, .. } = self.sign.as_ref()?;
        let silence = waited.saturating_sub(*changed);
        (silence >= silence_line(0)).then_some((silence, *time))
    }

    /// Returns the time for which the holder has shown no sign of life. One that cannot be asked is not thought to hang.
    fn silence(&mut self, waited: Duration) -> Duration {
        let path = &self.state_path;
        let sign = self.sign.get_or_insert_with(|| Sign {
            time: last_sign(path),
            changed: waited,
            looked: waited,
            next_question: waited,
        });
        if waited >= sign.next_question {
            sign.next_question = waited + ASK_INTERVAL;
            if ask_for_sign(path).is_err() {
                sign.changed = waited;
            }
        }
        if waited.saturating_sub(sign.looked) >= LOOK_INTERVAL {
            sign.looked = waited;
            let time = last_sign(path);
            if time != sign.time {
                (sign.time, sign.changed) = (time, waited);
            }
        }
        waited.saturating_sub(sign.changed)
    }

    /// Names the process that holds the lock, for a line.
    pub(super) fn holder(&self) -> String {
        let holder = lock_holder(&self.state_path);
        holder.map_or("another process".to_owned(), |holder| holder.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::silence_line;

    #[test]
    fn the_pauses_between_the_lines_grow() {
        let seconds: Vec<_> = (0..5).map(|told| silence_line(told).as_secs()).collect();
        assert_eq!(seconds, [60, 600, 3600, 7200, 10_800]);
        assert!(silence_line(usize::MAX) > silence_line(100));
    }
}
