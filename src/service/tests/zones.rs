//! Which zone holds a name, and how many requests to Cloudflare it takes to find out.

use acme_dns_core::config::{
    CloudflareCredentials, CloudflareSettings as Settings, RequestLimit, SecretId,
};
use acme_dns_service::dns::cloudflare::{Budget, Cloudflare, Timing};
use acme_dns_service::dns::{About, DnsProvider, PlacedRecord, TxtRecord, on_account_of};
use acme_dns_service::event::ProviderEvent;
use acme_dns_service::http::Clients;
use futures_util::future::join_all;
use http::Method;
use secrecy::SecretString;
use servers::cloudflare::{Cloudflare as StandIn, Token};
use servers::powerdns::PowerDns;
use servers::traffic::{Action, Fault, Match};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const TOKEN: &str = "a-token-that-is-right";

/// A stand-in with some zones.
struct Bed {
    cloudflare: StandIn,
    dns: PowerDns,
    _dir: tempfile::TempDir,
}

impl Bed {
    fn new(zones: &[&str], token: Token) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dns = PowerDns::start(dir.path());
        let cloudflare = StandIn::start(&dns);
        for zone in zones {
            cloudflare.add_zone(&dns, zone);
        }
        cloudflare.add_token(token);
        Self { cloudflare, dns, _dir: dir }
    }

    fn provider(&self) -> Cloudflare {
        self.provider_with(&Rc::new(Budget::new(|_| {})), None)
    }

    fn provider_with(&self, budget: &Rc<Budget>, zone_id: Option<String>) -> Cloudflare {
        let settings = Settings {
            credentials: CloudflareCredentials::Token(SecretId(0)),
            zone_id,
            ttl: 60,
            requests: None,
            api: self.cloudflare.api_url(),
            trusted_certificate: None,
        };
        let secret = |_| SecretString::from(TOKEN);
        Cloudflare::new("cf", &settings, secret, Rc::clone(budget), &Clients::default()).unwrap()
    }

    /// The requests since this was last asked.
    fn requests(&self) -> usize {
        let number = self.cloudflare.traffic.log().len();
        self.cloudflare.traffic.clear_log();
        number
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn zone_of(cf: &Cloudflare, name: &str) -> String {
    run(cf.listed_zone_of(name)).unwrap_or_else(|e| panic!("{name}: {e}")).name
}

fn record(name: &str, value: &str) -> TxtRecord {
    TxtRecord { name: name.to_owned(), value: value.to_owned() }
}

fn impatient() -> Timing {
    Timing { pauses: Vec::new(), keep_nothing: Duration::ZERO, ..Timing::default() }
}

const ZONES: [&str; 3] = ["example.test", "sub.example.test", "example.co.test"];

#[test]
fn the_longest_zone_holds_a_name_however_zones_may_be_asked_for() {
    for (token, is_longest) in [
        (Token::new(TOKEN), true),
        (Token::new(TOKEN).zones(&ZONES), true),
        // It may list a zone by name only: parents first, and no guesses below what is found.
        (Token::new(TOKEN).dns_edit_only(), false),
    ] {
        let bed = Bed::new(&ZONES, token);
        let cf = bed.provider();
        let sub = if is_longest { "sub.example.test" } else { "example.test" };
        for (name, expected) in [
            ("_acme-challenge.www.sub.example.test", sub),
            ("_acme-challenge.SUB.example.test.", sub),
            ("_acme-challenge.notsub.example.test", "example.test"),
            ("example.test", "example.test"),
            ("_acme-challenge.a.b.example.co.test", "example.co.test"),
        ] {
            assert_eq!(zone_of(&cf, name), expected, "{name}");
        }
    }
}

#[test]
fn one_listing_does_for_all_names_of_all_zones() {
    let bed = Bed::new(&ZONES, Token::new(TOKEN));
    let cf = bed.provider();
    let names: Vec<String> =
        (0..100).map(|n| format!("_acme-challenge.w{n}.example.test")).collect();
    run(join_all(names.iter().map(|name| cf.listed_zone_of(name))));
    assert_eq!(zone_of(&cf, "_acme-challenge.example.co.test"), "example.co.test");
    assert_eq!(bed.requests(), 1, "asked once, by all who wait for it");
    // In a known zone there are two requests for a certificate: to put up, and to take down.
    let zone = run(cf.listed_zone_of(&names[0])).unwrap();
    let records: Vec<_> = names.iter().map(|name| record(name, "v")).collect();
    let ids = run(cf.create(&zone, &records)).unwrap();
    let placed: Vec<_> = records
        .into_iter()
        .zip(ids)
        .map(|(record, id)| PlacedRecord { record, zone: zone.clone(), id: Some(id) })
        .collect();
    assert_eq!(run(cf.remove(&placed, &|_| Ok(()))).unwrap(), []);
    assert_eq!(bed.requests(), 2);
}

#[test]
fn zones_of_a_large_account_are_asked_for_by_name_and_below() {
    let bed = Bed::new(&ZONES, Token::new(TOKEN));
    // More pages than are worth reading.
    let many = Action::rewrite(|reply| {
        let text = String::from_utf8_lossy(&reply.body);
        reply.body = text.replace("\"total_pages\":1", "\"total_pages\":2000").into();
    });
    let all = Match::any().query("per_page=50&page=1");
    bed.cloudflare.traffic.inject(Fault::new(all, many).times(1));
    let cf = bed.provider();
    assert_eq!(zone_of(&cf, "_acme-challenge.w.sub.example.test"), "sub.example.test");
    // All, then the zone, then what is below it: two labels are the shortest that a zone has.
    assert_eq!(bed.requests(), 3);
    for n in 0..100 {
        assert_eq!(zone_of(&cf, &format!("_acme-challenge.w{n}.example.test")), "example.test");
    }
    assert_eq!(bed.requests(), 0);
}

#[test]
fn a_refused_guess_is_no_refusal_of_the_zone() {
    let bed = Bed::new(&["example.co.test", "other.test"], Token::new(TOKEN).dns_edit_only());
    let cf = bed.provider().with_timing(impatient());
    // "co.test" is none of its zones, so that it may not even ask.
    assert_eq!(zone_of(&cf, "_acme-challenge.www.example.co.test"), "example.co.test");
    assert_eq!(bed.requests(), 3);
    assert_eq!(zone_of(&cf, "_acme-challenge.api.example.co.test"), "example.co.test");
    assert_eq!(bed.requests(), 0);

    // Where nothing is found, the refusal is the reason; others go on.
    let error = run(cf.listed_zone_of("_acme-challenge.nowhere.test")).unwrap_err();
    let text = error.to_string();
    assert_eq!(*error.about(), About::Name, "{text}");
    for part in
        ["find the zone of \"_acme-challenge.nowhere.test\"", "requires permission", "zone_id"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Each answer to a guess as Cloudflare may give it.
    for (status, code) in [(403, 10000), (403, 9109), (403, 0), (400, 1234)] {
        let bed = Bed::new(&["example.co.test"], Token::new(TOKEN));
        let refused = Action::Error { status, code, message: "no".to_owned() };
        let guess = Match::any().query("name=co.test");
        let all = Match::any().query("per_page=50&page=1");
        bed.cloudflare.traffic.inject(Fault::new(guess, refused.clone()).always());
        bed.cloudflare.traffic.inject(Fault::new(all, refused).times(1));
        let cf = bed.provider();
        assert_eq!(zone_of(&cf, "_acme-challenge.example.co.test"), "example.co.test", "{code}");
    }
}

#[test]
fn wrong_credentials_are_not_tried_on_every_guess() {
    for (status, code) in [(401, 10000), (400, 6003), (403, 9103)] {
        let bed = Bed::new(&ZONES, Token::new(TOKEN));
        let refused = Action::Error { status, code, message: "no".to_owned() };
        bed.cloudflare.traffic.inject(Fault::new(Match::any(), refused).always());
        let error =
            run(bed.provider().listed_zone_of("_acme-challenge.www.example.test")).unwrap_err();
        assert_eq!(*error.about(), About::Credentials, "{error}");
        assert!(bed.requests() <= 2, "{code}");
    }
}

#[test]
fn what_was_not_found_is_looked_for_again_after_a_while() {
    let bed = Bed::new(&ZONES, Token::new(TOKEN));
    let name = "_acme-challenge.www.later.test";
    let cf = bed.provider();
    for _ in 0..20 {
        let text = run(cf.listed_zone_of(name)).unwrap_err().to_string();
        assert!(text.contains("\"later.test\" that the token may see"), "{text}");
    }
    assert_eq!(bed.requests(), 1, "one answer for all who ask at about the same time");
    let cf = bed.provider().with_timing(impatient());
    run(cf.listed_zone_of(name)).unwrap_err();
    bed.cloudflare.add_zone(&bed.dns, "later.test");
    assert_eq!(zone_of(&cf, name), "later.test");
}

#[test]
fn internationalized_zones_are_found_by_either_form() {
    let bed = Bed::new(&["bücher.test", "пример.test"], Token::new(TOKEN));
    let ascii = "xn--bcher-kva.test";
    let name = &format!("_acme-challenge.www.{ascii}");
    let id = bed.cloudflare.zone_id("bücher.test");
    let budget = Rc::new(Budget::new(|_| {}));
    let by_id = || bed.provider_with(&budget, Some(id.clone()));
    let edit_only = Token::new(TOKEN).dns_edit_only();
    let blind = Token::new(TOKEN).without_zone_read();
    type Row<'a> = (&'a str, Option<Token>, Cloudflare);
    let rows: [Row<'_>; 4] = [
        ("listed", None, bed.provider()),
        ("by zone_id", None, by_id()),
        ("by name", Some(edit_only), bed.provider()),
        ("by zone_id, unreadable", Some(blind), by_id()),
    ];
    for (row, token, cf) in rows {
        token.into_iter().for_each(|token| bed.cloudflare.add_token(token));
        let zone = run(cf.listed_zone_of(name)).unwrap_or_else(|e| panic!("{row}: {e}"));
        assert!(zone.name.ends_with(ascii) && zone.id == id, "{row}: {zone:?}");
        // One, two, and one that is there already: each answer names it in Unicode.
        for values in [&["a"][..], &["b", "c"], &["c", "d"]] {
            let records: Vec<_> = values.iter().map(|value| record(name, value)).collect();
            let ids = run(cf.create(&zone, &records)).unwrap_or_else(|e| panic!("{row}: {e}"));
            assert_eq!(ids.len(), values.len(), "{row}");
        }
        let placed: Vec<_> = ["a", "b", "c", "d"]
            .map(|value| PlacedRecord { record: record(name, value), zone: zone.clone(), id: None })
            .into();
        assert_eq!(bed.dns.txt_records(name).len(), 4, "{row}");
        assert_eq!(run(cf.remove(&placed, &|_| Ok(()))).unwrap(), [], "{row}");
        assert!(bed.cloudflare.txt_records().is_empty(), "{row}: what is looked for is found");
    }
}

#[test]
fn what_cloudflare_refuses_takes_few_requests_and_leaves_nothing_to_look_for() {
    let bed = Bed::new(&["example.test"], Token::new(TOKEN));
    let cf = bed.provider().with_timing(impatient());
    let zone = run(cf.listed_zone_of("example.test")).unwrap();
    bed.requests();
    let too_long = format!("{}.example.test", ["a".repeat(63).as_str(); 4].join("."));
    let mut records: Vec<_> = (0..99).map(|n| record(&format!("n{n}.example.test"), "v")).collect();
    records.push(record(&too_long, "v"));
    let error = run(cf.create(&zone, &records)).unwrap_err();
    assert!(error.is_definite(), "{error}");
    assert_eq!(bed.cloudflare.txt_records(), [], "what was made is removed");
    // All are refused.
    bed.requests();
    let all: Vec<_> = (0..100).map(|n| record(&format!("{too_long}{n}"), "v")).collect();
    assert!(run(cf.create(&zone, &all)).unwrap_err().is_definite());
    assert!(bed.requests() < 12);
    // After a lost answer it may be there all the same.
    bed.cloudflare
        .traffic
        .inject(Fault::new(Match::any().method(Method::POST), Action::LostAnswer));
    let no = Action::Error { status: 403, code: 10000, message: "no".to_owned() };
    bed.cloudflare.traffic.inject(Fault::new(Match::any().method(Method::POST), no).always());
    let error = run(bed.provider().create(&zone, &records[..2])).unwrap_err();
    assert!(!error.is_definite() && error.is_permanent(), "{error}");
}

#[test]
fn one_certificate_does_not_spend_the_requests_of_all() {
    let bed = Bed::new(&["example.test"], Token::new(TOKEN));
    let waits: Rc<RefCell<Vec<ProviderEvent>>> = Rc::default();
    let budget = Budget::new({
        let waits = Rc::clone(&waits);
        move |event| waits.borrow_mut().push(event)
    });
    let limit = RequestLimit { number: 100, span: Duration::from_secs(300) };
    let cf = bed.provider_with(&Rc::new(budget.with_limit(limit)), None);
    let zone = run(cf.listed_zone_of("example.test")).unwrap();
    let begun = Instant::now();
    run(async {
        // One that would go on for ever, and thirty that are as they should be.
        let one = record("greedy.example.test", "v");
        let greedy = on_account_of("greedy", async {
            loop {
                let _ = cf.create(&zone, std::slice::from_ref(&one)).await;
            }
        });
        let modest = async {
            for number in 0..15 {
                let name = format!("n{number}.example.test");
                on_account_of(&name, async {
                    let ids = cf.create(&zone, &[record(&name, "v")]).await.unwrap();
                    let id = ids.into_iter().next();
                    let placed =
                        [PlacedRecord { record: record(&name, "v"), zone: zone.clone(), id }];
                    cf.remove(&placed, &|_| Ok(())).await.unwrap();
                })
                .await;
            }
        };
        tokio::select! {
            () = greedy => {}
            () = modest => {}
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(60));
    let waits = waits.borrow();
    let is_greedy = |event: &ProviderEvent| matches!(event, ProviderEvent::ShareUsed { certificate, .. } if certificate == "greedy");
    assert!(waits.iter().all(is_greedy), "{waits:?}");
}
