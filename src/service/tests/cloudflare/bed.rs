//! The testbed's stand-in of Cloudflare's API with a zone, and a provider for it.

use acme_dns_core::config::{CloudflareCredentials, CloudflareSettings as Settings, SecretId};
use acme_dns_service::dns::cloudflare::{Budget, Cloudflare, Timing};
use acme_dns_service::dns::{DnsProvider, PlacedRecord, ProviderError, TxtRecord, Zone};
use acme_dns_service::http::Clients;
use http::Method;
use secrecy::SecretString;
use servers::cloudflare::{Cloudflare as StandIn, Token};
use servers::powerdns::PowerDns;
use servers::traffic::{Action, Fault, Match};
use std::rc::Rc;
use std::time::Duration;

pub(crate) const TOKEN: &str = "a-token-that-is-right";
pub(crate) const NAME: &str = "_acme-challenge.example.com";

/// In a table: an item of nearly half a page.
pub(crate) const LONG: &str = "long";

/// A stand-in with the zone example.com and a token for everything.
pub(crate) struct Bed {
    pub(crate) cloudflare: StandIn,
    pub(crate) dns: PowerDns,
    _dir: tempfile::TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dns = PowerDns::start(dir.path());
        let cloudflare = StandIn::start(&dns);
        cloudflare.add_zone(&dns, "example.com");
        cloudflare.add_token(Token::new(TOKEN));
        Self { cloudflare, dns, _dir: dir }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            credentials: CloudflareCredentials::Token(SecretId(0)),
            zone_id: None,
            ttl: 120,
            requests: None,
            api: self.cloudflare.api_url(),
            trusted_certificate: None,
        }
    }

    pub(crate) fn provider(&self) -> Cloudflare {
        make(&self.settings(), TOKEN)
    }

    pub(crate) fn with_zone_id(&self, id: &str) -> Cloudflare {
        make(&Settings { zone_id: Some(id.to_owned()), ..self.settings() }, TOKEN)
    }

    pub(crate) fn zone(&self) -> Zone {
        let name = "example.com".to_owned();
        Zone { id: self.cloudflare.zone_id(&name), name }
    }

    pub(crate) fn inject(&self, method: Method, path: &str, action: Action) {
        self.cloudflare.traffic.inject(Fault::new(Match::new(method, path), action));
    }

    pub(crate) fn always(&self, method: Method, path: &str, action: Action) {
        self.cloudflare.traffic.inject(Fault::new(Match::new(method, path), action).always());
    }

    pub(crate) fn count(&self, method: Method, path: &str) -> usize {
        self.cloudflare.traffic.count(&Match::new(method, path))
    }

    pub(crate) fn values(&self) -> Vec<String> {
        let mut values: Vec<_> = self.cloudflare.txt_records().iter().map(|r| r.value()).collect();
        values.sort();
        values
    }

    pub(crate) fn id_of(&self, value: &str) -> String {
        let records = self.cloudflare.txt_records();
        records.into_iter().find(|record| record.value() == value).unwrap().id
    }
}

pub(crate) fn fast() -> Timing {
    Timing {
        request: Duration::from_secs(10),
        pauses: vec![Duration::from_millis(1); 4],
        patience: Duration::from_secs(5),
        total: Duration::from_secs(60),
        keep: Duration::from_secs(600),
        keep_nothing: Duration::ZERO,
    }
}

pub(crate) fn make(settings: &Settings, secret: &str) -> Cloudflare {
    let budget = Rc::new(Budget::new(|_| {}));
    Cloudflare::new("cf", settings, |_| SecretString::from(secret), budget, &Clients::default())
        .unwrap()
        .with_timing(fast())
}

/// Removes whatever it is told to.
pub(crate) async fn remove(cf: &Cloudflare, placed: &[PlacedRecord]) -> Result<(), ProviderError> {
    let spared = cf.remove(placed, &|_| Ok(())).await?;
    assert_eq!(spared, []);
    Ok(())
}

/// The stand-in has a runtime of its own and waits for it, so a test is not itself asynchronous.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn txt(value: &str) -> TxtRecord {
    TxtRecord { name: NAME.to_owned(), value: value.to_owned() }
}

pub(crate) fn placed(zone: &Zone, value: &str, id: Option<&str>) -> PlacedRecord {
    PlacedRecord { record: txt(value), zone: zone.clone(), id: id.map(str::to_owned) }
}
