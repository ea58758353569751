//! Cloudflare's API v4.
//!
//! A lost answer is the case that shapes this: whether a record was created is then unknown, so
//! the request is made again, an identical record that exists counts as created, and its identifier
//! is found by name, type and content. Records are removed by identifier, which comes from an answer
//! and never from a file.

mod answer;
mod budget;
mod client;
mod creation;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod joining;
mod removal;
mod zones;

pub use budget::Budget;
pub use client::Timing;

use super::{
    About, DnsProvider, PlacedRecord, ProviderError, Refusal, Rule, SparedRecord, TxtRecord, Zone,
    txt,
};
use crate::event::ProviderEvent;
use crate::http::{Clients, HttpError};
use crate::resolver::Resolver;
use acme_dns_core::challenge::Mark;
use acme_dns_core::config::{CloudflareSettings as Settings, SecretId};
use acme_dns_core::name::a_labels;
use async_trait::async_trait;
use client::{ApiCall, ApiClient, Permission};
use futures_util::future::join_all;
use http::Method;
use joining::{Go, Lines};
use secrecy::SecretString;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use zones::{ZoneCell, ZoneQuery};

/// Operations of one batch, on the free plan.
const BATCH: usize = 200;

/// Names at the beginning of a message that concerns many records.
const NAMED: usize = 3;

/// The only type of record that is listed, created and removed.
const TYPE: &str = "TXT";

/// Begin of the comments of all our records.
const MARK: &str = "ngx_http_acme_dns_module:";

/// An identical record exists.
const EXISTS: [i64; 2] = [81057, 81058];

/// There is no such record, no such zone, or the identifier is none.
const GONE: [i64; 3] = [81044, 1001, 7003];

/// No route for that URI.
const NO_ROUTE: i64 = 7000;

/// A TXT record of a listing.
struct ListedRecord {
    id: String,
    name: String,
    value: String,
    mark: Mark,
}

/// Maker of the clients of all blocks: those without a limit of their own share a budget.
pub(super) struct Maker<'a> {
    clients: &'a Clients,
    budget: Rc<Budget>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(clients: &'a Clients, tell: impl Fn(ProviderEvent) + 'static) -> Self {
        Self { clients, budget: Rc::new(Budget::new(tell)) }
    }

    pub(super) fn make(
        &self,
        name: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
    ) -> Result<Cloudflare, HttpError> {
        let own = settings.requests.map(|limit| Rc::new(self.budget.with_limit(limit)));
        let budget = own.unwrap_or_else(|| Rc::clone(&self.budget));
        Cloudflare::new(name, settings, secret, budget, self.clients)
    }
}

/// The client of one `acme_dns_provider` block.
pub struct Cloudflare {
    name: String,
    api: Rc<ApiClient>,
    zone_id: Option<String>,
    ttl: u32,
    /// Answers about zones. Orders that ask the same at the same time share one request.
    zones: RefCell<HashMap<ZoneQuery, ZoneCell>>,
    /// The name servers of zones by the zone's identifier.
    name_servers: RefCell<HashMap<String, Vec<String>>>,
    /// The orders that create records, and that remove them.
    creations: Rc<Lines>,
    removals: Rc<Lines>,
    /// The records of orders that are under way: the identifiers of a zone and of its record.
    up: RefCell<HashSet<(String, String)>>,
}

impl fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Cloudflare {
    /// Makes a client; `name` is the one of the block.
    ///
    /// # Errors
    /// The TLS library refuses the trusted certificates, or the credentials cannot be sent in a
    /// header.
    pub fn new(
        name: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
        budget: Rc<Budget>,
        clients: &Clients,
    ) -> Result<Self, HttpError> {
        let lines = |part, verb| {
            let what = "TXT records of several orders";
            Lines::new(part, format!("provider \"{name}\" cannot {verb} {what}"))
        };
        Ok(Self {
            name: name.to_owned(),
            api: Rc::new(ApiClient::new(name, settings, secret, budget, clients)?),
            zone_id: settings.zone_id.clone(),
            ttl: settings.ttl,
            zones: RefCell::default(),
            name_servers: RefCell::default(),
            creations: lines("posts", "create"),
            removals: lines("deletes", "remove"),
            up: RefCell::default(),
        })
    }

    /// Changes how long the client waits.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        // Nobody else has it before the first request.
        if let Some(api) = Rc::get_mut(&mut self.api) {
            api.timing = timing;
        }
        self
    }

    fn action(&self, what: impl fmt::Display) -> String {
        format!("provider \"{}\" cannot {what}", self.name)
    }

    /// Asks for the TXT records of one name.
    async fn list(
        &self,
        zone: &Zone,
        name: &str,
        action: &str,
    ) -> Result<Vec<ListedRecord>, ProviderError> {
        let call = ApiCall {
            method: Method::GET,
            path: &["zones", &zone.id, "dns_records"],
            query: &[("type", TYPE), ("name.exact", name), ("per_page", "100")],
            body: None,
            permission: Permission::EditRecords,
            zone: &zone.name,
            action,
        };
        let items = self.api.list(&call, u64::MAX).await?.unwrap_or_default();
        let of_name = items
            .iter()
            .filter(|item| text(item, "type") == TYPE && name_of(item).eq_ignore_ascii_case(name));
        let read = |item| {
            Ok(ListedRecord {
                id: id(item, action)?,
                name: name_of(item),
                value: txt::unquote(text(item, "content")),
                mark: mark(item),
            })
        };
        of_name.map(read).collect()
    }

    /// Asks for the TXT records of all names of `records`; gives their identifiers as far as they
    /// are there.
    async fn find(
        &self,
        zone: &Zone,
        records: &[&TxtRecord],
        action: &str,
    ) -> Result<Vec<Option<String>>, ProviderError> {
        let names = names_of(records);
        let lists = join_all(names.iter().map(|name| self.list(zone, name, action))).await;
        let mut known = BTreeMap::new();
        for (name, list) in names.iter().zip(lists) {
            for ListedRecord { id, value, .. } in list? {
                known.insert((*name, value), id);
            }
        }
        let id = |record: &&TxtRecord| known.get(&(&record.name, record.value.clone())).cloned();
        Ok(records.iter().map(id).collect())
    }

    fn note_gone(&self, zone: &Zone, id: &str) {
        self.up.borrow_mut().remove(&(zone.id.clone(), id.to_owned()));
    }

    /// Gives the number of records that orders under way have in a zone.
    fn number_up(&self, zone: &Zone) -> usize {
        self.up.borrow().iter().filter(|(of, _)| *of == zone.id).count()
    }
}

#[async_trait(?Send)]
impl DnsProvider for Cloudflare {
    async fn zone_of(&self, name: &str, _: &Resolver) -> Result<Zone, ProviderError> {
        self.listed_zone_of(name).await
    }

    async fn zone_named(&self, zone: &str) -> Result<Zone, ProviderError> {
        self.listed_zone_of(zone).await
    }

    fn share_limit(&self, others: usize) {
        self.api.share_limit(others);
    }

    fn name_servers(&self, zone: &Zone) -> Option<Vec<String>> {
        self.name_servers.borrow().get(&zone.id).cloned()
    }

    async fn create(
        &self,
        zone: &Zone,
        records: &[TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        let mut unique: Vec<&TxtRecord> = Vec::new();
        for record in records {
            if !unique.contains(&record) {
                unique.push(record);
            }
        }
        let contents = unique.iter().map(|record| self.content(record)).collect();
        let ids = match self.creations.go(&self.api, zone, contents).await {
            Go::Alone(_turn) => self.create_alone(zone, &unique).await?,
            Go::Together(answer) => self.create_together(zone, &unique, answer).await?,
        };
        let id = |record| unique.iter().position(|u| *u == record).and_then(|i| ids.get(i));
        Ok(records.iter().filter_map(id).cloned().collect())
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let mut by_zone: BTreeMap<&str, Vec<&PlacedRecord>> = BTreeMap::new();
        for one in placed {
            by_zone.entry(&one.zone.id).or_default().push(one);
        }
        // What can be removed is, whatever happens to the rest.
        let zones =
            by_zone.values().filter_map(|of_zone| of_zone.first().map(|p| (&p.zone, of_zone)));
        let removed = join_all(zones.map(|(zone, of)| self.remove_from(zone, of, rule))).await;
        Ok(removed.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

fn has_code(error: &ProviderError, codes: &[i64]) -> bool {
    error.refusal().is_some_and(|refusal| refusal.has_code(codes))
}

/// Tells whether single requests may do where a batch was refused: one of its operations, or the route.
fn is_refusal_of_batch(error: &ProviderError) -> bool {
    matches!(error.refusal(), Some(refusal) if refusal.status < 500)
        && matches!(error.about(), About::Name)
}

/// Tells whether a refusal of what several orders wanted may be about one of them.
fn is_of_one_order(error: &ProviderError) -> bool {
    let is_full = matches!(error.about(), About::Quota { .. });
    is_full || has_code(error, &EXISTS) || is_refusal_of_batch(error)
}

/// Tells whether Cloudflare says that the record or its zone is not there. A 404 of something in between
/// does not count, nor does an unknown route.
fn is_gone(error: &ProviderError) -> bool {
    let not_found = |refusal: &Refusal| {
        refusal.status == 404 && !refusal.reasons.is_empty() && !refusal.has_code(&[NO_ROUTE])
    };
    has_code(error, &GONE) || error.refusal().is_some_and(not_found)
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Lists the names of records, each once.
fn names_of<'a>(records: &[&'a TxtRecord]) -> Vec<&'a str> {
    let mut names: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Tells whether a record says that it is ours. Words may be added to the comment.
fn mark(item: &Value) -> Mark {
    if text(item, "comment").starts_with(MARK) { Mark::Ours } else { Mark::Missing }
}

/// Lists records in a message, each name once: an apex and its wildcard share one.
fn all(records: &[&TxtRecord]) -> String {
    let names = names_of(records);
    let more = names.len().saturating_sub(NAMED);
    let named: Vec<_> = names.iter().take(NAMED).map(|name| format!("\"{name}\"")).collect();
    let noun = if records.len() == 1 { "TXT record" } else { "TXT records" };
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{noun} {}{rest}", named.join(", "))
}

/// Gives the name of a zone or a record: Cloudflare shows internationalized ones in Unicode.
fn name_of(value: &Value) -> String {
    a_labels(text(value, "name"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn id(value: &Value, action: &str) -> Result<String, ProviderError> {
    match text(value, "id") {
        "" => Err(ProviderError::unexpected(action, "it has no \"id\"")),
        id => Ok(id.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{TxtRecord, all};

    #[test]
    fn each_name_is_shown_once() {
        let record = |name: &str| TxtRecord { name: name.into(), value: String::new() };
        let records = ["a", "a", "b", "c", "d"].map(record);
        let records: Vec<&TxtRecord> = records.iter().collect();
        assert_eq!(all(&records[..1]), "TXT record \"a\"");
        assert_eq!(all(&records[..2]), "TXT records \"a\"");
        assert_eq!(all(&records), "TXT records \"a\", \"b\", \"c\" and 1 more");
    }
}
