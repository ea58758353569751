//! dns-persist-01: records that stay, written here or by others.

use super::accounts::problem;
use super::delegation::bind;
use super::hostile::change;
use super::methods::{bed, hide};
use super::support::{Bed, CERTIFICATE, ISSUER, VARIANT, names};
use acme_dns_core::config::ChallengeMethod::{Dns01, DnsPersist01};
use acme_dns_core::config::Propagation;
use acme_dns_core::id::{ProviderId, Table};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::FailureKind;
use acme_dns_service::acme::{KeyChoice, NeededRecord, ObtainError};
use acme_dns_service::event::{Event, PersistEvent};
use acme_dns_service::http::Clients;
use http::Method;
use serde_json::json;
use servers::acme_proxy::AcmeStep;
use servers::persist_ca::PREFIX;
use servers::traffic::{Fault, Match};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const RECORD: &str = "_validation-persist.example.test";
const FOREIGN: &str = "ca.example; accounturi=https://ca.example/1";
const DAY: u64 = 86_400;

/// Gives the values of the record as servers have it.
fn values(bed: &Bed) -> Vec<String> {
    let mut values = bed.testbed.dns.txt_records(RECORD);
    values.sort();
    values
}

/// Adds a value with Cloudflare's API, as a person would.
fn add_by_hand(bed: &Bed, value: &str) {
    let cloudflare = &bed.testbed.cloudflare;
    let url = format!(
        "{}/zones/{}/dns_records",
        cloudflare.api_url(),
        cloudflare.zone_id("example.test")
    );
    let record = json!({"type": "TXT", "name": RECORD, "content": value, "ttl": 60});
    let token = format!("Bearer {}", bed.testbed.token());
    let send = async {
        let request = Clients::default().get(None).unwrap().post(url).body(record.to_string());
        let request = request.header("Authorization", token);
        request.header("Content-Type", "application/json").send().await.unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(send);
    assert!(answer.status().is_success(), "{answer:?}");
}

/// Sets the values of the record at a server for which nobody here has credentials.
fn set(bed: &Bed, values: &[&str]) {
    let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
    bed.testbed.dns.set_rrset(RECORD, "TXT", &quoted);
}

/// A bed without a provider.
fn bed_without_provider() -> Bed {
    let mut bed = bed(&[DnsPersist01]);
    bed.config.providers = Table::default();
    bed
}

/// Gives the number of requests that have changed something at the provider.
fn writes(bed: &Bed) -> usize {
    let reads = bed.testbed.cloudflare.traffic.count(&Match::any().method(Method::GET));
    bed.testbed.cloudflare.traffic.count(&Match::any()) - reads
}

/// Gives what is told of records that stay.
fn told(bed: &Bed, level: Level) -> Vec<PersistEvent> {
    let persist = |event| match event {
        Event::Persist(_, event) => Some(event),
        _ => None,
    };
    bed.log.events(level).into_iter().filter_map(persist).collect()
}

/// Gives the value that proves apex and wildcard to Pebble.
fn own(bed: &Bed) -> String {
    let account = bed.account().unwrap();
    format!("pebble.letsencrypt.org; accounturi={account}; policy=wildcard")
}

fn orders(bed: &Bed) -> usize {
    bed.proxy.traffic.count(&AcmeStep::NewOrder.requests())
}

/// The error of an attempt that waits: the records.
fn waiting(bed: &Bed) -> Vec<NeededRecord> {
    let error = bed.obtain_error();
    let failure = error.failure();
    assert_eq!((failure.kind, failure.retry_after), (FailureKind::Waiting, None), "{error}");
    match error {
        ObtainError::Waiting(records) => records,
        other => panic!("{other}"),
    }
}

fn days_from_now(days: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + days * DAY
}

#[test]
fn a_record_is_written_once_for_apex_and_wildcard_and_what_is_foreign_stays() {
    let bed = bed(&[DnsPersist01]);
    add_by_hand(&bed, FOREIGN);
    bed.obtain().unwrap();
    let expected = [FOREIGN.to_owned(), own(&bed)];
    assert_eq!(values(&bed), expected);
    assert_eq!(bed.journal(), [""; 0]);
    let notices = told(&bed, Level::Notice);
    assert!(matches!(notices[..], [PersistEvent::Written { until: None, .. }]), "{notices:?}");
    let before = writes(&bed);
    bed.obtain().unwrap();
    assert_eq!((writes(&bed), orders(&bed)), (before, 2), "it is there");
    assert_eq!(values(&bed), expected);
    assert_eq!(bed.log.events(Level::Warn), []);
}

#[test]
fn a_record_that_will_not_do_any_more_is_replaced() {
    let mut bed = bed(&[DnsPersist01]);
    bed.config.issuers[ISSUER].persist = Some(Duration::from_secs(400 * DAY));
    bed.config.certificates[CERTIFICATE].names = names(&["example.test"]);
    add_by_hand(&bed, FOREIGN);
    bed.obtain().unwrap();
    let plain = values(&bed)[1].clone();
    let (head, end) = plain.split_once("; persistUntil=").unwrap();
    assert!(!head.contains("policy"), "{head}");
    let end: u64 = end.parse().unwrap();
    assert!((days_from_now(400)..=days_from_now(401)).contains(&end), "{end}");
    // A wildcard needs more.
    bed.config.certificates[CERTIFICATE].names = names(&["example.test", "*.example.test"]);
    bed.obtain().unwrap();
    let wildcard = format!("{}; persistUntil={end}", own(&bed));
    assert_eq!(values(&bed), [FOREIGN, &wildcard]);
    // More than half of a longer time is over.
    bed.config.issuers[ISSUER].persist = Some(Duration::from_secs(900 * DAY));
    bed.obtain().unwrap();
    let found = values(&bed);
    assert_eq!(found.len(), 2, "{found:?}");
    let (head, end) = found[1].split_once("; persistUntil=").unwrap();
    assert_eq!(head, own(&bed));
    assert!(end.parse::<u64>().unwrap() >= days_from_now(900), "{end}");
    assert_eq!(bed.log.events(Level::Warn), []);
}

#[test]
fn a_record_that_will_do_for_now_does_whatever_the_provider_says() {
    let mut bed = bed(&[DnsPersist01]);
    bed.obtain().unwrap();
    let value = format!("{}; persistUntil={}", own(&bed), days_from_now(20));
    let records = bed.testbed.cloudflare.txt_records();
    assert_eq!(records.len(), 1);
    bed.testbed.cloudflare.pause_propagation();
    set(&bed, &[&value]);
    let Propagation::Check { timeout, .. } = &mut bed.config.propagation else {
        panic!("it checks")
    };
    *timeout = Duration::from_secs(1);
    bed.obtain().unwrap();
    assert_eq!(values(&bed), [value], "what was written is not shown, and nothing is removed");
    bed.testbed.cloudflare.revoke_token(bed.testbed.token());
    bed.obtain().unwrap();
}

#[test]
fn a_record_that_was_added_by_hand_is_not_removed_where_the_provider_can_tell() {
    let bed = bed(&[DnsPersist01]);
    let account = bed.account().unwrap();
    let by_hand = format!("pebble.letsencrypt.org; accounturi={account}");
    add_by_hand(&bed, &by_hand);
    bed.obtain().unwrap();
    assert_eq!(values(&bed), [by_hand, own(&bed)]);
}

#[test]
fn without_a_provider_a_record_is_waited_for_and_no_order_is_placed() {
    let bed = bed_without_provider();
    bed.run(async |obtainer| {
        for _ in 0..2 {
            let error = obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await.unwrap_err();
            assert!(matches!(error, ObtainError::Waiting(_)), "{error}");
        }
        let account = std::thread::scope(|scope| scope.spawn(|| own(&bed)).join().unwrap());
        let line = format!("{RECORD}. IN TXT \"{account}\"");
        let needed = |is_due| PersistEvent::Needed { line: line.clone(), why: None, is_due };
        assert_eq!(told(&bed, Level::Error), [needed(true)], "once an hour");
        assert_eq!(told(&bed, Level::Debug), [needed(false)]);
        assert_eq!(orders(&bed), 0);
        // Somebody adds it.
        std::thread::scope(|scope| {
            scope.spawn(|| set(&bed, &[FOREIGN, &account]));
        });
        obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await.unwrap();
        let found = PersistEvent::Found { name: RECORD.to_owned() };
        assert_eq!(told(&bed, Level::Notice), [found]);
    });
    assert_eq!(orders(&bed), 1);
    bed.obtain().unwrap();
    assert_eq!(values(&bed), [FOREIGN.to_owned(), own(&bed)]);
    assert_eq!(bed.log.events(Level::Warn), []);
    assert_eq!(bed.testbed.cloudflare.traffic.count(&Match::any()), 0);
}

#[test]
fn what_is_wrong_with_a_record_that_is_there_is_told() {
    let bed = bed_without_provider();
    let good = own(&bed);
    let plain = good.strip_suffix("; policy=wildcard").unwrap();
    for (value, expected) in [
        (FOREIGN.to_owned(), None),
        (format!("{good}x"), Some("there is one without \"policy=wildcard\"")),
        (plain.to_owned(), Some("there is one without \"policy=wildcard\"")),
        (format!("{plain}x; policy=wildcard"), Some("there is one of another account")),
        (
            format!("{good}; persistUntil=1000000000"),
            Some("there is one that has ended at 2001-09-09T01:46:40Z"),
        ),
        (
            format!("{good};"),
            Some(
                "there is one that is malformed: a parameter is empty, or the last \";\" has none behind \
                 it",
            ),
        ),
    ] {
        set(&bed, &[&value]);
        let records = waiting(&bed);
        let needed = NeededRecord {
            name: RECORD.to_owned(),
            value: good.clone(),
            why: expected.map(str::to_owned),
        };
        assert_eq!(records, [needed], "{value}");
    }
    assert_eq!(orders(&bed), 0);
}

#[test]
fn a_record_that_ends_soon_is_used_and_told() {
    let bed = bed_without_provider();
    let until = days_from_now(20);
    set(&bed, &[&format!("{}; persistUntil={until}", own(&bed))]);
    bed.obtain().unwrap();
    let errors = told(&bed, Level::Error);
    let [PersistEvent::EndsSoon { until: end, line }] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(u64::try_from(end.0).unwrap(), until);
    assert_eq!(*line, format!("{RECORD}. IN TXT \"{}\"", own(&bed)));
}

#[test]
fn an_alias_of_the_record_is_followed() {
    let bed = bed(&[DnsPersist01]);
    bed.testbed.cloudflare.add_zone(&bed.testbed.dns, "acme.test");
    bed.testbed.dns.set_cname(RECORD, "shop.acme.test");
    bed.obtain().unwrap();
    assert_eq!(bed.testbed.dns.txt_records("shop.acme.test"), [own(&bed)]);
}

#[test]
fn the_next_method_is_used_where_the_record_cannot_be_had() {
    let token = "token-of-acme-test-0123456789-0123456789";
    let mut bed = bed(&[DnsPersist01, Dns01]);
    let testbed = &bed.testbed;
    testbed.cloudflare.add_zone(&testbed.dns, "acme.test");
    testbed.cloudflare.add_token(servers::cloudflare::Token::new(token).zones(&["acme.test"]));
    testbed.dns.set_cname("_acme-challenge.example.test", "shop.acme.test");
    bind(&mut bed, "acme.test", token);
    bed.config.providers[ProviderId::new(0)].zones = names(&["elsewhere.test"]);
    bed.obtain().unwrap();
    bed.assert_clean();
    assert_eq!(values(&bed), [""; 0]);
    assert_eq!(told(&bed, Level::Notice), []);
}

#[test]
fn a_zone_that_the_provider_does_not_have_is_nobodys_to_write() {
    let mut bed = bed(&[DnsPersist01]);
    bed.testbed.cloudflare.add_zone(&bed.testbed.dns, "acme.test");
    bed.testbed.dns.create_zone("elsewhere.test");
    bed.config.certificates[CERTIFICATE].names = names(&["www.elsewhere.test"]);
    assert_eq!(waiting(&bed)[0].name, "_validation-persist.www.elsewhere.test");
    assert_eq!(orders(&bed), 0);
    bed.config.issuers[ISSUER].challenges = vec![DnsPersist01, Dns01];
    bed.testbed.dns.set_cname("_acme-challenge.www.elsewhere.test", "shop.acme.test");
    bed.obtain().unwrap();
    bed.assert_clean();
}

#[test]
fn the_next_method_is_used_where_the_ca_does_not_offer_it_or_offers_it_wrongly() {
    for is_hidden in [true, false] {
        let bed = bed(&[DnsPersist01, Dns01]);
        if is_hidden {
            hide(&bed, &["dns-persist-01"]);
        } else {
            let spoil = change(|json| {
                let challenges = json["challenges"].as_array_mut().into_iter().flatten();
                let is_it = |json: &&mut serde_json::Value| json["type"] == "dns-persist-01";
                challenges.filter(is_it).for_each(|json| json["issuer-domain-names"] = json!([]));
            });
            let steps = AcmeStep::Authorization.requests();
            bed.proxy.traffic.inject(Fault::new(steps, spoil).always());
        }
        bed.obtain().unwrap();
        bed.assert_clean();
        let warnings = told(&bed, Level::Warn);
        let is_told = |event: &PersistEvent| {
            matches!(event, PersistEvent::Malformed { why, .. }
            if why == "it has 0 issuer domain names instead of 1 to 10")
        };
        assert_eq!(warnings.iter().any(is_told), !is_hidden, "{warnings:?}");
    }
}

#[test]
fn where_only_a_challenge_names_the_issuer_the_order_waits() {
    let bed = bed_without_provider();
    let forget = change(|json| json["meta"] = json!({}));
    bed.proxy.traffic.inject(Fault::new(AcmeStep::Directory.requests(), forget).always());
    assert_eq!(waiting(&bed)[0].value, own(&bed));
    assert_eq!(waiting(&bed).len(), 1);
    set(&bed, &[&own(&bed)]);
    bed.obtain().unwrap();
    assert_eq!(orders(&bed), 1, "it was resumed");
}

/// Puts a CA of draft 02 in the place of Pebble, for a configuration with or without a provider.
fn of_draft_02(mut bed: Bed) -> Bed {
    bed.proxy = bed.testbed.persist_proxy();
    let issuer = &mut bed.config.issuers[ISSUER];
    issuer.directory = bed.proxy.directory_url();
    issuer.trusted_certificate = Some(fs::read(bed.proxy.ca_file()).unwrap());
    bed
}

/// Gives the accounts of the values at the record that are of draft 02.
fn hashed(bed: &Bed) -> Vec<String> {
    let values = values(bed).into_iter();
    values.filter(|value| value.contains(PREFIX)).collect()
}

#[test]
fn draft_02_hides_the_account_and_is_kept_over_a_change_of_its_key() {
    let bed = of_draft_02(bed(&[DnsPersist01]));
    bed.obtain().unwrap();
    let [first] = hashed(&bed).try_into().unwrap();
    assert!(first.ends_with("; policy=wildcard"), "{first}");
    assert!(!first.contains(&bed.account().unwrap()), "{first}");
    let before = writes(&bed);
    bed.obtain().unwrap();
    assert_eq!(writes(&bed), before, "it is there");
    bed.run(async |obtainer| obtainer.change_key(ISSUER).await.unwrap());
    bed.obtain().unwrap();
    let [second] = hashed(&bed).try_into().unwrap();
    assert_ne!(first, second, "written anew");
    assert_eq!(bed.log.events(Level::Warn), []);
}

#[test]
fn draft_02_needs_no_provider_and_no_other_record_after_a_change_of_the_key() {
    let bed = of_draft_02(bed_without_provider());
    let needed = waiting(&bed);
    assert_eq!(orders(&bed), 0);
    set(&bed, &[FOREIGN, &needed[0].value]);
    bed.obtain().unwrap();
    // Without the record of draft 01 that has satisfied Pebble.
    set(&bed, &[FOREIGN, &needed[0].value]);
    bed.run(async |obtainer| obtainer.change_key(ISSUER).await.unwrap());
    bed.obtain().unwrap();
    assert_eq!(hashed(&bed), [needed[0].value.clone()]);
    assert_eq!(bed.log.events(Level::Warn), []);
}

#[test]
fn an_account_that_is_gone_is_not_told_to_others() {
    let bed = bed_without_provider();
    let first = bed.account().unwrap();
    let refusal = || problem(403, "unauthorized", "the account is deactivated");
    let steps = [AcmeStep::Account.requests(), AcmeStep::NewAccount.requests().body("payload")];
    for step in steps {
        bed.proxy.traffic.inject(Fault::new(step, refusal()));
    }
    let error = bed.obtain_error();
    assert!(error.to_string().starts_with("reading the account was refused"), "{error}");
    assert_eq!(told(&bed, Level::Notice), []);
    let needed = waiting(&bed);
    assert!(!needed[0].value.contains(&first), "{needed:?}");
}
