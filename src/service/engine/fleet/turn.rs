//! The turn of this host: a certificate's lease while it is ordered, and what another host needs to go on.

use super::news::FleetNews;
use super::record::{AttemptRecord, encode};
use super::{Fleet, LIMIT};
use crate::share::{Engine, Expected, Lease, Written};
use crate::store::{Store, StoreError};
use acme_dns_core::id::VariantId;
use acme_dns_core::schedule::Progress;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep, timeout};

/// A lease is renewed so often within its time.
const RENEWALS: u32 = 3;

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
    /// Set while a certificate was obtained that is not shared yet. Its order stays in the engine so long: whoever has the
    /// lease next obtains the same certificate, and orders none.
    is_unoffered: Cell<bool>,
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
            is_unoffered: Cell::new(false),
            lost: Notify::new(),
            is_lost: Cell::new(false),
        }
    }

    /// Notes that the certificate was obtained. It is kept from now on, whoever has the turn.
    pub(in crate::engine) fn note_obtained(&self) {
        self.is_unoffered.set(true);
    }

    /// Notes that the attempt has failed, which may be after that: there is nothing to offer.
    pub(super) fn note_failed(&self) {
        self.is_unoffered.set(false);
    }

    /// Waits until the lease is gone before the certificate was obtained: another host may have the turn.
    pub(in crate::engine) async fn lost(&self) {
        if !self.is_lost.get() {
            self.lost.notified().await;
        }
    }

    pub(super) fn note_lost(&self) {
        self.is_lost.set(true);
        if !self.is_unoffered.get() {
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
        if turn.is_unoffered.get() {
            return;
        }
        let Ok((order, journal)) = read.await else { return };
        let progress = turn.progress.borrow().clone();
        let record = AttemptRecord { host: self.host.clone(), order, journal, progress };
        let (path, lease) = (self.attempt_path(variant), turn.lease.borrow().clone());
        let written = match (*expected, record.is_empty()) {
            (None, _) => return,
            (Some(Expected::Absent), true) => return turn.is_shared.set(true),
            (Some(Expected::At(revision)), true) => {
                timeout(LIMIT, self.engine.remove(&path, revision, lease.as_ref())).await
            }
            (Some(expected), false) => {
                let Ok(content) = encode(&record) else { return };
                timeout(LIMIT, self.engine.put(&path, &content, expected, lease.as_ref())).await
            }
        };
        match written {
            Ok(Ok(Written::Done(revision))) => {
                self.note_taken();
                let is_over = record.is_empty();
                *expected = Some(if is_over { Expected::Absent } else { Expected::At(revision) });
                turn.is_shared.set(true);
                if is_over && lease.is_none() {
                    self.turns.borrow_mut().remove(&variant);
                }
            }
            // Another host goes on with it.
            Ok(Ok(Written::Lost | Written::Fenced)) => {
                turn.note_lost();
                if lease.is_none() {
                    self.turns.borrow_mut().remove(&variant);
                }
            }
            Ok(Err(error)) => self.note_refusal(&error),
            // The link notices an engine that is away.
            Err(_) => {}
        }
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

    /// Notes that the certificate of a turn is shared, or is not to be. If the turn is over, its end is shared as well.
    pub(super) async fn note_offered(&self, variant: VariantId) {
        let turn = self.turns.borrow().get(&variant).cloned();
        let Some(turn) = turn.filter(|turn| turn.is_unoffered.take()) else { return };
        if turn.lease.borrow().is_none() {
            self.share_attempts(variant).await;
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
