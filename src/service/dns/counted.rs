//! A provider whose operations are counted and told, whatever its type: a program and a DNS server send no HTTP
//! requests.

use super::request::overheard;
use super::{
    DnsProvider, PlacedRecord, ProviderError, Refusal, Rule, SparedRecord, TxtRecord, ValueLimit,
    Zone, names_of, txt_records,
};
use crate::event::{Event, ProviderEvent, RequestEvent, Subject};
use crate::host::Host;
use crate::resolver::Resolver;
use acme_dns_core::config::Provider;
use acme_dns_core::id::{ProviderId, Table};
use acme_dns_core::level::Level;
use acme_dns_core::status::{Code, DnsAction, Figure};
use async_trait::async_trait;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Provider with a counter before it.
struct Counted {
    provider: Box<dyn DnsProvider>,
    id: ProviderId,
    name: String,
    host: Arc<dyn Host>,
}

/// Puts a counter before each provider of a configuration.
#[must_use]
pub fn counted(
    configs: &Table<ProviderId, Provider>,
    providers: Table<ProviderId, Box<dyn DnsProvider>>,
    host: &Arc<dyn Host>,
) -> Table<ProviderId, Box<dyn DnsProvider>> {
    let counted = providers.into_iter().map(|(id, provider)| -> Box<dyn DnsProvider> {
        let name = configs.get(id).map(|config| config.name.clone()).unwrap_or_default();
        Box::new(Counted { provider, id, name, host: Arc::clone(host) })
    });
    counted.collect()
}

impl Counted {
    /// Counts an operation, and tells it with its requests where single steps are logged.
    async fn watch<T>(
        &self,
        action: DnsAction,
        name: impl FnOnce() -> String,
        operation: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let result = match self.host.listens(Level::Debug) {
            true => self.tell(name(), operation).await,
            false => operation.await,
        };
        let code = match &result {
            Ok(_) => Code::Ok,
            Err(error) => code_of(error),
        };
        self.host.add(Figure::ProviderRequests(self.id, action, code), 1);
        result
    }

    async fn tell<T>(
        &self,
        work: String,
        operation: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let (host, subject) = (Arc::clone(&self.host), Subject::Provider(self.name.clone()));
        let ear = move |event: RequestEvent| {
            host.tell(&Event::Request(subject.clone(), event));
        };
        let since = Instant::now();
        let result = overheard(Rc::new(ear), operation).await;
        let (provider, took) = (self.name.clone(), since.elapsed());
        self.host.tell(&Event::Provider(match &result {
            Ok(_) => ProviderEvent::Done { provider, work, took },
            Err(error) => ProviderEvent::NotDone { provider, work, took, why: error.to_string() },
        }));
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
        let work = || format!("finding the zone of \"{name}\"");
        self.watch(DnsAction::Zone, work, self.provider.zone_of(name, resolver)).await
    }

    async fn zone_named(&self, zone: &str) -> Result<Zone, ProviderError> {
        let work = || format!("finding zone \"{zone}\"");
        self.watch(DnsAction::Zone, work, self.provider.zone_named(zone)).await
    }

    fn share_limit(&self, others: usize) {
        self.provider.share_limit(others);
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
        let work =
            || format!("creating {} in zone \"{}\"", txt_records(&names_of(records)), zone.name);
        self.watch(DnsAction::Create, work, self.provider.create(zone, records)).await
    }

    async fn restore(&self, zone: &Zone, records: &[TxtRecord]) -> Result<(), ProviderError> {
        let work = || {
            format!(
                "looking again for {} in zone \"{}\"",
                txt_records(&names_of(records)),
                zone.name
            )
        };
        self.watch(DnsAction::Create, work, self.provider.restore(zone, records)).await
    }

    fn removal_limit(&self, records: usize) -> Duration {
        self.provider.removal_limit(records)
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let work = || {
            let records = placed.iter().map(|placed| &placed.record);
            format!("removing {}", txt_records(&names_of(records)))
        };
        self.watch(DnsAction::Remove, work, self.provider.remove(placed, rule)).await
    }
}
