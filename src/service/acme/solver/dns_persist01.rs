//! dns-persist-01 (draft-ietf-acme-dns-persist): a TXT record for each name that is written once, stays, and is
//! written anew before it ends. It is never removed with an order, so the journal does not know of it.

use super::{Challenge, MethodSolver, Solver, SolverTask};
use crate::acme::error::ObtainError;
use crate::acme::persist::{PersistStep, PersistWrite};
use crate::acme::teller::Teller;
use crate::acme::{ObtainerState, names_of, now};
use crate::dns::{PlacedRecord, TxtRecord, Zone, on_account_of};
use crate::event::PersistEvent;
use crate::mark::spawn_local;
use acme_dns_core::challenge::{Candidate, Kept, Mark};
use acme_dns_core::config::ChallengeMethod;
use acme_dns_core::level::Level;
use acme_dns_core::persist::end_of;
use async_trait::async_trait;
use futures_util::future::join_all;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The solver of dns-persist-01.
pub(super) const SOLVER: MethodSolver = MethodSolver {
    method: ChallengeMethod::DnsPersist01,
    limit: |_, _| Box::pin(async { Ok(None) }),
    solver: |task| {
        Box::new(PersistSolver {
            state: Rc::clone(task.state),
            payer: task.certificate.name.clone(),
            own_provider: task.state.own_provider(task.certificate).unwrap_or_default().to_owned(),
            teller: task.teller.clone(),
            shares: Vec::new(),
        })
    },
};

/// The solver of an order's challenges.
struct PersistSolver {
    state: Rc<ObtainerState>,
    /// The certificate that pays for requests.
    payer: String,
    /// The provider of the certificate.
    own_provider: String,
    teller: Teller,
    shares: Vec<Share>,
}

/// The records that are written to one zone of one provider.
struct Share {
    provider: String,
    zone: Zone,
    records: Vec<TxtRecord>,
    /// The records that they take the place of.
    replaced: Vec<TxtRecord>,
    /// Set unless these will do for now.
    is_urgent: bool,
    /// Set once the servers show the records.
    is_visible: Cell<bool>,
}

#[async_trait(?Send)]
impl Solver for PersistSolver {
    async fn present(
        &mut self,
        task: &SolverTask<'_>,
        challenges: &[&Challenge],
    ) -> Result<(), ObtainError> {
        // A name and its wildcard have one record.
        let of_bases: BTreeMap<&str, &Challenge> =
            challenges.iter().map(|challenge| (challenge.base(), *challenge)).collect();
        let mut needed = Vec::new();
        for (base, challenge) in of_bases {
            let Some(Ok(wanted)) = challenge.persistent() else { continue };
            let SolverTask { state, certificate, persist, teller, .. } = task;
            let wanted = (base, wanted.clone());
            let record = state.persist_record(certificate, wanted, *persist, teller).await?;
            record.tell(state, teller);
            match record.step {
                PersistStep::Keep | PersistStep::KeepStale => {}
                PersistStep::Write(write) => self.add(write),
                PersistStep::Wait(record) => needed.push(record),
            }
        }
        if !needed.is_empty() {
            task.state.tell_needed(&needed, task.teller);
            return Err(ObtainError::Waiting(needed));
        }
        let writes = self.shares.iter().map(|share| self.write(share, task));
        let written = on_account_of(&self.payer, join_all(writes)).await;
        self.judge(written)
    }

    async fn wait(&self) -> Result<(), ObtainError> {
        let waits = self.shares.iter().map(|share| self.wait_for(share));
        self.judge(join_all(waits).await)
    }

    /// Removes nothing but what was replaced, once the servers show what has taken its place.
    fn clean_up(self: Box<Self>) {
        let is_replaced = |share: &&Share| share.is_visible.get() && !share.replaced.is_empty();
        spawn_local(async move {
            for share in self.shares.iter().filter(is_replaced) {
                let names = names_of(&share.replaced);
                if let Err(why) = on_account_of(&self.payer, self.remove(share)).await {
                    self.teller.persist(PersistEvent::NotReplaced { names, why });
                }
            }
        });
    }
}

impl PersistSolver {
    /// Adds a record to those of its zone.
    fn add(&mut self, write: PersistWrite) {
        let PersistWrite { provider, zone, record, replaced, is_urgent } = write;
        let is_it = |share: &&mut Share| {
            share.provider == provider && share.zone.id == zone.id && share.is_urgent == is_urgent
        };
        let old = |value| TxtRecord { name: record.name.clone(), value };
        let mut replaced: Vec<TxtRecord> = replaced.into_iter().map(old).collect();
        match self.shares.iter_mut().find(is_it) {
            Some(share) => {
                share.records.push(record);
                share.replaced.append(&mut replaced);
            }
            None => self.shares.push(Share {
                provider,
                zone,
                records: vec![record],
                replaced,
                is_urgent,
                is_visible: Cell::new(false),
            }),
        }
    }

    /// Gives the first error that matters: where another record will do for now, one is only told.
    fn judge(&self, results: Vec<Result<(), ObtainError>>) -> Result<(), ObtainError> {
        for (share, result) in self.shares.iter().zip(results) {
            match result {
                Err(error) if share.is_urgent => return Err(error),
                Err(error) => self.teller.step_failed(Level::Warn, &error),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn write(&self, share: &Share, task: &SolverTask<'_>) -> Result<(), ObtainError> {
        let Share { provider, zone, records, .. } = share;
        let created = self.state.provider(provider)?.create(zone, records).await;
        created
            .map_err(|error| ObtainerState::provider_error(&self.own_provider, provider, error))?;
        self.teller.persist(PersistEvent::Written {
            names: names_of(records),
            zone: zone.name.clone(),
            until: task.persist.map(|span| end_of(span, now())),
        });
        Ok(())
    }

    async fn wait_for(&self, share: &Share) -> Result<(), ObtainError> {
        let Share { provider, zone, records, .. } = share;
        self.state.wait_for_records(provider, zone, records, &self.teller).await?;
        share.is_visible.set(true);
        Ok(())
    }

    /// Removes what was replaced, by its exact value.
    async fn remove(&self, share: &Share) -> Result<(), String> {
        let Some(provider) = self.state.provider_named(&share.provider) else { return Ok(()) };
        let place = |record: &TxtRecord| PlacedRecord {
            record: record.clone(),
            zone: share.zone.clone(),
            id: None,
        };
        let placed: Vec<PlacedRecord> = share.replaced.iter().map(place).collect();
        let rule = |candidate: &Candidate<'_>| may_replace(&share.replaced, candidate);
        provider.remove(&placed, &rule).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Decides whether a record is one of those that were replaced. One that somebody has added by hand stays, where
/// the provider can tell.
///
/// # Errors
/// Why it is left alone.
fn may_replace(replaced: &[TxtRecord], candidate: &Candidate<'_>) -> Result<(), Kept> {
    let Candidate { kind, name, value, mark } = *candidate;
    let is_it =
        |record: &TxtRecord| record.name.eq_ignore_ascii_case(name) && record.value == value;
    match mark {
        _ if kind != "TXT" => Err(Kept::Type),
        _ if !replaced.iter().any(is_it) => Err(Kept::Form),
        Mark::Missing => Err(Kept::Unmarked),
        Mark::Ours | Mark::Unread | Mark::Unsupported => Ok(()),
    }
}
