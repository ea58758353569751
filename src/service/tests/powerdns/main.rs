//! The PowerDNS provider against PowerDNS, and with a proxy before it that lets requests go wrong.

mod faults;

use acme_dns_core::challenge::{Candidate, Kept};
use acme_dns_core::config::{PowerDnsSettings as Settings, SecretId};
use acme_dns_service::dns::powerdns::PowerDns;
use acme_dns_service::dns::{About, DnsProvider, PlacedRecord, TxtRecord, Zone};
use acme_dns_service::event::ProviderEvent;
use acme_dns_service::http::Clients;
use secrecy::SecretString;
use servers::powerdns::{API_KEY, PowerDns as Server};
use std::cell::RefCell;
use std::rc::Rc;

const NAME: &str = "_acme-challenge.example.com";

/// Another one than that of the server's own records.
const TTL: u32 = 300;

struct Bed {
    server: Server,
    events: Rc<RefCell<Vec<ProviderEvent>>>,
    _dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        server.create_zone("example.com");
        Self { server, events: Rc::default(), _dir: dir }
    }

    fn make(&self, server_id: &str, key: &str) -> PowerDns {
        self.make_at(&self.server.api_url(), server_id, key)
    }

    fn make_at(&self, api: &str, server_id: &str, key: &str) -> PowerDns {
        let settings = Settings {
            api: api.to_owned(),
            api_key: SecretId(0),
            server_id: server_id.to_owned(),
            ttl: TTL,
            trusted_certificate: None,
        };
        let events = Rc::clone(&self.events);
        let tell = Rc::new(move |event| events.borrow_mut().push(event));
        let secret = |_| SecretString::from(key);
        PowerDns::new("pdns", &settings, secret, &Clients::default(), tell).unwrap()
    }

    fn provider(&self) -> PowerDns {
        self.make("localhost", API_KEY)
    }

    fn values(&self) -> Vec<String> {
        let mut values = self.server.txt_records(NAME);
        values.sort();
        values
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn txt(value: &str) -> TxtRecord {
    TxtRecord { name: NAME.to_owned(), value: value.to_owned() }
}

fn placed(zone: &Zone, value: &str, id: Option<&str>) -> PlacedRecord {
    PlacedRecord { record: txt(value), zone: zone.clone(), id: id.map(str::to_owned) }
}

#[test]
fn values_come_and_go_and_foreign_ones_stay_as_they_are() {
    let bed = Bed::new();
    let foreign = ["\"a\\\"b\\\\c\\200 ;\" \"two\""];
    bed.server.set_rrset(NAME, "TXT", &foreign);
    let before = bed.server.rrset(NAME, "TXT");
    assert_eq!(before.as_ref().map(|(ttl, _)| *ttl), Some(60));
    let provider = bed.provider();
    let zone = run(provider.listed_zone_of(NAME)).unwrap();
    assert_eq!(zone.name, "example.com");
    assert_eq!(provider.name_servers(&zone).unwrap(), ["ns1.example.com"]);
    run(provider.create(&zone, &[txt("one"), txt("two")])).unwrap();
    let (ttl, values) = bed.server.rrset(NAME, "TXT").unwrap();
    assert_eq!((ttl, values.len()), (60, 3), "the RRset has had a time to live");
    let both = [placed(&zone, "one", None), placed(&zone, "two", Some("two"))];
    let rule = |candidate: &Candidate<'_>| match candidate.value {
        "one" => Err(Kept::NotConfigured),
        _ => Ok(()),
    };
    let spared = run(provider.remove(&both, &rule)).unwrap();
    assert_eq!((spared.len(), &spared[0].record), (1, &txt("one")));
    run(provider.remove(&both, &|_| Ok(()))).unwrap();
    assert_eq!(bed.server.rrset(NAME, "TXT"), before);
    assert!(bed.events.borrow().is_empty());
}

#[test]
fn an_rrset_without_values_is_gone() {
    let bed = Bed::new();
    let provider = bed.provider();
    let zone = run(provider.listed_zone_of(NAME)).unwrap();
    run(provider.create(&zone, &[txt("one")])).unwrap();
    run(provider.remove(&[placed(&zone, "ONE", None)], &|_| Ok(()))).unwrap();
    assert_eq!(bed.server.rrset(NAME, "TXT"), Some((TTL.into(), vec!["\"one\"".to_owned()])));
    run(provider.remove(&[placed(&zone, "one", None)], &|_| Ok(()))).unwrap();
    assert!(bed.values().is_empty());
    bed.server.remove_zone("example.com");
    run(provider.remove(&[placed(&zone, "one", None)], &|_| Ok(()))).unwrap();
}

#[test]
fn the_longest_zone_holds_the_name() {
    let bed = Bed::new();
    bed.server.create_zone("sub.example.com");
    let provider = bed.provider();
    for (name, expected) in [
        ("_acme-challenge.a.sub.example.com", "sub.example.com"),
        ("_acme-challenge.sub.example.com", "sub.example.com"),
        ("_acme-challenge.xsub.example.com", "example.com"),
    ] {
        assert_eq!(run(provider.listed_zone_of(name)).unwrap().name, expected, "{name}");
    }
    let text = run(provider.listed_zone_of("_acme-challenge.example.org")).unwrap_err().to_string();
    for part in ["\"example.org\"", "example.com", "create a zone"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn concurrent_creations_lose_nothing() {
    let bed = Bed::new();
    // One client takes turns; two have to find out what the other has overwritten.
    for (count, overwrites) in [(1, false), (2, true)] {
        bed.server.delete_rrset(NAME, "TXT");
        let providers: Vec<PowerDns> = (0..count).map(|_| bed.provider()).collect();
        let zone = run(providers[0].listed_zone_of(NAME)).unwrap();
        let records: Vec<TxtRecord> = (0..20).map(|n| txt(&format!("value {n:02}"))).collect();
        let created = records
            .iter()
            .enumerate()
            .map(|(n, record)| providers[n % count].create(&zone, std::slice::from_ref(record)));
        for created in run(futures_util::future::join_all(created)) {
            created.unwrap();
        }
        let expected: Vec<String> = records.into_iter().map(|record| record.value).collect();
        assert_eq!(bed.values(), expected);
        assert_eq!(!bed.events.borrow().is_empty(), overwrites, "{:?}", bed.events);
    }
}

#[test]
fn what_another_client_overwrites_later_is_found_by_another_look() {
    let bed = Bed::new();
    let provider = bed.provider();
    let zone = run(provider.listed_zone_of(NAME)).unwrap();
    let both = [txt("one"), txt("two")];
    run(provider.create(&zone, &both)).unwrap();
    run(provider.restore(&zone, &both)).unwrap();
    assert!(bed.events.borrow().is_empty(), "both are there");
    bed.server.set_rrset(NAME, "TXT", &["\"foreign\"", "\"two\""]);
    run(provider.restore(&zone, &both)).unwrap();
    assert_eq!(bed.values(), ["foreign", "one", "two"]);
    let (provider, name) = ("pdns".to_owned(), format!("{NAME}."));
    assert_eq!(*bed.events.borrow(), [ProviderEvent::Overwritten { provider, name }]);
}

#[test]
fn errors_say_what_to_do() {
    let bed = Bed::new();
    let wrong = bed.make("localhost", "s3cr3t");
    let error = run(wrong.listed_zone_of(NAME)).unwrap_err();
    assert_eq!(*error.about(), About::Credentials);
    let text = error.to_string();
    assert!(text.contains("api_key_file") && !text.contains("s3cr3t"), "{text}");
    let error = run(bed.make("other", API_KEY).listed_zone_of(NAME)).unwrap_err().to_string();
    assert!(error.contains("\"server_id\""), "{error}");
    let provider = bed.provider();
    let zone = run(provider.listed_zone_of(NAME)).unwrap();
    let outside = TxtRecord { name: "x.example.org".to_owned(), value: "v".to_owned() };
    let error = run(provider.create(&zone, &[outside])).unwrap_err();
    assert!(error.is_definite() && error.to_string().contains("out of zone"), "{error}");
    bed.server.remove_zone("example.com");
    let error = run(provider.create(&zone, &[txt("v")])).unwrap_err();
    assert_eq!(*error.about(), About::Zone("example.com".into()), "{error}");
}
