//! How many requests Cloudflare takes: 1200 in five minutes for each user, over all tokens; who
//! goes beyond is locked out for the next five minutes.
//!
//! [`Window`] is the count, without a clock; [`Budget`] is what waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The span over which requests are counted.
const SPAN: Duration = Duration::from_secs(300);

/// Some less than 1200: other software of the same user also wants to live.
const LIMIT: usize = 1100;

/// The requests of the last five minutes, and a pause that the provider asked for.
#[derive(Debug)]
struct Window {
    limit: usize,
    sent: VecDeque<Instant>,
    paused_until: Option<Instant>,
}

impl Window {
    /// Counts a request at `now`, or says when the next one may be tried.
    fn admit(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Err(until);
        }
        while self.sent.front().is_some_and(|sent| *sent + SPAN <= now) {
            self.sent.pop_front();
        }
        match self.sent.front() {
            Some(oldest) if self.sent.len() >= self.limit => Err(*oldest + SPAN),
            _ => {
                self.sent.push_back(now);
                Ok(())
            }
        }
    }

    /// How long the pause still is.
    fn pause_left(&self, now: Instant) -> Duration {
        self.paused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

/// The requests that the whole helper may make; shared by all of its Cloudflare providers.
#[derive(Debug)]
pub struct Budget(RefCell<Window>);

impl Budget {
    /// A budget with nothing spent.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(LIMIT)
    }

    /// A budget of fewer requests, for tests.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self(RefCell::new(Window { limit, sent: VecDeque::new(), paused_until: None }))
    }

    /// Waits until a request may go out, and counts it. A pause that the provider asked for is sat
    /// out only if no more than `patience` is left of it.
    ///
    /// # Errors
    /// More is left: how much.
    pub async fn acquire(&self, patience: Duration) -> Result<(), Duration> {
        loop {
            let now = Instant::now();
            let left = self.0.borrow().pause_left(now);
            if left > patience {
                return Err(left);
            }
            let admitted = self.0.borrow_mut().admit(now);
            match admitted {
                Ok(()) => return Ok(()),
                Err(later) => sleep_until(later).await,
            }
        }
    }

    /// Lets no request out for this time; a longer pause that is on already stays.
    pub fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut window = self.0.borrow_mut();
        window.paused_until = window.paused_until.max(Some(until));
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, LIMIT, SPAN};
    use std::time::Duration;
    use tokio::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn no_five_minutes_see_more_than_the_limit() {
        let budget = Budget::new();
        let mut sent = Vec::new();
        for _ in 0..3 * LIMIT {
            budget.acquire(PATIENCE).await.unwrap();
            sent.push(Instant::now());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        for pair in sent.windows(LIMIT + 1) {
            assert!(*pair.last().unwrap() - pair[0] >= SPAN);
        }
        // What is allowed is used: two spans are over just when the third begins.
        assert!(*sent.last().unwrap() - sent[0] < 3 * SPAN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everyone_back() {
        let budget = Budget::new();
        let begun = Instant::now();
        budget.pause(Duration::from_secs(30));
        budget.pause(Duration::from_secs(10));
        let (first, second) = tokio::join!(budget.acquire(PATIENCE), budget.acquire(PATIENCE));
        assert_eq!((first, second), (Ok(()), Ok(())));
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_secs(30) && waited < Duration::from_secs(31),
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_not_sat_out() {
        let budget = Budget::new();
        budget.pause(Duration::from_secs(300));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(budget.acquire(PATIENCE).await, Err(Duration::from_secs(200)));
        tokio::time::advance(Duration::from_secs(150)).await;
        assert_eq!(budget.acquire(PATIENCE).await, Ok(()));
    }
}
