//! Memory of the stand-in: zones, records and settings.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::auth::Accounts;
use super::publish::Publisher;
use crate::powerdns::{Api, Rrset, fqdn, unquote};

/// Seconds that "automatic" (1) means.
const AUTOMATIC_TTL: u32 = 300;
/// A string of a TXT record has at most so many octets.
const TXT_STRING: usize = 255;

/// A stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its identifier, 32 hexadecimal digits.
    pub id: String,
    /// The identifier of its zone.
    pub zone_id: String,
    /// The name of its zone.
    pub zone: String,
    /// The whole name, without a dot at its end.
    pub name: String,
    /// The type, such as `TXT`.
    pub kind: String,
    /// The content as the API returns it: a TXT value has quotes.
    pub content: String,
    /// Seconds; 1 is automatic.
    pub ttl: u32,
    /// The comment.
    pub comment: Option<String>,
}

impl Record {
    /// The content, without quotes if it is a TXT value.
    #[must_use]
    pub fn value(&self) -> String {
        if self.kind == "TXT" { unquote(&self.content) } else { self.content.clone() }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "name": unicode(&self.name),
            "type": self.kind,
            "content": self.content,
            "proxiable": matches!(self.kind.as_str(), "A" | "AAAA" | "CNAME"),
            "proxied": false,
            "ttl": self.ttl,
            "settings": {},
            "meta": {},
            "comment": self.comment,
            "tags": [],
            "created_on": STAMP,
            "modified_on": STAMP,
        })
    }

    fn to_dns(&self) -> String {
        match self.kind.as_str() {
            "TXT" => {
                let value = self.value();
                let strings: Vec<String> = value
                    .as_bytes()
                    .chunks(TXT_STRING)
                    .map(|part| {
                        let text = String::from_utf8_lossy(part);
                        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
                    })
                    .collect();
                strings.join(" ")
            }
            "CNAME" | "NS" => fqdn(&self.content),
            _ => self.content.clone(),
        }
    }
}

/// No client of ours reads the dates, so they are one.
pub(super) const STAMP: &str = "2025-01-01T00:00:00.000000Z";

#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) id: String,
    /// In A-labels.
    pub(super) name: String,
    pub(super) name_servers: Vec<String>,
}

/// A name as it is stored: in A-labels.
pub(super) fn ascii(name: &str) -> String {
    let name = name.trim_end_matches('.');
    idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_ascii_lowercase())
}

/// A name as it is shown: an internationalized one in Unicode.
fn unicode(name: &str) -> String {
    idna::domain_to_unicode(name).0
}

impl Zone {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "name": unicode(&self.name),
            "status": "active",
            "paused": false,
            "type": "full",
            "development_mode": 0,
            "name_servers": self.name_servers,
            "original_name_servers": null,
            "original_registrar": null,
            "original_dnshost": null,
            "modified_on": STAMP,
            "created_on": STAMP,
            "activated_on": STAMP,
            "meta": {"step": 2, "custom_certificate_quota": 0, "page_rule_quota": 3,
                     "phishing_detected": false},
            "owner": {"id": null, "type": "user", "email": null},
            "account": {"id": ACCOUNT, "name": ACCOUNT_NAME},
            "tenant": {"id": null, "name": null},
            "tenant_unit": {"id": null},
            "permissions": ["#dns_records:edit", "#dns_records:read", "#zone:read"],
            "plan": {"id": "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "name": "Free Website", "price": 0,
                     "currency": "USD", "frequency": "", "is_subscribed": false,
                     "can_subscribe": false, "legacy_id": "free", "legacy_discount": false,
                     "externally_managed": false},
        })
    }
}

pub(super) const ACCOUNT: &str = "01a7362d577a6c3019a474fd6f485823";
pub(super) const ACCOUNT_NAME: &str = "testbed";

/// Allows a number of requests in a window.
#[derive(Debug)]
pub(super) struct Limit {
    requests: usize,
    window: Duration,
    recent: VecDeque<Instant>,
    blocked_until: Option<Instant>,
}

impl Limit {
    pub(super) fn new(requests: usize, window: Duration) -> Self {
        Self { requests, window, recent: VecDeque::new(), blocked_until: None }
    }

    /// Counts a request; the seconds to wait if it is one too many.
    pub(super) fn count(&mut self, now: Instant) -> Option<u64> {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Some((until - now).as_secs() + 1);
            }
            self.blocked_until = None;
            self.recent.clear();
        }
        while self.recent.front().is_some_and(|first| now.duration_since(*first) > self.window) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.requests {
            self.blocked_until = Some(now + self.window);
            return Some(self.window.as_secs().max(1));
        }
        self.recent.push_back(now);
        None
    }
}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) batch: bool,
    pub(super) quota: usize,
    pub(super) limit: Option<Limit>,
}

#[derive(Debug, Default)]
struct Contents {
    zones: Vec<Zone>,
    records: Vec<Record>,
}

#[derive(Debug)]
pub(super) struct State {
    contents: Mutex<Contents>,
    accounts: Mutex<Accounts>,
    settings: Mutex<Settings>,
    pub(super) publisher: Publisher,
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(super) fn new(dns: Api) -> Self {
        // The quota of the free plan.
        let settings = Settings { batch: true, quota: 1000, limit: None };
        Self {
            contents: Mutex::default(),
            accounts: Mutex::default(),
            settings: Mutex::new(settings),
            publisher: Publisher::start(dns),
        }
    }

    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        guard(&self.accounts)
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        guard(&self.settings)
    }

    pub(super) fn add_zone(&self, name: &str) -> String {
        let name = ascii(name);
        if let Some(id) = self.zone_id(&name) {
            return id;
        }
        let id = new_id();
        let name_servers = vec![format!("ns1.{name}")];
        guard(&self.contents).zones.push(Zone { id: id.clone(), name, name_servers });
        id
    }

    pub(super) fn set_name_servers(&self, name: &str, servers: &[&str]) {
        let name = ascii(name);
        let mut contents = guard(&self.contents);
        for zone in contents.zones.iter_mut().filter(|zone| zone.name == name) {
            zone.name_servers = servers.iter().map(|server| (*server).to_owned()).collect();
        }
    }

    pub(super) fn remove_zone(&self, name: &str) {
        let name = ascii(name);
        let mut contents = guard(&self.contents);
        contents.zones.retain(|zone| zone.name != name);
        contents.records.retain(|record| record.zone != name);
    }

    pub(super) fn zone_id(&self, name: &str) -> Option<String> {
        let name = ascii(name);
        let contents = guard(&self.contents);
        Some(contents.zones.iter().find(|zone| zone.name == name)?.id.clone())
    }

    pub(super) fn zones(&self) -> Vec<Zone> {
        guard(&self.contents).zones.clone()
    }

    pub(super) fn records(&self) -> Vec<Record> {
        guard(&self.contents).records.clone()
    }

    /// Applies a change to the records of a zone, all of it or nothing, and publishes it.
    pub(super) async fn change<T, E>(
        &self,
        zone: &Zone,
        change: impl FnOnce(&mut Vec<Record>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (result, published) = {
            let mut contents = guard(&self.contents);
            let mut records = contents.records.clone();
            let result = change(&mut records)?;
            let rrsets = differences(&contents.records, &records);
            contents.records = records;
            // Under the lock, so that changes reach PowerDNS in their order.
            (result, self.publisher.publish(&zone.name, rrsets))
        };
        published.wait().await;
        Ok(result)
    }
}

/// The record sets that a change touched, as they are after it.
fn differences(before: &[Record], after: &[Record]) -> Vec<Rrset> {
    let touched: BTreeSet<(&str, &str)> = before
        .iter()
        .filter(|record| !after.contains(record))
        .chain(after.iter().filter(|record| !before.contains(record)))
        .map(|record| (record.name.as_str(), record.kind.as_str()))
        .collect();
    let rrset = |(name, kind): (&str, &str)| {
        let of = after.iter().filter(|record| record.name == name && record.kind == kind);
        let ttl = of.clone().map(|r| if r.ttl == 1 { AUTOMATIC_TTL } else { r.ttl }).min();
        Rrset {
            name: fqdn(name),
            kind: kind.to_owned(),
            ttl: ttl.unwrap_or(AUTOMATIC_TTL),
            contents: of.map(Record::to_dns).collect(),
        }
    };
    touched.into_iter().map(rrset).collect()
}

/// 32 hexadecimal digits.
pub(super) fn new_id() -> String {
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes).unwrap_or_else(|e| panic!("no random bytes: {e}"));
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
