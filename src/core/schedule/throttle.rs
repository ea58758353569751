//! The most that is worked on at once, and begun in a second: little at first, more with each success, little again after a
//! failure. So what fails for all fails for few, and many certificates do not wait for each other.

use crate::time::UnixTime;
use std::time::Duration;

/// The most certificates that are worked on at once, and as many at first.
pub(super) const CONCURRENCY: usize = 120;
pub(super) const FIRST: usize = 20;

/// So many more after each success.
pub(super) const GROWTH: usize = 4;

/// The most attempts that are begun in a second. Each makes some eight requests, and Let's Encrypt takes 250 a second from an
/// address.
pub(super) const STARTS: usize = 20;

/// Attempts that may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throttle {
    room: usize,
    /// A second, and the number of attempts that were begun in it.
    begun: (UnixTime, usize),
}

impl Default for Throttle {
    fn default() -> Self {
        Self { room: FIRST, begun: Default::default() }
    }
}

impl Throttle {
    /// Gives the time at which one more may begin beside so many; `None`: when one of those has ended.
    pub(super) fn start_time(&self, working: usize, now: UnixTime) -> Option<UnixTime> {
        let is_full = self.begun.0 == now && self.begun.1 >= STARTS;
        let time = if is_full { now + Duration::from_secs(1) } else { now };
        (working < self.room).then_some(time)
    }

    pub(super) fn note_start(&mut self, now: UnixTime) {
        let number = if self.begun.0 == now { self.begun.1 } else { 0 };
        self.begun = (now, number + 1);
    }

    /// Takes a start back after which nobody was asked for anything.
    pub(super) fn take_back(&mut self, now: UnixTime) {
        if self.begun.0 == now {
            self.begun.1 = self.begun.1.saturating_sub(1);
        }
    }

    pub(super) fn note_success(&mut self) {
        self.room = (self.room + GROWTH).min(CONCURRENCY);
    }

    pub(super) fn note_failure(&mut self) {
        self.room = FIRST;
    }
}
