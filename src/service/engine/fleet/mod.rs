//! Certificates that are shared with other hosts, through an engine ([`share`](crate::share)).
//!
//! ```text
//!  link.rs   loads, watches, begins anew    -> news -> the loop: handling.rs
//!                                                        adopts what is newer, offers what is older there
//!  entry.rs  before an attempt: the lease, and what another host has left of the same order
//!  hosts.rs  how many there are
//!  waiting.rs  who waits for which lease of another host
//!  turn.rs   while it runs: renews the lease, shares order and journal before they have consequences
//!  account.rs  one account for all
//!  health.rs what the status shows of all this
//!  keys.rs   which record is that of which certificate
//! ```
//!
//! The state path stays what nginx starts from, and nothing here delays or ends what is served. While the engine is away
//! each host decides by [`acme_dns_core::fleet`]. Without `acme_dns_share` nothing of this exists.

mod account;
mod check;
mod entry;
mod handling;
mod health;
mod hosts;
mod keys;
mod link;
mod mirror;
pub(super) mod news;
mod record;
mod turn;
mod waiting;

pub(super) use entry::{Entry, Known};
pub(super) use handling::Parts;
pub(super) use turn::HostTurn;

use super::clock::now;
use super::keeper::WATCH_INTERVAL;
use super::outcome::{Outcome, Report};
use super::site::Site;
use crate::acme::{Obtainer, Witness};
use crate::random::random_hex;
use crate::share::{Engine, ShareError, SharePath};
use acme_dns_core::fleet::{Reach, place_of};
use acme_dns_core::id::VariantId;
use acme_dns_core::schedule::{Progress, Renewal};
use acme_dns_core::text::excerpt;
use acme_dns_core::time::UnixTime;
use async_trait::async_trait;
use futures_util::future::join_all;
use health::Health;
use hosts::Hosts;
use keys::Keys;
use mirror::Mirror;
use news::FleetNews;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use waiting::Waiting;

/// Time after which a question to the engine is given up where an order waits for the answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The most certificates that are saved at once.
const SAVINGS: usize = 16;

/// Time that the end of the service waits until its leases are given back.
const FAREWELL: Duration = Duration::from_millis(500);

/// The longest name of a host that is shown.
const MAX_HOST: usize = 64;

/// Certificates that this host shares with others.
pub(super) struct Fleet {
    site: Rc<Site>,
    engine: Rc<dyn Engine>,
    /// The name of this machine.
    host: String,
    ttl: Duration,
    keys: Keys,
    health: Health,
    mirror: RefCell<Mirror>,
    turns: RefCell<HashMap<VariantId, Rc<HostTurn>>>,
    waiting: RefCell<Waiting>,
    hosts: RefCell<Hosts>,
    /// Certificates of other hosts that are being saved.
    adopting: RefCell<BTreeSet<VariantId>>,
    /// Certificates that the engine has not taken yet.
    unshared: RefCell<BTreeSet<VariantId>>,
    /// Since when the engine is away, and since when it takes no changes.
    away: Cell<Option<Instant>>,
    refusing: Cell<Option<Instant>>,
    savings: Semaphore,
    /// Accounts are found or created one by one.
    accounts: Mutex<()>,
    /// Number of news of accounts.
    account_news: Cell<u64>,
    report: Report,
}

impl Fleet {
    /// Joins the hosts that share by an engine, in the background.
    pub(super) fn join(
        site: &Rc<Site>,
        engine: Rc<dyn Engine>,
        ttl: Duration,
        report: Report,
    ) -> Rc<Self> {
        let host = host_name();
        let fleet = Rc::new(Self {
            site: Rc::clone(site),
            engine,
            health: Health::new(Rc::clone(site), &host),
            host,
            ttl,
            keys: Keys::new(Rc::clone(site)),
            mirror: RefCell::default(),
            turns: RefCell::default(),
            waiting: RefCell::default(),
            hosts: RefCell::new(Hosts::new(random_hex::<8>())),
            adopting: RefCell::default(),
            unshared: RefCell::default(),
            away: Cell::new(Some(Instant::now())),
            refusing: Cell::new(None),
            savings: Semaphore::new(SAVINGS),
            accounts: Mutex::new(()),
            account_news: Cell::new(0),
            report,
        });
        tokio::task::spawn_local(link::follow(Rc::clone(&fleet)));
        fleet
    }

    /// Tells whether a certificate is shared. Of two that are the same but for their provider, one is.
    pub(super) fn shares(&self, variant: VariantId) -> bool {
        self.keys.variant(self.keys.of(variant).as_str()) == Some(variant)
    }

    /// Gives the number of the certificate that one obtained now follows.
    pub(super) fn number(&self, variant: VariantId) -> u64 {
        self.mirror.borrow().number(variant)
    }

    /// Shares a certificate that was obtained, and ends the turn.
    pub(super) fn issued(self: &Rc<Self>, variant: VariantId, renewal: Renewal) {
        let fleet = Rc::clone(self);
        tokio::task::spawn_local(async move { fleet.offer(variant, renewal).await });
    }

    /// Notes that a certificate of another host is served.
    pub(super) fn adopted(&self, variant: VariantId) {
        self.adopting.borrow_mut().remove(&variant);
        self.health.show_takeover(variant);
    }

    /// Shares how an attempt has failed, and ends the turn.
    pub(super) fn failed(self: &Rc<Self>, variant: VariantId, progress: Option<Progress>) {
        let turn = self.turns.borrow().get(&variant).cloned();
        let Some(turn) = turn else { return };
        *turn.progress.borrow_mut() = progress;
        turn.note_failed();
        let fleet = Rc::clone(self);
        tokio::task::spawn_local(async move { fleet.release(variant).await });
    }

    /// Gives all leases back at the end of the service, with what was under way: whoever goes on with it need not wait for
    /// their ends. All attempts have been given up before.
    pub(super) async fn leave(&self) {
        let variants: Vec<VariantId> = self.turns.borrow().keys().copied().collect();
        if self.away.get().is_none() {
            let released = join_all(variants.into_iter().map(|variant| self.leave_turn(variant)));
            let left = async { tokio::join!(released, self.sign_off()) };
            let _end_by_themselves = timeout(FAREWELL, left).await;
        }
    }

    fn reach(&self) -> Reach {
        let since = [self.away.get(), self.refusing.get()].into_iter().flatten().min();
        since.map_or(Reach::Here, |since| Reach::Away(now() - since.elapsed()))
    }

    fn note_here(&self) {
        self.away.set(None);
        self.refusing.set(None);
    }

    fn note_away(&self) {
        self.away.set(self.away.get().or_else(|| Some(Instant::now())));
    }

    /// Notes that the engine takes changes.
    fn note_taken(&self) {
        if self.refusing.take().is_some() {
            self.health.taken();
        }
    }

    /// Notes that the engine takes no changes: one that is full answers all the same. That it is away is told by the link.
    fn note_refusal(&self, error: &ShareError) {
        if self.refusing.get().is_none() {
            self.refusing.set(Some(Instant::now()));
            self.health.failed(error);
            if error.is_permanent() {
                self.report(FleetNews::Away { error: error.clone(), retry: WATCH_INTERVAL });
            }
        }
    }

    /// Finds out whether the engine takes changes again.
    async fn probe(self: Rc<Self>) {
        let name = format!("probe {}", self.host);
        if let Ok(Some(lease)) = self.engine.lease(&name, self.ttl).await {
            // It ends by itself otherwise.
            let _released = self.engine.release(&lease).await;
            self.note_taken();
            self.report(FleetNews::Writable);
        }
    }

    /// Gives the time at which a host without a turn looks again whether it can have one. The watch tells it sooner when
    /// the other host is done, or gone where the engine tells of that.
    fn retry(&self, variant: VariantId) -> UnixTime {
        now() + self.ttl.mul_f64(1.0 + self.place(variant) / 2.0)
    }

    /// Gives the place of this host among the others, for a certificate.
    fn place(&self, variant: VariantId) -> f64 {
        place_of(&self.host, self.keys.of(variant).as_str())
    }

    fn report(&self, news: FleetNews) {
        // The receiver lives as long as the tasks.
        let _ended = self.report.send(Outcome::Fleet(news));
    }

    fn certificate_path(&self, variant: VariantId) -> SharePath {
        SharePath::new(&format!("certificates/{}", self.keys.of(variant)))
    }

    fn attempt_path(&self, variant: VariantId) -> SharePath {
        SharePath::new(&format!("attempts/{}", self.keys.of(variant)))
    }
}

/// The fleet as the witness of attempts, which know certificates by their names.
pub(super) struct FleetWitness(Rc<Fleet>);

impl FleetWitness {
    /// Has the fleet told of what an obtainer leaves on disk.
    pub(super) fn watch(obtainer: Obtainer, fleet: Option<&Rc<Fleet>>) -> Obtainer {
        match fleet {
            Some(fleet) => obtainer.with_witness(Rc::new(Self(Rc::clone(fleet)))),
            None => obtainer,
        }
    }
}

#[async_trait(?Send)]
impl Witness for FleetWitness {
    async fn note(&self, certificate: &str) {
        let mut turns: Vec<VariantId> = self.0.turns.borrow().keys().copied().collect();
        turns.retain(|variant| self.0.site.name(*variant) == certificate);
        for variant in turns {
            self.0.share_attempts(variant).await;
        }
    }
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    excerpt(name.trim(), MAX_HOST)
}
