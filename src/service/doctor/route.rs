//! The names of a certificate: aliases, and the zone and the provider of each record.

use super::Doctor;
use super::time_limit::TimeLimit;
use super::zone::Place;
use crate::dns::{ProviderError, follow};
use crate::resolver::probe::ask_resolver;
use crate::resolver::query::without_dot;
use crate::resolver::{Resolver, ZoneCutError};
use acme_dns_core::challenge::{record_name, sibling_name};
use acme_dns_core::config::Certificate;
use acme_dns_core::findings::{Finding, rows};
use acme_dns_core::id::ProviderId;
use acme_dns_core::name::Name as DomainName;
use futures_util::stream::{self, StreamExt};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

/// So many names of a certificate are looked at at the same time.
const AT_ONCE: usize = 8;

/// Longest wait for the zone of a name.
const LIMIT: Duration = Duration::from_secs(25);

impl Doctor {
    /// Finds where the records of a certificate go, and what is in the way.
    pub(super) async fn places_of(
        &self,
        certificate: &Certificate,
        time: &TimeLimit,
    ) -> (Vec<Place>, Vec<Finding>) {
        if self.has_persist_only(certificate) {
            return Default::default();
        }
        let bases: BTreeSet<&str> = certificate.names.iter().map(DomainName::base).collect();
        let looked = stream::iter(bases)
            .map(async |base| {
                let zone = format!("the zone of \"{base}\"");
                time.hold(&zone, self.place_of(certificate, base)).await.unwrap_or_default()
            })
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let (mut places, mut findings) = (Vec::new(), Vec::new());
        for (place, of_name) in looked {
            places.extend(place);
            for finding in of_name {
                // What is wrong with the credentials is wrong with all names.
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
        (places, findings)
    }

    async fn place_of(
        &self,
        certificate: &Certificate,
        base: &str,
    ) -> (Option<Place>, Vec<Finding>) {
        let challenge = record_name(base);
        let sibling = sibling_name(&challenge, "check");
        // Where nobody can tell, whoever asks for the zone hears of it.
        let alias =
            async |name: &str| self.checker.alias(&self.resolver, name).await.unwrap_or_default();
        let route = match follow(&challenge, &sibling, &alias).await {
            Ok(route) => route,
            Err(error) => return (None, vec![rows::D06.finding(&[("words", &error.to_string())])]),
        };
        let mut findings = Vec::new();
        if !route.is_delegated()
            && let Some(target) = alias(&sibling).await
        {
            findings.push(rows::D09.finding(&[("domain", base), ("target", &target)]));
        }
        let name = route.target();
        let via = route.is_delegated().then_some(challenge.as_str());
        let Some(provider) = self.config.provider_of(certificate, name) else {
            findings.push(self.unprovided(name, via).await);
            return (None, findings);
        };
        let (place, of_zone) = self.place_at(name, via, provider).await;
        findings.extend(of_zone);
        (place, findings)
    }

    /// Finds the zone of a record, whose challenge may be an alias of it.
    async fn place_at(
        &self,
        name: &str,
        via: Option<&str>,
        provider: ProviderId,
    ) -> (Option<Place>, Option<Finding>) {
        let Some(client) = self.providers.get(provider) else { return (None, None) };
        let given = self.config.providers.get(provider).and_then(|config| config.zone_of(name));
        let looking = async {
            match given {
                Some(zone) => client.zone_named(zone).await,
                None => client.zone_of(name, &self.resolver).await,
            }
        };
        let finding = match timeout(LIMIT, looking).await {
            Ok(Ok(zone)) => {
                // What the block says beats the DNS.
                let own = match given {
                    Some(_) => None,
                    None => self.own_zone(name, &zone.name).await,
                };
                return (Some(Place { name: name.to_owned(), provider, zone }), own);
            }
            Ok(Err(ProviderError::NoZone { .. })) => self.no_zone(name, via, provider).await,
            Ok(Err(error)) => self.explain(provider, &error, name),
            Err(_) => rows::C06.finding(&[
                ("provider", self.provider_name(provider)),
                ("words", &format!("no answer within {} s", LIMIT.as_secs())),
            ]),
        };
        (None, Some(finding))
    }

    /// Explains that all providers are bound to other zones.
    async fn unprovided(&self, name: &str, via: Option<&str>) -> Finding {
        match (self.resolver.zone_cut(name).await, via) {
            (Ok(zone), Some(challenge)) => alias_without_provider(challenge, name, &zone),
            (Ok(zone), None) if zone == name => own_zone(name, "it"),
            (Ok(zone), None) => rows::C03_BOUND.finding(&[("name", name), ("zone", &zone)]),
            (Err(error), via) => nowhere(&error, via, name),
        }
    }

    /// Explains that a provider has no zone for a name.
    async fn no_zone(&self, name: &str, via: Option<&str>, provider: ProviderId) -> Finding {
        match (self.resolver.zone_cut(name).await, via) {
            (Ok(zone), Some(challenge)) => alias_without_provider(challenge, name, &zone),
            (Ok(zone), None) => rows::C03.finding(&[
                ("provider", self.provider_name(provider)),
                ("name", name),
                ("zone", &zone),
            ]),
            (Err(error), via) => nowhere(&error, via, name),
        }
    }

    /// Finds out whether the name of a record is a zone of its own, and its provider writes into the one above.
    async fn own_zone(&self, name: &str, zone: &str) -> Option<Finding> {
        let cut = self.resolver.zone_cut(name).await.ok()?;
        if cut != name || zone == name {
            return None;
        }
        let servers = self.checker.servers(super::zone::asked(name)).await?.ok()?;
        let list: Vec<String> = servers.iter().map(ToString::to_string).collect();
        Some(own_zone(name, &list.join(", ")))
    }
}

fn own_zone(name: &str, words: &str) -> Finding {
    rows::D10.finding(&[("name", name), ("words", words)])
}

fn alias_without_provider(challenge: &str, target: &str, zone: &str) -> Finding {
    rows::D07.finding(&[("name", challenge), ("target", target), ("zone", zone)])
}

/// Explains that a name is in no zone.
fn nowhere(error: &ZoneCutError, via: Option<&str>, name: &str) -> Finding {
    match (error, via) {
        (ZoneCutError::NoZone(_), Some(challenge)) => {
            rows::D08.finding(&[("name", challenge), ("target", name)])
        }
        (ZoneCutError::NoZone(words), None) => {
            rows::D01.finding(&[("zone", name), ("words", words)])
        }
        (ZoneCutError::Unresolved(error), _) => {
            rows::D12_DOWN.finding(&[("words", &error.to_string())])
        }
    }
}

/// Finds out whether resolvers have an address for a name that cannot exist (RFC 6761 section 6.4).
pub(super) async fn invented(resolver: &Resolver) -> Option<Finding> {
    let name = Name::from_ascii("acme-dns-check.invalid.").ok()?;
    for server in resolver.servers() {
        let Ok(answer) = ask_resolver(server, &name, RecordType::A, false).await else { continue };
        let is_address = |data: &hickory_proto::rr::RData| data.ip_addr().is_some();
        if answer.metadata.response_code == ResponseCode::NoError
            && answer.answers.iter().any(|record| is_address(&record.data))
        {
            let words = format!("{server} has an address of \"{}\"", without_dot(&name));
            return Some(rows::D12.finding(&[("words", &words)]));
        }
    }
    None
}
