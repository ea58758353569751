//! Claims to records and journal entries, so that no two orders work on one at the same time.

use super::ObtainerState;
use crate::dns::TxtRecord;
use std::rc::Rc;

/// Marks records as being worked on. A CA may give the same challenge, and so the same record, to
/// two orders, or to an order and the one before it, whose records are being removed: one after the
/// other.
pub(super) struct Claim {
    state: Rc<ObtainerState>,
    records: Vec<TxtRecord>,
}

impl Claim {
    /// Takes the records unless one of them is taken.
    pub(super) fn take<'a>(
        state: &Rc<ObtainerState>,
        records: impl Iterator<Item = &'a TxtRecord>,
    ) -> Option<Self> {
        let records: Vec<TxtRecord> = records.cloned().collect();
        let mut claimed = state.claimed.borrow_mut();
        if records.iter().any(|record| claimed.contains(record)) {
            return None;
        }
        claimed.extend(records.iter().cloned());
        Some(Self { state: Rc::clone(state), records })
    }

    /// Takes the records as soon as all of them are free.
    pub(super) async fn wait(state: &Rc<ObtainerState>, records: &[TxtRecord]) -> Self {
        loop {
            let unclaimed = state.unclaimed.notified();
            if let Some(claim) = Self::take(state, records.iter()) {
                return claim;
            }
            unclaimed.await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.state.claimed.borrow_mut();
        self.records.iter().for_each(|record| {
            claimed.remove(record);
        });
        self.state.unclaimed.notify_waiters();
    }
}

/// Marks a journal entry as being worked on.
pub(super) struct ActiveEntry {
    state: Rc<ObtainerState>,
    pub(super) id: String,
}

impl ActiveEntry {
    /// Takes a journal entry unless another has it.
    pub(super) fn take(state: &Rc<ObtainerState>, id: &str) -> Option<Self> {
        let new = state.active.borrow_mut().insert(id.to_owned());
        new.then(|| Self { state: Rc::clone(state), id: id.to_owned() })
    }

    /// Takes an entry that does not exist yet: that of an earlier order may still be there.
    pub(super) fn take_free(state: &Rc<ObtainerState>, name: &str) -> Self {
        let mut number = 1_u64;
        loop {
            let id = if number == 1 { name.to_owned() } else { format!("{name}~{number}") };
            if !state.store.journal_has(&id)
                && let Some(active) = Self::take(state, &id)
            {
                state.hopeless.borrow_mut().remove(&id);
                return active;
            }
            number += 1;
        }
    }
}

impl Drop for ActiveEntry {
    fn drop(&mut self) {
        self.state.active.borrow_mut().remove(&self.id);
    }
}
