//! The Cloudflare provider against the testbed's stand-in of Cloudflare's API.

use acme_dns_core::challenge::{Candidate, Kept, Mark};
use acme_dns_core::config::{
    CloudflareCredentials, CloudflareSettings as Settings, Provider, ProviderKind, SecretId,
};
use acme_dns_service::dns::cloudflare::{Budget, Cloudflare, Timing};
use acme_dns_service::dns::{
    About, DnsProvider, PlacedRecord, ProviderError, SparedRecord, TxtRecord, Zone, providers,
};
use acme_dns_service::http::Clients;
use acme_dns_service::resolver::Resolver;
use http::Method;
use secrecy::SecretString;
use servers::cloudflare::{Cloudflare as StandIn, Token};
use servers::powerdns::PowerDns;
use servers::traffic::{Action, Fault, Match, Reply};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const TOKEN: &str = "a-token-that-is-right";
const NAME: &str = "_acme-challenge.example.com";

/// In a table: an item of nearly half a page.
const LONG: &str = "long";

/// A stand-in with the zone example.com and a token for everything.
struct Bed {
    cloudflare: StandIn,
    dns: PowerDns,
    _dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dns = PowerDns::start(dir.path());
        let cloudflare = StandIn::start(&dns);
        cloudflare.add_zone(&dns, "example.com");
        cloudflare.add_token(Token::new(TOKEN));
        Self { cloudflare, dns, _dir: dir }
    }

    fn settings(&self) -> Settings {
        Settings {
            credentials: CloudflareCredentials::Token(SecretId(0)),
            zone_id: None,
            ttl: 120,
            requests: None,
            api: self.cloudflare.api_url(),
            trusted_certificate: None,
        }
    }

    fn provider(&self) -> Cloudflare {
        make(&self.settings(), TOKEN)
    }

    fn with_zone_id(&self, id: &str) -> Cloudflare {
        make(&Settings { zone_id: Some(id.to_owned()), ..self.settings() }, TOKEN)
    }

    fn zone(&self) -> Zone {
        let name = "example.com".to_owned();
        Zone { id: self.cloudflare.zone_id(&name), name }
    }

    fn inject(&self, method: Method, path: &str, action: Action) {
        self.cloudflare.traffic.inject(Fault::new(Match::new(method, path), action));
    }

    fn always(&self, method: Method, path: &str, action: Action) {
        self.cloudflare.traffic.inject(Fault::new(Match::new(method, path), action).always());
    }

    fn count(&self, method: Method, path: &str) -> usize {
        self.cloudflare.traffic.count(&Match::new(method, path))
    }

    fn values(&self) -> Vec<String> {
        let mut values: Vec<_> = self.cloudflare.txt_records().iter().map(|r| r.value()).collect();
        values.sort();
        values
    }

    fn id_of(&self, value: &str) -> String {
        let records = self.cloudflare.txt_records();
        records.into_iter().find(|record| record.value() == value).unwrap().id
    }
}

fn fast() -> Timing {
    Timing {
        request: Duration::from_secs(10),
        pauses: vec![Duration::from_millis(1); 4],
        patience: Duration::from_secs(5),
        total: Duration::from_secs(60),
        keep: Duration::from_secs(600),
        keep_nothing: Duration::ZERO,
    }
}

fn make(settings: &Settings, secret: &str) -> Cloudflare {
    let budget = Rc::new(Budget::new(|_| {}));
    Cloudflare::new("cf", settings, |_| SecretString::from(secret), budget, &Clients::default())
        .unwrap()
        .with_timing(fast())
}

/// Removes whatever it is told to.
async fn remove(cf: &Cloudflare, placed: &[PlacedRecord]) -> Result<(), ProviderError> {
    let spared = cf.remove(placed, &|_| Ok(())).await?;
    assert_eq!(spared, []);
    Ok(())
}

/// The stand-in has a runtime of its own and waits for it, so a test is not itself asynchronous.
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
fn apex_and_wildcard_values_go_up_and_down_in_one_batch_each() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = run(cf.listed_zone_of(NAME)).unwrap();
    assert_eq!(zone, bed.zone());

    let ids = run(cf.create(&zone, &[txt("apex"), txt("wildcard")])).unwrap();
    assert_eq!(ids, [bed.id_of("apex"), bed.id_of("wildcard")]);
    assert_eq!(bed.dns.txt_records(NAME).len(), 2);
    for record in bed.cloudflare.txt_records() {
        assert_eq!((record.name.as_str(), record.ttl), (NAME, 120));
        let comment = record.comment.unwrap();
        assert!(comment.starts_with("ngx_http_acme_dns_module") && comment.len() <= 100);
    }

    run(cf.create(&zone, &[txt("somebody else's")])).unwrap();
    let both: Vec<_> = ["apex", "wildcard"]
        .iter()
        .zip(&ids)
        .map(|(value, id)| placed(&zone, value, Some(id)))
        .collect();
    run(remove(&cf, &both)).unwrap();
    assert_eq!(bed.values(), ["somebody else's"]);
    assert_eq!(bed.count(Method::POST, "/batch"), 2);
    assert_eq!(bed.count(Method::DELETE, ""), 0);
}

#[test]
fn a_single_record_takes_single_calls_and_bodies_have_a_type() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = run(cf.listed_zone_of(NAME)).unwrap();
    let ids = run(cf.create(&zone, &[txt("one")])).unwrap();
    run(remove(&cf, &[placed(&zone, "one", Some(&ids[0]))])).unwrap();
    assert_eq!(bed.values(), [""; 0]);
    assert_eq!(bed.count(Method::POST, "/batch"), 0);
    assert_eq!(bed.count(Method::DELETE, &ids[0]), 1);
    for entry in bed.cloudflare.traffic.log() {
        let typed = entry.request.headers.contains_key(http::header::CONTENT_TYPE);
        assert_eq!(typed, !entry.request.body.is_empty(), "{:?}", entry.request);
    }
}

#[test]
fn the_same_record_twice_is_created_once() {
    let bed = Bed::new();
    let ids = run(bed.provider().create(&bed.zone(), &[txt("a"), txt("b"), txt("a")])).unwrap();
    assert_eq!(ids, [bed.id_of("a"), bed.id_of("b"), bed.id_of("a")]);
    assert_eq!(bed.values(), ["a", "b"]);
}

#[test]
fn the_longest_zone_holds_the_name_and_is_looked_up_once() {
    let bed = Bed::new();
    bed.cloudflare.add_zone(&bed.dns, "sub.example.com");
    let cf = bed.provider();
    for (name, expected) in [
        ("_acme-challenge.www.sub.example.com", "sub.example.com"),
        ("_acme-challenge.SUB.example.com.", "sub.example.com"),
        ("_acme-challenge.notsub.example.com", "example.com"),
    ] {
        assert_eq!(run(cf.listed_zone_of(name)).unwrap().name, expected, "{name}");
    }
}

#[test]
fn a_failed_lookup_is_not_kept() {
    let bed = Bed::new();
    let cf = bed.provider();
    let name = "_acme-challenge.later.test";
    let error = run(cf.listed_zone_of(name)).unwrap_err();
    assert!(error.is_permanent());
    let text = error.to_string();
    for part in ["\"cf\"", name, "\"later.test\"", "Zone/Zone/Read", "Zone/DNS/Edit", "zone_id"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    bed.cloudflare.add_zone(&bed.dns, "later.test");
    assert_eq!(run(cf.listed_zone_of(name)).unwrap().name, "later.test");
}

#[test]
fn a_zone_that_is_not_active_is_not_used() {
    let bed = Bed::new();
    let pending = Action::rewrite(|reply: &mut Reply| {
        let text = String::from_utf8_lossy(&reply.body);
        reply.body = text.replace("\"status\":\"active\"", "\"status\":\"pending\"").into();
    });
    bed.inject(Method::GET, "/zones", pending.clone());
    bed.inject(Method::GET, "/zones", pending);
    let text = run(bed.provider().listed_zone_of(NAME)).unwrap_err().to_string();
    assert!(text.contains("\"example.com\" is pending") && text.contains("registrar"), "{text}");
}

#[test]
fn a_record_whose_answer_was_lost_is_created_once_and_its_id_found() {
    for values in [&["one"][..], &["apex", "wildcard"]] {
        let bed = Bed::new();
        bed.inject(Method::POST, "/dns_records", Action::LostAnswer);
        let records: Vec<_> = values.iter().map(|value| txt(value)).collect();
        let ids = run(bed.provider().create(&bed.zone(), &records)).unwrap();
        let expected: Vec<_> = values.iter().map(|value| bed.id_of(value)).collect();
        assert_eq!(ids, expected);
        assert_eq!(bed.values(), values);
    }
}

#[test]
fn identical_records_count_as_created_and_the_rest_is_added() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = bed.zone();
    let first = run(cf.create(&zone, &[txt("old")])).unwrap();
    assert_eq!(run(cf.create(&zone, &[txt("old")])).unwrap(), first);
    let ids = run(cf.create(&zone, &[txt("new"), txt("old")])).unwrap();
    assert_eq!(ids, [bed.id_of("new"), first[0].clone()]);
    assert_eq!(bed.values(), ["new", "old"]);
    assert_eq!(bed.dns.txt_records(NAME).len(), 2);
}

#[test]
fn the_other_code_for_an_identical_record_is_understood() {
    let bed = Bed::new();
    let cf = bed.provider();
    let first = run(cf.create(&bed.zone(), &[txt("old")])).unwrap();
    let message = "Record already exists.".to_owned();
    bed.inject(Method::POST, "", Action::Error { status: 400, code: 81057, message });
    assert_eq!(run(cf.create(&bed.zone(), &[txt("old")])).unwrap(), first);
}

#[test]
fn refused_batches_are_done_one_by_one() {
    let bed = Bed::new();
    bed.cloudflare.set_batch_enabled(false);
    let cf = bed.provider();
    let zone = bed.zone();
    let ids = run(cf.create(&zone, &[txt("apex"), txt("wildcard")])).unwrap();
    assert_eq!(ids, [bed.id_of("apex"), bed.id_of("wildcard")]);
    let both = [placed(&zone, "apex", Some(&ids[0])), placed(&zone, "wildcard", Some(&ids[1]))];
    run(remove(&cf, &both)).unwrap();
    assert_eq!(bed.values(), [""; 0]);
    assert_eq!(bed.count(Method::DELETE, ""), 2);
}

#[test]
fn a_full_zone_says_how_much_of_it_is_ours() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = bed.zone();
    let about = |cf: &Cloudflare| {
        let error = run(cf.create(&zone, &[txt("c"), txt("d")])).unwrap_err();
        error.about().clone()
    };
    let full = |ours| About::Quota { zone: "example.com".into(), ours };
    let others = run(bed.provider().create(&zone, &[txt("theirs")])).unwrap();
    let ids = run(cf.create(&zone, &[txt("a"), txt("b")])).unwrap();
    bed.cloudflare.set_record_quota(3);
    assert_eq!(about(&cf), full(2));
    assert_eq!(bed.values(), ["a", "b", "theirs"], "nothing is left of the half that would fit");
    run(remove(&cf, &[placed(&zone, "a", Some(&ids[0]))])).unwrap();
    assert_eq!(about(&cf), full(1));
    run(remove(&cf, &[placed(&zone, "b", Some(&ids[1]))])).unwrap();
    bed.cloudflare.set_record_quota(1);
    assert_eq!(about(&cf), full(0));
    run(remove(&cf, &[placed(&zone, "theirs", Some(&others[0]))])).unwrap();
}

#[test]
fn what_is_gone_already_counts_as_removed() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = bed.zone();
    let ids = run(cf.create(&zone, &[txt("a"), txt("b"), txt("c")])).unwrap();
    let all = [
        placed(&zone, "a", Some(&ids[0])),
        placed(&zone, "b", Some(&ids[1])),
        placed(&zone, "c", Some(&ids[2])),
    ];
    // Alone with a lost answer; then in a batch of which it is no longer part.
    bed.inject(Method::DELETE, "", Action::LostAnswer);
    run(remove(&cf, &all[..1])).unwrap();
    assert_eq!(bed.values(), ["b", "c"]);
    run(remove(&cf, &all)).unwrap();
    assert_eq!(bed.values(), [""; 0]);
    run(remove(&cf, &all)).unwrap();
    bed.cloudflare.remove_zone("example.com");
    run(remove(&cf, &[placed(&zone, "a", Some(&ids[0])), placed(&zone, "d", None)])).unwrap();
}

#[test]
fn a_removal_that_did_not_reach_cloudflare_is_an_error() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = bed.zone();
    let ids = run(cf.create(&zone, &[txt("a")])).unwrap();
    let page = Action::Reply(Reply::new(404, "text/html", "<html>not here</html>"));
    bed.always(Method::DELETE, "", page.clone());
    bed.always(Method::GET, "/dns_records", page);
    for id in [Some(ids[0].as_str()), None] {
        let text = run(remove(&cf, &[placed(&zone, "a", id)])).unwrap_err().to_string();
        assert!(text.contains("check \"api\""), "{text}");
    }
}

#[test]
fn without_an_id_only_the_exact_value_is_removed() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = bed.zone();
    run(cf.create(&zone, &[txt("ours"), txt("ours too"), txt("theirs")])).unwrap();
    let lost = [placed(&zone, "ours", None), placed(&zone, "OURS TOO", None)];
    run(remove(&cf, &lost)).unwrap();
    assert_eq!(bed.values(), ["ours too", "theirs"]);
    run(remove(&cf, &lost)).unwrap();
    assert_eq!(bed.values(), ["ours too", "theirs"]);
}

#[test]
fn all_pages_of_a_list_are_read() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = bed.zone();
    let records: Vec<_> = (0..250).map(|n| txt(&format!("value {n}"))).collect();
    assert_eq!(run(cf.create(&zone, &records)).unwrap().len(), 250);
    assert_eq!(bed.count(Method::POST, "/batch"), 2);
    let lost: Vec<_> = [0, 120, 249].map(|n| placed(&zone, &records[n].value, None)).into();
    run(remove(&cf, &lost)).unwrap();
    assert_eq!(bed.values().len(), 247);
    assert_eq!(bed.count(Method::GET, "/dns_records"), 3);
}

#[test]
fn what_is_looked_for_is_removed_only_if_the_rule_says_so() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = bed.zone();
    let ids = run(cf.create(&zone, &[txt("ours"), txt("spared"), txt("ours by id")])).unwrap();
    let of = [
        placed(&zone, "ours", None),
        placed(&zone, "spared", None),
        placed(&zone, "missing", None),
        placed(&zone, "ours by id", Some(&ids[2])),
    ];
    let asked = RefCell::new(Vec::new());
    let rule = |candidate: &Candidate<'_>| {
        let Candidate { kind, name, value, mark } = *candidate;
        assert_eq!((kind, name, mark), ("TXT", NAME, Mark::Ours));
        asked.borrow_mut().push(value.to_owned());
        if value == "spared" { Err(Kept::Form) } else { Ok(()) }
    };
    let spared = run(cf.remove(&of, &rule)).unwrap();
    assert_eq!(spared, [SparedRecord { record: txt("spared"), why: Kept::Form }]);
    assert_eq!(bed.values(), ["spared"]);
    let mut asked = asked.into_inner();
    asked.sort();
    assert_eq!(asked, ["ours", "spared"]);
    // The comment of somebody else is no mark, nor is none.
    for comment in ["null", "\"dehydrated\"", "\"\"", "\"see ngx_http_acme_dns_module: x\"", "7"] {
        let comment = comment.to_owned();
        let other = Action::rewrite(move |reply: &mut Reply| {
            let mut json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            json["result"][0]["comment"] = serde_json::from_str(&comment).unwrap();
            reply.body = serde_json::to_vec(&json).unwrap().into();
        });
        bed.inject(Method::GET, "/dns_records", other);
        let rule = |candidate: &Candidate<'_>| {
            assert_eq!(candidate.mark, Mark::Missing);
            Err(Kept::Unmarked)
        };
        assert_eq!(run(cf.remove(&of[1..2], &rule)).unwrap().len(), 1);
    }
    assert_eq!(bed.values(), ["spared"]);
}

#[test]
fn a_list_that_is_too_long_is_not_read_to_its_end() {
    let bed = Bed::new();
    let cf = bed.provider();
    // Many items of a page, many pages, and long ones.
    for (items, item, pages) in
        [(10_001, r#"{"id":"1"}"#, 1), (300, r#"{"id":"1"}"#, 1_000_000), (2, LONG, 50)]
    {
        let item = match item {
            LONG => format!("{{\"id\":\"{}\"}}", "x".repeat(400_000)),
            item => item.to_owned(),
        };
        bed.cloudflare.traffic.clear_faults();
        bed.cloudflare.traffic.clear_log();
        let body = format!(
            r#"{{"success":true,"errors":[],"result":[{}],"result_info":{{"total_pages":{pages}}}}}"#,
            vec![item; items].join(",")
        );
        let reply = Reply::new(200, "application/json", body);
        bed.always(Method::GET, "/dns_records", Action::Reply(reply));
        let error = run(remove(&cf, &[placed(&bed.zone(), "v", None)])).unwrap_err().to_string();
        assert!(error.ends_with("unexpected answer: the list is too long"), "{error}");
        assert!(bed.cloudflare.traffic.log().len() < 40, "{items}");
    }
}

#[test]
fn what_can_be_removed_is_even_if_another_zone_fails() {
    let bed = Bed::new();
    let cf = bed.provider();
    let other =
        Zone { id: bed.cloudflare.add_zone(&bed.dns, "aaa.test"), name: "aaa.test".to_owned() };
    let record = TxtRecord { name: "_acme-challenge.aaa.test".to_owned(), value: "v".to_owned() };
    let mut ids = run(cf.create(&other, std::slice::from_ref(&record))).unwrap();
    run(cf.create(&bed.zone(), &[txt("w")])).unwrap();
    let message = "Something is wrong".to_owned();
    bed.inject(Method::DELETE, &other.id, Action::Error { status: 400, code: 1234, message });
    let both =
        [PlacedRecord { record, zone: other, id: ids.pop() }, placed(&bed.zone(), "w", None)];
    let text = run(remove(&cf, &both)).unwrap_err().to_string();
    for part in ["1234 \"Something is wrong\"", "\"aaa.test\"", "\"_acme-challenge.aaa.test\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(bed.values(), ["v"]);
    run(remove(&cf, &both)).unwrap();
    assert_eq!(bed.values(), [""; 0]);
}

#[test]
fn a_short_retry_after_is_sat_out() {
    let bed = Bed::new();
    bed.inject(Method::POST, "", Action::Status { status: 429, retry_after: Some(1) });
    let begun = Instant::now();
    run(bed.provider().create(&bed.zone(), &[txt("one")])).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(bed.values(), ["one"]);
    assert_eq!(bed.count(Method::POST, ""), 2);
}

#[test]
fn a_retry_after_holds_all_providers_back() {
    let bed = Bed::new();
    bed.inject(Method::POST, "", Action::Status { status: 429, retry_after: Some(1) });
    let budget = Rc::new(Budget::new(|_| {}));
    let made = |timing| {
        let secret = |_| SecretString::from(TOKEN);
        Cloudflare::new("cf", &bed.settings(), secret, budget.clone(), &Clients::default())
            .unwrap()
            .with_timing(timing)
    };
    let impatient = made(Timing { patience: Duration::ZERO, ..fast() });
    run(impatient.create(&bed.zone(), &[txt("one")])).unwrap_err();
    let begun = Instant::now();
    run(made(fast()).listed_zone_of(NAME)).unwrap();
    assert!(begun.elapsed() > Duration::from_millis(900));
}

#[test]
fn a_long_retry_after_is_an_error_that_says_so() {
    let bed = Bed::new();
    bed.inject(Method::POST, "", Action::Status { status: 429, retry_after: Some(300) });
    let cf = bed.provider();
    let error = run(cf.create(&bed.zone(), &[txt("one")])).unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(300)));
    assert!(!error.is_permanent());
    // Nothing goes out before that time is over.
    let error = run(cf.listed_zone_of(NAME)).unwrap_err();
    assert!(error.retry_after().is_some_and(|wait| wait > Duration::from_secs(290)), "{error}");
    assert_eq!(bed.cloudflare.traffic.log().len(), 1);
}

#[test]
fn passing_trouble_is_sat_out() {
    for action in [
        Action::Status { status: 500, retry_after: None },
        Action::Status { status: 503, retry_after: None },
        Action::Status { status: 429, retry_after: None },
        Action::Drop,
        Action::Garbage,
    ] {
        let bed = Bed::new();
        let cf = bed.provider();
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let fault = Fault::new(Match::any().method(method), action.clone()).times(2);
            bed.cloudflare.traffic.inject(fault);
        }
        let zone =
            run(cf.listed_zone_of("example.com")).unwrap_or_else(|e| panic!("{action:?}: {e}"));
        let ids =
            run(cf.create(&zone, &[txt("one")])).unwrap_or_else(|e| panic!("{action:?}: {e}"));
        assert_eq!(ids, [bed.id_of("one")], "{action:?}");
        let gone = run(remove(&cf, &[placed(&zone, "one", Some(&ids[0]))]));
        gone.unwrap_or_else(|e| panic!("{action:?}: {e}"));
        assert_eq!(bed.values(), [""; 0], "{action:?}");
    }
}

#[test]
fn lasting_trouble_is_an_error_after_some_tries() {
    for (action, expected) in [
        (Action::Status { status: 502, retry_after: None }, "HTTP status 502"),
        (Action::Drop, "the request failed"),
        (Action::Garbage, "unexpected answer"),
        (Action::Hang, "timed out"),
    ] {
        let bed = Bed::new();
        let timing = Timing { request: Duration::from_millis(100), ..fast() };
        let cf = bed.provider().with_timing(timing);
        bed.always(Method::POST, "/dns_records", action.clone());
        let error = run(cf.create(&bed.zone(), &[txt("one")])).unwrap_err();
        let text = error.to_string();
        assert!(!error.is_permanent(), "{action:?}: {text}");
        for part in [expected, "\"cf\"", NAME, "\"example.com\""] {
            assert!(text.contains(part), "{action:?}: {text}");
        }
        assert_eq!(bed.count(Method::POST, ""), 5, "{action:?}");
    }
}

#[test]
fn no_try_begins_after_the_time_is_over() {
    let bed = Bed::new();
    let timing = Timing { total: Duration::ZERO, ..fast() };
    let cf = bed.provider().with_timing(timing);
    bed.always(Method::POST, "", Action::Status { status: 500, retry_after: None });
    run(cf.create(&bed.zone(), &[txt("one")])).unwrap_err();
    assert_eq!(bed.count(Method::POST, ""), 1);
}

#[test]
fn an_unknown_token_is_explained_and_not_shown() {
    let bed = Bed::new();
    let cf = make(&bed.settings(), "a-token-that-is-wrong");
    let finding = run(cf.listed_zone_of(NAME)).unwrap_err();
    let creating = run(cf.create(&bed.zone(), &[txt("one"), txt("two")])).unwrap_err();
    for error in [finding, creating] {
        let text = error.to_string();
        assert!(error.is_permanent(), "{text}");
        assert!(text.contains("check that the token is valid"), "{text}");
        assert!(!text.contains("a-token-that"), "{text}");
    }
    assert_eq!(bed.count(Method::POST, ""), 1);
}

#[test]
fn a_token_of_the_wrong_form_is_explained() {
    let bed = Bed::new();
    let cf = make(&bed.settings(), "token = x!");
    let text = run(cf.listed_zone_of(NAME)).unwrap_err().to_string();
    assert!(text.contains("6111") && text.contains("form of a token"), "{text}");
    assert!(!text.contains("x!"), "{text}");
}

#[test]
fn missing_permissions_are_named() {
    let bed = Bed::new();
    bed.cloudflare.add_token(Token::new(TOKEN).read_only());
    let text = run(bed.provider().create(&bed.zone(), &[txt("one")])).unwrap_err().to_string();
    for part in ["Zone/DNS/Edit", NAME, "\"example.com\"", "10000 \"Authentication error\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    bed.cloudflare.add_token(Token::new(TOKEN).without_zone_read());
    let text = run(bed.provider().listed_zone_of(NAME)).unwrap_err().to_string();
    for part in ["Zone/Zone/Read", "set \"zone_id\"", NAME] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_zone_that_the_token_may_not_see_is_no_zone() {
    let bed = Bed::new();
    bed.cloudflare.add_token(Token::new(TOKEN).zones(&["other.test"]));
    let text = run(bed.provider().listed_zone_of(NAME)).unwrap_err().to_string();
    assert!(text.contains("\"example.com\" that the token may see"), "{text}");
}

#[test]
fn a_zone_id_is_used_without_a_search() {
    let bed = Bed::new();
    let cf = bed.with_zone_id(&bed.zone().id);
    for _ in 0..2 {
        assert_eq!(run(cf.listed_zone_of(NAME)).unwrap(), bed.zone());
    }
    assert_eq!(bed.cloudflare.traffic.log().len(), 1);
}

#[test]
fn a_zone_id_makes_up_for_a_token_that_may_not_read_zones() {
    let bed = Bed::new();
    bed.cloudflare.add_token(Token::new(TOKEN).without_zone_read());
    let cf = bed.with_zone_id(&bed.zone().id);
    let zone = run(cf.listed_zone_of(NAME)).unwrap();
    assert_eq!(zone, bed.zone());
    let ids = run(cf.create(&zone, &[txt("one")])).unwrap();
    assert_eq!(bed.values(), ["one"]);
    run(remove(&cf, &[placed(&zone, "one", Some(&ids[0]))])).unwrap();
    assert_eq!(bed.values(), [""; 0]);
}

#[test]
fn the_name_of_an_unreadable_zone_follows_from_its_records() {
    let bed = Bed::new();
    let record = TxtRecord { name: "a.b.example.com".to_owned(), value: "v".to_owned() };
    run(bed.provider().create(&bed.zone(), &[record])).unwrap();
    bed.cloudflare.add_token(Token::new(TOKEN).without_zone_read());
    let cf = bed.with_zone_id(&bed.zone().id);
    for name in [NAME, "_acme-challenge.www.example.com"] {
        assert_eq!(run(cf.listed_zone_of(name)).unwrap(), bed.zone(), "{name}");
    }
    let text = run(cf.listed_zone_of("_acme-challenge.other.test")).unwrap_err().to_string();
    assert!(text.contains("its records are in \"a.b.example.com\""), "{text}");
}

#[test]
fn a_zone_id_of_another_zone_is_found_out() {
    let bed = Bed::new();
    let other = bed.cloudflare.add_zone(&bed.dns, "other.test");
    let text = run(bed.with_zone_id(&other).listed_zone_of(NAME)).unwrap_err().to_string();
    assert!(text.contains("it is the zone \"other.test\""), "{text}");

    // Without the permission to read the zone only the created record tells.
    bed.cloudflare.add_token(Token::new(TOKEN).without_zone_read());
    for records in [&[txt("one")][..], &[txt("one"), txt("two")]] {
        let cf = bed.with_zone_id(&other);
        let zone = run(cf.listed_zone_of(NAME)).unwrap();
        let error = run(cf.create(&zone, records)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("example.com.other.test") && text.contains("zone_id"), "{text}");
        assert!(error.is_permanent());
        assert_eq!(bed.values(), [""; 0], "{records:?}");
    }
}

#[test]
fn an_unknown_zone_id_is_explained() {
    let bed = Bed::new();
    for id in ["0123456789abcdef0123456789abcdef", "nonsense"] {
        let error = run(bed.with_zone_id(id).listed_zone_of(NAME)).unwrap_err();
        let text = error.to_string();
        assert!(error.is_permanent() && text.contains("\"zone_id\" is wrong"), "{text}");
    }
}

#[test]
fn a_zone_that_was_made_anew_is_looked_up_again() {
    let bed = Bed::new();
    let cf = bed.provider();
    let old = run(cf.listed_zone_of(NAME)).unwrap();
    bed.cloudflare.remove_zone("example.com");
    bed.cloudflare.add_zone(&bed.dns, "example.com");
    run(cf.create(&old, &[txt("a"), txt("b")])).unwrap_err();
    let new = run(cf.listed_zone_of(NAME)).unwrap();
    assert_ne!(new, old);
    run(cf.create(&new, &[txt("a"), txt("b")])).unwrap();
    assert_eq!(bed.values(), ["a", "b"]);
}

#[test]
fn the_legacy_pair_is_accepted_and_explained() {
    let key = "0123456789abcdef0123456789abcdef01234";
    let bed = Bed::new();
    bed.cloudflare.set_legacy_key("you@example.com", key);
    let credentials =
        CloudflareCredentials::Key { email: "you@example.com".to_owned(), key: SecretId(3) };
    let kind = ProviderKind::Cloudflare(Settings { credentials, ..bed.settings() });
    let config = Provider { name: "cf".to_owned(), kind };
    let made = |secret: &'static str| {
        let secret = move |id: SecretId| {
            assert_eq!(id, SecretId(3));
            SecretString::from(secret)
        };
        let config = std::slice::from_ref(&config);
        providers(config, secret, &Clients::default(), |_| {}).unwrap().remove(0)
    };
    let resolver = Resolver::new(&[]);
    run(async {
        let cf = made(key);
        let zone = cf.zone_of(NAME, &resolver).await.unwrap();
        cf.create(&zone, &[txt("one")]).await.unwrap();
    });
    assert_eq!(bed.values(), ["one"]);

    let wrong = made("ffffffffffffffffffffffffffffffffffff");
    let text = run(wrong.zone_of(NAME, &resolver)).unwrap_err().to_string();
    for part in ["9103", "\"email\"", "Global API Key"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("ffff"), "{text}");
}

#[test]
fn a_full_zone_is_explained() {
    let bed = Bed::new();
    bed.cloudflare.set_record_quota(1);
    let error = run(bed.provider().create(&bed.zone(), &[txt("a"), txt("b")])).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("81045") && text.contains("remove some"), "{text}");
}

#[test]
fn secrets_that_no_header_can_carry_are_refused() {
    let bed = Bed::new();
    let budget = Rc::new(Budget::new(|_| {}));
    let made = Cloudflare::new(
        "cf",
        &bed.settings(),
        |_| SecretString::from("a\nb"),
        budget,
        &Clients::default(),
    );
    let text = made.unwrap_err().to_string();
    assert!(text.contains("provider \"cf\"") && !text.contains("a\nb"), "{text}");
}
