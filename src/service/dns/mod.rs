//! DNS providers: the interface that creates and removes TXT records, and one module for each type.
//!
//! A new type implements [`DnsProvider`] in a module beside [`cloudflare`] and gets a line in
//! [`providers`]. Which names get which records is decided in [`crate::acme`], whether they are
//! visible in [`crate::propagation`]; neither is in here.

pub mod acme_dns;
pub mod cloudflare;
mod counted;
pub mod duckdns;
mod error;
pub mod exec;
pub mod httpreq;
pub mod library;
mod payer;
pub mod powerdns;
mod request;
pub mod rfc2136;
mod route;
mod spacing;
mod txt;
mod zone;

pub use counted::counted;
pub use error::{About, ProviderError, Refusal, RefusalReason};
pub use payer::on_account_of;
pub use route::{Route, RouteError, follow};

use crate::event::ProviderEvent;
use crate::http::{Clients, HttpError};
use crate::program::Programs;
use crate::resolver::Resolver;
use acme_dns_core::challenge::{Candidate, Kept, Mark};
use acme_dns_core::config::{Provider, ProviderKind, SecretId};
use acme_dns_core::id::{ProviderId, Table};
use acme_dns_core::redact::Redactor;
use acme_dns_core::text::list;
use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use std::time::Duration;

/// Longest time that removing records may take before it is left to a later time, where a provider says nothing
/// else.
pub const REMOVAL_LIMIT: Duration = Duration::from_secs(120);

/// A TXT record that an order needs.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct TxtRecord {
    /// Its name without a final dot, such as `_acme-challenge.example.com`.
    pub name: String,
    /// Its content, without quotes.
    pub value: String,
}

/// A zone as its provider knows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Zone {
    /// The provider's identifier.
    pub id: String,
    /// Its name without a final dot; where the credentials may not read it, the domain that its
    /// records are in, which can be below it.
    pub name: String,
}

/// A record that was created, or may have been: what the journal keeps.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlacedRecord {
    /// The record.
    pub record: TxtRecord,
    /// The zone that holds it.
    pub zone: Zone,
    /// The provider's identifier of the record, where its answer came through. What was read from a
    /// file is only somebody's word and is not given to [`DnsProvider::remove`].
    pub id: Option<String>,
}

/// Says whether a record that was found may be removed.
pub type Rule<'a> = dyn Fn(&Candidate<'_>) -> Result<(), Kept> + 'a;

/// A record that was found and left alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SparedRecord {
    /// The record.
    pub record: TxtRecord,
    /// Reason for it.
    pub why: Kept,
}

/// A limit of the values that a record set can have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValueLimit {
    /// The record set, whatever names it has.
    pub record_set: String,
    /// The number of its values; one more pushes out the oldest.
    pub values: usize,
}

/// A DNS provider.
#[async_trait(?Send)]
pub trait DnsProvider {
    /// Finds the zone that holds a name: by a list of the provider's zones, or, as this default does, in
    /// DNS. The identifier of a zone that was found in DNS is its name.
    ///
    /// # Errors
    /// There is no zone, none that the credentials may see, or nobody who can be asked.
    async fn zone_of(&self, name: &str, resolver: &Resolver) -> Result<Zone, ProviderError> {
        zone::find(name, resolver).await
    }

    /// Gives the zone that the configuration names, whatever the DNS says: from a list of the provider's
    /// zones, or, as this default does, by its name alone.
    ///
    /// # Errors
    /// The provider has no such zone, as far as the credentials may see, or cannot be asked.
    async fn zone_named(&self, zone: &str) -> Result<Zone, ProviderError> {
        Ok(Zone { id: zone.to_owned(), name: zone.to_owned() })
    }

    /// Gives the names of the servers of a zone, in A-labels, as far as the provider says which they
    /// are; `None` for a zone that it does not let us read, whose name may then be that of a domain
    /// below it.
    fn name_servers(&self, zone: &Zone) -> Option<Vec<String>> {
        let _ = zone;
        Some(Vec::new())
    }

    /// Leaves equal parts of the provider's limit of requests to so many other hosts that use the same account. Does
    /// nothing, as this default, where no limit is known.
    fn share_limit(&self, others: usize) {
        let _ = others;
    }

    /// Gives the limit of the record set that has the values of a name, if it has one. No more than that many of an
    /// order are created before they are removed, and no other order has values there meanwhile.
    fn value_limit(&self, name: &str) -> Option<ValueLimit> {
        let _ = name;
        None
    }

    /// Tells whether it can hold a record of another method than dns-01, for good: some providers know no other
    /// names or values, or push the oldest value out.
    fn can_hold(&self, record: &TxtRecord) -> bool {
        self.value_limit(&record.name).is_none()
    }

    /// Creates records of one zone together and gives their ids in the same order. An identical
    /// record that exists already counts as created.
    ///
    /// # Errors
    /// Not all of the records are there; some may be, unless the error is definite
    /// ([`ProviderError::is_definite`]): then none is. Else what was asked for must be given to
    /// [`DnsProvider::remove`] without an id.
    async fn create(
        &self,
        zone: &Zone,
        records: &[TxtRecord],
    ) -> Result<Vec<String>, ProviderError>;

    /// Looks whether records that were created are still there, and writes those again that another client has
    /// overwritten since. Does nothing, as this default, where single records are changed: nobody overwrites them.
    ///
    /// # Errors
    /// It is not known whether all of them are there.
    async fn restore(&self, zone: &Zone, records: &[TxtRecord]) -> Result<(), ProviderError> {
        let _ = (zone, records);
        Ok(())
    }

    /// Gives the longest time that removing so many records may take before it is left to a later time.
    fn removal_limit(&self, records: usize) -> Duration {
        let _ = records;
        REMOVAL_LIMIT
    }

    /// Removes records, of one zone or of several, and gives those that are there and may not be
    /// removed. A record with an id was created by this process. Any other is found by name, type and
    /// exact content, and removed if `rule` allows it; one that is not there counts as removed.
    ///
    /// # Errors
    /// Not all of the records are known to be gone. All of `placed` may be given again.
    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError>;
}

/// Parts records into those that may be removed and the others, for providers that remove without a look at
/// what they have.
fn by_rule<'a>(
    placed: impl IntoIterator<Item = &'a PlacedRecord>,
    rule: &Rule<'_>,
) -> (Vec<&'a PlacedRecord>, Vec<SparedRecord>) {
    let (mut removable, mut spared) = (Vec::new(), Vec::new());
    for one in placed {
        let TxtRecord { name, value } = &one.record;
        let mark = if one.id.is_some() { Mark::Ours } else { Mark::Unsupported };
        match rule(&Candidate { kind: "TXT", name, value, mark }) {
            Ok(()) => removable.push(one),
            Err(why) => spared.push(SparedRecord { record: one.record.clone(), why }),
        }
    }
    (removable, spared)
}

/// Lists the names of records, each once.
fn names_of<'a>(records: impl IntoIterator<Item = &'a TxtRecord>) -> Vec<&'a str> {
    let mut names: Vec<&str> = records.into_iter().map(|record| record.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Lists records in a message by their names.
fn txt_records(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let noun = if names.len() == 1 { "TXT record" } else { "TXT records" };
    format!("{noun} {}", list(&quoted))
}

/// Makes the clients of the providers of a configuration, in its order. `tell` hears of requests that
/// take longer than usual, and what programs print.
///
/// # Errors
/// The TLS library refuses trusted certificates, or credentials cannot be sent in a header.
pub fn providers(
    configs: &Table<ProviderId, Provider>,
    secret: impl Fn(SecretId) -> SecretString,
    clients: &Clients,
    programs: &Rc<Programs>,
    tell: impl Fn(ProviderEvent) + 'static,
) -> Result<Table<ProviderId, Box<dyn DnsProvider>>, HttpError> {
    let tell: Rc<dyn Fn(ProviderEvent)> = Rc::new(tell);
    let of_cloudflare = Rc::clone(&tell);
    let cloudflare = cloudflare::Maker::new(clients, move |event| of_cloudflare(event));
    let writers = Rc::default();
    let make = |config: &Provider| -> Result<Box<dyn DnsProvider>, HttpError> {
        let name = &config.name;
        Ok(match &config.kind {
            ProviderKind::Cloudflare(settings) => {
                Box::new(cloudflare.make(name, settings, &secret)?)
            }
            ProviderKind::Rfc2136(settings) => {
                Box::new(rfc2136::Rfc2136::new(name, settings, &secret)?)
            }
            ProviderKind::PowerDns(settings) => Box::new(powerdns::PowerDns::new(
                name,
                settings,
                &secret,
                clients,
                Rc::clone(&tell),
            )?),
            ProviderKind::AcmeDns(settings) => {
                Box::new(acme_dns::AcmeDns::new(name, settings, &secret, clients)?)
            }
            ProviderKind::DuckDns(settings) => {
                Box::new(duckdns::DuckDns::new(name, settings, &secret, clients)?)
            }
            ProviderKind::HttpReq(settings) => {
                Box::new(httpreq::HttpReq::new(name, settings, &secret, clients)?)
            }
            ProviderKind::Exec(settings) => Box::new(exec::Exec::new(
                name,
                settings,
                &secret,
                Rc::clone(programs),
                Rc::clone(&tell),
            )),
            ProviderKind::Library(settings) => Box::new(library::Library::new(
                name,
                settings,
                &secret,
                Rc::clone(programs),
                Rc::clone(&writers),
                Rc::clone(&tell),
            )),
        })
    };
    configs.values().map(make).collect()
}
