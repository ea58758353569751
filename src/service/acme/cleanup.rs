//! Removal of TXT records: those of an order that has ended, and those that the journal has of earlier
//! ones.
//!
//! One rule decides what may be removed from a zone ([`acme_dns_core::challenge::may_remove`]).
//! Identifiers of records that were read from a file are not used, whoever wrote it.

use super::claims::{ActiveEntry, Claim};
use super::{Obtainer, ObtainerState, names_of};
use crate::dns::{PlacedRecord, REMOVAL_LIMIT, SparedRecord, on_account_of};
use crate::event::RecordsEvent;
use crate::store::{JournalEntry, JournalRecord, StoreError, journal_owner};
use acme_dns_core::challenge::{Candidate, Kept, Mark};
use acme_dns_core::text::excerpt;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest time that a request may be under way at a provider after its client has gone or has given up:
/// what it creates late is found only by looking again.
const IN_FLIGHT: Duration = Duration::from_secs(15);

/// So many records that are not ours to remove are named in a line, each name so long.
const SHOWN: usize = 4;
const MAX_NAME: usize = 100;

/// Numbers of journal entries that are worth another look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Leftovers {
    /// Entries whose records could not be removed.
    pub failed: usize,
    /// Entries whose order is under way, or of which a record may still appear.
    pub waiting: usize,
}

/// The state of a journal entry after an attempt to clean it up.
enum Cleaning {
    Done,
    Failed,
    Waiting,
}

/// The outcome of removing the records of a journal entry.
pub(super) enum Removal {
    /// They are gone, but for those that are not ours to remove.
    Done(Vec<SparedRecord>),
    /// All that is there is gone. A record may still appear, so the entry stays for a while.
    LookAgain,
}

/// The origin of a journal entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EntrySource {
    /// The order that has created its records.
    Order,
    /// The disk: its ids are not used, and the records are looked for.
    Disk,
}

impl Obtainer {
    /// Removes the TXT records of orders that are not under way.
    pub async fn clean_journal(&self) -> Leftovers {
        let entries = match self.state.store.journal_all() {
            Ok(entries) => entries,
            Err(error) => {
                let why = error.to_string();
                self.state.teller.records(RecordsEvent::JournalFailed { why });
                return Leftovers { failed: 1, waiting: 0 };
            }
        };
        let cleanings = entries.into_iter().map(|(id, entry)| async move {
            if self.state.under_way.borrow().contains(journal_owner(&id)) {
                return Cleaning::Waiting;
            }
            let Some(active) = ActiveEntry::take(&self.state, &id) else {
                return Cleaning::Waiting;
            };
            match readable(&self.state, &active, entry) {
                Ok(entry) => clean_entry(&self.state, &active, entry).await,
                Err(cleaning) => cleaning,
            }
        });
        let cleanings = join_all(cleanings).await;
        cleanings.into_iter().fold(Leftovers::default(), |left, cleaning| match cleaning {
            Cleaning::Done => left,
            Cleaning::Failed => Leftovers { failed: left.failed + 1, ..left },
            Cleaning::Waiting => Leftovers { waiting: left.waiting + 1, ..left },
        })
    }
}

/// Gives an entry that can be read; sets one aside that never will be.
fn readable(
    state: &ObtainerState,
    active: &ActiveEntry,
    entry: Result<JournalEntry, StoreError>,
) -> Result<JournalEntry, Cleaning> {
    let error = match entry {
        Ok(_) if state.hopeless.borrow().contains(&active.id) => return Err(Cleaning::Done),
        Ok(entry) => return Ok(entry),
        Err(error) => error,
    };
    // It will be read when it can be.
    if error.is_denied() {
        let path = format!("journal/{}", active.id);
        if state.unread.borrow_mut().insert(path, 1).is_none() {
            state.teller.records(RecordsEvent::EntryUnreadable { why: error.to_string() });
        }
        return Err(Cleaning::Failed);
    }
    let aside = state.store.journal_set_aside(&active.id).map_err(|other| other.to_string());
    state.teller.records(RecordsEvent::EntrySetAside { aside, why: error.to_string() });
    Err(Cleaning::Done)
}

async fn clean_entry(
    state: &Rc<ObtainerState>,
    active: &ActiveEntry,
    entry: JournalEntry,
) -> Cleaning {
    let (entry, mut spared) = removable(state, entry);
    let (entry, orphans) = split_orphans(state, entry);
    if !orphans.records.is_empty() && entry.records.is_empty() {
        give_up(state, active, &orphans);
        return Cleaning::Done;
    }
    let names = names_of(records_of(&entry));
    let claimed = entry.records.iter().map(|one| (one.provider.as_str(), &one.placed.record));
    let Some(_claim) = Claim::take(state, claimed) else { return Cleaning::Waiting };
    let removed = match &*entry.records {
        [] => Ok(Removal::Done(Vec::new())),
        _ => remove(state, active, &entry, EntrySource::Disk).await,
    };
    let closed = match removed {
        Ok(Removal::LookAgain) => return Cleaning::Waiting,
        Ok(Removal::Done(found)) => {
            if entry.records.len() > found.len() {
                state.teller.records(RecordsEvent::Removed { names: names.clone() });
            }
            spared.extend(found);
            match orphans.records.is_empty() {
                true => close(state, active, &spared).await,
                false => keep_orphans(state, active, &orphans).await,
            }
        }
        Err(why) => Err(why),
    };
    match closed {
        Ok(()) => Cleaning::Done,
        Err(why) => {
            state.teller.records(RecordsEvent::NotRemoved { names, is_earlier: true, why });
            Cleaning::Failed
        }
    }
}

/// Takes out of an entry what is never removed, wherever it is.
fn removable(state: &ObtainerState, mut entry: JournalEntry) -> (JournalEntry, Vec<SparedRecord>) {
    let mut spared = Vec::new();
    for JournalRecord { challenge, placed, .. } in &entry.records {
        if let Some(challenge) = challenge {
            state.note_target(challenge, &placed.record.name);
        }
    }
    entry.records.retain(|JournalRecord { placed: PlacedRecord { record, .. }, .. }| {
        let (name, value) = (record.name.as_str(), record.value.as_str());
        let candidate = Candidate { kind: "TXT", name, value, mark: Mark::Unread };
        match state.may_remove(&candidate) {
            Ok(()) => true,
            Err(why) => {
                spared.push(SparedRecord { record: record.clone(), why });
                false
            }
        }
    });
    (entry, spared)
}

/// Takes out of an entry the records whose provider is not defined any more.
fn split_orphans(state: &ObtainerState, entry: JournalEntry) -> (JournalEntry, JournalEntry) {
    let is_defined = |record: &JournalRecord| state.provider_named(&record.provider).is_some();
    let (records, orphans) = entry.records.into_iter().partition(is_defined);
    (JournalEntry { records }, JournalEntry { records: orphans })
}

/// Keeps the part of an entry that nobody can remove.
async fn keep_orphans(
    state: &ObtainerState,
    active: &ActiveEntry,
    orphans: &JournalEntry,
) -> Result<(), String> {
    let (id, entry) = (active.id.clone(), orphans.clone());
    let kept = state.store.on_thread(move |store| store.journal_write(&id, &entry)).await;
    give_up(state, active, orphans);
    kept.map_err(|error| error.to_string())
}

/// Warns once of records that cannot be removed. Their entry stays for a person.
fn give_up(state: &ObtainerState, active: &ActiveEntry, orphans: &JournalEntry) {
    state.hopeless.borrow_mut().insert(active.id.clone());
    let mut by_provider: BTreeMap<&str, Vec<&JournalRecord>> = BTreeMap::new();
    for record in &orphans.records {
        by_provider.entry(&record.provider).or_default().push(record);
    }
    for (provider, records) in by_provider {
        let names = names_of(records.into_iter().map(|record| &record.placed.record));
        state.teller.records(RecordsEvent::ProviderGone { names, provider: provider.to_owned() });
    }
}

pub(super) fn records_of(entry: &JournalEntry) -> impl Iterator<Item = &crate::dns::TxtRecord> {
    entry.records.iter().map(|record| &record.placed.record)
}

/// Removes the records of a journal entry, at each of their providers. An error is one line.
pub(super) async fn remove(
    state: &Rc<ObtainerState>,
    active: &ActiveEntry,
    entry: &JournalEntry,
    source: EntrySource,
) -> Result<Removal, String> {
    let mut by_provider: BTreeMap<&str, Vec<PlacedRecord>> = BTreeMap::new();
    for JournalRecord { provider, placed, .. } in &entry.records {
        let id = placed.id.clone().filter(|_| source == EntrySource::Order);
        by_provider.entry(provider).or_default().push(PlacedRecord { id, ..placed.clone() });
    }
    let removals = by_provider.iter().map(|(name, placed)| remove_at(state, name, placed));
    // What can be removed is, whatever happens to the rest.
    let removals = on_account_of(&active.id, join_all(removals));
    let limit = |(name, placed): (&&str, &Vec<PlacedRecord>)| {
        Some(state.provider_named(name)?.removal_limit(placed.len()))
    };
    let limit = by_provider.iter().filter_map(limit).max().unwrap_or(REMOVAL_LIMIT);
    let Ok(removed) = timeout(limit, removals).await else {
        return Err(format!("not done in {} s", limit.as_secs()));
    };
    let spared = removed.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
    let id = &active.id;
    if entry.records.iter().any(|record| record.placed.id.is_none()) {
        let first_look = *state.looked.borrow_mut().entry(id.clone()).or_insert_with(Instant::now);
        if first_look.elapsed() < IN_FLIGHT {
            return Ok(Removal::LookAgain);
        }
    }
    state.looked.borrow_mut().remove(id);
    Ok(Removal::Done(spared.collect()))
}

async fn remove_at(
    state: &ObtainerState,
    provider: &str,
    placed: &[PlacedRecord],
) -> Result<Vec<SparedRecord>, String> {
    let Some(provider) = state.provider_named(provider) else {
        return Err(format!("no provider \"{provider}\" is defined any more"));
    };
    let rule = |candidate: &Candidate<'_>| state.may_remove(candidate);
    provider.remove(placed, &rule).await.map_err(|error| error.to_string())
}

/// Forgets a journal entry whose records are gone. One that names what is not ours to remove is set
/// aside with a warning, or stays where it is until a person has looked.
pub(super) async fn close(
    state: &ObtainerState,
    active: &ActiveEntry,
    spared: &[SparedRecord],
) -> Result<(), String> {
    let id = active.id.clone();
    if spared.is_empty() {
        let removed = state.store.on_thread(move |store| store.journal_remove(&id)).await;
        state.note_on_disk(journal_owner(&active.id)).await;
        return removed.map_err(|error| error.to_string());
    }
    let mut what: Vec<String> = spared.iter().take(SHOWN).map(describe).collect();
    if spared.len() > SHOWN {
        what.push(format!("and {} more", spared.len() - SHOWN));
    }
    let what = what.join(", ");
    if spared.iter().any(|spared| spared.why == Kept::NotConfigured) {
        state.hopeless.borrow_mut().insert(id.clone());
        let entry = id;
        state.teller.records(RecordsEvent::Spared { entry, what, aside: None });
        return Ok(());
    }
    let aside = state.store.on_thread(move |store| store.journal_set_aside(&id)).await;
    let aside = Some(aside.map_err(|error| error.to_string())?);
    let entry = active.id.clone();
    state.teller.records(RecordsEvent::Spared { entry, what, aside });
    Ok(())
}

fn describe(spared: &SparedRecord) -> String {
    let name = excerpt(&spared.record.name, MAX_NAME);
    format!("TXT \"{name}\" ({})", spared.why)
}
