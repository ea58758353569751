//! The provider `httpreq` against a stand-in, which lego and acme.sh's script for acmeproxy take for such a server, too.

use acme_dns_core::challenge::{Candidate, Kept};
use acme_dns_core::config::{HttpReqSettings as Settings, HttpReqUser, SecretId};
use acme_dns_service::dns::httpreq::HttpReq;
use acme_dns_service::dns::{About, DnsProvider, PlacedRecord, ProviderError, TxtRecord, Zone};
use acme_dns_service::http::Clients;
use http::Method;
use secrecy::SecretString;
use servers::httpreq::{HttpReq as StandIn, PASSWORD, USER};
use servers::pebble::{Pebble, PebbleOptions};
use servers::powerdns::PowerDns;
use servers::traffic::{Action, Fault, Match, Reply};
use servers::{ZONE, acme_sh, lego};
use std::time::{Duration, Instant};

const NAME: &str = "_acme-challenge.example.test";

/// A stand-in for the zone `example.test`.
struct Bed {
    stand_in: StandIn,
    dns: PowerDns,
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dns = PowerDns::start(&dir.path().join("dns"));
        Self { stand_in: StandIn::start(&dns, ZONE), dns, dir }
    }

    fn make(&self, endpoint: &str, password: &str) -> HttpReq {
        let user = HttpReqUser { name: USER.to_owned(), password: SecretId(0) };
        let endpoint = endpoint.to_owned();
        let settings = Settings { endpoint, user: Some(user), trusted_certificate: None };
        let secret = |_| SecretString::from(password);
        HttpReq::new("hook", &settings, secret, &Clients::default()).unwrap()
    }

    fn provider(&self) -> HttpReq {
        self.make(&self.stand_in.endpoint(), PASSWORD)
    }

    fn create(&self, provider: &HttpReq, values: &[&str]) -> Result<Vec<String>, ProviderError> {
        let records: Vec<TxtRecord> = values.iter().map(|value| txt(value)).collect();
        run(provider.create(&zone(), &records))
    }

    /// Tries to create a record whose first request meets a fault, and gives the error.
    fn failure(&self, action: Action) -> ProviderError {
        self.stand_in.traffic.clear_faults();
        self.stand_in.traffic.inject(Fault::new(Match::any(), action));
        let error = self.create(&self.provider(), &["v"]).unwrap_err();
        assert_secret(&error);
        error
    }

    fn values(&self) -> Vec<String> {
        let mut values = self.dns.txt_records(NAME);
        values.sort();
        values
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn zone() -> Zone {
    Zone { id: ZONE.to_owned(), name: ZONE.to_owned() }
}

fn txt(value: &str) -> TxtRecord {
    TxtRecord { name: NAME.to_owned(), value: value.to_owned() }
}

fn placed(value: &str) -> PlacedRecord {
    PlacedRecord { record: txt(value), zone: zone(), id: None }
}

/// The error holds the password in no form.
fn assert_secret(error: &ProviderError) {
    let pair = openssl::base64::encode_block(format!("{USER}:{PASSWORD}").as_bytes());
    for form in [PASSWORD, "pass+w%3Ard", "pass%20w%3Ard", &pair] {
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(form), "{text}");
        }
    }
}

#[test]
fn records_come_and_go_in_the_form_of_lego() {
    let bed = Bed::new();
    let provider = bed.provider();
    bed.create(&provider, &["one", "two"]).unwrap();
    assert_eq!(bed.values(), ["one", "two"]);
    let requests = bed.stand_in.traffic.log();
    let [first, second] = &*requests else { panic!("{requests:?}") };
    assert_eq!((&first.request.method, &*first.request.path), (&Method::POST, "/hook/present"));
    assert_eq!(first.body(), r#"{"fqdn":"_acme-challenge.example.test.","value":"one"}"#);
    assert!(second.arrived >= first.finished.unwrap(), "one after the other");
    let rule = |candidate: &Candidate<'_>| match (candidate.kind, candidate.name, candidate.value) {
        ("TXT", NAME, "two") => Err(Kept::NotConfigured),
        _ => Ok(()),
    };
    let spared = run(provider.remove(&[placed("one"), placed("two")], &rule)).unwrap();
    assert_eq!((spared.len(), &spared[0].record), (1, &txt("two")));
    assert_eq!(bed.values(), ["two"]);
    assert_eq!(bed.stand_in.traffic.count(&Match::new(Method::POST, "/hook/cleanup")), 1);
}

#[test]
fn trouble_that_passes_is_sat_out() {
    let bed = Bed::new();
    let provider = bed.provider();
    let throttled = Action::Status { status: 429, retry_after: Some(1) };
    for action in [throttled, Action::Status { status: 500, retry_after: None }, Action::LostAnswer]
    {
        let begun = Instant::now();
        bed.stand_in.traffic.inject(Fault::new(Match::any(), action.clone()));
        bed.create(&provider, &["v"]).unwrap();
        let least = if matches!(action, Action::Status { status: 429, .. }) { 1000 } else { 400 };
        assert!(begun.elapsed() >= Duration::from_millis(least), "{action:?}");
    }
    assert_eq!(bed.values(), ["v"]);
}

#[test]
fn trouble_that_stays_is_an_error_that_passes() {
    let bed = Bed::new();
    let long = bed.failure(Action::Status { status: 429, retry_after: Some(3600) });
    assert_eq!(long.retry_after(), Some(Duration::from_secs(3600)));
    let words = format!("no room, {PASSWORD} and pass+w%3ard%2f%c3%a9");
    let reply = Reply::new(503, "text/plain", words);
    bed.stand_in.traffic.clear_faults();
    bed.stand_in.traffic.inject(Fault::new(Match::any(), Action::Reply(reply)).always());
    let busy = bed.create(&bed.provider(), &["v"]).unwrap_err();
    assert_secret(&busy);
    let text = busy.to_string();
    assert!(text.contains("\"no room, *** and ***\", HTTP status 503"), "{text}");
    let closed = Bed::new().stand_in.endpoint();
    let lost = bed.create(&bed.make(&closed, PASSWORD), &["v"]).unwrap_err();
    assert!(matches!(lost, ProviderError::Unreachable { .. }), "{lost}");
    for error in [long, busy, lost] {
        assert!(!error.is_permanent() && !error.is_definite(), "{error}");
        assert_eq!(*error.about(), About::Provider, "{error}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    let bed = Bed::new();
    let wrong = bed.make(&bed.stand_in.endpoint(), "s3cr3t");
    let error = bed.create(&wrong, &["v"]).unwrap_err();
    let text = error.to_string();
    assert_eq!(*error.about(), About::Credentials, "{text}");
    assert!(text.contains("\"password_file\"") && !text.contains("s3cr3t"), "{text}");
    let elsewhere = bed.stand_in.endpoint().replace("/hook", "/other");
    let error = bed.create(&bed.make(&elsewhere, PASSWORD), &["v"]).unwrap_err();
    assert!(error.to_string().contains("no such interface, check \"endpoint\""), "{error}");
    let mut moved = Reply::new(301, "text/html", "<html>moved</html>");
    moved.headers.insert(http::header::LOCATION, "https://example.test/".parse().unwrap());
    let error = bed.failure(Action::Reply(moved));
    let text = error.to_string();
    assert!(text.contains("redirects are not followed") && !text.contains('<'), "{text}");
    assert!(error.is_definite());
    let outside = TxtRecord { name: "_acme-challenge.other.test".to_owned(), ..txt("v") };
    let error = run(bed.provider().create(&zone(), std::slice::from_ref(&outside))).unwrap_err();
    assert!(error.is_definite() && error.to_string().contains("is in no zone of mine"), "{error}");
    let error = run(bed.provider().create(&zone(), &[txt("v"), outside])).unwrap_err();
    assert!(error.is_permanent() && !error.is_definite(), "the first one is there: {error}");
}

#[test]
fn a_refusal_after_a_lost_answer_is_unclear() {
    let bed = Bed::new();
    bed.stand_in.traffic.inject(Fault::new(Match::any(), Action::LostAnswer));
    bed.stand_in
        .traffic
        .inject(Fault::new(Match::any(), Action::Status { status: 403, retry_after: None }));
    let error = bed.create(&bed.provider(), &["v"]).unwrap_err();
    assert!(error.is_permanent() && !error.is_definite(), "{error}");
    assert_eq!(bed.values(), ["v"]);
}

#[test]
fn all_is_removed_that_can_be() {
    let bed = Bed::new();
    let provider = bed.provider();
    bed.create(&provider, &["one", "two"]).unwrap();
    let refused = Action::Status { status: 403, retry_after: None };
    bed.stand_in.traffic.inject(Fault::new(Match::any().body("\"one\""), refused));
    run(provider.remove(&[placed("one"), placed("two")], &|_| Ok(()))).unwrap_err();
    assert_eq!(bed.values(), ["one"]);
}

#[test]
fn lego_obtains_by_the_same_stand_in() {
    let bed = Bed::new();
    let pebble = Pebble::start(&bed.dir.path().join("ca"), PebbleOptions::new(bed.dns.addr()));
    let endpoint = bed.stand_in.endpoint();
    let settings = [
        ("HTTPREQ_ENDPOINT", endpoint.as_str()),
        ("HTTPREQ_USERNAME", USER),
        ("HTTPREQ_PASSWORD", PASSWORD),
    ];
    let dir = bed.dir.path().join("lego");
    lego::obtain(&pebble, &bed.dns, &dir, "httpreq", &settings, &[ZONE, "*.example.test"]).unwrap();
    assert!(bed.values().is_empty());
    let theirs = bed.stand_in.traffic.log().swap_remove(0);
    // What lego sends, we send.
    bed.stand_in.traffic.clear_log();
    let value = theirs.json()["value"].as_str().unwrap().to_owned();
    bed.create(&bed.provider(), &[&value]).unwrap();
    let ours = bed.stand_in.traffic.log().swap_remove(0);
    assert_eq!((ours.json(), &ours.request.path), (theirs.json(), &theirs.request.path));
    for name in ["authorization", "content-type"] {
        assert_eq!(ours.request.headers[name], theirs.request.headers[name], "{name}");
    }
}

#[test]
fn acme_sh_is_content_with_the_same_stand_in() {
    let bed = Bed::new();
    let endpoint = bed.stand_in.endpoint();
    let settings = [
        ("ACMEPROXY_ENDPOINT", endpoint.as_str()),
        ("ACMEPROXY_USERNAME", USER),
        ("ACMEPROXY_PASSWORD", PASSWORD),
    ];
    let call = |function| {
        let script = ("dns_acmeproxy", function);
        acme_sh::call(bed.dir.path(), script, (NAME, "theirs"), &settings).unwrap();
    };
    call("add");
    bed.create(&bed.provider(), &["ours"]).unwrap();
    assert_eq!(bed.values(), ["ours", "theirs"]);
    call("rm");
    assert_eq!(bed.values(), ["ours"]);
}
