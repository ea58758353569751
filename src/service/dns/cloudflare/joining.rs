//! Orders that want the same of one zone, in one request: while one of them asks, those that come meanwhile wait, and ask
//! together next. Where requests follow each other quickly, the next one waits a moment for others.
//!
//! Cloudflare counts requests, whatever number of records is in them. Whoever is alone asks at once and by itself.

use super::client::ApiClient;
use super::{BATCH, is_of_one_order};
use crate::dns::payer::on_no_account;
use crate::dns::{ProviderError, Zone};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// The longest time that an order waits for the one before it, which may have used up its share of the budget.
const PATIENCE: Duration = Duration::from_secs(2);

/// Number of requests within a time that make a zone a busy one.
const BUSY: (usize, Duration) = (5, Duration::from_secs(10));

/// Time that an order of a busy zone waits for others, where nobody asks.
const GATHERING: Duration = Duration::from_secs(1);

/// After a refusal of what several orders wanted together, each asks by itself for so long: one of them may be at fault
/// again and again.
const APART: Duration = Duration::from_secs(60);

/// The answer to a request of several orders.
pub(super) type SharedAnswer = Shared<LocalBoxFuture<'static, Result<Rc<Value>, ProviderError>>>;

/// Answer to an order that wants to ask.
pub(super) enum Go {
    /// It asks by itself. Those behind it wait until the turn is dropped.
    Alone(Option<Turn>),
    /// It is asked for it, together with others.
    Together(SharedAnswer),
}

/// The orders that want one kind of operation, by the identifiers of their zones.
pub(super) struct Lines {
    /// The name of the operations in a batch.
    part: &'static str,
    /// The beginning of the message if it fails.
    action: String,
    zones: RefCell<HashMap<String, Line>>,
}

#[derive(Default)]
struct Line {
    /// The number of requests under way.
    going: usize,
    /// Times at which the last requests began, the newest first.
    begun: VecDeque<Instant>,
    waiting: VecDeque<Waiting>,
    /// Until then nobody waits for others.
    apart_until: Option<Instant>,
}

impl Line {
    fn is_apart(&self) -> bool {
        self.apart_until.is_some_and(|until| Instant::now() < until)
    }

    fn is_busy(&self) -> bool {
        self.begun.len() == BUSY.0
            && self.begun.back().is_some_and(|begun| begun.elapsed() < BUSY.1)
    }

    /// Tells whether anything of it matters later.
    fn is_in_use(&self) -> bool {
        let is_recent = self.begun.front().is_some_and(|begun| begun.elapsed() < BUSY.1);
        self.going > 0 || !self.waiting.is_empty() || self.is_apart() || is_recent
    }

    fn begin(&mut self) {
        self.going += 1;
        self.begun.truncate(BUSY.0 - 1);
        self.begun.push_front(Instant::now());
    }

    /// Takes those out that ask next.
    fn next_party(&mut self) -> Vec<Waiting> {
        let (mut party, mut number) = (Vec::new(), 0);
        let has_room = |number: usize, next: &Waiting| number + next.operations.len() <= BATCH;
        while let Some(next) =
            self.waiting.pop_front_if(|next| number == 0 || has_room(number, next))
        {
            // Of an order that was given up nobody listens any more.
            if !next.tell.is_closed() {
                number += next.operations.len();
                party.push(next);
            }
        }
        party
    }
}

struct Waiting {
    operations: Vec<Value>,
    tell: oneshot::Sender<Go>,
}

/// The right to ask, as long as it is held.
pub(super) struct Turn {
    lines: Rc<Lines>,
    api: Rc<ApiClient>,
    zone: Zone,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = self.lines.zones.borrow_mut().get_mut(&self.zone.id) {
            line.going = line.going.saturating_sub(1);
        }
        self.lines.start_next(&self.api, &self.zone);
    }
}

impl Lines {
    /// Makes that of the operations `part` of a batch; `action` begins the message if one fails.
    pub(super) fn new(part: &'static str, action: String) -> Rc<Self> {
        Rc::new(Self { part, action, zones: RefCell::default() })
    }

    /// Waits until operations of an order, of one zone, may be asked for, or are.
    pub(super) async fn go(
        self: &Rc<Self>,
        api: &Rc<ApiClient>,
        zone: &Zone,
        operations: Vec<Value>,
    ) -> Go {
        let (mut told, patience) = {
            let mut zones = self.zones.borrow_mut();
            zones.retain(|_, line| line.is_in_use());
            let line = zones.entry(zone.id.clone()).or_default();
            if line.is_apart() {
                return Go::Alone(None);
            }
            let is_free = line.going == 0 && line.waiting.is_empty();
            if is_free && !line.is_busy() {
                line.begin();
                return Go::Alone(Some(self.turn(api, zone)));
            }
            let patience = if line.going == 0 { GATHERING } else { PATIENCE };
            let (tell, told) = oneshot::channel();
            line.waiting.push_back(Waiting { operations, tell });
            (told, patience)
        };
        match timeout(patience, &mut told).await {
            Ok(go) => return go.unwrap_or(Go::Alone(None)),
            Err(_) => self.start_next(api, zone),
        }
        told.await.unwrap_or(Go::Alone(None))
    }

    fn turn(self: &Rc<Self>, api: &Rc<ApiClient>, zone: &Zone) -> Turn {
        Turn { lines: Rc::clone(self), api: Rc::clone(api), zone: zone.clone() }
    }

    /// Has those that wait ask, as many as one request can hold.
    fn start_next(self: &Rc<Self>, api: &Rc<ApiClient>, zone: &Zone) {
        let mut party = {
            let mut zones = self.zones.borrow_mut();
            let Some(line) = zones.get_mut(&zone.id) else { return };
            if line.is_apart() {
                for Waiting { tell, .. } in line.waiting.drain(..) {
                    let _given_up = tell.send(Go::Alone(None));
                }
            }
            let party = line.next_party();
            if party.is_empty() {
                return;
            }
            line.begin();
            party
        };
        let turn = self.turn(api, zone);
        let only = if party.len() == 1 { party.pop() } else { None };
        if let Some(Waiting { tell, .. }) = only {
            let _given_up = tell.send(Go::Alone(Some(turn)));
            return;
        }
        let operations = party.iter_mut().flat_map(|one| std::mem::take(&mut one.operations));
        let answer = self.ask(turn, operations.collect());
        for Waiting { tell, .. } in party {
            let _given_up = tell.send(Go::Together(answer.clone()));
        }
    }

    /// Asks for operations of several orders. None of them pays for it: who has used up its share must not hold up the
    /// others.
    fn ask(self: &Rc<Self>, turn: Turn, operations: Vec<Value>) -> SharedAnswer {
        let lines = Rc::clone(self);
        let asking = async move {
            let Turn { api, zone, .. } = &turn;
            let answer = api.batch(zone, lines.part, operations, &lines.action).await;
            if answer.as_ref().is_err_and(is_of_one_order) {
                lines.go_apart(zone);
            }
            answer.map(Rc::new)
        };
        on_no_account(asking).boxed_local().shared()
    }

    fn go_apart(&self, zone: &Zone) {
        if let Some(line) = self.zones.borrow_mut().get_mut(&zone.id) {
            line.apart_until = Some(Instant::now() + APART);
        }
    }
}
