//! The test record: created through the provider, waited for at all servers, and removed in any case.

use super::Doctor;
use super::time_limit::TimeLimit;
use super::zone::{Place, moved};
use crate::dns::{DnsProvider, PlacedRecord, ProviderError, TxtRecord};
use crate::propagation::{PropagationError, ZoneServers};
use crate::random::random_hex;
use crate::resolver::probe::dns_name;
use crate::resolver::query::{TxtAnswer, ask_txt};
use acme_dns_core::challenge::{Candidate, TestRecord};
use acme_dns_core::config::Propagation;
use acme_dns_core::findings::{Finding, rows};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest time for creating a record.
const CREATION: Duration = Duration::from_secs(20);

/// The number of random bytes in the name of a test record, and in its value.
const NAME_BYTES: usize = 4;
const VALUE_BYTES: usize = 16;

impl Doctor {
    /// Writes a test record; gives what is to be said of it where all is well, and what is not.
    pub(super) async fn try_record(
        &self,
        place: &Place,
        client: &dyn DnsProvider,
        time: &TimeLimit,
    ) -> (String, Vec<Finding>) {
        if client.value_limit(&place.name).is_some() {
            return ("no test record, since a name there holds few values".to_owned(), Vec::new());
        }
        let (Some(suffix), Some(value)) = (random_hex::<NAME_BYTES>(), random_hex::<VALUE_BYTES>())
        else {
            return ("no test record, since there is no randomness".to_owned(), Vec::new());
        };
        let record = TestRecord::below(&place.zone.name, &suffix, &value);
        match self.write(place, client, &record, time).await {
            // Credentials may be bound to the names of challenges.
            Err(Failure { error: Some(error), .. }) if error.is_definite() => {
                let record = TestRecord::at(&place.name, &value);
                match self.write(place, client, &record, time).await {
                    Ok(written) => (written, Vec::new()),
                    Err(failure) => (failure.written(), failure.findings),
                }
            }
            Ok(written) => (written, Vec::new()),
            Err(failure) => (failure.written(), failure.findings),
        }
    }

    /// Creates a record, waits for it, and removes it.
    async fn write(
        &self,
        place: &Place,
        client: &dyn DnsProvider,
        test: &TestRecord,
        time: &TimeLimit,
    ) -> Result<String, Failure> {
        let record = TxtRecord { name: test.name().to_owned(), value: test.value().to_owned() };
        let zone = &place.zone.name;
        let Some(left) = time.left("the right to write") else {
            return Err(Failure { findings: Vec::new(), error: None, was_created: false });
        };
        let limit = CREATION.min(left);
        let creating = client.create(&place.zone, std::slice::from_ref(&record));
        let created = timeout(limit, creating).await.unwrap_or_else(|_| {
            Err(ProviderError::Unreachable {
                action: "cannot create a record".to_owned(),
                detail: format!("no answer within {} s", limit.as_secs()),
            })
        });
        let placed = |id| PlacedRecord { record: record.clone(), zone: place.zone.clone(), id };
        let ids = match created {
            Ok(ids) => ids,
            Err(error) => {
                let finding = self.explain(place.provider, &error, zone);
                // It may be there all the same.
                if !error.is_definite() {
                    let _answer_is_known = self.remove(client, &placed(None), test, time).await;
                }
                let findings = vec![finding];
                return Err(Failure { findings, error: Some(error), was_created: false });
            }
        };
        let seen =
            time.hold("the test record at all servers", self.wait(place, client, &record)).await;
        let id = ids.into_iter().next().filter(|id| !id.is_empty());
        let removed = self.remove(client, &placed(id), test, time).await;
        let mut findings: Vec<Finding> = Vec::new();
        if let Some(Err(finding)) = &seen {
            findings.push(finding.clone());
        }
        if let Err(error) = removed {
            findings.push(self.explain(place.provider, &error, zone));
        }
        match seen {
            Some(Ok(seen)) if findings.is_empty() => Ok(format!("test record {seen}, removed")),
            _ => Err(Failure { findings, error: None, was_created: true }),
        }
    }

    /// Waits until all servers of the zone show a record.
    async fn wait(
        &self,
        place: &Place,
        client: &dyn DnsProvider,
        record: &TxtRecord,
    ) -> Result<String, Finding> {
        if matches!(self.config.propagation, Propagation::Off { .. }) {
            return Ok("created".to_owned());
        }
        let (zone, begun) = (&place.zone.name, Instant::now());
        let named = client.name_servers(&place.zone);
        let asked = ZoneServers { zone, servers: named.as_deref() };
        let wanted = [(record.name.clone(), record.value.clone())];
        match self.checker.wait_for(asked, &wanted, &|_| ()).await {
            Ok(()) => {
                Ok(format!("seen at all servers after {:.1} s", begun.elapsed().as_secs_f64()))
            }
            Err(error) => Err(self.unseen(place, record, &error).await),
        }
    }

    async fn unseen(&self, place: &Place, record: &TxtRecord, error: &PropagationError) -> Finding {
        let zone = &place.zone.name;
        match error {
            PropagationError::Missing { servers, .. } => {
                match self.find_doubled(zone, record).await {
                    Some(name) => rows::D14.finding(&[("name", &name)]),
                    None => rows::D03_RECORD.finding(&[("zone", zone), ("words", servers)]),
                }
            }
            PropagationError::Moved { delegated, provider, .. } => moved(delegated, provider)
                .finding(&[
                    ("zone", zone),
                    ("provider", self.provider_name(place.provider)),
                    ("delegated", delegated),
                    ("servers", provider),
                ]),
            PropagationError::Unreachable { servers, .. } => {
                rows::D04_ALL.finding(&[("zone", zone), ("words", servers)])
            }
            PropagationError::NoServers { reason, .. } => {
                rows::D12_DOWN.finding(&[("words", reason)])
            }
            PropagationError::InvalidName(_) => {
                rows::D12_DOWN.finding(&[("words", &error.to_string())])
            }
        }
    }

    /// Looks for a record under its name with the zone's name behind it once more.
    async fn find_doubled(&self, zone: &str, record: &TxtRecord) -> Option<String> {
        let doubled = format!("{}.{zone}", record.name);
        let name = dns_name(&doubled)?;
        let servers = self.checker.servers(super::zone::asked(zone)).await?.ok()?;
        for server in &servers {
            if let Ok(TxtAnswer::Values(values)) = ask_txt(server.address, &name).await
                && values.contains(&record.value)
            {
                return Some(doubled);
            }
        }
        None
    }

    async fn remove(
        &self,
        client: &dyn DnsProvider,
        placed: &PlacedRecord,
        test: &TestRecord,
        time: &TimeLimit,
    ) -> Result<(), ProviderError> {
        let limit = time.removal();
        let rule = |candidate: &Candidate<'_>| test.may_remove(candidate);
        let removing = client.remove(std::slice::from_ref(placed), &rule);
        match timeout(limit, removing).await {
            Ok(removed) => removed.map(|_spared| ()),
            Err(_) => Err(ProviderError::Unreachable {
                action: "cannot remove a record".to_owned(),
                detail: format!(
                    "no answer within {} s; remove \"{}\" by hand",
                    limit.as_secs(),
                    placed.record.name
                ),
            }),
        }
    }
}

/// A test record that did not come and go as it should.
struct Failure {
    findings: Vec<Finding>,
    /// Error of creating it.
    error: Option<ProviderError>,
    was_created: bool,
}

impl Failure {
    fn written(&self) -> String {
        match self.was_created {
            false => "test record not created".to_owned(),
            true => "test record created".to_owned(),
        }
    }
}
