//! Dynamic updates (RFC 2136), signed with TSIG (RFC 8945): BIND, Knot, PowerDNS, Windows and others.
//!
//! An update adds or deletes single records, so the values of others at the same name are not touched, and
//! concurrent updates lose nothing. Adding what is there and deleting what is not change nothing: an update
//! whose answer was lost is sent again.

mod exchange;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod refusal;
#[cfg(test)]
mod tests;
mod tsig;

pub use exchange::Patience;

use super::{
    DnsProvider, PlacedRecord, ProviderError, Rule, SparedRecord, TxtRecord, Zone, by_rule,
    names_of, txt_records,
};
use crate::http::HttpError;
use crate::resolver::query::{TxtAnswer, read_txt};
use acme_dns_core::config::{Rfc2136Settings as Settings, SecretId};
use acme_dns_core::encoding::from_base64;
use async_trait::async_trait;
use exchange::{Answer, Request};
use futures_util::future::join_all;
use hickory_proto::op::{Message, OpCode, Query};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use refusal::Asked;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::lookup_host;
use tokio::time::timeout;
use tsig::TsigKey;

/// Records in one update: a message has 64 KB, and a record at most some 300 octets.
const BATCH: usize = 100;

/// Longest time for looking up the server's address.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(10);

/// The client of one `acme_dns_provider` block.
pub struct Rfc2136 {
    name: String,
    settings: Settings,
    key: TsigKey,
    patience: Patience,
    clock: Box<dyn Fn() -> SystemTime>,
}

impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rfc2136").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A change of a zone.
#[derive(Clone, Copy)]
enum Change {
    Add,
    Delete,
}

impl Rfc2136 {
    /// Makes a client; `name` is the one of the block.
    ///
    /// # Errors
    /// The key's secret is not base64.
    pub fn new(
        name: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
    ) -> Result<Self, HttpError> {
        let secret = from_base64(secret(settings.key).expose_secret());
        let key = secret.and_then(|it| TsigKey::new(&settings.key_name, settings.algorithm, it));
        Ok(Self {
            name: name.to_owned(),
            settings: settings.clone(),
            key: key.ok_or_else(|| HttpError::TsigKey(name.to_owned()))?,
            patience: Patience::default(),
            clock: Box::new(SystemTime::now),
        })
    }

    /// Changes how long the client waits.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Changes the clock by which requests are signed.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> SystemTime + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    fn action(&self, what: impl fmt::Display) -> String {
        format!("provider \"{}\" cannot {what}", self.name)
    }

    /// Adds records of one zone, or deletes them, in as few messages as they fit into. A message is done
    /// as a whole or not at all (RFC 2136 section 3.7).
    async fn update(
        &self,
        zone: &Zone,
        records: &[&TxtRecord],
        change: Change,
        action: &str,
    ) -> Result<(), ProviderError> {
        for (number, chunk) in records.chunks(BATCH).enumerate() {
            let message = self.update_message(&zone.name, chunk, change);
            let message = message.ok_or_else(|| not_a_name(action))?;
            match self.ask(&message, &zone.name, action).await {
                Ok(_) => {}
                // The chunks before this one were done.
                Err(error) if number > 0 => return Err(ProviderError::Unclear(Box::new(error))),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes an update (RFC 2136 sections 2.5.1 and 2.5.4); `None` if a name is none.
    fn update_message(
        &self,
        zone: &str,
        records: &[&TxtRecord],
        change: Change,
    ) -> Option<Message> {
        let (ttl, class) = match change {
            Change::Add => (self.settings.ttl, DNSClass::IN),
            Change::Delete => (0, DNSClass::NONE),
        };
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message.metadata.recursion_desired = false;
        message.add_query(Query::query(fqdn(zone)?, RecordType::SOA));
        for record in records {
            let data = RData::TXT(TXT::new(vec![record.value.clone()]));
            let mut record = Record::from_rdata(fqdn(&record.name)?, ttl, data);
            record.dns_class = class;
            message.add_authority(record);
        }
        Some(message)
    }

    /// Asks the server for the TXT values of a name. The question is signed, as a server with views shows
    /// each key its own.
    async fn values(
        &self,
        name: &str,
        zone: &str,
        action: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let asked = fqdn(name).ok_or_else(|| not_a_name(action))?;
        let mut message = Message::query();
        message.metadata.recursion_desired = false;
        message.add_query(Query::query(asked.clone(), RecordType::TXT));
        let answer = self.ask(&message, zone, action).await?;
        match read_txt(&answer.message, &asked) {
            Ok(TxtAnswer::Values(values)) => Ok(values),
            Ok(TxtAnswer::NoName | TxtAnswer::Alias(_)) => Ok(Vec::new()),
            Err(error) => Err(ProviderError::unexpected(action, &error.to_string())),
        }
    }

    /// Signs and sends a message, and checks the answer. A refusal after an answer that was lost may follow
    /// from what the first try has done.
    async fn ask(
        &self,
        message: &Message,
        zone: &str,
        action: &str,
    ) -> Result<Answer, ProviderError> {
        let failed = |detail: &str| ProviderError::unexpected(action, detail);
        let signed_at = (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let bytes = message.to_vec().map_err(|error| failed(&error.to_string()))?;
        let signed =
            self.key.sign(&bytes, signed_at).map_err(|error| failed(&error.to_string()))?;
        let request = Request { message, signed: &signed, key: &self.key };
        let answer = self.send(&request, action).await?;
        let asked = Asked { action, zone, settings: &self.settings, signed_at };
        match asked.check(&answer) {
            Ok(()) => Ok(answer),
            Err(error) if answer.is_repeated => Err(ProviderError::Unclear(Box::new(error))),
            Err(error) => Err(error),
        }
    }

    /// Sends a message to the first of the server's addresses that answers.
    async fn send(&self, request: &Request<'_>, action: &str) -> Result<Answer, ProviderError> {
        let Settings { server, tcp, .. } = &self.settings;
        let mut failures = Vec::new();
        for address in self.addresses(action).await? {
            match request.send(address, *tcp, &self.patience).await {
                Ok(answer) if failures.is_empty() => return Ok(answer),
                Ok(answer) => return Ok(Answer { is_repeated: true, ..answer }),
                Err(error) => failures.push(format!("{address}: {error}")),
            }
        }
        let transports = if *tcp { "TCP" } else { "UDP and TCP" };
        let detail = format!(
            "{}; check \"server\", and that \"{server}\" can be reached from here over {transports}",
            failures.join(", ")
        );
        Err(ProviderError::Unreachable { action: action.to_owned(), detail })
    }

    /// Looks up the server, on a thread of the runtime as the HTTP client does.
    async fn addresses(&self, action: &str) -> Result<Vec<SocketAddr>, ProviderError> {
        let server = &self.settings.server;
        let found = timeout(LOOKUP_PATIENCE, lookup_host((server.host.as_str(), server.port)));
        let detail = match found.await {
            Ok(Ok(found)) => return Ok(found.collect()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", LOOKUP_PATIENCE.as_secs()),
        };
        let detail = format!("cannot look up \"{}\": {detail}; check \"server\"", server.host);
        Err(ProviderError::Unreachable { action: action.to_owned(), detail })
    }

    /// Removes records of one zone. A record that is not there is deleted without effect, so nothing has to
    /// be found first but what may not be removed.
    async fn remove_from(
        &self,
        zone: &Zone,
        placed: &[&PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let names = names_of(placed.iter().map(|placed| &placed.record));
        let what = format_args!("remove {} from zone \"{}\"", txt_records(&names), zone.name);
        let action = self.action(what);
        let (removable, refused) = by_rule(placed.iter().copied(), rule);
        let removable: Vec<&TxtRecord> = removable.iter().map(|placed| &placed.record).collect();
        self.update(zone, &removable, Change::Delete, &action).await?;
        let mut spared = Vec::new();
        for one in refused {
            let values = self.values(&one.record.name, &zone.name, &action).await?;
            if values.contains(&one.record.value) {
                spared.push(one);
            }
        }
        Ok(spared)
    }
}

#[async_trait(?Send)]
impl DnsProvider for Rfc2136 {
    async fn create(
        &self,
        zone: &Zone,
        records: &[TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        let what = txt_records(&names_of(records));
        let action = self.action(format_args!("create {what} in zone \"{}\"", zone.name));
        let each: Vec<&TxtRecord> = records.iter().collect();
        self.update(zone, &each, Change::Add, &action).await?;
        // Its value is all that tells a record from others.
        Ok(records.iter().map(|record| record.value.clone()).collect())
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let mut by_zone: BTreeMap<&str, Vec<&PlacedRecord>> = BTreeMap::new();
        for one in placed {
            by_zone.entry(&one.zone.name).or_default().push(one);
        }
        let removals = by_zone.values().filter_map(|of_zone| {
            of_zone.first().map(|first| self.remove_from(&first.zone, of_zone, rule))
        });
        // What can be removed is, whatever happens to the rest.
        let removed = join_all(removals).await;
        Ok(removed.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

fn not_a_name(action: &str) -> ProviderError {
    ProviderError::unexpected(action, "a name of it is no domain name")
}

fn fqdn(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}
