//! The TXT records of an order, from the journal to their providers and back. Each record has a
//! provider of its own, so that one order may need several. Removal is in [`super::cleanup`].

use super::claims::{ActiveEntry, Claim};
use super::cleanup::{EntrySource, Removal, close, records_of, remove};
use super::error::ObtainError;
use super::teller::Teller;
use super::{ObtainerState, names_of};
use crate::dns::{PlacedRecord, TxtRecord, Zone, on_account_of};
use crate::event::RecordsEvent;
use crate::mark::spawn_local;
use crate::store::{JournalEntry, JournalRecord, StoreError, journal_owner};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

/// A record that an order needs.
pub(super) struct WantedRecord {
    /// The name of the provider in the configuration that is to have it.
    pub(super) provider: String,
    /// The name of the challenge, where that is an alias of the record's.
    pub(super) challenge: Option<String>,
    pub(super) record: TxtRecord,
}

/// The records of an order that are in one zone of one provider, by their positions.
struct ZoneShare {
    provider: String,
    zone: Zone,
    positions: Vec<usize>,
}

/// The records of one order. They are in the journal before they exist; what is dropped without
/// [`Records::clean_up`] stays there.
pub(super) struct Records {
    state: Rc<ObtainerState>,
    active: ActiveEntry,
    claim: Option<Claim>,
    /// The provider of the certificate.
    own_provider: String,
    records: Vec<JournalRecord>,
    teller: Teller,
}

impl Records {
    pub(super) fn new(
        state: &Rc<ObtainerState>,
        certificate: &str,
        own_provider: &str,
        teller: &Teller,
    ) -> Self {
        Self {
            state: Rc::clone(state),
            active: ActiveEntry::take_free(state, certificate),
            claim: None,
            own_provider: own_provider.to_owned(),
            records: Vec::new(),
            teller: teller.clone(),
        }
    }

    /// Creates the records: all of a zone together, the zones at the same time.
    pub(super) async fn create(&mut self, wanted: Vec<WantedRecord>) -> Result<(), ObtainError> {
        let claimed = wanted.iter().map(|wanted| (wanted.provider.as_str(), &wanted.record));
        let tell_waiting = || {
            let names = names_of(wanted.iter().map(|wanted| &wanted.record));
            self.teller.records(RecordsEvent::WaitingForOthers { names });
        };
        self.claim = Some(Claim::wait(&self.state, claimed, tell_waiting).await);
        self.records = on_account_of(&self.active.id, self.find_zones(wanted)).await?;
        self.write_journal().await?;
        let shares = self.by_zone();
        let creations = shares.iter().map(|share| self.create_share(share));
        let created = on_account_of(&self.active.id, join_all(creations)).await;
        let mut first_error = None;
        let mut refused = BTreeSet::new();
        for (share, result) in shares.iter().zip(created) {
            match result {
                Ok(ids) => self.note_ids(&share.positions, ids),
                Err(error) => {
                    if error.is_definite() {
                        refused.extend(share.positions.iter().copied());
                    }
                    first_error = first_error.or(Some(error));
                }
            }
        }
        if let Some(error) = first_error {
            self.forget_refused(&refused).await;
            return Err(error);
        }
        // Cleaning up is quicker with the ids, and works without them.
        if let Err(error) = self.write_journal().await {
            self.tell_journal_failed(&error);
        }
        Ok(())
    }

    async fn create_share(&self, share: &ZoneShare) -> Result<Vec<String>, ObtainError> {
        let records: Vec<TxtRecord> = self.records_at(&share.positions).cloned().collect();
        let names = names_of(&records);
        let zone = share.zone.name.clone();
        self.teller.records(RecordsEvent::Creating { names, zone });
        let provider = &share.provider;
        let created = self.state.provider(provider)?.create(&share.zone, &records).await;
        created.map_err(|error| ObtainerState::provider_error(&self.own_provider, provider, error))
    }

    /// Takes records out that are certain not to be there: nobody has to look for them.
    async fn forget_refused(&mut self, refused: &BTreeSet<usize>) {
        if refused.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.records).into_iter().enumerate();
        let left = records.filter(|(at, _)| !refused.contains(at)).map(|(_, record)| record);
        self.records = left.collect();
        let kept = match self.records.is_empty() {
            true => close(&self.state, &self.active, &[]).await,
            false => self.write_journal().await.map_err(|error| error.to_string()),
        };
        if let Err(error) = kept {
            self.tell_journal_failed(&error);
        }
    }

    /// Waits until the servers of all zones have the records.
    pub(super) async fn wait(&self) -> Result<(), ObtainError> {
        let shares = self.by_zone();
        let waits = shares.iter().map(|share| self.wait_for_share(share));
        join_all(waits).await.into_iter().collect()
    }

    async fn wait_for_share(&self, share: &ZoneShare) -> Result<(), ObtainError> {
        let records: Vec<TxtRecord> = self.records_at(&share.positions).cloned().collect();
        let ZoneShare { provider, zone, .. } = share;
        self.state.wait_for_records(provider, zone, &records, &self.teller).await
    }

    /// Removes the records, whatever becomes of the order; what cannot be removed stays in the
    /// journal, with a warning.
    pub(super) fn clean_up(self) {
        spawn_local(async move {
            if self.records.is_empty() {
                return;
            }
            let entry = self.entry();
            let names = names_of(records_of(&entry));
            let source = EntrySource::Order;
            let removed = match remove(&self.state, &self.active, &entry, source).await {
                Ok(Removal::Done(spared)) => close(&self.state, &self.active, &spared).await,
                Ok(Removal::LookAgain) => {
                    return self.teller.records(RecordsEvent::Unconfirmed { names });
                }
                Err(why) => Err(why),
            };
            if let Err(why) = removed {
                self.teller.records(RecordsEvent::NotRemoved { names, is_earlier: false, why });
            }
        });
    }

    async fn find_zones(
        &self,
        wanted: Vec<WantedRecord>,
    ) -> Result<Vec<JournalRecord>, ObtainError> {
        let mut zones: BTreeMap<(String, String), Zone> = BTreeMap::new();
        let mut records: Vec<JournalRecord> = Vec::new();
        // One after the other: a provider has found most zones after the first name.
        for WantedRecord { provider, challenge, record } in wanted {
            if records.iter().any(|other| other.placed.record == record) {
                continue;
            }
            let key = (provider.clone(), record.name.clone());
            let zone = match zones.get(&key) {
                Some(zone) => zone.clone(),
                None => {
                    let providers = (self.own_provider.as_str(), provider.as_str());
                    self.state.zone_of(providers, &record.name, challenge.as_deref()).await?
                }
            };
            zones.insert(key, zone.clone());
            let placed = PlacedRecord { record, zone, id: None };
            records.push(JournalRecord { provider, challenge, placed });
        }
        Ok(records)
    }

    fn by_zone(&self) -> Vec<ZoneShare> {
        let mut shares: Vec<ZoneShare> = Vec::new();
        for (position, JournalRecord { provider, placed, .. }) in self.records.iter().enumerate() {
            let is_it = |share: &&mut ZoneShare| {
                share.provider == *provider && share.zone.id == placed.zone.id
            };
            match shares.iter_mut().find(is_it) {
                Some(share) => share.positions.push(position),
                None => shares.push(ZoneShare {
                    provider: provider.clone(),
                    zone: placed.zone.clone(),
                    positions: vec![position],
                }),
            }
        }
        shares
    }

    fn records_at(&self, positions: &[usize]) -> impl Iterator<Item = &TxtRecord> {
        positions.iter().filter_map(|position| Some(&self.records.get(*position)?.placed.record))
    }

    fn note_ids(&mut self, positions: &[usize], ids: Vec<String>) {
        for (position, id) in positions.iter().zip(ids) {
            if let Some(record) = self.records.get_mut(*position) {
                record.placed.id = Some(id);
            }
        }
    }

    fn entry(&self) -> JournalEntry {
        JournalEntry { records: self.records.clone() }
    }

    fn tell_journal_failed(&self, error: &dyn fmt::Display) {
        self.teller.records(RecordsEvent::JournalFailed { why: error.to_string() });
    }

    async fn write_journal(&self) -> Result<(), StoreError> {
        let (id, entry) = (self.active.id.clone(), self.entry());
        self.state.store.on_thread(move |store| store.journal_write(&id, &entry)).await?;
        self.state.note_on_disk(journal_owner(&self.active.id)).await;
        Ok(())
    }
}
