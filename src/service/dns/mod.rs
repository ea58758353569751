//! DNS providers: who puts up TXT records, and takes them down again.

mod budget;
pub mod cloudflare;
mod error;

pub use budget::{Budget, Wait, on_account_of};
pub use error::{About, ProviderError, Reason, Refusal};

use crate::http::{Clients, HttpError};
use acme_dns_core::challenge::{Candidate, Kept};
use acme_dns_core::config::{Provider, ProviderKind, SecretId};
use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::rc::Rc;

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

/// A record that was put up, or may have been: what the journal keeps.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Placed {
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
pub struct Spared {
    /// The record.
    pub record: TxtRecord,
    /// Why.
    pub why: Kept,
}

/// A DNS provider.
#[async_trait(?Send)]
pub trait DnsProvider {
    /// Finds the zone that holds a name.
    ///
    /// # Errors
    /// There is none that the credentials may see, or the provider cannot be asked.
    async fn zone_of(&self, name: &str) -> Result<Zone, ProviderError>;

    /// The names of the servers of a zone that was found, in A-labels, as far as the provider says
    /// which they are; `None` for a zone that it does not let us read, whose name may then be that of
    /// a domain below it.
    fn name_servers(&self, zone: &Zone) -> Option<Vec<String>> {
        let _ = zone;
        Some(Vec::new())
    }

    /// Puts up records of one zone together and gives their ids in the same order. An identical
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

    /// Removes records, of one zone or of several, and gives those that are there and may not be
    /// removed. A record with an id was created by this process. Any other is found by name, type and
    /// exact content, and removed if `rule` allows it; one that is not there counts as removed.
    ///
    /// # Errors
    /// Not all of the records are known to be gone. All of `placed` may be given again.
    async fn remove(
        &self,
        placed: &[Placed],
        rule: &Rule<'_>,
    ) -> Result<Vec<Spared>, ProviderError>;
}

/// Makes the client of a provider of the configuration. `budget` is shared by all of the helper's that
/// have no limit of their own.
///
/// # Errors
/// The TLS library refuses the trusted certificates, or the credentials cannot be sent in a header.
pub fn provider(
    config: &Provider,
    secret: impl Fn(SecretId) -> SecretString,
    budget: Rc<Budget>,
    clients: &Clients,
) -> Result<Box<dyn DnsProvider>, HttpError> {
    match &config.kind {
        ProviderKind::Cloudflare(settings) => {
            let own = settings.requests.map(|limit| Rc::new(budget.with_limit(limit)));
            let budget = own.unwrap_or(budget);
            let name = &config.name;
            Ok(Box::new(cloudflare::Cloudflare::new(name, settings, secret, budget, clients)?))
        }
    }
}
