//! The turn of this host: a certificate's lease while it is ordered, and what another host needs to go on.

use super::news::FleetNews;
use super::record::{AttemptRecord, encode, read_attempts};
use super::{Fleet, LIMIT};
use crate::share::{Engine, Expected, Lease, ShareError, Written};
use crate::store::{Store, StoreError};
use acme_dns_core::id::VariantId;
use acme_dns_core::schedule::Progress;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep, timeout};

/// A lease is renewed so often within its time.
const RENEWALS: u32 = 3;

/// The longest time for which a lease is kept because the engine does not take the certificate.
const UNOFFERED: Duration = Duration::from_secs(600);

/// The turn of this host for a certificate.
pub(in crate::engine) struct HostTurn {
    pub(super) lease: RefCell<Option<Lease>>,
    /// State of the record of attempts that the next put replaces; `None`: what lies there has to stay. Puts wait for each
    /// other.
    pub(super) expected: Mutex<Option<Expected>>,
    /// State of the failures to share.
    pub(super) progress: RefCell<Option<Progress>>,
    /// Set once all that is on disk of the attempts has been shared.
    pub(super) is_shared: Cell<bool>,
    /// Since when a certificate that was obtained is not shared. The lease is kept so long, and its order stays in the
    /// engine: whoever has the lease next obtains the same certificate, and orders none.
    unoffered: Cell<Option<Instant>>,
    lost: Notify,
    is_lost: Cell<bool>,
}

impl HostTurn {
    pub(super) fn new(lease: Lease) -> Self {
        Self {
            lease: RefCell::new(Some(lease)),
            expected: Mutex::new(None),
            progress: RefCell::default(),
            is_shared: Cell::new(false),
            unoffered: Cell::new(None),
            lost: Notify::new(),
            is_lost: Cell::new(false),
        }
    }

    /// Notes that the certificate was obtained. It is kept from now on, whoever has the turn.
    pub(in crate::engine) fn note_obtained(&self) {
        self.unoffered.set(Some(Instant::now()));
    }

    /// Notes that the attempt has failed, which may be after that: there is nothing to offer.
    pub(super) fn note_failed(&self) {
        self.unoffered.set(None);
    }

    /// Waits until the lease is gone before the certificate was obtained: another host may have the turn.
    pub(in crate::engine) async fn lost(&self) {
        if !self.is_lost.get() {
            self.lost.notified().await;
        }
    }

    pub(super) fn note_lost(&self) {
        self.is_lost.set(true);
        if self.unoffered.get().is_none() {
            self.lost.notify_one();
        }
    }

    /// Keeps the lease until it is given back, or gone.
    pub(super) async fn keep(self: Rc<Self>, engine: Rc<dyn Engine>) {
        let Some(Lease { ttl, .. }) = self.lease.borrow().clone() else { return };
        let mut renewed = Instant::now();
        loop {
            sleep(ttl / RENEWALS).await;
            let Some(lease) = self.lease.borrow().clone() else { return };
            // A process that was stopped meanwhile need not ask.
            if renewed.elapsed() >= ttl {
                return self.note_lost();
            }
            let begun = Instant::now();
            match timeout(ttl / RENEWALS, engine.renew(&lease)).await {
                Ok(Ok(true)) => renewed = begun,
                Ok(Ok(false)) => return self.note_lost(),
                // It is tried again as long as the lease may last.
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

impl Fleet {
    /// Shares what is on disk of the attempts for a certificate.
    pub(super) async fn share_attempts(&self, variant: VariantId) {
        let turn = self.turns.borrow().get(&variant).cloned();
        let Some(turn) = turn else { return };
        let mut expected = turn.expected.lock().await;
        let name = self.site.name(variant).to_owned();
        let read = self.site.store.on_thread(move |store| {
            let journal = store.journal_of(&name)?.into_iter().map(|(_, entry)| entry).collect();
            Ok((store.load_order(&name)?, journal))
        });
        turn.is_shared.set(false);
        if turn.unoffered.get().is_some() {
            return;
        }
        let Ok((order, journal)) = read.await else { return };
        let progress = turn.progress.borrow().clone();
        let record = AttemptRecord { host: self.host.clone(), order, journal, progress };
        let lease = turn.lease.borrow().clone();
        let mut written = self.write_attempts(variant, &record, *expected, lease.as_ref()).await;
        if let (Some(Ok(Written::Lost)), Some(_)) = (&written, &lease) {
            // Nobody else writes while the lease is held: it was our own change, whose answer was lost.
            if let Ok(found) = self.engine.get(&self.attempt_path(variant)).await {
                *expected = read_attempts(found.as_ref()).0;
                written = self.write_attempts(variant, &record, *expected, lease.as_ref()).await;
            }
        }
        match written {
            Some(Ok(Written::Done(revision))) => {
                self.note_taken();
                let is_over = record.is_empty();
                *expected = Some(if is_over { Expected::Absent } else { Expected::At(revision) });
                turn.is_shared.set(true);
                if is_over && lease.is_none() {
                    self.turns.borrow_mut().remove(&variant);
                }
            }
            // Another host goes on with it.
            Some(Ok(Written::Lost | Written::Fenced)) => {
                turn.note_lost();
                if lease.is_none() {
                    self.turns.borrow_mut().remove(&variant);
                }
            }
            Some(Err(error)) => self.note_refusal(&error),
            // The link notices an engine that is away. What lies there has to stay otherwise.
            None => turn.is_shared.set(*expected == Some(Expected::Absent) && record.is_empty()),
        }
    }

    /// Writes a record of attempts, or removes it if nothing is left of them; `None` if that is not to be done, or nobody
    /// answers.
    async fn write_attempts(
        &self,
        variant: VariantId,
        record: &AttemptRecord,
        expected: Option<Expected>,
        lease: Option<&Lease>,
    ) -> Option<Result<Written, ShareError>> {
        let path = self.attempt_path(variant);
        let written = match (expected?, record.is_empty()) {
            (Expected::Absent, true) => return None,
            (Expected::At(revision), true) => {
                timeout(LIMIT, self.engine.remove(&path, revision, lease)).await
            }
            (expected, false) => {
                let content = encode(record).ok()?;
                timeout(LIMIT, self.engine.put(&path, &content, expected, lease)).await
            }
        };
        written.ok()
    }

    /// Shares again how attempts have ended whose turns are over: the engine may not have taken it. An order that has ended
    /// would be completed by another host otherwise.
    pub(super) fn share_unsettled(self: &Rc<Self>) {
        let is_unsettled = |turn: &HostTurn| turn.lease.borrow().is_none() && !turn.is_shared.get();
        let turns = self.turns.borrow();
        for (variant, _) in turns.iter().filter(|(_, turn)| is_unsettled(turn)) {
            let (fleet, variant) = (Rc::clone(self), *variant);
            tokio::task::spawn_local(async move { fleet.share_attempts(variant).await });
        }
    }

    /// Gives the lease of a certificate back. What is still to be cleaned up is shared until it is.
    pub(super) async fn release(&self, variant: VariantId) {
        let turn = self.turns.borrow().get(&variant).cloned();
        let Some(turn) = turn else { return };
        self.share_attempts(variant).await;
        let Some(lease) = turn.lease.borrow_mut().take() else { return };
        let _ends_by_itself = timeout(LIMIT, self.engine.release(&lease)).await;
        let is_settled = match *turn.expected.lock().await {
            None => true,
            Some(Expected::Absent) => turn.is_shared.get(),
            Some(Expected::At(_)) => false,
        };
        if is_settled {
            self.turns.borrow_mut().remove(&variant);
        }
    }

    /// Notes that the certificate of a turn is shared, or is not to be: the turn is over.
    pub(super) async fn note_offered(&self, variant: VariantId) {
        let turn = self.turns.borrow().get(&variant).cloned();
        if turn.is_some_and(|turn| turn.unoffered.take().is_some()) {
            self.release(variant).await;
        }
    }

    /// Gives the leases back that the others wait for in vain: the engine has not taken the certificates for too long.
    pub(super) fn release_overdue(self: &Rc<Self>) {
        let is_overdue = |turn: &HostTurn| {
            let since = turn.unoffered.get().filter(|_| turn.lease.borrow().is_some());
            since.is_some_and(|since| since.elapsed() >= UNOFFERED)
        };
        let turns = self.turns.borrow();
        for (variant, _) in turns.iter().filter(|(_, turn)| is_overdue(turn)) {
            let (fleet, variant) = (Rc::clone(self), *variant);
            tokio::task::spawn_local(async move { fleet.release(variant).await });
        }
    }

    /// Leaves what was under way to the host that has the turn now: it has the order, and removes the records.
    pub(in crate::engine) async fn hand_over(&self, variant: VariantId) {
        let turn = self.turns.borrow_mut().remove(&variant);
        self.report(FleetNews::Lost { variant });
        let Some(turn) = turn.filter(|turn| turn.is_shared.get()) else { return };
        turn.lease.borrow_mut().take();
        // What stays is in the way of nobody for long: its records are looked for in vain.
        let _stays = self.forget_attempts(variant).await;
    }

    /// Leaves what was under way to whoever takes the lease next, which may be the next process of this host. What the
    /// engine does not have is kept, and the lease ends by itself.
    pub(super) async fn leave_turn(&self, variant: VariantId) {
        self.share_attempts(variant).await;
        let turn = self.turns.borrow().get(&variant).cloned();
        let Some(turn) = turn.filter(|turn| turn.is_shared.get()) else { return };
        let lease = turn.lease.borrow_mut().take();
        // The next process would remove the records that another host needs by then.
        if let Some(lease) = lease
            && self.forget_attempts(variant).await.is_ok()
        {
            let _ends_by_itself = self.engine.release(&lease).await;
        }
    }

    async fn forget_attempts(&self, variant: VariantId) -> Result<(), StoreError> {
        let name = self.site.name(variant).to_owned();
        let forget = move |store: &Store| {
            for (id, _) in store.journal_of(&name)? {
                store.journal_remove(&id)?;
            }
            store.remove_order(&name)
        };
        self.site.store.on_thread(forget).await
    }
}
