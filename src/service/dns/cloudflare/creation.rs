//! Creation of records: in one transaction, or one by one where Cloudflare does not want that. What is refused in part
//! is taken back as a whole.

use super::client::{ApiCall, Permission};
use super::joining::SharedAnswer;
use super::{
    BATCH, Cloudflare, EXISTS, TYPE, all, has_code, id, is_gone, is_of_one_order,
    is_refusal_of_batch, name_of, starts_with, text,
};
use crate::dns::{About, ProviderError, TxtRecord, Zone, txt};
use acme_dns_core::text::excerpt;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

/// So many records are created at a time where a batch does not do: the first refusal ends it.
const AT_ONCE: usize = 8;

/// Says in Cloudflare's dashboard whose a record is; at most 100 characters.
const COMMENT: &str = "ngx_http_acme_dns_module: ACME challenge, removed after validation";

/// The longest name of Cloudflare's that is shown, in characters.
const MAX_NAME: usize = 200;

impl Cloudflare {
    /// Creates the records of an order by itself.
    pub(super) async fn create_alone(
        &self,
        zone: &Zone,
        records: &[&TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        let mut ids = Vec::new();
        for chunk in records.chunks(BATCH) {
            let created = match chunk {
                [record] => self.create_one(zone, record).await.map(|id| vec![id]),
                _ => self.create_all(zone, chunk).await,
            };
            match created {
                Ok(created) => ids.extend(created),
                Err(error) => return Err(self.give_up(zone, &ids, error).await),
            }
        }
        Ok(ids)
    }

    /// Takes the records of an order out of the answer to several, or creates them by itself where that may help.
    pub(super) async fn create_together(
        &self,
        zone: &Zone,
        records: &[&TxtRecord],
        answer: SharedAnswer,
    ) -> Result<Vec<String>, ProviderError> {
        let action = self.action(format_args!("create {} in zone \"{}\"", all(records), zone.name));
        let created = match answer.await {
            Ok(result) => match self.accept_all(zone, records, &result, &action).await {
                Ok(known) => self.complete(zone, records, known).await,
                Err(error) => Err(error),
            },
            Err(error) if is_of_one_order(&error) => return self.create_alone(zone, records).await,
            Err(error) => Err(error.with_action(&action)),
        };
        match created {
            Ok(ids) => Ok(ids),
            Err(error) => Err(self.give_up(zone, &[], error).await),
        }
    }

    async fn create_one(&self, zone: &Zone, record: &TxtRecord) -> Result<String, ProviderError> {
        let action =
            self.action(format_args!("create {} in zone \"{}\"", all(&[record]), zone.name));
        let call = ApiCall {
            method: Method::POST,
            path: &["zones", &zone.id, "dns_records"],
            query: &[],
            body: Some(&self.content(record)),
            permission: Permission::EditRecords,
            zone: &zone.name,
            action: &action,
        };
        match self.api.call(&call).await {
            Ok(reply) => self.accept(zone, record, &reply.result, &action).await,
            Err(error) if has_code(&error, &EXISTS) => {
                let found = self.find(zone, &[record], &action).await?;
                let missing =
                    || ProviderError::unexpected(&action, "it exists already, but is not listed");
                found.into_iter().flatten().next().ok_or_else(missing)
            }
            Err(error) => Err(error),
        }
    }

    /// Creates records in one transaction, or one by one where Cloudflare does not want that.
    async fn create_all(
        &self,
        zone: &Zone,
        records: &[&TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        let action = self.action(format_args!("create {} in zone \"{}\"", all(records), zone.name));
        let posts = records.iter().map(|record| self.content(record)).collect();
        let known = match self.api.batch(zone, "posts", posts, &action).await {
            Ok(result) => self.accept_all(zone, records, &result, &action).await?,
            Err(error) if has_code(&error, &EXISTS) => self.find(zone, records, &action).await?,
            Err(error) if is_refusal_of_batch(&error) => vec![None; records.len()],
            Err(error) => return Err(error),
        };
        self.complete(zone, records, known).await
    }

    /// Creates the records of a batch that are not there yet. If one is refused, those that were made
    /// are removed again, so that nothing of them has to be looked for.
    async fn complete(
        &self,
        zone: &Zone,
        records: &[&TxtRecord],
        mut known: Vec<Option<String>>,
    ) -> Result<Vec<String>, ProviderError> {
        let missing: Vec<usize> = (0..known.len()).filter(|at| known[*at].is_none()).collect();
        let mut refused = None;
        for places in missing.chunks(AT_ONCE) {
            let made = places.iter().map(|at| self.create_one(zone, records[*at]));
            for (at, made) in places.iter().zip(join_all(made).await) {
                match made {
                    Ok(id) => known[*at] = Some(id),
                    // What is not known for certain outweighs what is.
                    Err(error) if !error.is_definite() => refused = Some(error),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            let Some(error) = refused else { continue };
            if error.is_definite() {
                let made: Vec<String> = known.into_iter().flatten().collect();
                let action = self.action(format_args!("remove {}", all(records)));
                self.delete_all(zone, &made, &action).await?;
            }
            return Err(error);
        }
        Ok(known.into_iter().flatten().collect())
    }

    /// Checks that a created record has the name that it was to have: in a zone that does not hold
    /// the name, Cloudflare takes it as relative.
    async fn accept(
        &self,
        zone: &Zone,
        record: &TxtRecord,
        created: &Value,
        action: &str,
    ) -> Result<String, ProviderError> {
        let id = id(created, action)?;
        let name = name_of(created);
        if name.eq_ignore_ascii_case(&record.name) {
            self.up.borrow_mut().insert((zone.id.clone(), id.clone()));
            return Ok(id);
        }
        self.delete_one(zone, &id, action).await?;
        Err(ProviderError::NoZone {
            action: action.to_owned(),
            detail: format!("this zone makes \"{}\" of the name", excerpt(&name, MAX_NAME)),
            advice: "check \"zone_id\"".to_owned(),
            about: About::Zone(zone.name.as_str().into()),
        })
    }

    /// Takes the identifiers out of the answer to a batch.
    async fn accept_all(
        &self,
        zone: &Zone,
        records: &[&TxtRecord],
        result: &Value,
        action: &str,
    ) -> Result<Vec<Option<String>>, ProviderError> {
        let posts = result.get("posts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let accepted = join_all(records.iter().map(|record| async move {
            let created = posts.iter().find(|post| {
                txt::unquote(text(post, "content")) == record.value
                    && starts_with(&name_of(post), &record.name)
            });
            match created {
                Some(created) => self.accept(zone, record, created, action).await.map(Some),
                None => Ok(None),
            }
        }));
        accepted.await.into_iter().collect()
    }

    /// Ends a creation that has failed: what was made before is removed if the rest was refused.
    async fn give_up(&self, zone: &Zone, made: &[String], error: ProviderError) -> ProviderError {
        if is_gone(&error) {
            self.forget(zone);
        }
        // The records that the quota is full of, these not.
        let others = self.number_up(zone).saturating_sub(made.len());
        let error = error.with_own_records(u32::try_from(others).unwrap_or(u32::MAX));
        if made.is_empty() || !error.is_definite() {
            return error;
        }
        let action = self.action(format_args!("remove records from zone \"{}\"", zone.name));
        self.delete_all(zone, made, &action).await.err().unwrap_or(error)
    }

    /// Writes a record as Cloudflare wants it.
    pub(super) fn content(&self, record: &TxtRecord) -> Value {
        json!({
            "type": TYPE,
            "name": record.name,
            "content": txt::quote(&record.value),
            "ttl": self.ttl,
            "comment": COMMENT,
        })
    }
}
