//! Providers that have room for few values: names are proven in rounds, and orders wait for each other.

use super::support::{Bed, ISSUER, VARIANT};
use acme_dns_core::config::{
    AcmeDnsCredentials, AcmeDnsSettings, DuckDnsSettings, Propagation, Provider, ProviderKind,
    SecretId,
};
use acme_dns_core::growing::GrowingTable;
use acme_dns_core::id::{ProviderId, Table};
use acme_dns_core::key::KeyType;
use acme_dns_core::level::Level;
use acme_dns_service::acme::{Issued, KeyChoice, ObtainError};
use acme_dns_service::dns::DnsProvider;
use acme_dns_service::dns::duckdns::DuckDns;
use acme_dns_service::event::{Event, RecordsEvent};
use acme_dns_service::http::Clients;
use futures_util::future::join_all;
use secrecy::SecretString;
use servers::acme_dns::{AcmeDns as AcmeDnsStandIn, ZONE as AUTH_ZONE};
use servers::duckdns::{DuckDns as DuckDnsStandIn, TOKEN};
use servers::traffic::{Action, Fault, Match, Reply};
use std::time::Duration;

const DOMAIN: &str = "testbed.duckdns.org";

/// A bed whose certificates have names of DuckDNS.
fn with_duckdns(certificates: &[(&str, &[&str])]) -> (Bed, DuckDnsStandIn) {
    let mut bed = Bed::start();
    let stand_in = DuckDnsStandIn::start(&bed.testbed.dns);
    bed.secrets = vec![SecretString::from(TOKEN)];
    let settings =
        DuckDnsSettings { token: SecretId(1), api: stand_in.api_url(), trusted_certificate: None };
    bed.config.providers = providers("duckdns", ProviderKind::DuckDns(settings));
    set_certificates(&mut bed, certificates);
    (bed, stand_in)
}

fn providers(name: &str, kind: ProviderKind) -> Table<ProviderId, Provider> {
    Table::from(vec![Provider {
        name: name.to_owned(),
        zones: Vec::new(),
        zone: None,
        kind,
        secrets: vec![SecretId(1)],
    }])
}

fn set_certificates(bed: &mut Bed, certificates: &[(&str, &[&str])]) {
    bed.config.certificates = GrowingTable::default();
    bed.config.variants = GrowingTable::default();
    for (name, held) in certificates {
        bed.config.add_certificate(name, held, &[KeyType::EcdsaP256]);
    }
}

/// The provider without the pause that a CA's resolver may need.
fn quick(bed: &Bed) -> Table<ProviderId, Box<dyn DnsProvider>> {
    let ProviderKind::DuckDns(settings) = &bed.config.providers[ProviderId::new(0)].kind else {
        panic!("it is another provider");
    };
    let token = |_| SecretString::from(TOKEN);
    let provider = DuckDns::new("duckdns", settings, token, &Clients::default()).unwrap();
    Table::from(vec![Box::new(provider.with_spacing(Duration::ZERO)) as Box<dyn DnsProvider>])
}

fn obtain(bed: &Bed) -> Result<Issued, ObtainError> {
    bed.run_with(quick(bed), async |saving| {
        saving.obtain(VARIANT, ISSUER, KeyChoice::Configured).await
    })
}

/// The values that are set one after the other; none stands for a removal.
fn changes(stand_in: &DuckDnsStandIn) -> Vec<Option<String>> {
    let txt = |query: &str| Some(query.split_once("&txt=")?.1.to_owned());
    stand_in.traffic.log().iter().map(|entry| txt(&entry.request.query)).collect()
}

#[test]
fn a_name_and_its_wildcard_are_proven_one_after_the_other() {
    let (bed, stand_in) = with_duckdns(&[(DOMAIN, &[DOMAIN, "*.testbed.duckdns.org"])]);
    obtain(&bed).unwrap();
    let changes = changes(&stand_in);
    assert!(matches!(&*changes, [Some(one), None, Some(two), None] if one != two), "{changes:?}");
    assert!(bed.testbed.dns.txt_records(DOMAIN).is_empty());
    assert!(bed.journal().is_empty());
}

#[test]
fn a_failed_round_is_the_last_one() {
    let (mut bed, stand_in) = with_duckdns(&[(DOMAIN, &[DOMAIN, "*.testbed.duckdns.org"])]);
    bed.config.propagation = Propagation::Off { delay: Duration::ZERO };
    let nothing_done = Action::Reply(Reply::new(200, "text/plain", "OK"));
    stand_in.traffic.inject(Fault::new(Match::any(), nothing_done).always());
    let error = obtain(&bed).expect_err("the CA finds no value");
    assert!(matches!(error, ObtainError::Invalid(_)), "{error}");
    let changes = changes(&stand_in);
    assert!(matches!(&*changes, [Some(_), None]), "{changes:?}");
    assert!(bed.journal().is_empty());
}

#[test]
fn orders_of_one_record_set_wait_for_each_other() {
    let x = "x.testbed.duckdns.org";
    let (bed, stand_in) = with_duckdns(&[
        (DOMAIN, &[DOMAIN, "*.testbed.duckdns.org"]),
        (x, &[x]),
        ("other", &["y.testbed.duckdns.org"]),
    ]);
    let results = bed.run_with(quick(&bed), async |saving| {
        let variants = bed.config.variants.ids();
        let orders = variants.map(|it| saving.obtain(it, ISSUER, KeyChoice::Configured));
        join_all(orders).await
    });
    for result in results {
        result.unwrap();
    }
    let changes = changes(&stand_in);
    let (set, cleared): (Vec<_>, Vec<_>) = changes.chunks(2).map(|two| (&two[0], &two[1])).unzip();
    assert_eq!(changes.len(), 8, "{changes:?}");
    assert!(set.iter().all(|change| change.is_some()), "{changes:?}");
    assert!(cleared.iter().all(|change| change.is_none()), "{changes:?}");
    let is_wait =
        |event: &&Event| matches!(event, Event::Records(_, RecordsEvent::WaitingForOthers { .. }));
    let notices = bed.log.events(Level::Notice);
    assert!(notices.iter().filter(is_wait).count() >= 2, "{notices:#?}");
}

#[test]
fn three_names_of_one_account_of_acme_dns_are_proven_in_two_rounds() {
    let mut bed = Bed::start();
    let stand_in = AcmeDnsStandIn::start(&bed.testbed.dns);
    let account = stand_in.register();
    bed.secrets = vec![SecretString::from(account.password)];
    let credentials = AcmeDnsCredentials::Account {
        username: account.username,
        password: SecretId(1),
        subdomain: account.subdomain.clone(),
    };
    let api = stand_in.api_url();
    let settings = AcmeDnsSettings { api, credentials, trusted_certificate: None };
    bed.config.providers = providers("acme-dns", ProviderKind::AcmeDns(settings));
    for name in ["example.test", "a.example.test"] {
        let target = format!("{}.{AUTH_ZONE}", account.subdomain);
        bed.testbed.dns.set_cname(&format!("_acme-challenge.{name}"), &target);
    }
    set_certificates(&mut bed, &[("all", &["example.test", "*.example.test", "a.example.test"])]);
    bed.obtain().unwrap();
    let requests = stand_in.traffic.log();
    let [.., second, third] = &*requests else { panic!("{requests:?}") };
    assert_eq!(requests.len(), 3);
    assert!(third.arrived.duration_since(second.arrived) > Duration::from_secs(1));
    assert!(bed.journal().is_empty());
}
