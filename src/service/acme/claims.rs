//! Claims to records and journal entries, so that no two orders work on one at the same time.

use super::ObtainerState;
use crate::dns::TxtRecord;
use std::collections::HashSet;
use std::rc::Rc;

/// Record or record set that one order at a time has.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Claimed {
    /// A record.
    Record(TxtRecord),
    /// A record set that can have so few values that another order would push them out.
    RecordSet(String),
}

/// Marks records as being worked on. A CA may give the same challenge, and so the same record, to
/// two orders, or to an order and the one before it, whose records are being removed: one after the
/// other. So it is where a record set has no room for the values of two.
pub(super) struct Claim {
    state: Rc<ObtainerState>,
    claimed: HashSet<Claimed>,
}

impl Claim {
    /// Takes records, each with the name of its provider, unless one of them is taken.
    pub(super) fn take<'a>(
        state: &Rc<ObtainerState>,
        records: impl Iterator<Item = (&'a str, &'a TxtRecord)>,
    ) -> Option<Self> {
        let mut own = HashSet::new();
        for (provider, record) in records {
            let provider = state.provider_named(provider);
            let limit = provider.and_then(|provider| provider.value_limit(&record.name));
            own.extend(limit.map(|limit| Claimed::RecordSet(limit.record_set)));
            own.insert(Claimed::Record(record.clone()));
        }
        let mut claimed = state.claimed.borrow_mut();
        if !claimed.is_disjoint(&own) {
            return None;
        }
        claimed.extend(own.iter().cloned());
        Some(Self { state: Rc::clone(state), claimed: own })
    }

    /// Takes the records as soon as all of them are free. `tell_waiting` is called once where they are not.
    pub(super) async fn wait<'a>(
        state: &Rc<ObtainerState>,
        records: impl Iterator<Item = (&'a str, &'a TxtRecord)> + Clone,
        tell_waiting: impl FnOnce(),
    ) -> Self {
        let mut tell_waiting = Some(tell_waiting);
        loop {
            let unclaimed = state.unclaimed.notified();
            if let Some(claim) = Self::take(state, records.clone()) {
                return claim;
            }
            if let Some(tell) = tell_waiting.take() {
                tell();
            }
            unclaimed.await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.state.claimed.borrow_mut();
        claimed.retain(|other| !self.claimed.contains(other));
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

/// Marks a certificate as being worked on: the records of its earlier attempts are left alone. The order may be gone on
/// with, and the CA may be looking for them.
pub struct UnderWay {
    state: Rc<ObtainerState>,
    certificate: String,
}

impl UnderWay {
    pub(super) fn begin(state: &Rc<ObtainerState>, certificate: &str) -> Self {
        state.under_way.borrow_mut().insert(certificate.to_owned());
        Self { state: Rc::clone(state), certificate: certificate.to_owned() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.state.under_way.borrow_mut().remove(&self.certificate);
    }
}
