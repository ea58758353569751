//! How many requests Cloudflare takes: 1200 in five minutes for each user, over all tokens; who
//! goes beyond is locked out for the next five minutes.
//!
//! [`Window`] is the count, without a clock; [`Budget`] is what waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The span over which requests are counted.
const SPAN: Duration = Duration::from_secs(300);

/// Some less than 1200: other software of the same user also wants to live.
const LIMIT: usize = 1100;

/// The requests of the last five minutes, and a pause that the provider asked for.
#[derive(Debug)]
struct Window {
    sent: VecDeque<Instant>,
    paused_until: Option<Instant>,
    /// When it was last said that requests wait.
    said: Option<Instant>,
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
            Some(oldest) if self.sent.len() >= LIMIT => Err(*oldest + SPAN),
            _ => {
                self.sent.push_back(now);
                Ok(())
            }
        }
    }

    /// Whether to say that requests wait: once in a span, however many wait.
    fn is_news(&mut self, now: Instant) -> bool {
        let is_news = self.said.is_none_or(|said| said + SPAN <= now);
        if is_news {
            self.said = Some(now);
        }
        is_news
    }

    /// How long the pause still is.
    fn pause_left(&self, now: Instant) -> Duration {
        self.paused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

/// The requests that the whole helper may make; shared by all of its Cloudflare providers.
pub struct Budget {
    window: RefCell<Window>,
    on_wait: Box<dyn Fn(Duration)>,
}

impl Budget {
    /// A budget with nothing spent. `on_wait` is told when requests have to wait, and for how long:
    /// once in five minutes.
    #[must_use]
    pub fn new(on_wait: impl Fn(Duration) + 'static) -> Self {
        let window = Window { sent: VecDeque::new(), paused_until: None, said: None };
        Self { window: RefCell::new(window), on_wait: Box::new(on_wait) }
    }

    /// Waits until a request may go out, and counts it. A pause that the provider asked for is sat
    /// out only if no more than `patience` is left of it.
    ///
    /// # Errors
    /// More is left: how much.
    pub async fn acquire(&self, patience: Duration) -> Result<(), Duration> {
        loop {
            let now = Instant::now();
            let left = self.window.borrow().pause_left(now);
            if left > patience {
                return Err(left);
            }
            let Err(later) = self.window.borrow_mut().admit(now) else { return Ok(()) };
            if self.window.borrow_mut().is_news(now) {
                (self.on_wait)(later - now);
            }
            sleep_until(later).await;
        }
    }

    /// Lets no request out for this time; a longer pause that is on already stays.
    pub fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut window = self.window.borrow_mut();
        window.paused_until = window.paused_until.max(Some(until));
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("window", &self.window).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, LIMIT, SPAN};
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;
    use tokio::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn no_five_minutes_see_more_than_the_limit() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let budget = Budget::new({
            let told = Rc::clone(&told);
            move |wait| told.borrow_mut().push(wait)
        });
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
        // Each of the two spans that were too short is told of once.
        let told = told.borrow();
        assert!(told.len() == 2 && told.iter().all(|wait| *wait <= SPAN), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everyone_back() {
        let budget = Budget::new(|_| {});
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
        let budget = Budget::new(|_| {});
        budget.pause(Duration::from_secs(300));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(budget.acquire(PATIENCE).await, Err(Duration::from_secs(200)));
        tokio::time::advance(Duration::from_secs(150)).await;
        assert_eq!(budget.acquire(PATIENCE).await, Ok(()));
    }
}
