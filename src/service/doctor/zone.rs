//! A zone: whether it is delegated to the servers that the provider has for it, and what these say.

use super::time_limit::TimeLimit;
use super::{Doctor, authority, provider};
use crate::dns::{DnsProvider, ProviderError, Zone};
use crate::propagation::{NameServer, NameServerError, ZoneServers};
use crate::resolver::Resolver;
use crate::resolver::probe::{ask_resolver, dns_name, is_answer};
use crate::resolver::query::without_dot;
use acme_dns_core::findings::{Finding, Row, rows};
use acme_dns_core::id::ProviderId;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use std::collections::BTreeSet;

/// Ends of the names of servers that show advertisements.
const PARKING: [&str; 7] = [
    "sedoparking.com",
    "parkingcrew.net",
    "bodis.com",
    "above.com",
    "cashparking.com",
    "parklogic.com",
    "dsredirection.com",
];

/// Labels that servers of one provider have in common, from the end of their names.
const COMMON_LABELS: usize = 2;

/// The name that a challenge's record has, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The name of the record.
    pub(super) name: String,
    pub(super) provider: ProviderId,
    pub(super) zone: Zone,
}

impl Place {
    /// Gives what places of one zone have in common.
    pub(super) fn key(&self) -> (ProviderId, String) {
        (self.provider, self.zone.name.clone())
    }
}

/// Findings about one zone.
#[derive(Clone, Debug, Default)]
pub(super) struct ZoneReport {
    pub(super) findings: Vec<Finding>,
    /// The servers that can be asked for records.
    pub(super) servers: Vec<NameServer>,
}

/// Makes the question for the servers of a zone without the provider's word.
pub(super) fn asked(zone: &str) -> ZoneServers<'_> {
    ZoneServers { zone, servers: Some(&[]) }
}

impl Doctor {
    /// Looks at the zone of a record.
    pub(super) async fn check_zone(
        &self,
        place: &Place,
        writes: bool,
        time: &TimeLimit,
    ) -> ZoneReport {
        let Some(client) = self.providers.get(place.provider).map(AsRef::as_ref) else {
            return ZoneReport::default();
        };
        let (zone, time) = (&place.zone.name, time.of_zone(&place.zone.name));
        let looked = time.hold("the servers", self.check_servers(place, client)).await;
        let (servers, mut findings) = looked.unwrap_or_default();
        findings.extend(time.hold("signatures", bogus(&self.resolver, zone)).await.flatten());
        let difference = time.hold("the delegation", self.checker.difference(zone)).await;
        if let Some(words) = difference.flatten() {
            findings.push(rows::D11.finding(&[("zone", zone), ("words", &words)]));
        }
        let name = self.provider_name(place.provider);
        let mut good = format!("zone \"{zone}\" at {name}");
        if writes {
            let (written, of_record) = self.try_record(place, client, &time).await;
            good = format!("{good}; {written}");
            findings.extend(of_record);
        }
        findings.insert(0, Finding::good("", &good));
        findings.extend(time.finding());
        ZoneReport { findings, servers }
    }

    /// Looks at the servers of a zone; gives those that can be asked for records, too.
    async fn check_servers(
        &self,
        place: &Place,
        client: &dyn DnsProvider,
    ) -> (Vec<NameServer>, Vec<Finding>) {
        let (found, mut findings) = self.find_servers(place, client).await;
        let (Some(servers), Some(apex)) = (found, self.apex(place, client).await) else {
            return (Vec::new(), findings);
        };
        let (able, of_servers) = authority::examine(&servers, &apex).await;
        findings.extend(of_servers);
        findings.extend(parked(&servers, &place.zone.name));
        (able, findings)
    }

    /// Names a provider.
    pub(super) fn provider_name(&self, id: ProviderId) -> &str {
        self.config.providers.get(id).map_or("", |provider| provider.name.as_str())
    }

    /// Finds the servers that CAs ask, and whether these are the provider's.
    async fn find_servers(
        &self,
        place: &Place,
        client: &dyn DnsProvider,
    ) -> (Option<Vec<NameServer>>, Vec<Finding>) {
        let zone = &place.zone.name;
        let named = client.name_servers(&place.zone);
        let asked = ZoneServers { zone, servers: named.as_deref() };
        match self.checker.servers(asked).await {
            None => (None, Vec::new()),
            Some(Ok(servers)) => (Some(servers), missing(&self.resolver, zone).await),
            Some(Err(error)) => {
                let finding = match missing(&self.resolver, zone).await.pop() {
                    Some(finding) => finding,
                    None => self.no_servers(place, &error),
                };
                (None, vec![finding])
            }
        }
    }

    fn no_servers(&self, place: &Place, error: &NameServerError) -> Finding {
        let zone = &place.zone.name;
        match error {
            NameServerError::Moved { delegated, provider } => {
                let row = moved(delegated, provider);
                let name = self.provider_name(place.provider);
                row.finding(&[
                    ("zone", zone),
                    ("provider", name),
                    ("delegated", delegated),
                    ("servers", provider),
                ])
            }
            error => rows::D12_DOWN.finding(&[("words", &error.to_string())]),
        }
    }

    /// Gives the name at which a zone begins, where its provider does not say so either.
    async fn apex(&self, place: &Place, client: &dyn DnsProvider) -> Option<Name> {
        let zone = dns_name(&place.zone.name)?;
        match client.name_servers(&place.zone) {
            Some(_) => Some(zone),
            None => self.resolver.zone_of(&zone).await.ok()?,
        }
    }

    /// Explains the error of a provider.
    pub(super) fn explain(&self, id: ProviderId, error: &ProviderError, zone: &str) -> Finding {
        match self.config.providers.get(id) {
            Some(config) => provider::explain(error, config, zone),
            None => rows::X01.finding(&[("words", &error.to_string())]),
        }
    }
}

/// Tells a wrong account of the right provider from another provider, by the ends of the names of servers.
pub(super) fn moved(delegated: &str, provider: &str) -> Row {
    let ends = |list: &str| -> BTreeSet<String> {
        let end = |name: &str| {
            let labels: Vec<&str> = name.trim().rsplit('.').take(COMMON_LABELS).collect();
            labels.join(".")
        };
        list.split(',').map(end).collect()
    };
    match ends(delegated).is_disjoint(&ends(provider)) {
        true => rows::C05,
        false => rows::C04,
    }
}

/// Finds out whether a zone is not in DNS: what resolvers know ends above it.
pub(super) async fn missing(resolver: &Resolver, zone: &str) -> Vec<Finding> {
    let Some(name) = dns_name(zone) else { return Vec::new() };
    match resolver.zone_of(&name).await {
        Ok(Some(apex)) if apex.num_labels() < 2 && name.num_labels() >= 2 => {
            let words = match without_dot(&apex).as_str() {
                "." => "the root says that there is no such name".to_owned(),
                above => format!("\"{above}\" says that there is no such name"),
            };
            vec![rows::D01.finding(&[("zone", zone), ("words", &words)])]
        }
        Ok(_) => Vec::new(),
        Err(error) => vec![rows::D12_DOWN.finding(&[("words", &error.to_string())])],
    }
}

/// Finds out whether a resolver refuses a zone for its signatures: without the check it has an answer.
pub(super) async fn bogus(resolver: &Resolver, zone: &str) -> Option<Finding> {
    let name = dns_name(zone)?;
    for server in resolver.servers() {
        let code = async |unchecked| {
            let answer = ask_resolver(server, &name, RecordType::SOA, unchecked).await;
            answer.ok().map(|answer| answer.metadata.response_code)
        };
        if code(false).await != Some(ResponseCode::ServFail) {
            continue;
        }
        if code(true).await.is_some_and(is_answer) {
            let words =
                format!("resolver {server} answers SERVFAIL, and without validation it answers");
            return Some(rows::D15.finding(&[("zone", zone), ("words", &words)]));
        }
    }
    None
}

fn parked(servers: &[NameServer], zone: &str) -> Option<Finding> {
    let is_parking = |server: &&NameServer| PARKING.iter().any(|end| server.name.ends_with(end));
    let names: BTreeSet<&str> =
        servers.iter().filter(is_parking).map(|server| server.name.as_str()).collect();
    let words = names.into_iter().collect::<Vec<_>>().join(", ");
    (!words.is_empty()).then(|| rows::D20.finding(&[("zone", zone), ("words", &words)]))
}

#[cfg(test)]
mod tests {
    use super::{moved, parked};
    use crate::propagation::NameServer;

    #[test]
    fn servers_of_one_provider_have_one_end() {
        for (delegated, provider, expected) in [
            ("ada.ns.cloudflare.com", "bob.ns.cloudflare.com, cat.ns.cloudflare.com", "C04"),
            ("ns-1.awsdns-01.org, ns-2.awsdns-02.com", "bob.ns.cloudflare.com", "C05"),
        ] {
            assert_eq!(moved(delegated, provider).id, expected, "{delegated} {provider}");
        }
    }

    #[test]
    fn servers_for_parked_domains_are_known() {
        let server =
            |name: &str| NameServer { name: name.into(), address: ([192, 0, 2, 1], 53).into() };
        let servers = [server("ns1.sedoparking.com"), server("ns.example.com")];
        let finding = parked(&servers, "example.com").unwrap();
        assert_eq!(
            finding.observed,
            "zone \"example.com\" is at servers for parked domains: ns1.sedoparking.com"
        );
        assert!(parked(&servers[1..], "example.com").is_none());
    }
}
