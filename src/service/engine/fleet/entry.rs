//! Before an attempt: whose turn it is, and what another host has left of the same order.

use super::Fleet;
use super::news::{FleetNews, Wait};
use super::record::{AttemptRecord, read_attempts};
use super::turn::HostTurn;
use crate::acme::Obtainer;
use crate::engine::clock::now;
use crate::share::{Change, Lease, Revision, ShareError};
use crate::store::{Store, StoreError};
use acme_dns_core::fleet::{Claimant, Turn};
use acme_dns_core::id::VariantId;
use acme_dns_core::schedule::{Attempt, Environment, Validity};
use acme_dns_core::time::UnixTime;
use std::rc::Rc;

/// State of a certificate at the moment when an attempt is due, as this host knows it. Whatever it hears later may be what is due,
/// even if it is served by the time at which the attempt is looked at.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Known {
    /// The certificate that is served.
    pub(in crate::engine) validity: Option<Validity>,
    /// Set if a person has asked for the renewal.
    pub(in crate::engine) is_asked: bool,
    pub(super) heard: Heard,
}

/// News of a certificate that is shared.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// A newer one is being saved.
    IsAdopted,
    /// The watch has told of this change last.
    Last(Option<Revision>),
}

/// Answer to an attempt that is due.
pub(in crate::engine) enum Entry {
    /// It begins; without a turn where the engine has been away for too long.
    Begin(Option<Rc<HostTurn>>),
    /// It waits.
    Wait(Wait),
}

impl Fleet {
    /// Tells what is known of a certificate; to be asked when an attempt is due.
    pub(in crate::engine) fn known(
        &self,
        variant: VariantId,
        validity: Option<Validity>,
        is_asked: bool,
    ) -> Known {
        let heard = match self.adopting.borrow().contains(&variant) {
            true => Heard::IsAdopted,
            false => Heard::Last(
                self.mirror.borrow().certificates.get(&variant).map(|seen| seen.revision),
            ),
        };
        Known { validity, is_asked, heard }
    }

    /// Asks whether an attempt begins here.
    pub(in crate::engine) async fn enter(
        self: &Rc<Self>,
        due: &Attempt,
        known: Known,
        obtainer: &Obtainer,
    ) -> Entry {
        let Known { validity, is_asked, heard } = known;
        // What is being adopted is not to be ordered.
        let Heard::Last(heard) = heard else {
            return Entry::Wait(Wait::until(self.retry(due.variant)));
        };
        let place = self.place(due.variant);
        match (Claimant { validity, is_asked, place }).turn(self.reach(), now()) {
            Turn::Alone => Entry::Begin(None),
            Turn::Wait(until) => Entry::Wait(Wait::until(until)),
            Turn::Lease => {
                self.take(due, (is_asked, heard), obtainer).await.unwrap_or_else(|error| {
                    self.note_refusal(&error);
                    Entry::Wait(Wait::until(self.retry(due.variant)))
                })
            }
        }
    }

    /// Gives the time until which a certificate waits: the lease may have ended since it was asked for.
    pub(in crate::engine) fn end_of_wait(&self, variant: VariantId, wait: &Wait) -> UnixTime {
        let has_ended = |lease: &String| !self.waiting.borrow().has(lease, variant);
        if wait.lease.as_ref().is_some_and(has_ended) { now() } else { wait.until }
    }

    /// Takes the account, the lease of a certificate, and what another host has left.
    async fn take(
        self: &Rc<Self>,
        due: &Attempt,
        (is_asked, heard): (bool, Option<Revision>),
        obtainer: &Obtainer,
    ) -> Result<Entry, ShareError> {
        let variant = due.variant;
        if due.environment == Environment::Production
            && let Some(wait) = self.share_account(due, obtainer).await?
        {
            return Ok(Entry::Wait(wait));
        }
        let lease = match self.lease_for(variant, self.keys.of(variant).as_str()).await? {
            Ok(lease) => lease,
            Err(wait) => return Ok(Entry::Wait(wait)),
        };
        self.note_taken();
        let turn = Rc::new(HostTurn::new(lease));
        tokio::task::spawn_local(Rc::clone(&turn).keep(Rc::clone(&self.engine)));
        self.turns.borrow_mut().insert(variant, Rc::clone(&turn));
        let ready = self.prepare(variant, (is_asked, heard), &turn).await;
        match ready {
            Ok(None) => Ok(Entry::Begin(Some(turn))),
            Ok(Some(wait)) => {
                self.release_unused(variant, &turn).await;
                Ok(Entry::Wait(wait))
            }
            Err(error) => {
                self.release_unused(variant, &turn).await;
                Err(error)
            }
        }
    }

    /// Takes a lease that a certificate needs, or has it wait for the end of that.
    pub(super) async fn lease_for(
        &self,
        variant: VariantId,
        name: &str,
    ) -> Result<Result<Lease, Wait>, ShareError> {
        self.waiting.borrow_mut().begin(name, variant);
        let taken = self.engine.lease(name, self.ttl).await;
        if !matches!(taken, Ok(None)) {
            self.waiting.borrow_mut().end(name, variant);
        }
        let until = self.retry(variant);
        Ok(taken?.ok_or_else(|| Wait { until, lease: Some(name.to_owned()), news: None }))
    }

    /// Prepares an attempt under a lease; gives a wait if there is nothing to do before that.
    async fn prepare(
        &self,
        variant: VariantId,
        (is_asked, heard): (bool, Option<Revision>),
        turn: &HostTurn,
    ) -> Result<Option<Wait>, ShareError> {
        // A certificate is put before the record of its order is removed. So whoever finds no order finds the certificate, if
        // it looks for that afterwards.
        let found = self.engine.get(&self.attempt_path(variant)).await?;
        if let Some(news) = self.unheard_certificate(variant, heard).await? {
            let until = self.retry(variant);
            return Ok(Some(Wait { until, lease: None, news: Some(news) }));
        }
        let (expected, record) = read_attempts(found.as_ref());
        if let Some(progress) = record.as_ref().and_then(|record| record.progress.as_ref())
            && progress.next > now()
            && !is_asked
        {
            let until = progress.next;
            return Ok(Some(Wait { until, lease: None, news: found }));
        }
        *turn.expected.lock().await = expected;
        if let Some(record) = record {
            self.inherit(variant, record).await;
            self.share_attempts(variant).await;
        }
        Ok(None)
    }

    /// Finds a certificate that is shared and of which the watch had not told.
    async fn unheard_certificate(
        &self,
        variant: VariantId,
        heard: Option<Revision>,
    ) -> Result<Option<Change>, ShareError> {
        let path = self.certificate_path(variant);
        let found = self.engine.get(&path).await?;
        Ok(match (found, heard) {
            (Some(change), heard) if Some(change.revision()) != heard => Some(change),
            (None, Some(revision)) => Some(Change::Removed { path, revision }),
            _ => None,
        })
    }

    /// Goes on with what another host has left: its order, and the removal of its records.
    async fn inherit(&self, variant: VariantId, record: AttemptRecord) {
        let name = self.site.name(variant).to_owned();
        let kept = self.site.store.on_thread(move |store| keep(store, &name, &record)).await;
        if let Err(error) = kept {
            self.site.tell_ignored(&error);
        }
    }

    async fn release_unused(&self, variant: VariantId, turn: &HostTurn) {
        self.turns.borrow_mut().remove(&variant);
        let lease = turn.lease.borrow_mut().take();
        if let Some(lease) = lease {
            // It ends by itself otherwise.
            let _released = self.engine.release(&lease).await;
        }
    }

    /// Takes over what a host has left that has gone: the removal of TXT records, and the order unless the certificate has
    /// been renewed.
    pub(super) async fn clean_up_after(self: Rc<Self>, variant: VariantId, is_renewed: bool) {
        let _tried_again = self.clean_up_under_lease(variant, is_renewed).await;
    }

    async fn clean_up_under_lease(
        self: &Rc<Self>,
        variant: VariantId,
        is_renewed: bool,
    ) -> Result<(), ShareError> {
        let lease = self.engine.lease(self.keys.of(variant).as_str(), self.ttl).await?;
        let Some(lease) = lease else { return Ok(()) };
        let found = self.engine.get(&self.attempt_path(variant)).await?;
        let (expected, record) = read_attempts(found.as_ref());
        let turn = Rc::new(HostTurn::new(lease));
        *turn.expected.lock().await = expected;
        self.turns.borrow_mut().insert(variant, turn);
        if let Some(mut record) = record {
            if is_renewed {
                record.order = None;
            }
            let has_records = !record.journal.is_empty();
            self.inherit(variant, record).await;
            if has_records {
                self.report(FleetNews::Inherited { variant });
            }
        }
        self.release(variant).await;
        Ok(())
    }
}

/// Writes what another host has left to the disk, where an attempt looks for it.
fn keep(store: &Store, name: &str, record: &AttemptRecord) -> Result<(), StoreError> {
    for entry in &record.journal {
        store.journal_add(name, entry)?;
    }
    match &record.order {
        Some(order) => store.save_order(name, order),
        None => Ok(()),
    }
}
