//! Removal of records, by identifiers that come from an answer and never from a file.

use super::client::{ApiCall, Permission};
use super::joining::Go;
use super::{
    BATCH, Cloudflare, ListedRecord, TYPE, all, is_gone, is_of_one_order, is_refusal_of_batch,
    names_of,
};
use crate::dns::{PlacedRecord, ProviderError, Rule, SparedRecord, TxtRecord, Zone};
use acme_dns_core::challenge::Candidate;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

impl Cloudflare {
    /// Removes records of one zone.
    pub(super) async fn remove_from(
        &self,
        zone: &Zone,
        placed: &[&PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let records: Vec<_> = placed.iter().map(|placed| &placed.record).collect();
        let action =
            self.action(format_args!("remove {} from zone \"{}\"", all(&records), zone.name));
        let mut ids: Vec<String> = placed.iter().filter_map(|placed| placed.id.clone()).collect();
        let lost: Vec<_> =
            placed.iter().filter(|placed| placed.id.is_none()).map(|p| &p.record).collect();
        let mut spared = Vec::new();
        if !lost.is_empty() {
            match self.find_removable(zone, &lost, rule, &action).await {
                Ok((found, left)) => {
                    ids.extend(found);
                    spared = left;
                }
                // What a zone held is gone with it.
                Err(error) if is_gone(&error) => self.forget(zone),
                Err(error) => return Err(error),
            }
        }
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() {
            self.remove_all(zone, &ids, &action).await?;
        }
        Ok(spared)
    }

    /// Removes the records of an order, together with those of others that are at it.
    async fn remove_all(
        &self,
        zone: &Zone,
        ids: &[String],
        action: &str,
    ) -> Result<(), ProviderError> {
        let answer = match self.removals.go(&self.api, zone, deletions(ids)).await {
            Go::Alone(_turn) => return self.remove_alone(zone, ids, action).await,
            Go::Together(answer) => answer.await,
        };
        match answer {
            Ok(_) => ids.iter().for_each(|id| self.note_gone(zone, id)),
            Err(error) if is_of_one_order(&error) => {
                return self.remove_alone(zone, ids, action).await;
            }
            Err(error) => return Err(error.with_action(action)),
        }
        Ok(())
    }

    async fn remove_alone(
        &self,
        zone: &Zone,
        ids: &[String],
        action: &str,
    ) -> Result<(), ProviderError> {
        for chunk in ids.chunks(BATCH) {
            self.delete_all(zone, chunk, action).await?;
        }
        Ok(())
    }

    /// Looks for records that are to be removed; gives the identifiers of those that may be.
    async fn find_removable(
        &self,
        zone: &Zone,
        records: &[&TxtRecord],
        rule: &Rule<'_>,
        action: &str,
    ) -> Result<(Vec<String>, Vec<SparedRecord>), ProviderError> {
        let names = names_of(records);
        let lists = join_all(names.iter().map(|name| self.list(zone, name, action))).await;
        let (mut ids, mut spared) = (Vec::new(), Vec::new());
        for listed in lists.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            let ListedRecord { id, name, value, mark } = listed;
            let is_it = |record: &&&TxtRecord| {
                record.value == value && record.name.eq_ignore_ascii_case(&name)
            };
            let Some(record) = records.iter().find(is_it) else { continue };
            match rule(&Candidate { kind: TYPE, name: &name, value: &value, mark }) {
                Ok(()) => ids.push(id),
                Err(why) => spared.push(SparedRecord { record: (*record).clone(), why }),
            }
        }
        Ok((ids, spared))
    }

    pub(super) async fn delete_all(
        &self,
        zone: &Zone,
        ids: &[String],
        action: &str,
    ) -> Result<(), ProviderError> {
        if ids.len() > 1 {
            match self.api.batch(zone, "deletes", deletions(ids), action).await {
                Ok(_) => {
                    ids.iter().for_each(|id| self.note_gone(zone, id));
                    return Ok(());
                }
                Err(error) if is_refusal_of_batch(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let deleted = join_all(ids.iter().map(|id| self.delete_one(zone, id, action))).await;
        deleted.into_iter().collect()
    }

    pub(super) async fn delete_one(
        &self,
        zone: &Zone,
        id: &str,
        action: &str,
    ) -> Result<(), ProviderError> {
        let call = ApiCall {
            method: Method::DELETE,
            path: &["zones", &zone.id, "dns_records", id],
            query: &[],
            body: None,
            permission: Permission::EditRecords,
            zone: &zone.name,
            action,
        };
        match self.api.call(&call).await {
            Err(error) if !is_gone(&error) => Err(error),
            Ok(_) | Err(_) => {
                self.note_gone(zone, id);
                Ok(())
            }
        }
    }
}

/// Writes down what is to be removed, as Cloudflare wants it.
fn deletions(ids: &[String]) -> Vec<Value> {
    ids.iter().map(|id| json!({ "id": id })).collect()
}
