//! Cloudflare's limit of requests: 1200 in five minutes for each user, over all tokens. A user who
//! exceeds it is locked out for the next five minutes.
//!
//! [`RequestWindow`] counts, without a clock; [`Budget`] waits. Two rules keep one certificate from spending
//! everybody's requests. Each payer has a share: what would be left of the limit if one more payer
//! came. Beyond its share it gets more only while enough remains for the others. And a refusal within
//! the limit means that somebody else, such as a second host, uses the same account: less is used from
//! then on, and slowly more again. Hosts that share certificates, and so know of each other, divide the limit.

use crate::dns::payer::payer;
use crate::event::ProviderEvent;
use acme_dns_core::config::RequestLimit;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Some less than 1200 in five minutes: other software of the same user also wants to live.
const LIMIT: RequestLimit = RequestLimit { number: 1100, span: Duration::from_secs(300) };

/// A share is not smaller than this, unless the limit is: an order needs a few requests.
const LEAST_SHARE: usize = 20;

/// The limit is divided among so many hosts at most: of more than that not all order at once, since the limits of new
/// orders of a CA are divided too.
const MOST_PARTS: usize = 10;

/// At least this part of the limit is kept for those who have not used up their shares.
const RESERVE: usize = 4;

/// After a refusal so much is used of what was enough for one, and of the limit at least so much.
const CAUTION: (usize, usize) = (3, 4);
const LEAST_PART: usize = 4;

/// A refusal for less than this part of the span is about a burst, and says nothing of the limit: who
/// is beyond that is locked out for long.
const LOCKED_OUT: u32 = 5;

/// Part of the limit that is added to what is used after each span without a refusal.
const RECOVERY: usize = 10;

/// A wait of a request.
struct RequestWait {
    pause: Duration,
    /// The payer whose share is used up; `None` if the limit is reached.
    payer: Option<Rc<str>>,
}

impl From<RequestWait> for ProviderEvent {
    fn from(RequestWait { pause, payer }: RequestWait) -> Self {
        match payer {
            Some(payer) => Self::ShareUsed { certificate: payer.to_string(), pause },
            None => Self::Limited { pause },
        }
    }
}

/// The requests of the last span, and a pause that the provider asked for.
#[derive(Debug)]
struct RequestWindow {
    /// The number of requests that all hosts may make together.
    whole: usize,
    /// The limit of this host.
    limit: RequestLimit,
    /// Part of the limit that is used.
    usable: usize,
    /// Time of its last change.
    changed: Option<Instant>,
    sent: VecDeque<(Instant, Option<Rc<str>>)>,
    /// The number of requests of each payer.
    spent: HashMap<Rc<str>, usize>,
    paused_until: Option<Instant>,
    /// Times at which the waits of payers were last told.
    said: HashMap<Option<Rc<str>>, Instant>,
}

impl RequestWindow {
    fn new(limit: RequestLimit) -> Self {
        Self {
            whole: limit.number,
            limit,
            usable: limit.number,
            changed: None,
            sent: VecDeque::new(),
            spent: HashMap::new(),
            paused_until: None,
            said: HashMap::new(),
        }
    }

    /// Leaves equal parts of the limit to so many other hosts.
    fn divide(&mut self, others: usize) {
        let parts = (others + 1).min(MOST_PARTS);
        let number = (self.whole / parts).max(LEAST_SHARE.min(self.whole));
        if number != self.limit.number {
            // What a refusal has taken stays taken.
            self.usable = (self.usable * number / self.limit.number).max(1);
            self.limit.number = number;
        }
    }

    /// Counts a request at `now`, or says when the next one may be tried.
    fn admit(
        &mut self,
        now: Instant,
        payer: Option<&Rc<str>>,
    ) -> Result<(), (Instant, RequestWait)> {
        let wait = |until: Instant, payer: Option<&Rc<str>>| {
            Err((until, RequestWait { pause: until - now, payer: payer.cloned() }))
        };
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return wait(until, None);
        }
        self.expire(now);
        if let Some((oldest, _)) = self.sent.front()
            && self.sent.len() >= self.usable
        {
            return wait(*oldest + self.limit.span, None);
        }
        if let Some(payer) = payer {
            if let Some(until) = self.shared_until(payer) {
                return wait(until, Some(payer));
            }
            *self.spent.entry(Rc::clone(payer)).or_default() += 1;
        }
        self.sent.push_back((now, payer.cloned()));
        Ok(())
    }

    /// Gives the time of the next request of a payer whose share is used up, while what is left is for the
    /// others; `None`: now.
    fn shared_until(&self, payer: &Rc<str>) -> Option<Instant> {
        let spent = self.spent.get(payer).copied().unwrap_or(0);
        let payers = self.spent.len() + usize::from(spent == 0);
        let part = self.usable / (payers + 1);
        let share = part.max(LEAST_SHARE.min(self.usable));
        let spare = self.usable - part.max(self.usable / RESERVE);
        if spent < share || self.sent.len() < spare {
            return None;
        }
        // Either he is below his share then, or the others have left enough.
        let own = self.sent.iter().find(|(_, of)| of.as_ref() == Some(payer));
        let others = self.sent.get(self.sent.len() - spare);
        let sent = own.into_iter().chain(others).map(|(sent, _)| *sent).min()?;
        Some(sent + self.limit.span)
    }

    /// Forgets what is older than the span, and uses more again.
    fn expire(&mut self, now: Instant) {
        while let Some((_, payer)) =
            self.sent.pop_front_if(|(sent, _)| *sent + self.limit.span <= now)
        {
            let Some(payer) = payer else { continue };
            if let Some(spent) = self.spent.get_mut(&payer) {
                *spent -= 1;
                if *spent == 0 {
                    self.spent.remove(&payer);
                }
            }
        }
        while let Some(changed) = self.changed.filter(|changed| *changed + self.limit.span <= now) {
            self.usable =
                (self.usable + (self.limit.number / RECOVERY).max(1)).min(self.limit.number);
            let is_all = self.usable == self.limit.number;
            self.changed = (!is_all).then(|| changed + self.limit.span);
        }
    }

    /// Uses less from now on: what we had sent was too much, with what others have.
    fn handle_throttled(&mut self, now: Instant) {
        self.expire(now);
        // Refusals that follow each other at once are of the same cause.
        if self.changed.is_some_and(|changed| changed + self.limit.span / 10 > now) {
            return;
        }
        let least = (self.limit.number / LEAST_PART).max(1);
        self.usable =
            (self.sent.len() * CAUTION.0 / CAUTION.1).clamp(least, self.usable.max(least));
        self.changed = Some(now);
    }

    /// Tells whether to say that requests wait: once in a span, however many wait.
    fn is_news(&mut self, now: Instant, payer: Option<&Rc<str>>) -> bool {
        let span = self.limit.span;
        self.said.retain(|_, said| *said + span > now);
        let is_news = !self.said.contains_key(&payer.cloned());
        if is_news {
            self.said.insert(payer.cloned(), now);
        }
        is_news
    }

    /// Gives the rest of the pause.
    fn pause_left(&self, now: Instant) -> Duration {
        self.paused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

/// The requests that the whole helper may make; shared by all of its Cloudflare providers but those
/// with a limit of their own.
pub struct Budget {
    window: RefCell<RequestWindow>,
    tell: Rc<dyn Fn(ProviderEvent)>,
    /// Time at which trouble was last told.
    troubled: Cell<Option<Instant>>,
}

impl Budget {
    /// Makes a budget with nothing spent. `tell` hears of requests that have to wait or are repeated:
    /// once in five minutes.
    #[must_use]
    pub fn new(tell: impl Fn(ProviderEvent) + 'static) -> Self {
        Self::of(LIMIT, Rc::new(tell))
    }

    /// Makes another budget with nothing spent, for a provider with a limit of its own.
    #[must_use]
    pub fn with_limit(&self, limit: RequestLimit) -> Self {
        Self::of(limit, Rc::clone(&self.tell))
    }

    fn of(limit: RequestLimit, tell: Rc<dyn Fn(ProviderEvent)>) -> Self {
        Self { window: RefCell::new(RequestWindow::new(limit)), tell, troubled: Cell::default() }
    }

    /// Tells that a request got no answer and is repeated.
    pub(super) fn tell_trouble(&self, error: &dyn fmt::Display) {
        let now = Instant::now();
        if self.troubled.get().is_none_or(|told| now.duration_since(told) >= LIMIT.span) {
            self.troubled.set(Some(now));
            (self.tell)(ProviderEvent::Retrying { why: error.to_string() });
        }
    }

    /// Waits until a request may go out, and counts it. A pause that the provider asked for is sat
    /// out only if no more than `patience` is left of it.
    ///
    /// # Errors
    /// More is left: how much.
    pub async fn acquire(&self, patience: Duration) -> Result<(), Duration> {
        let payer = payer();
        loop {
            let now = Instant::now();
            let left = self.window.borrow().pause_left(now);
            if left > patience {
                return Err(left);
            }
            let admitted = self.window.borrow_mut().admit(now, payer.as_ref());
            let Err((later, wait)) = admitted else { return Ok(()) };
            if self.window.borrow_mut().is_news(now, wait.payer.as_ref()) {
                (self.tell)(wait.into());
            }
            sleep_until(later).await;
        }
    }

    /// Leaves equal parts of the limit to so many other hosts.
    pub fn divide(&self, others: usize) {
        self.window.borrow_mut().divide(others);
    }

    /// Lets no request out for this time; a longer pause that is on already stays.
    pub fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut window = self.window.borrow_mut();
        window.paused_until = window.paused_until.max(Some(until));
    }

    /// Takes note that the provider has refused a request as one too many, and wants to hear of us
    /// again after `wait`.
    pub fn handle_throttled(&self, wait: Duration) {
        let mut window = self.window.borrow_mut();
        if wait >= window.limit.span / LOCKED_OUT {
            window.handle_throttled(Instant::now());
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("window", &self.window).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, LIMIT, RequestLimit};
    use crate::dns::on_account_of;
    use crate::event::ProviderEvent::{self, Limited, ShareUsed};
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
            move |event: ProviderEvent| {
                let Limited { pause } = event else { panic!("{event:?}") };
                told.borrow_mut().push(pause);
            }
        });
        let mut sent = Vec::new();
        for _ in 0..3 * LIMIT.number {
            budget.acquire(PATIENCE).await.unwrap();
            sent.push(Instant::now());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        for pair in sent.windows(LIMIT.number + 1) {
            assert!(*pair.last().unwrap() - pair[0] >= LIMIT.span);
        }
        // What is allowed is used: two spans are over just when the third begins.
        assert!(*sent.last().unwrap() - sent[0] < 3 * LIMIT.span);
        // Each of the two spans that were too short is told once.
        let told = told.borrow();
        assert!(told.len() == 2 && told.iter().all(|wait| *wait <= LIMIT.span), "{told:?}");
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

    #[tokio::test(start_paused = true)]
    async fn hosts_divide_the_limit() {
        let limit = RequestLimit { number: 100, span: Duration::from_secs(300) };
        let budget = Budget::new(|_| {}).with_limit(limit);
        for (others, part) in [(0, 100), (1, 50), (3, 25), (8, 20), (1, 50), (0, 100)] {
            budget.divide(others);
            let count = async || {
                let mut count = 0;
                let now = Duration::from_millis(1);
                while tokio::time::timeout(now, budget.acquire(PATIENCE)).await.is_ok() {
                    count += 1;
                }
                count
            };
            assert_eq!(count().await, part, "{others}");
            tokio::time::advance(limit.span).await;
        }
        let large = Budget::new(|_| {});
        large.divide(49);
        assert_eq!(large.window.borrow().usable, LIMIT.number / 10);
        // A refusal holds for the part too.
        budget.divide(1);
        budget.acquire(PATIENCE).await.unwrap();
        budget.handle_throttled(limit.span);
        budget.divide(3);
        assert_eq!(budget.window.borrow().usable, 12 / 2);
    }

    /// Counts the requests of `payer` that go out now, at most `wanted`.
    async fn admitted(budget: &Budget, payer: &str, wanted: usize) -> usize {
        for number in 0..wanted {
            let request = on_account_of(payer, budget.acquire(PATIENCE));
            if tokio::time::timeout(Duration::from_millis(1), request).await.is_err() {
                return number;
            }
        }
        wanted
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_spends_the_shares_of_others() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let budget = Budget::new({
            let told = Rc::clone(&told);
            move |event: ProviderEvent| {
                told.borrow_mut().push(match event {
                    ShareUsed { certificate, .. } => Some(certificate),
                    _ => None,
                });
            }
        });
        let budget = budget.with_limit(RequestLimit { number: 120, ..LIMIT });
        for (payer, expected) in [("greedy", 60), ("second", 40), ("third", 20)] {
            assert_eq!(admitted(&budget, payer, 1000).await, expected, "{payer}");
        }
        assert_eq!(*told.borrow(), [Some("greedy".to_owned()), Some("second".to_owned()), None]);
        // It is there for everybody again when it is over.
        tokio::time::advance(LIMIT.span).await;
        assert_eq!(admitted(&budget, "greedy", 30).await, 30);
        // One certificate that fails for ever leaves enough for many that need little.
        assert_eq!(admitted(&budget, "greedy", 1000).await, 30);
        for number in 0..20 {
            let payer = format!("modest {number}");
            assert_eq!(admitted(&budget, &payer, 3).await, 3, "{payer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn shares_count_only_where_requests_are_scarce() {
        let budget = Budget::new(|_| {}).with_limit(RequestLimit { number: 1000, ..LIMIT });
        for number in 0..49 {
            let payer = format!("modest {number}");
            assert_eq!(admitted(&budget, &payer, 10).await, 10, "{payer}");
        }
        // Its share is 20, and a quarter of the limit is left to the others.
        assert_eq!(admitted(&budget, "busy", 1000).await, 260);
        assert_eq!(admitted(&budget, "modest 0", 10).await, 10);
        assert_eq!(admitted(&budget, "new", 20).await, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_second_host_uses_is_learned() {
        let budget = Budget::new(|_| {}).with_limit(RequestLimit { number: 100, ..LIMIT });
        assert_eq!(admitted(&budget, "a", 40).await, 40);
        // A burst is none of its business. The other host has used the rest: from now on 30 are ours.
        budget.handle_throttled(Duration::from_secs(2));
        assert_eq!(admitted(&budget, "c", 10).await, 10);
        tokio::time::advance(LIMIT.span).await;
        assert_eq!(admitted(&budget, "a", 40).await, 40);
        budget.handle_throttled(LIMIT.span);
        budget.handle_throttled(LIMIT.span);
        tokio::time::advance(LIMIT.span - Duration::from_secs(1)).await;
        assert_eq!(admitted(&budget, "b", 1).await, 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        // Slowly more again: a tenth of the limit each span.
        let mut seen = Vec::new();
        for _ in 0..9 {
            let mut number = 0;
            while budget_has(&budget).await {
                number += 1;
            }
            seen.push(number);
            tokio::time::advance(LIMIT.span).await;
        }
        assert_eq!(seen, [40, 50, 60, 70, 80, 90, 100, 100, 100]);
    }

    async fn budget_has(budget: &Budget) -> bool {
        tokio::time::timeout(Duration::from_millis(1), budget.acquire(PATIENCE)).await.is_ok()
    }
}
