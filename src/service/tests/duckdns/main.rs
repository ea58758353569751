//! The provider `duckdns` against a stand-in, which acme.sh's script and lego take for DuckDNS, too.

use acme_dns_core::challenge::Kept;
use acme_dns_core::config::{DuckDnsSettings as Settings, Propagation, SecretId};
use acme_dns_service::dns::duckdns::DuckDns;
use acme_dns_service::dns::{About, DnsProvider, PlacedRecord, ProviderError, TxtRecord, Zone};
use acme_dns_service::http::Clients;
use acme_dns_service::resolver::Resolver;
use secrecy::SecretString;
use servers::authority::Authority;
use servers::connect_proxy::ConnectProxy;
use servers::duckdns::{DuckDns as StandIn, TOKEN};
use servers::pebble::{Pebble, PebbleOptions};
use servers::powerdns::PowerDns;
use servers::traffic::{Action, Fault, Match, Reply};
use servers::{acme_sh, lego};
use std::time::{Duration, Instant};

const DOMAIN: &str = "testbed.duckdns.org";
const NAME: &str = "_acme-challenge.testbed.duckdns.org";

struct Bed {
    stand_in: StandIn,
    dns: PowerDns,
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dns = PowerDns::start(&dir.path().join("dns"));
        Self { stand_in: StandIn::start(&dns), dns, dir }
    }

    fn make(&self, token: &str) -> DuckDns {
        let api = self.stand_in.api_url();
        let settings = Settings { token: SecretId(0), api, trusted_certificate: None };
        let secret = |_| SecretString::from(token);
        DuckDns::new("duck", &settings, secret, &Clients::default())
            .unwrap()
            .with_spacing(Duration::ZERO)
    }

    fn provider(&self) -> DuckDns {
        self.make(TOKEN)
    }

    /// Tries to create a record whose requests meet a fault, and gives the error.
    fn failure(&self, fault: Fault) -> ProviderError {
        self.stand_in.traffic.clear_faults();
        self.stand_in.traffic.inject(fault);
        let error = create(&self.provider(), "v").unwrap_err();
        assert_secret(&error, TOKEN);
        error
    }

    fn values(&self) -> Vec<String> {
        self.dns.txt_records(DOMAIN)
    }

    fn requests(&self) -> Vec<String> {
        self.stand_in.traffic.log().into_iter().map(|entry| entry.request.query).collect()
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn create(provider: &DuckDns, value: &str) -> Result<Vec<String>, ProviderError> {
    run(provider.create(&zone(), &[txt(value)]))
}

fn zone() -> Zone {
    Zone { id: "testbed".to_owned(), name: DOMAIN.to_owned() }
}

fn txt(value: &str) -> TxtRecord {
    TxtRecord { name: NAME.to_owned(), value: value.to_owned() }
}

fn placed(value: &str) -> PlacedRecord {
    PlacedRecord { record: txt(value), zone: zone(), id: None }
}

fn assert_secret(error: &ProviderError, token: &str) {
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains(token), "{text}");
    }
}

#[test]
fn the_record_of_a_domain_is_set_and_cleared() {
    let bed = Bed::new();
    let provider = bed.provider();
    create(&provider, "a").unwrap();
    assert_eq!(bed.values(), ["a"]);
    create(&provider, "b").unwrap();
    assert_eq!(bed.values(), ["b"], "there is room for one");
    run(provider.remove(&[placed("a")], &|_| Ok(()))).unwrap();
    assert_eq!(bed.values(), ["b"], "another one was set since");
    let spared = run(provider.remove(&[placed("b")], &|_| Err(Kept::NotConfigured))).unwrap();
    assert_eq!((spared.len(), bed.values().len()), (1, 1));
    run(provider.remove(&[placed("b")], &|_| Ok(()))).unwrap();
    assert!(bed.values().is_empty());
    let expected = [
        format!("domains=testbed&token={TOKEN}&txt=a"),
        format!("domains=testbed&token={TOKEN}&txt=b"),
        format!("domains=testbed&token={TOKEN}&clear=true"),
    ];
    assert_eq!(bed.requests(), expected);
    let limit = provider.value_limit("_acme-challenge.x.testbed.duckdns.org").unwrap();
    assert_eq!((limit.values, provider.value_limit(NAME)), (1, Some(limit)));
}

#[test]
fn what_an_earlier_process_has_left_is_cleared() {
    let bed = Bed::new();
    create(&bed.provider(), "a").unwrap();
    run(bed.provider().remove(&[placed("a")], &|_| Ok(()))).unwrap();
    assert!(bed.values().is_empty());
}

#[test]
fn names_are_in_domains_of_duckdns() {
    let provider = Bed::new().provider();
    let resolver = Resolver::of(&Propagation::Off { delay: Duration::ZERO });
    for name in [NAME, "_acme-challenge.x.testbed.duckdns.org"] {
        assert_eq!(run(provider.zone_of(name, &resolver)).unwrap(), zone());
    }
    let error = run(provider.zone_of("_acme-challenge.example.com", &resolver)).unwrap_err();
    assert!(error.is_definite() && *error.about() == About::Name, "{error}");
    assert!(error.to_string().contains("not below a domain of duckdns.org"), "{error}");
}

#[test]
fn a_refusal_says_what_to_check_and_not_the_token() {
    let bed = Bed::new();
    let wrong = TOKEN.replace('a', "b");
    let error = create(&bed.make(&wrong), "v").unwrap_err();
    let text = error.to_string();
    assert!(error.is_definite() && *error.about() == About::Zone(DOMAIN.into()), "{text}");
    assert!(text.contains("\"KO\"") && text.contains("check that \"testbed\""), "{text}");
    assert_secret(&error, &wrong);
    let foreign = Zone { id: "other".to_owned(), name: "other.duckdns.org".to_owned() };
    run(bed.provider().create(&foreign, &[txt("v")])).unwrap_err();
    let reply = Reply::new(403, "text/plain", format!("no: /update?token={TOKEN}&txt"));
    let error = bed.failure(Fault::new(Match::any(), Action::Reply(reply)));
    assert_eq!(*error.about(), About::Credentials);
    assert!(error.to_string().contains("\"no: /update?token=***&txt\""), "{error}");
}

#[test]
fn trouble_passes_or_is_an_error_that_does() {
    let bed = Bed::new();
    let status = |status, retry_after| Action::Status { status, retry_after };
    for action in [status(429, Some(1)), status(500, None), Action::Garbage, Action::LostAnswer] {
        bed.stand_in.traffic.inject(Fault::new(Match::any(), action));
        create(&bed.provider(), "v").unwrap();
    }
    let long = bed.failure(Fault::new(Match::any(), status(429, Some(3600))));
    assert_eq!(long.retry_after(), Some(Duration::from_secs(3600)));
    let garbage = bed.failure(Fault::new(Match::any(), Action::Garbage).always());
    assert!(garbage.to_string().contains("neither \"OK\" nor \"KO\", check \"api\""), "{garbage}");
    let lost = bed.failure(Fault::new(Match::any(), Action::Drop).always());
    assert!(matches!(lost, ProviderError::Unreachable { .. }), "{lost}");
    for error in [long, garbage, lost] {
        assert!(!error.is_permanent() && !error.is_definite(), "{error}");
    }
}

#[test]
fn values_keep_their_distance() {
    let bed = Bed::new();
    let spacing = Duration::from_secs(3);
    let provider = bed.provider().with_spacing(spacing);
    let begun = Instant::now();
    create(&provider, "a").unwrap();
    run(provider.remove(&[placed("a")], &|_| Ok(()))).unwrap();
    assert!(begun.elapsed() < spacing, "the first one does not wait");
    create(&provider, "b").unwrap();
    assert!(begun.elapsed() >= spacing);
}

#[test]
fn acme_sh_is_content_with_the_same_stand_in() {
    let bed = Bed::new();
    let api = format!("{}/update", bed.stand_in.api_url());
    let settings = [("DuckDNS_API", api.as_str()), ("DuckDNS_Token", TOKEN)];
    let provider = bed.provider();
    for function in ["add", "rm"] {
        let script = ("dns_duckdns", function);
        acme_sh::call(bed.dir.path(), script, (NAME, "a"), &settings).unwrap();
    }
    create(&provider, "a").unwrap();
    run(provider.remove(&[placed("a")], &|_| Ok(()))).unwrap();
    let requests = bed.requests();
    let [set, cleared, ours_set, ours_cleared] = &*requests else { panic!("{requests:?}") };
    assert_eq!((ours_set, ours_cleared), (set, &cleared.replace("&txt=&", "&")));
}

#[test]
fn lego_obtains_by_a_stand_in_in_the_place_of_duckdns() {
    let dir = tempfile::tempdir().unwrap();
    let dns = PowerDns::start(&dir.path().join("dns"));
    let authority = Authority::create_for(&dir.path().join("authority"), "www.duckdns.org");
    let stand_in = StandIn::start_in_its_place(&dns, &authority);
    let proxy = ConnectProxy::start(stand_in.addr());
    let pebble = Pebble::start(&dir.path().join("ca"), PebbleOptions::new(dns.addr()));
    let trusted = authority.ca_file().display().to_string();
    let settings =
        [("DUCKDNS_TOKEN", TOKEN), ("HTTPS_PROXY", &proxy.url()), ("SSL_CERT_FILE", &trusted)];
    let own = dir.path().join("lego");
    lego::obtain(&pebble, &dns, &own, "duckdns", &settings, &[DOMAIN]).unwrap();
    let requests = stand_in.traffic.log().into_iter().map(|entry| entry.request.query);
    let requests: Vec<String> = requests.collect();
    let [set, cleared] = &*requests else { panic!("{requests:?}") };
    assert!(set.contains("clear=false") && cleared.contains("clear=true"), "{requests:?}");
    assert!(dns.txt_records(DOMAIN).is_empty());
}
