//! Orders of several hosts at one challenge name and at the same moment: of each host the domain and its wildcard, with
//! two types of keys. Hosts know nothing of each other but what they find in the zone.

use super::support::{Bed, ISSUER, Saving, VARIANT};
use acme_dns_core::config::provider::library_types;
use acme_dns_core::config::{
    DnsServer, LibrarySettings, PowerDnsSettings, Propagation, Provider, ProviderKind,
    Rfc2136Settings, SecretId, SettingValue, TsigAlgorithm,
};
use acme_dns_core::growing::GrowingTable;
use acme_dns_core::id::Table;
use acme_dns_core::key::KeyType;
use acme_dns_core::level::Level;
use acme_dns_service::acme::KeyChoice;
use acme_dns_service::dns;
use acme_dns_service::event::{Event, OrderEvent, ProviderEvent};
use acme_dns_service::http::Clients;
use acme_dns_service::program::Programs;
use acme_dns_service::propagation::Checker;
use acme_dns_service::resolver::Resolver;
use futures_util::future::join_all;
use secrecy::SecretString;
use servers::bind::Bind;
use servers::dns_proxy::{DnsAction, DnsProxy, Questions};
use servers::knot::Knot;
use servers::moto::Moto;
use servers::paths::providers_program;
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::powerdns::API_KEY;
use servers::process::wait_until;
use servers::tsig::TsigKey;
use servers::{Testbed, ZONE};
use std::cell::Cell;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

const NAME: &str = "_acme-challenge.example.test";

/// A value that is there before, and has to be there after.
const FOREIGN: &str = "of somebody else";

/// Longer than an order takes to write its values.
const LIMIT: Duration = Duration::from_secs(30);

/// Gives the number of hosts, each with four orders.
fn hosts() -> usize {
    env::var("RACE_HOSTS").map_or(2, |number| number.parse().expect("RACE_HOSTS is a number"))
}

/// A bed whose CA and hosts ask one DNS server, with a provider.
fn bed(
    server: Option<SocketAddr>,
    secret: &str,
    kind: impl FnOnce(&Testbed) -> ProviderKind,
) -> Bed {
    let mut bed =
        Bed::start_with(|options| PebbleOptions { dns: server.unwrap_or(options.dns), ..options });
    if let (Some(server), Propagation::Check { resolvers, port, .. }) =
        (server, &mut bed.config.propagation)
    {
        (*resolvers, *port) = (vec![server], server.port());
    }
    bed.secrets = vec![SecretString::from(secret)];
    let kind = kind(&bed.testbed);
    bed.config.providers = Table::from(vec![Provider {
        name: "dns".into(),
        zones: Vec::new(),
        zone: None,
        kind,
        secrets: vec![SecretId(1)],
    }]);
    bed.config.certificates = GrowingTable::default();
    bed.config.variants = GrowingTable::default();
    let keys = [KeyType::EcdsaP256, KeyType::Rsa2048];
    bed.config.add_certificate("apex", &[ZONE], &keys);
    bed.config.add_certificate("wildcard", &["*.example.test"], &keys);
    bed
}

/// Starts a host: what it knows of the world is its own.
fn host(bed: &mut Bed, number: usize, overwritten: &Rc<Cell<usize>>) -> Saving {
    let dir = bed.testbed.dir().join(format!("host-{number}"));
    bed.config.state_path = dir.join("state");
    fs::create_dir_all(&bed.config.state_path).unwrap();
    let secret = bed.secrets[0].clone();
    let programs = Programs::new(dir.join("programs"), |_| {});
    let is_library = |provider: &Provider| matches!(provider.kind, ProviderKind::Library(_));
    let path = bed.config.providers.values().any(is_library).then(providers_program);
    let path = path.map(|path| path.display().to_string());
    let programs = Rc::new(programs.with_providers_program(path.as_deref()));
    let overwritten = Rc::clone(overwritten);
    let tell = move |event| {
        if matches!(event, ProviderEvent::Overwritten { .. }) {
            overwritten.set(overwritten.get() + 1);
        }
    };
    let secret = move |_| secret.clone();
    let clients = Clients::default();
    let providers = dns::providers(&bed.config.providers, secret, &clients, &programs, tell);
    bed.obtainer_with(providers.unwrap())
}

/// Has all orders placed at once; each has to bring a certificate, and to leave nothing behind.
fn race(what: &str, mut bed: Bed) {
    let overwritten = Rc::default();
    let hosts: Vec<Saving> = (0..hosts()).map(|n| host(&mut bed, n, &overwritten)).collect();
    let obtained = bed.run_in(&hosts[0], async |_| {
        let orders = hosts.iter().flat_map(|host| {
            let variants = bed.config.variants.ids();
            variants.map(|variant| host.obtain(variant, ISSUER, KeyChoice::Configured))
        });
        join_all(orders).await
    });
    println!("{what}: {} orders, overwritten {} times", obtained.len(), overwritten.get());
    for order in obtained {
        order.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert_eq!(bed.log.events(Level::Warn), [], "{what}");
    assert_eq!(values(&bed), [FOREIGN], "{what}");
    for number in 0..hosts.len() {
        let journal = bed.testbed.dir().join(format!("host-{number}/state/journal"));
        assert_eq!(fs::read_dir(journal).unwrap().count(), 0, "{what}");
    }
}

/// Asks the zone's server for the values of the challenge's name.
fn values(bed: &Bed) -> Vec<String> {
    let propagation = &bed.config.propagation;
    let (checker, resolver) = (Checker::new(propagation), Resolver::of(propagation));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut servers = runtime.block_on(checker.values(&resolver, NAME)).unwrap();
    servers.pop().unwrap()
}

fn updates(server: SocketAddr, key: &TsigKey) -> ProviderKind {
    ProviderKind::Rfc2136(Rfc2136Settings {
        server: DnsServer::parse(&server.to_string()).unwrap(),
        key_name: key.name.clone(),
        key: SecretId(1),
        algorithm: TsigAlgorithm::find(&key.algorithm).unwrap(),
        tcp: false,
        ttl: 60,
    })
}

fn key() -> TsigKey {
    TsigKey::new("update.example.test", "hmac-sha256")
}

/// The records of a zone file.
fn records() -> String {
    format!("ns1 A 127.0.0.1\n_acme-challenge 60 TXT \"{FOREIGN}\"\n")
}

#[test]
fn updates_of_bind_lose_nothing() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let bind = Bind::start(dir.path(), ZONE, &records(), &[&key], &[]);
    let addr = bind.addr();
    race("BIND", bed(Some(addr), &key.secret, |_| updates(addr, &key)));
}

#[test]
fn updates_of_knot_lose_nothing() {
    let (dir, key, port) = (tempfile::tempdir().unwrap(), key(), Port::reserve());
    let _knot = Knot::start_with_keys(dir.path(), port.addr(), ZONE, &records(), &[&key], &[]);
    let addr = port.addr();
    race("Knot", bed(Some(addr), &key.secret, |_| updates(addr, &key)));
}

#[test]
fn updates_of_powerdns_lose_nothing() {
    let key = key();
    let bed = bed(None, &key.secret, |testbed| {
        testbed.dns.set_update_keys(ZONE, &key, &[]);
        testbed.dns.set_rrset(NAME, "TXT", &[&format!("\"{FOREIGN}\"")]);
        updates(testbed.dns.addr(), &key)
    });
    race("PowerDNS by updates", bed);
}

/// A bed for PowerDNS's API.
fn with_powerdns() -> Bed {
    bed(None, API_KEY, |testbed| {
        testbed.dns.set_rrset(NAME, "TXT", &[&format!("\"{FOREIGN}\"")]);
        ProviderKind::PowerDns(PowerDnsSettings {
            api: testbed.dns.api_url(),
            api_key: SecretId(1),
            server_id: "localhost".into(),
            ttl: 60,
            trusted_certificate: None,
        })
    })
}

#[test]
fn record_sets_of_powerdns_lose_nothing() {
    race("PowerDNS by its API", with_powerdns());
}

#[test]
fn record_sets_of_route53_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let moto = Moto::server(dir.path());
    let zone = moto.create_zone(ZONE);
    moto.set_txt(&zone, NAME, &[FOREIGN]);
    let text = |text: &str| SettingValue::Text(text.to_owned());
    let kind = ProviderKind::Library(LibrarySettings {
        kind: library_types().find(|kind| kind.name == "route53").unwrap(),
        values: vec![
            ("access_key_id", text("AKIDEXAMPLE")),
            ("secret_access_key", SettingValue::Secret(SecretId(1))),
            ("hosted_zone_id", text(&zone)),
            ("endpoint", text(&format!("http://{}", moto.addr()))),
        ],
        ttl: 60,
    });
    let bed = bed(None, "s3cr/t+key", |_| kind);
    let _name_servers = moto.show(&zone, NAME, &bed.testbed.dns);
    race("Route 53", bed);
    assert_eq!(moto.txt(&zone, NAME), [format!("\"{FOREIGN}\"")]);
}

#[test]
fn what_another_client_overwrites_while_an_order_waits_is_written_again() {
    let mut bed = with_powerdns();
    let lagging = DnsProxy::start(bed.testbed.dns.addr());
    lagging.inject(Questions::txt(NAME), DnsAction::ServerFailure);
    let Propagation::Check { port, .. } = &mut bed.config.propagation else { panic!("it checks") };
    *port = lagging.addr().port();
    let overwritten = Rc::default();
    let host = host(&mut bed, 0, &overwritten);
    thread::scope(|scope| {
        scope.spawn(|| {
            let is_it =
                |event: &Event| matches!(event, Event::Order(_, OrderEvent::WaitingForServers));
            let waiting = wait_until(LIMIT, || bed.log.has(is_it).then_some(()));
            waiting.expect("the provider has looked whether its values stay");
            // Of a client that has read the set before they came.
            bed.testbed.dns.set_rrset(NAME, "TXT", &[&format!("\"{FOREIGN}\"")]);
            lagging.clear(NAME);
        });
        let work = async |host: &Saving| host.obtain(VARIANT, ISSUER, KeyChoice::Configured).await;
        bed.run_in(&host, work).unwrap();
    });
    assert_eq!(overwritten.get(), 1);
    assert_eq!(values(&bed), [FOREIGN]);
}
