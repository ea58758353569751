//! The pauses between two questions to a CA that is at work.

use std::time::Duration;

/// The pause before an order is read for the first time after something was sent: a fast CA is
/// done by then.
pub(super) const FIRST_POLL: Duration = Duration::from_millis(75);

/// The pauses after that, where the CA asks for none: each is longer than the one before. It is believed
/// up to the longest of them.
const POLL: Duration = Duration::from_millis(250);
const POLL_GROWTH: f64 = 1.6;
const LONGEST_POLL: Duration = Duration::from_secs(5);

/// A longer pause is only advice: some CAs ask for a day, and are done in a second. Such a CA is asked again
/// after pauses that begin and end with these.
const ADVISED_POLL: Duration = Duration::from_secs(1);
const LONGEST_ADVISED_POLL: Duration = Duration::from_secs(15);

/// The pauses of a wait for the CA.
pub(super) struct Pauses {
    own: Duration,
    advised: Duration,
    is_first: bool,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { own: POLL, advised: ADVISED_POLL, is_first: true }
    }
}

impl Pauses {
    /// Gives the next one, of a CA that asks for this.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let is_first = std::mem::take(&mut self.is_first);
        match asked.filter(|asked| !asked.is_zero()) {
            Some(asked) if asked > LONGEST_POLL => {
                let longer = self.advised.mul_f64(POLL_GROWTH).min(LONGEST_ADVISED_POLL);
                std::mem::replace(&mut self.advised, longer)
            }
            Some(asked) => asked,
            None if is_first => FIRST_POLL,
            None => {
                let longer = self.own.mul_f64(POLL_GROWTH).min(LONGEST_POLL);
                std::mem::replace(&mut self.own, longer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_POLL, LONGEST_POLL, POLL, Pauses};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(300);

    fn pauses(asked: Option<u64>) -> impl Iterator<Item = Duration> {
        let mut pauses = Pauses::default();
        std::iter::from_fn(move || Some(pauses.next(asked.map(Duration::from_secs))))
    }

    #[test]
    fn a_ca_is_believed_for_seconds_and_advised_by_for_more() {
        for asked in [1, 3, 5] {
            assert!(pauses(Some(asked)).take(9).all(|pause| pause.as_secs() == asked), "{asked}");
        }
        for asked in [6, 60, 310, 86_400] {
            let pauses: Vec<f64> = pauses(Some(asked)).take(9).map(|p| p.as_secs_f64()).collect();
            assert!((pauses[0] - 1.0).abs() < 0.01 && pauses.is_sorted(), "{asked}: {pauses:?}");
            assert!((pauses[8] - 15.0).abs() < 0.01, "{asked}: {pauses:?}");
        }
        for asked in [None, Some(0)] {
            let pauses: Vec<Duration> = pauses(asked).take(12).collect();
            assert_eq!(pauses[..2], [FIRST_POLL, POLL], "{asked:?}");
            assert_eq!(pauses[11], LONGEST_POLL, "{asked:?}");
        }
    }

    #[test]
    fn a_day_is_not_waited_for_but_looked_after_a_few_times() {
        let mut waited = Duration::ZERO;
        let mut looks = 0;
        for pause in pauses(Some(86_400)) {
            waited += pause;
            if waited > PATIENCE {
                break;
            }
            looks += 1;
        }
        assert!((15..40).contains(&looks), "{looks}");
    }
}
