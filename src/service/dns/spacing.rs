//! Times between changes of one record set, for servers that keep few values, and before a look whether one has stayed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The pause before a change is looked at again is so many times what the change took, up to so long.
const READ_BACK: u32 = 4;
const LONGEST_READ_BACK: Duration = Duration::from_secs(5);

/// Gives the pause before a look whether a change has stayed, where changes can overwrite each other: whoever has read
/// before it has written by then. Others take as long for that as we did, or `least`.
pub(super) fn read_back(least: Duration, took: Duration) -> Duration {
    least.max((took * READ_BACK).min(LONGEST_READ_BACK))
}

/// The times of the last changes of record sets.
pub(super) struct Spacing {
    least: Duration,
    changed: RefCell<HashMap<String, Instant>>,
}

impl Spacing {
    /// Makes a spacing of at least a time between two changes.
    pub(super) fn new(least: Duration) -> Self {
        Self { least, changed: RefCell::default() }
    }

    /// Waits until a record set may be changed.
    pub(super) async fn wait(&self, record_set: &str) {
        let changed = self.changed.borrow().get(record_set).copied();
        if let Some(changed) = changed {
            sleep_until(changed + self.least).await;
        }
    }

    /// Notes a change, or what may have been one.
    pub(super) fn note(&self, record_set: &str) {
        self.changed.borrow_mut().insert(record_set.to_owned(), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::{Spacing, read_back};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn who_is_slow_waits_longer_for_others() {
        let least = Duration::from_millis(250);
        assert_eq!(read_back(least, Duration::from_millis(10)), least);
        assert_eq!(read_back(least, Duration::from_millis(100)), Duration::from_millis(400));
        assert_eq!(read_back(least, Duration::from_secs(60)), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_second_change_waits() {
        let spacing = Spacing::new(Duration::from_secs(60));
        let begun = Instant::now();
        spacing.wait("a").await;
        spacing.note("a");
        spacing.wait("b").await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        spacing.wait("a").await;
        assert_eq!(begun.elapsed().as_secs(), 60);
    }
}
