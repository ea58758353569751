//! Care for the state path by the service that holds its lock.

use super::work::Work;
use std::time::{Duration, Instant};

/// Pause between two looks at the state path, and between two signs of life.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(10);

impl Work {
    /// Shows those who wait for the lock that this service works.
    pub(super) fn watch_over(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.watched) < WATCH_INTERVAL {
            return;
        }
        self.watched = now;
        if let Some(lock) = &self.lock {
            lock.give_sign();
        }
    }
}
