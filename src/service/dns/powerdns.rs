//! PowerDNS's HTTP API (<https://doc.powerdns.com/authoritative/http-api/>).
//!
//! Version 4.7 can only replace an RRset as a whole, and the last writer wins. So one task at a time
//! reads and writes a zone here, and after a write the RRset is read again: what another client has
//! overwritten in between is written again. Values of others are sent back exactly as they came.

use super::request::{self, Answer, PAUSES, pause, retrying};
use super::spacing::read_back;
use super::{
    About, DnsProvider, PlacedRecord, ProviderError, Redactor, Refusal, RefusalReason, Rule,
    SparedRecord, TxtRecord, Zone, txt,
};
use crate::event::ProviderEvent;
use crate::http::{Clients, HttpError};
use crate::resolver::Resolver;
use acme_dns_core::challenge::{Candidate, Mark};
use acme_dns_core::config::{PowerDnsSettings as Settings, SecretId};
use acme_dns_core::text::{excerpt, list};
use async_trait::async_trait;
use futures_util::future::join_all;
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use url::Url;

/// The longest answer, in bytes: servers that know no filter send a whole zone.
const MAX_ANSWER: usize = 16 << 20;

/// The longest name of a zone or a server that is taken, in characters.
const MAX_NAME: usize = 400;

/// So many zones are named where none fits.
const SHOWN_ZONES: usize = 5;

/// So often an RRset is written until it stays as it should be.
const MAX_WRITES: usize = 20;

/// The least pause before an RRset is read again ([`read_back`]).
const READ_BACK: Duration = Duration::from_millis(250);

/// A change of an RRset's records; false if there is nothing to change.
type Change<'a> = dyn FnMut(&mut Vec<Value>) -> bool + 'a;

/// The client of one `acme_dns_provider` block.
pub struct PowerDns {
    name: String,
    http: reqwest::Client,
    base: Url,
    key: HeaderValue,
    redactor: Redactor,
    ttl: u32,
    /// The writer of each zone, by its identifier.
    writers: RefCell<HashMap<String, Rc<Mutex<()>>>>,
    /// The name servers of zones, by the zone's identifier.
    name_servers: RefCell<HashMap<String, Vec<String>>>,
    tell: Rc<dyn Fn(ProviderEvent)>,
}

impl fmt::Debug for PowerDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerDns").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PowerDns {
    /// Makes a client; `name` is the one of the block.
    ///
    /// # Errors
    /// The TLS library refuses the trusted certificates, or the key cannot be sent in a header.
    pub fn new(
        name: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
        clients: &Clients,
        tell: Rc<dyn Fn(ProviderEvent)>,
    ) -> Result<Self, HttpError> {
        let invalid_url = || HttpError::Url(settings.api.clone());
        let mut base = Url::parse(&settings.api).map_err(|_| invalid_url())?;
        let path = ["api", "v1", "servers", &settings.server_id];
        base.path_segments_mut().map_err(|()| invalid_url())?.pop_if_empty().extend(path);
        let secret = secret(settings.api_key);
        let mut key = HeaderValue::from_str(secret.expose_secret())
            .map_err(|_| HttpError::Credentials(name.to_owned()))?;
        key.set_sensitive(true);
        Ok(Self {
            name: name.to_owned(),
            http: clients.get(settings.trusted_certificate.as_deref())?,
            base,
            key,
            redactor: Redactor::new([secret]),
            ttl: settings.ttl,
            writers: RefCell::default(),
            name_servers: RefCell::default(),
            tell,
        })
    }

    fn action(&self, what: impl fmt::Display) -> String {
        format!("provider \"{}\" cannot {what}", self.name)
    }

    /// Makes a request once. `zone` is the one that its path names, if it names one.
    async fn call(
        &self,
        method: Method,
        zone: Option<&Zone>,
        query: &[(&str, &str)],
        body: Option<&Value>,
        action: &str,
    ) -> Result<Value, ProviderError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push("zones").extend(zone.map(|zone| zone.id.as_str()));
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).header("x-api-key", self.key.clone());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request::send(request, MAX_ANSWER, &self.redactor, action).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&answer, zone, action));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| ProviderError::unexpected(action, "it is not JSON, check \"api\""))
    }

    /// Makes a request that only reads, again if it fails for a while.
    async fn get(
        &self,
        zone: Option<&Zone>,
        query: &[(&str, &str)],
        action: &str,
    ) -> Result<Value, ProviderError> {
        retrying(async || self.call(Method::GET, zone, query, None, action).await).await
    }

    /// Reads an answer that is not a success.
    fn refusal(&self, answer: &Answer, zone: Option<&Zone>, action: &str) -> ProviderError {
        let Answer { status, retry_after, body } = answer;
        let action = action.to_owned();
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let words = json.get("error").and_then(Value::as_str);
        let words = words.map(|text| self.redactor.clean(text));
        let reasons = words.iter().map(|text| RefusalReason { code: 0, text: text.clone() });
        let refusal = Refusal { status: status.as_u16(), reasons: reasons.collect() };
        let refused = |advice: &str, about| ProviderError::Refused {
            action: action.clone(),
            refusal: refusal.clone(),
            advice: advice.to_owned(),
            about,
        };
        match (status.as_u16(), zone) {
            (429, _) => ProviderError::Throttled { action, retry_after: *retry_after },
            (408 | 500.., _) => ProviderError::Unavailable { action, refusal },
            (401 | 403, _) => ProviderError::Unauthorized {
                action,
                refusal,
                advice: "check that \"api_key_file\" or \"api_key\" gives the \"api-key\" of \
                         PowerDNS, and that its \"webserver-allow-from\" has this host"
                    .to_owned(),
                about: About::Credentials,
            },
            (404, None) => refused(
                "the server has no such API or server, check \"api\" and \"server_id\"",
                About::Provider,
            ),
            (404, Some(zone)) => refused(
                "the zone is not there or no longer",
                About::Zone(zone.name.as_str().into()),
            ),
            _ if words.is_some() => refused("", About::Name),
            _ => refused("this is not an answer of PowerDNS's API, check \"api\"", About::Provider),
        }
    }

    /// Reads the TTL and the records of the TXT RRset of a name, as they are.
    async fn read(
        &self,
        zone: &Zone,
        name: &str,
        kind: &str,
        action: &str,
    ) -> Result<(Option<u64>, Vec<Value>), ProviderError> {
        let query = [("rrset_name", name), ("rrset_type", kind)];
        let answer = self.call(Method::GET, Some(zone), &query, None, action).await?;
        let Some(Value::Array(sets)) = answer.get("rrsets") else {
            return Err(ProviderError::unexpected(action, "it has no \"rrsets\""));
        };
        let is_it = |set: &&Value| {
            text(set, "type") == kind && text(set, "name").eq_ignore_ascii_case(name)
        };
        let Some(set) = sets.iter().find(is_it) else { return Ok((None, Vec::new())) };
        match (set.get("ttl").and_then(Value::as_u64), set.get("records")) {
            (Some(ttl), Some(Value::Array(records))) => Ok((Some(ttl), records.clone())),
            _ => Err(ProviderError::unexpected(action, "an RRset has no \"ttl\" or \"records\"")),
        }
    }

    /// Reads an RRset, and writes it if there is something to change; false if there was not.
    async fn step(
        &self,
        zone: &Zone,
        name: &str,
        change: &mut Change<'_>,
        action: &str,
    ) -> Result<bool, ProviderError> {
        let writer = Rc::clone(self.writers.borrow_mut().entry(zone.id.clone()).or_default());
        let _turn = writer.lock().await;
        let (ttl, mut records) = self.read(zone, name, "TXT", action).await?;
        if !change(&mut records) {
            return Ok(false);
        }
        let kind = if records.is_empty() { "DELETE" } else { "REPLACE" };
        let ttl = ttl.unwrap_or_else(|| self.ttl.into());
        let set = json!({
            "name": name, "type": "TXT", "ttl": ttl, "changetype": kind, "records": records,
        });
        let body = json!({ "rrsets": [set] });
        self.call(Method::PATCH, Some(zone), &[], Some(&body), action).await?;
        Ok(true)
    }

    /// Changes an RRset until there is nothing left to change, after so many `writes` of before.
    async fn settle(
        &self,
        zone: &Zone,
        name: &str,
        change: &mut Change<'_>,
        mut writes: usize,
        action: &str,
    ) -> Result<(), ProviderError> {
        let name = format!("{name}.");
        let mut pauses = PAUSES.iter();
        let mut is_clear = true;
        loop {
            let begun = Instant::now();
            match self.step(zone, &name, change, action).await {
                Ok(false) => return Ok(()),
                Ok(true) if writes == MAX_WRITES => {
                    let detail = "other clients overwrite the records again and again";
                    return Err(ProviderError::unexpected(action, detail));
                }
                Ok(true) => {
                    if writes > 0 {
                        let (provider, name) = (self.name.clone(), name.clone());
                        (self.tell)(ProviderEvent::Overwritten { provider, name });
                    }
                    writes += 1;
                    sleep(read_back(READ_BACK, begun.elapsed())).await;
                }
                Err(error) if error.is_permanent() && !(is_clear && writes == 0) => {
                    return Err(ProviderError::Unclear(Box::new(error)));
                }
                Err(error) => {
                    is_clear &= matches!(error, ProviderError::Throttled { .. });
                    pause(error, pauses.next()).await?;
                }
            }
        }
    }

    /// Removes values of one name.
    async fn remove_values(
        &self,
        zone: &Zone,
        name: &str,
        placed: &[&PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let mut spared = Vec::new();
        let mut change = |records: &mut Vec<Value>| {
            let before = records.len();
            spared.clear();
            records.retain(|found| {
                let is_it = |placed: &&&PlacedRecord| is_value(found, &placed.record.value);
                let Some(PlacedRecord { record, id, .. }) = placed.iter().find(is_it) else {
                    return true;
                };
                let mark = if id.is_some() { Mark::Ours } else { Mark::Unsupported };
                let value = &record.value;
                match rule(&Candidate { kind: "TXT", name, value, mark }) {
                    Ok(()) => false,
                    Err(why) => {
                        spared.push(SparedRecord { record: record.clone(), why });
                        true
                    }
                }
            });
            records.len() != before
        };
        let what = format_args!("remove TXT record \"{name}\" from zone \"{}\"", zone.name);
        match self.settle(zone, name, &mut change, 0, &self.action(what)).await {
            // What a zone held is gone with it.
            Err(error) if matches!(error.about(), About::Zone(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(()) => Ok(spared),
        }
    }

    /// Adds values to those of one name, to which they were added in so many `writes` before.
    async fn add_values(
        &self,
        zone: &Zone,
        (name, values): (&str, &[&str]),
        writes: usize,
    ) -> Result<(), ProviderError> {
        let mut change = |records: &mut Vec<Value>| {
            let before = records.len();
            for value in values {
                if !records.iter().any(|found| is_value(found, value)) {
                    records.push(json!({ "content": txt::quote(value), "disabled": false }));
                }
            }
            records.len() != before
        };
        let what = format_args!("create TXT record \"{name}\" in zone \"{}\"", zone.name);
        self.settle(zone, name, &mut change, writes, &self.action(what)).await
    }

    /// Adds records, each of which was written in so many `writes` before.
    async fn add(
        &self,
        zone: &Zone,
        records: &[TxtRecord],
        writes: usize,
    ) -> Result<(), ProviderError> {
        let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for record in records {
            by_name.entry(&record.name).or_default().push(&record.value);
        }
        let several = by_name.len() > 1;
        let added =
            by_name.iter().map(|(name, values)| self.add_values(zone, (name, values), writes));
        for added in join_all(added).await {
            match added {
                // Another name's may be there.
                Err(error) if several && error.is_definite() => {
                    return Err(ProviderError::Unclear(Box::new(error)));
                }
                added => added?,
            }
        }
        Ok(())
    }

    /// Finds the longest zone of the server's list that holds a name.
    ///
    /// # Errors
    /// As of [`DnsProvider::zone_of`].
    pub async fn listed_zone_of(&self, name: &str) -> Result<Zone, ProviderError> {
        let name = acme_dns_core::name::a_labels(name);
        let action = self.action(format_args!("find the zone of \"{name}\""));
        let mut rest = Some(name.as_str());
        while let Some(candidate) = rest.filter(|rest| !rest.is_empty()) {
            // A server that knows no filter sends all of its zones.
            let answer = self.get(None, &[("zone", &format!("{candidate}."))], &action).await?;
            let zones = zones(&answer, &action)?;
            let holding = zones.into_iter().filter(|zone| holds(&zone.name, &name));
            if let Some(zone) = holding.max_by_key(|zone| zone.name.len()) {
                self.note_name_servers(&zone, &action).await;
                return Ok(zone);
            }
            rest = candidate.split_once('.').map(|(_, parent)| parent);
        }
        let all = zones(&self.get(None, &[], &action).await?, &action)?;
        Err(no_zone(action, &name, &all))
    }

    /// Keeps the names of a zone's servers; without them the DNS is asked.
    async fn note_name_servers(&self, zone: &Zone, action: &str) {
        if self.name_servers.borrow().contains_key(&zone.id) {
            return;
        }
        let apex = format!("{}.", zone.name);
        if let Ok((_, records)) = self.read(zone, &apex, "NS", action).await {
            let active = records.iter().filter(|record| !is_disabled(record));
            let names = active.map(|record| bare(text(record, "content"))).collect();
            self.name_servers.borrow_mut().insert(zone.id.clone(), names);
        }
    }
}

#[async_trait(?Send)]
impl DnsProvider for PowerDns {
    async fn zone_of(&self, name: &str, _: &Resolver) -> Result<Zone, ProviderError> {
        self.listed_zone_of(name).await
    }

    async fn zone_named(&self, zone: &str) -> Result<Zone, ProviderError> {
        self.listed_zone_of(zone).await
    }

    fn name_servers(&self, zone: &Zone) -> Option<Vec<String>> {
        Some(self.name_servers.borrow().get(&zone.id).cloned().unwrap_or_default())
    }

    async fn create(
        &self,
        zone: &Zone,
        records: &[TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        self.add(zone, records, 0).await?;
        // Its value is all that tells a record from others.
        Ok(records.iter().map(|record| record.value.clone()).collect())
    }

    async fn restore(&self, zone: &Zone, records: &[TxtRecord]) -> Result<(), ProviderError> {
        self.add(zone, records, 1).await
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let mut by_name: BTreeMap<(&str, &str), Vec<&PlacedRecord>> = BTreeMap::new();
        for one in placed {
            by_name.entry((&one.zone.id, &one.record.name)).or_default().push(one);
        }
        let removals = by_name.iter().filter_map(|((_, name), of)| {
            of.first().map(|first| self.remove_values(&first.zone, name, of, rule))
        });
        // What can be removed is, whatever happens to the rest.
        let removed = join_all(removals).await;
        Ok(removed.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

fn no_zone(action: String, name: &str, zones: &[Zone]) -> ProviderError {
    let shown: Vec<&str> = zones.iter().take(SHOWN_ZONES).map(|zone| &*zone.name).collect();
    let more = zones.len().saturating_sub(shown.len());
    let detail = match (shown.is_empty(), more) {
        (true, _) => "the server has no zones".to_owned(),
        (_, 0) => format!("the zones of the server are {}", list(&shown)),
        _ => format!("the zones of the server are {} and {more} more", list(&shown)),
    };
    let domain = name.strip_prefix("_acme-challenge.").unwrap_or(name);
    let advice = format!("create a zone that holds \"{domain}\", or use the provider that has it");
    ProviderError::NoZone { action, detail, advice, about: About::Name }
}

/// Reads a list of zones.
fn zones(answer: &Value, action: &str) -> Result<Vec<Zone>, ProviderError> {
    let Value::Array(items) = answer else {
        return Err(ProviderError::unexpected(action, "it is not a list of zones"));
    };
    let zone = |item: &Value| {
        Some(Zone { id: item.get("id")?.as_str()?.to_owned(), name: bare(text(item, "name")) })
    };
    Ok(items.iter().filter_map(zone).filter(|zone| !zone.name.is_empty()).collect())
}

fn holds(zone: &str, name: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Tells whether a record is served and has a value, in the very form in which it is created here.
fn is_value(record: &Value, value: &str) -> bool {
    text(record, "content") == txt::quote(value) && !is_disabled(record)
}

fn is_disabled(record: &Value) -> bool {
    record.get("disabled").and_then(Value::as_bool).unwrap_or_default()
}

/// Gives a name without its final dot, in lower case.
fn bare(name: &str) -> String {
    excerpt(name.trim_end_matches('.'), MAX_NAME).to_ascii_lowercase()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
