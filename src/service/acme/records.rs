//! The TXT records of an order, from the journal to the provider and back.

use super::error::ObtainError;
use super::log::Log;
use super::{Shared, names_of};
use crate::dns::{Placed, Spared, TxtRecord, Zone, on_account_of};
use crate::propagation::ZoneServers;
use crate::store::{Entry, StoreError};
use acme_dns_core::challenge::{Candidate, Kept};
use acme_dns_core::level::Level;
use acme_dns_core::text::excerpt;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::spawn_local;
use tokio::time::timeout;

/// How long removing records may take before it is left to a later time.
const CLEAN_UP: Duration = Duration::from_secs(120);

/// How long a request may be under way at a provider after its client has gone or has given up:
/// what it creates late is found only by looking again.
const IN_FLIGHT: Duration = Duration::from_secs(15);

/// So many records that are not ours to remove are named in a line, each name so long.
const SHOWN: usize = 4;
const MAX_NAME: usize = 100;

/// The records of one order. They are in the journal before they exist; what is dropped without
/// [`Records::clean_up`] stays there.
pub(super) struct Records {
    shared: Rc<Shared>,
    active: Active,
    claim: Option<Claim>,
    provider: usize,
    placed: Vec<Placed>,
    log: Log,
}

/// Marks records as being worked on. A CA may give the same challenge, and so the same record, to
/// two orders, or to an order and the one before it, whose records are being removed: one after the
/// other.
pub(super) struct Claim {
    shared: Rc<Shared>,
    records: Vec<TxtRecord>,
}

impl Claim {
    /// Takes the records unless one of them is taken.
    pub(super) fn take<'a>(
        shared: &Rc<Shared>,
        records: impl Iterator<Item = &'a TxtRecord>,
    ) -> Option<Self> {
        let records: Vec<TxtRecord> = records.cloned().collect();
        let mut claimed = shared.claimed.borrow_mut();
        if records.iter().any(|record| claimed.contains(record)) {
            return None;
        }
        claimed.extend(records.iter().cloned());
        Some(Self { shared: Rc::clone(shared), records })
    }

    /// Takes the records as soon as all of them are free.
    async fn wait(shared: &Rc<Shared>, records: &[TxtRecord]) -> Self {
        loop {
            let unclaimed = shared.unclaimed.notified();
            if let Some(claim) = Self::take(shared, records.iter()) {
                return claim;
            }
            unclaimed.await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.shared.claimed.borrow_mut();
        self.records.iter().for_each(|record| {
            claimed.remove(record);
        });
        self.shared.unclaimed.notify_waiters();
    }
}

/// Marks a journal entry as being worked on.
pub(super) struct Active {
    shared: Rc<Shared>,
    pub(super) id: String,
}

impl Active {
    /// Takes a journal entry unless another has it.
    pub(super) fn take(shared: &Rc<Shared>, id: &str) -> Option<Self> {
        let new = shared.active.borrow_mut().insert(id.to_owned());
        new.then(|| Self { shared: Rc::clone(shared), id: id.to_owned() })
    }

    /// Takes an entry that does not exist yet: that of an earlier order may still be there.
    fn take_free(shared: &Rc<Shared>, name: &str) -> Self {
        let mut number = 1_u64;
        loop {
            let id = if number == 1 { name.to_owned() } else { format!("{name}~{number}") };
            if !shared.store.journal_has(&id)
                && let Some(active) = Self::take(shared, &id)
            {
                shared.hopeless.borrow_mut().remove(&id);
                return active;
            }
            number += 1;
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.shared.active.borrow_mut().remove(&self.id);
    }
}

impl Records {
    pub(super) fn new(shared: &Rc<Shared>, certificate: &str, provider: usize, log: &Log) -> Self {
        Self {
            shared: Rc::clone(shared),
            active: Active::take_free(shared, certificate),
            claim: None,
            provider,
            placed: Vec::new(),
            log: log.clone(),
        }
    }

    /// Puts the records up: all of a zone together, the zones at the same time.
    pub(super) async fn put_up(&mut self, wanted: Vec<TxtRecord>) -> Result<(), ObtainError> {
        self.claim = Some(Claim::wait(&self.shared, &wanted).await);
        self.placed = on_account_of(&self.active.id, self.find_zones(wanted)).await?;
        self.write_journal().await?;
        let shared = Rc::clone(&self.shared);
        let provider = shared.provider(self.provider)?;
        let zones = self.by_zone();
        let creations = zones.values().map(|(zone, positions)| async {
            let records: Vec<TxtRecord> = self.records_at(positions).cloned().collect();
            let names = names_of(&records);
            self.log.debug(format_args!("creating TXT {names} in zone \"{}\"", zone.name));
            (positions.clone(), provider.create(zone, &records).await)
        });
        let created = on_account_of(&self.active.id, join_all(creations)).await;
        let mut first_error = None;
        let mut refused = BTreeSet::new();
        for (positions, result) in created {
            match result {
                Ok(ids) => self.note_ids(&positions, ids),
                Err(error) => {
                    if error.is_definite() {
                        refused.extend(positions);
                    }
                    first_error = first_error.or(Some(error));
                }
            }
        }
        match first_error {
            Some(error) => {
                self.forget_refused(&refused).await;
                Err(error.into())
            }
            None => {
                // Cleaning up is quicker with the ids, and works without them.
                if let Err(error) = self.write_journal().await {
                    self.log.warn(format_args!("{error}"));
                }
                Ok(())
            }
        }
    }

    /// Takes records out that are certain not to be there: nobody has to look for them.
    async fn forget_refused(&mut self, refused: &BTreeSet<usize>) {
        if refused.is_empty() {
            return;
        }
        let placed = std::mem::take(&mut self.placed).into_iter().enumerate();
        let left = placed.filter(|(at, _)| !refused.contains(at)).map(|(_, placed)| placed);
        self.placed = left.collect();
        let kept = match self.placed.is_empty() {
            true => close(&self.shared, &self.active, &[]).await,
            false => self.write_journal().await.map_err(|error| error.to_string()),
        };
        if let Err(error) = kept {
            self.log.warn(format_args!("{error}"));
        }
    }

    /// Waits until the servers of all zones have the records.
    pub(super) async fn wait(&self) -> Result<(), ObtainError> {
        let provider = self.shared.provider(self.provider)?;
        let log = |level: Level, message: String| self.log.write(level, format_args!("{message}"));
        let zones = self.by_zone();
        let waits = zones.values().map(|(zone, positions)| {
            let records = self.records_at(positions);
            let pairs: Vec<(String, String)> =
                records.map(|record| (record.name.clone(), record.value.clone())).collect();
            let log = &log;
            let servers = provider.name_servers(zone);
            async move {
                let asked = ZoneServers { zone: &zone.name, servers: servers.as_deref() };
                self.shared.checker.wait_for(asked, &pairs, log).await
            }
        });
        Ok(join_all(waits).await.into_iter().collect::<Result<_, _>>()?)
    }

    /// Removes the records, whatever becomes of the order; what cannot be removed stays in the
    /// journal, with a warning.
    pub(super) fn clean_up(self) {
        spawn_local(async move {
            if self.placed.is_empty() {
                return;
            }
            let entry = self.entry();
            let names = names_of(entry.records.iter().map(|placed| &placed.record));
            let removed = match remove(&self.shared, &self.active, &entry, Source::Order).await {
                Ok(Removal::Done(spared)) => close(&self.shared, &self.active, &spared).await,
                Ok(Removal::LookAgain) => {
                    self.log.debug(format_args!(
                        "TXT {names} may still appear: whether it was created is not known"
                    ));
                    Ok(())
                }
                Err(why) => Err(why),
            };
            if let Err(why) = removed {
                self.log.warn(format_args!(
                    "TXT {names} cannot be removed now, will be tried again: {why}"
                ));
            }
        });
    }

    async fn find_zones(&self, wanted: Vec<TxtRecord>) -> Result<Vec<Placed>, ObtainError> {
        let provider = self.shared.provider(self.provider)?;
        let mut zones: BTreeMap<String, Zone> = BTreeMap::new();
        let mut placed: Vec<Placed> = Vec::new();
        // One after the other: the provider has found most zones after the first name.
        for record in wanted {
            if placed.iter().any(|other| other.record == record) {
                continue;
            }
            let zone = match zones.get(&record.name) {
                Some(zone) => zone.clone(),
                None => provider.zone_of(&record.name, &self.shared.resolver).await?,
            };
            zones.insert(record.name.clone(), zone.clone());
            placed.push(Placed { record, zone, id: None });
        }
        Ok(placed)
    }

    fn by_zone(&self) -> BTreeMap<String, (Zone, Vec<usize>)> {
        let mut zones: BTreeMap<String, (Zone, Vec<usize>)> = BTreeMap::new();
        for (position, placed) in self.placed.iter().enumerate() {
            let zone = zones.entry(placed.zone.id.clone());
            zone.or_insert_with(|| (placed.zone.clone(), Vec::new())).1.push(position);
        }
        zones
    }

    fn records_at(&self, positions: &[usize]) -> impl Iterator<Item = &TxtRecord> {
        positions.iter().filter_map(|position| Some(&self.placed.get(*position)?.record))
    }

    fn note_ids(&mut self, positions: &[usize], ids: Vec<String>) {
        for (position, id) in positions.iter().zip(ids) {
            if let Some(placed) = self.placed.get_mut(*position) {
                placed.id = Some(id);
            }
        }
    }

    fn entry(&self) -> Entry {
        let config = self.shared.config.providers.get(self.provider);
        let provider = config.map(|provider| provider.name.clone()).unwrap_or_default();
        Entry { provider, records: self.placed.clone() }
    }

    async fn write_journal(&self) -> Result<(), StoreError> {
        let (id, entry) = (self.active.id.clone(), self.entry());
        self.shared.store.on_thread(move |store| store.journal_write(&id, &entry)).await
    }
}

/// How removing the records of a journal entry ended.
pub(super) enum Removal {
    /// They are gone, but for those that are not ours to remove.
    Done(Vec<Spared>),
    /// What is there is gone. A record may still appear, so the entry stays for a while.
    LookAgain,
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// The order that has put its records up.
    Order,
    /// The disk: its ids are not used, whoever wrote them, and the records are looked for.
    Disk,
}

/// Removes the records of a journal entry. What goes wrong is one line.
pub(super) async fn remove(
    shared: &Rc<Shared>,
    active: &Active,
    entry: &Entry,
    source: Source,
) -> Result<Removal, String> {
    let Some(provider) = shared.provider_named(&entry.provider) else {
        return Err(format!("no provider \"{}\" is defined any more", entry.provider));
    };
    let mut placed = entry.records.clone();
    if source == Source::Disk {
        placed.iter_mut().for_each(|placed| placed.id = None);
    }
    let rule = |candidate: &Candidate<'_>| shared.may_remove(candidate);
    let removal = on_account_of(&active.id, provider.remove(&placed, &rule));
    let spared = match timeout(CLEAN_UP, removal).await {
        Ok(Ok(spared)) => spared,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("not done in {} s", CLEAN_UP.as_secs())),
    };
    let id = &active.id;
    if entry.records.iter().any(|placed| placed.id.is_none()) {
        let first_look = *shared.looked.borrow_mut().entry(id.clone()).or_insert_with(Instant::now);
        if first_look.elapsed() < IN_FLIGHT {
            return Ok(Removal::LookAgain);
        }
    }
    shared.looked.borrow_mut().remove(id);
    Ok(Removal::Done(spared))
}

/// Forgets a journal entry whose records are gone. One that names what is not ours to remove is put
/// out of the way with a warning, or stays where it is until a person has looked.
pub(super) async fn close(
    shared: &Rc<Shared>,
    active: &Active,
    spared: &[Spared],
) -> Result<(), String> {
    let id = active.id.clone();
    if spared.is_empty() {
        let removed = shared.store.on_thread(move |store| store.journal_remove(&id)).await;
        return removed.map_err(|error| error.to_string());
    }
    let mut what: Vec<String> = spared.iter().take(SHOWN).map(describe).collect();
    if spared.len() > SHOWN {
        what.push(format!("and {} more", spared.len() - SHOWN));
    }
    let what = what.join(", ");
    if spared.iter().any(|spared| spared.why == Kept::NotConfigured) {
        shared.hopeless.borrow_mut().insert(id.clone());
        shared.log.warn(format_args!(
            "journal entry \"{id}\": left in the zone: {what}; remove it by hand, then \
             \"journal/{id}.json\""
        ));
        return Ok(());
    }
    let aside = shared.store.on_thread(move |store| store.journal_set_aside(&id)).await;
    let aside = aside.map_err(|error| error.to_string())?;
    shared.log.warn(format_args!(
        "journal entry \"{}\": not removed: {what}; the entry was moved to \"{}\"",
        active.id,
        aside.display()
    ));
    Ok(())
}

fn describe(spared: &Spared) -> String {
    let name = excerpt(&spared.record.name, MAX_NAME);
    format!("TXT \"{name}\" ({})", spared.why)
}
