//! A provider whose operations are counted, whatever its type: a program and a DNS server send no HTTP requests.

use super::{
    DnsProvider, PlacedRecord, ProviderError, Refusal, Rule, SparedRecord, TxtRecord, ValueLimit,
    Zone,
};
use crate::host::Host;
use crate::resolver::Resolver;
use acme_dns_core::id::{ProviderId, Table};
use acme_dns_core::status::{Code, DnsAction, Figure};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// Provider with a counter before it.
struct Counted {
    provider: Box<dyn DnsProvider>,
    id: ProviderId,
    host: Arc<dyn Host>,
}

/// Puts a counter before each provider.
#[must_use]
pub fn counted(
    providers: Table<ProviderId, Box<dyn DnsProvider>>,
    host: &Arc<dyn Host>,
) -> Table<ProviderId, Box<dyn DnsProvider>> {
    let counted = providers.into_iter().map(|(id, provider)| -> Box<dyn DnsProvider> {
        Box::new(Counted { provider, id, host: Arc::clone(host) })
    });
    counted.collect()
}

impl Counted {
    fn count<T>(
        &self,
        action: DnsAction,
        result: Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let code = match &result {
            Ok(_) => Code::Ok,
            Err(error) => code_of(error),
        };
        self.host.add(Figure::ProviderRequests(self.id, action, code), 1);
        result
    }
}

/// Gives the status that an error is about.
fn code_of(error: &ProviderError) -> Code {
    let status = |refusal: &Refusal| match refusal.status {
        0 => Code::Error,
        status => Code::Status(status),
    };
    match error {
        ProviderError::Unavailable { refusal, .. }
        | ProviderError::Unauthorized { refusal, .. }
        | ProviderError::Refused { refusal, .. } => status(refusal),
        ProviderError::Throttled { .. } => Code::Status(429),
        ProviderError::Unclear(error) => code_of(error),
        ProviderError::Unreachable { .. }
        | ProviderError::Unexpected { .. }
        | ProviderError::Unresolved { .. }
        | ProviderError::Program { .. }
        | ProviderError::NoZone { .. } => Code::Error,
    }
}

// A method with a default that is not handed on would be lost without a word.
#[deny(clippy::missing_trait_methods)]
#[async_trait(?Send)]
impl DnsProvider for Counted {
    async fn zone_of(&self, name: &str, resolver: &Resolver) -> Result<Zone, ProviderError> {
        self.count(DnsAction::Zone, self.provider.zone_of(name, resolver).await)
    }

    async fn zone_named(&self, zone: &str) -> Result<Zone, ProviderError> {
        self.count(DnsAction::Zone, self.provider.zone_named(zone).await)
    }

    fn can_hold(&self, record: &TxtRecord) -> bool {
        self.provider.can_hold(record)
    }

    fn name_servers(&self, zone: &Zone) -> Option<Vec<String>> {
        self.provider.name_servers(zone)
    }

    fn value_limit(&self, name: &str) -> Option<ValueLimit> {
        self.provider.value_limit(name)
    }

    async fn create(
        &self,
        zone: &Zone,
        records: &[TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        self.count(DnsAction::Create, self.provider.create(zone, records).await)
    }

    fn removal_limit(&self, records: usize) -> Duration {
        self.provider.removal_limit(records)
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        self.count(DnsAction::Remove, self.provider.remove(placed, rule).await)
    }
}
