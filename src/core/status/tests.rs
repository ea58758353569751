//! Tests of the pages and of their forms.

use super::encode::{Plan, ServedRecord};
use super::figure::{CaAction, Code, Counted, DnsAction, Figure, Phase};
use super::testing::{Heap, NOW, config, days, plan, served};
use super::{
    Activity, Assembly, Filter, HelperState, LastError, NextStep, Order, Query, Remedy,
    RenewalRequest, RequestState, Served, Step, StepUnderWay, WhyNext, entity_tag, json,
    prometheus,
};
use crate::id::{CertificateId, IssuerId, ProviderId};
use crate::key::KeyType;
use crate::time::UnixTime;
use serde_json::{Value, json};
use std::time::Duration;

const ECDSA: &[KeyType] = &[KeyType::EcdsaP256];
const BOTH: &[KeyType] = &[KeyType::EcdsaP256, KeyType::Rsa2048];

fn failing(next: i64) -> Plan {
    Plan {
        failures: 3,
        next: Some(NextStep { at: days(next), reason: WhyNext::Retry }),
        last_error: Some(LastError {
            text: "\"dns\" says:\n</script> \\ no".to_owned(),
            at: days(-1),
            remedy: Remedy::Request,
        }),
        ..plan(Activity::Failing, -2)
    }
}

fn issuing() -> Plan {
    let step = Some(StepUnderWay { name: Step::Propagation, since: NOW });
    Plan { step, ..plan(Activity::Issuing, -1) }
}

#[test]
fn a_state_is_that_of_the_worst_variant() {
    type Row<'a> =
        (&'a str, &'a [(Option<ServedRecord>, Option<Plan>)], (&'a str, Served, Activity));
    let good = || Some(served(-1, 80));
    let idle = || Some(plan(Activity::Idle, 50));
    let rows: [Row<'_>; 12] = [
        ("valid", &[(good(), idle())], ("valid", Served::Valid, Activity::Idle)),
        ("no service yet", &[(good(), None)], ("valid", Served::Valid, Activity::Idle)),
        ("nothing at all", &[(None, None)], ("none", Served::None, Activity::Idle)),
        (
            "expired",
            &[(Some(served(-9, -1)), idle())],
            ("expired", Served::Expired, Activity::Idle),
        ),
        ("not yet", &[(Some(served(1, 9)), idle())], ("expired", Served::Expired, Activity::Idle)),
        (
            "due",
            &[(good(), Some(plan(Activity::Idle, 0)))],
            ("waiting", Served::Valid, Activity::Waiting),
        ),
        ("first", &[(None, Some(issuing()))], ("issuing", Served::None, Activity::Issuing)),
        ("renewed", &[(good(), Some(issuing()))], ("issuing", Served::Valid, Activity::Issuing)),
        ("failing", &[(good(), Some(failing(1)))], ("failing", Served::Valid, Activity::Failing)),
        (
            "one of two fails",
            &[(good(), idle()), (good(), Some(failing(1)))],
            ("failing", Served::Valid, Activity::Failing),
        ),
        ("one of two", &[(good(), idle()), (None, None)], ("none", Served::None, Activity::Idle)),
        (
            "one of two is ordered",
            &[(good(), idle()), (None, Some(issuing()))],
            ("issuing", Served::None, Activity::Issuing),
        ),
    ];
    for (row, variants, (state, served, activity)) in rows {
        let keys = if variants.len() > 1 { BOTH } else { ECDSA };
        let config = config(&[(&["a.test"], keys)]);
        let page = Heap::of(variants).page(&config, "", Order::Urgency);
        let status = &page.certificates[0];
        assert_eq!(
            (status.state, status.served, status.activity),
            (state, served, activity),
            "{row}"
        );
        for filter in [Filter::Served(served), Filter::Activity(activity)] {
            let arguments = format!("state={}", filter.word());
            let listing = Heap::of(variants).page(&config, &arguments, Order::Urgency).listing;
            assert_eq!((listing.query.state, listing.matching), (Some(filter), 1), "{row}");
        }
    }
}

#[test]
fn a_step_is_shown_while_somebody_works_at_it() {
    let config = config(&[(&["a.test"], ECDSA)]);
    let mut heap = Heap::of(&[(None, Some(issuing()))]);
    let status = &heap.page(&config, "", Order::Urgency).certificates[0];
    assert_eq!(status.step.map(|step| step.name), Some(Step::Propagation));
    assert_eq!((status.next, status.state), (None, "issuing"));
    heap.state = HelperState::Down;
    let page = heap.page(&config, "", Order::Urgency);
    let status = &page.certificates[0];
    assert_eq!((status.step, status.state), (None, "waiting"));
    assert_eq!((page.totals.issuing, page.totals.waiting), (0, 1));
}

#[test]
fn the_most_urgent_come_first() {
    let good = |end| Some(served(-1, end));
    let idle = |next| Some(plan(Activity::Idle, next));
    let revoked = Plan { revoked: true, ..plan(Activity::Idle, 50) };
    let variants = [
        ("later.test", good(80), idle(60)),
        ("sooner.test", good(80), idle(50)),
        ("due.test", good(30), idle(-1)),
        ("working.test", good(30), Some(issuing())),
        ("failing-late.test", good(20), Some(failing(1))),
        ("failing-soon.test", good(10), Some(failing(2))),
        ("expired.test", Some(served(-9, -1)), idle(-1)),
        ("revoked.test", good(80), Some(revoked)),
        ("none.test", None, Some(failing(1))),
    ];
    let names: Vec<[&str; 1]> = variants.iter().map(|(name, ..)| [*name]).collect();
    let certificates: Vec<_> = names.iter().map(|name| (name.as_slice(), ECDSA)).collect();
    let config = config(&certificates);
    let heap = Heap::of(&variants.clone().map(|(_, served, plan)| (served, plan)));
    let expected = [
        "none.test",
        "expired.test",
        "revoked.test",
        "failing-soon.test",
        "failing-late.test",
        "due.test",
        "working.test",
        "sooner.test",
        "later.test",
    ];
    let shown = |arguments: &str, order| -> Vec<String> {
        let page = heap.page(&config, arguments, order);
        page.certificates.into_iter().map(|certificate| certificate.name).collect()
    };
    assert_eq!(shown("", Order::Urgency), expected);
    for (page, part) in (1..).zip(expected.chunks(2)) {
        assert_eq!(shown(&format!("size=2&page={page}"), Order::Urgency), part);
    }
    assert_eq!(shown("size=4&page=99", Order::Urgency), expected[8..]);
    let as_written: Vec<&str> = variants.iter().map(|(name, ..)| *name).collect();
    assert_eq!(shown("size=4&page=2", Order::Configuration), as_written[4..8]);
    assert_eq!(shown("q=FAILING", Order::Urgency), expected[3..5]);
    assert_eq!(shown("state=failing&q=late", Order::Urgency), ["failing-late.test"]);
    assert_eq!(shown("state=revoked", Order::Urgency), ["revoked.test"]);
    assert_eq!(shown("q=nowhere", Order::Urgency), [""; 0]);
    let page = heap.page(&config, "state=failing&size=1", Order::Urgency);
    assert_eq!((page.listing.matching, page.listing.pages, page.totals.total), (3, 3, 9));
}

#[test]
fn a_query_is_read_as_far_as_it_makes_sense() {
    let query = |page, size, state, search: Option<&str>| Query {
        page,
        size,
        state,
        search: search.map(str::to_owned),
        still: false,
        asked: None,
    };
    let failing = Some(Filter::Activity(Activity::Failing));
    for (arguments, expected) in [
        ("", query(1, 50, None, None)),
        ("page=2&state=failing&q=Shop", query(2, 50, failing, Some("shop"))),
        ("page=0&size=0&state=bad&q=", query(1, 1, None, None)),
        ("page=-1&size=99999&other=1&q=+a%20", query(1, 1000, None, Some("a"))),
        ("page=99999999999999999999999", query(1, 50, None, None)),
        ("q=%ff%00%22", query(1, 50, None, Some("\u{fffd}\0\""))),
        ("state=valid&state=none", query(1, 50, Some(Filter::Served(Served::None)), None)),
    ] {
        assert_eq!(Query::parse(arguments, 50), expected, "{arguments}");
    }
    assert_eq!(Query::parse(&format!("q={}", "x".repeat(256)), 50).search, None);
    assert_eq!(query(1, 50, failing, Some("a&b")).link(3, failing), "page=3&state=failing&q=a%26b");
    assert_eq!(query(2, 50, failing, None).link(1, None), "");
}

/// Shared memory with two certificates, one of which has two variants.
fn two() -> (crate::config::Config, Heap) {
    let mut config = config(&[(&["shop.test", "*.shop.test"], BOTH), (&["other.test"], &[])]);
    // No name is like this; what is shown does not rely on that.
    config.certificates.values_mut().skip(1).for_each(|it| it.name = "x\"\\.test".to_owned());
    let mut rsa = served(-1, 80);
    (rsa.profile, rsa.stapled_until) = (Some("shortlived".to_owned()), Some(days(3)));
    rsa.directory = None;
    let mut idle = plan(Activity::Idle, 50);
    idle.last_success = Some(days(-1));
    let mut heap = Heap::of(&[(Some(served(-1, 89)), Some(idle)), (Some(rsa), Some(failing(1)))]);
    let (ca, dns) = (IssuerId::default(), ProviderId::default());
    heap.figures = vec![
        (Figure::Attempts(ca, Counted::Ok), 2),
        (Figure::Attempts(ca, Counted::Failed), 3),
        (Figure::CaRequests(ca, CaAction::NewOrder, Code::Status(429)), 1),
        (Figure::CaRequests(ca, CaAction::NewOrder, Code::Status(201)), 4),
        (Figure::ProviderRequests(dns, DnsAction::Create, Code::Ok), 5),
        (Figure::RetryAfter(ca), days(1).0.unsigned_abs()),
        (Figure::TxtRecords(dns), 2),
        (Figure::Reloads(Counted::Ok), 6),
        (Figure::duration(Phase::Dns, Duration::from_secs(2)), 7),
        (Figure::duration(Phase::Dns, Duration::from_secs(9999)), 1),
        (Figure::DurationSum(Phase::Dns), 14_500),
    ];
    (config, heap)
}

#[test]
fn json_is_as_documented() {
    let (config, heap) = two();
    let page = heap.page(&config, "", Order::Urgency);
    let read: Value = serde_json::from_str(&json::render(&page)).unwrap();
    assert_eq!(read["version"], 1);
    assert_eq!(read["now"], "2027-01-15T08:00:00Z");
    assert_eq!(
        read["helper"],
        json!({"up": true, "state": "working", "pid": 17, "started": "2027-01-14T08:00:00Z"})
    );
    assert_eq!(
        read["totals"],
        json!({"total": 2, "valid": 1, "expired": 0, "none": 1, "issuing": 0, "waiting": 0, "failing": 1,
            "revoked": 0})
    );
    let shop = &read["certificates"][1];
    assert_eq!(shop["name"], "shop.test");
    assert_eq!(shop["state"], "failing");
    assert_eq!(shop["served"], "valid");
    assert_eq!(shop["sans"], json!(["shop.test", "*.shop.test"]));
    assert_eq!((&shop["issuers"], &shop["provider"]), (&json!(["ca"]), &json!("dns")));
    assert_eq!(shop["failures"], 3);
    assert_eq!(shop["lastSuccess"], "2027-01-14T08:00:00Z");
    assert_eq!(
        shop["lastError"],
        json!({"text": "\"dns\" says:\n</script> \\ no", "at": "2027-01-14T08:00:00Z", "remedy": "request"})
    );
    assert_eq!(shop["next"], json!({"at": "2027-01-16T08:00:00Z", "reason": "retry"}));
    assert_eq!(
        shop["variants"][1],
        json!({
            "keyType": "rsa:2048",
            "certificate": {
                "issuer": null,
                "issuerCN": "Test \"CA\"",
                "serialNumber": "03ff",
                "certFingerprint": "ab".repeat(32),
                "notBefore": "2027-01-14T08:00:00Z",
                "notAfter": "2027-04-05T08:00:00Z",
                "profile": "shortlived",
                "source": "issued",
                "stapledUntil": "2027-01-18T08:00:00Z",
            },
            "renewal": {"at": "2027-01-13T08:00:00Z", "reason": "ari"},
            "next": {"at": "2027-01-16T08:00:00Z", "reason": "retry"},
        })
    );
    assert_eq!(shop["variants"][0]["certificate"]["issuer"], "ca");
    assert_eq!(
        read["issuers"][0],
        json!({
            "name": "ca",
            "directory": "https://ca.test/directory",
            "isStaging": false,
            "attempts": {"ok": 2, "failed": 3},
            "requests": [
                {"action": "newOrder", "code": "201", "count": 4},
                {"action": "newOrder", "code": "429", "count": 1},
            ],
            "retryAfter": "2027-01-16T08:00:00Z",
        })
    );
    assert_eq!(
        read["providers"][0],
        json!({
            "name": "dns",
            "type": "duckdns",
            "requests": [{"action": "create", "code": "ok", "count": 5}],
            "txtRecords": 2,
        })
    );
    let one = heap.assemble(&config, |it| it.one("shop.test", &Query::parse("", 1)));
    let one: Value = serde_json::from_str(&json::render_one(&one.unwrap())).unwrap();
    assert_eq!((&one["version"], &one["name"]), (&json!(1), &json!("shop.test")));
    assert_eq!(one["variants"], shop["variants"]);
    assert!(heap.assemble(&config, |it| it.one("Shop.test", &Query::parse("", 1))).is_none());
}

#[test]
fn prometheus_text_is_as_documented() {
    let (config, heap) = two();
    let text = prometheus::render(&heap.page(&config, "", Order::Configuration));
    let sample = |name: &str, value: &str| {
        assert!(
            text.lines().any(|line| line == format!("acme_dns_{name} {value}")),
            "no {name} {value} in {text}"
        );
    };
    let shop = |name: &str, key: &str, more: &str| {
        format!("certificate_{name}{{name=\"shop.test\",key_type=\"{key}\"{more}}}")
    };
    let at = |time: UnixTime| time.0.to_string();
    sample(&shop("not_after_timestamp_seconds", "ecdsa:256", ""), &at(days(89)));
    sample(&shop("not_before_timestamp_seconds", "rsa:2048", ""), &at(days(-1)));
    let renewal = "renewal_timestamp_seconds";
    sample(&shop(renewal, "ecdsa:256", ",reason=\"ari\""), &at(days(50)));
    sample(&shop(renewal, "rsa:2048", ",reason=\"ari\""), &at(days(-2)));
    sample(&shop(renewal, "rsa:2048", ",reason=\"retry\""), &at(days(1)));
    let info = format!(
        ",issuer=\"Test \\\"CA\\\"\",serial=\"03ff\",fingerprint_sha256=\"{}\",profile=\"shortlived\",\
         source=\"issued\"",
        "ab".repeat(32)
    );
    sample(&shop("info", "rsa:2048", &info), "1");
    for (state, value) in [("valid", "1"), ("none", "0"), ("failing", "1"), ("revoked", "0")] {
        sample(&format!("certificate_state{{name=\"shop.test\",state=\"{state}\"}}"), value);
    }
    sample("certificate_state{name=\"x\\\"\\\\.test\",state=\"none\"}", "1");
    sample("consecutive_failures{name=\"shop.test\"}", "3");
    sample("last_success_timestamp_seconds{name=\"shop.test\"}", &at(days(-1)));
    sample("attempts_total{issuer=\"ca\",result=\"failed\"}", "3");
    sample("ca_requests_total{issuer=\"ca\",action=\"newOrder\",code=\"429\"}", "1");
    sample("provider_requests_total{provider=\"dns\",action=\"create\",code=\"ok\"}", "5");
    sample("retry_after_timestamp_seconds{issuer=\"ca\"}", &at(days(1)));
    sample("txt_records{provider=\"dns\"}", "2");
    sample("reloads_total{result=\"ok\"}", "6");
    sample("helper_up", "1");
    sample("helper_start_timestamp_seconds", &at(days(-1)));
    sample("certificates{state=\"failing\"}", "1");
    sample("shared_zone_bytes{state=\"total\"}", "65536");
    let versions = "version=\"0.2.0\",nginx=\"1.31.0\",openssl=\"OpenSSL 3.5.4\"";
    sample(&format!("build_info{{{versions}}}"), "1");
    let duration = "issuance_duration_seconds";
    for (bound, count) in [("1", "0"), ("5", "7"), ("900", "7"), ("+Inf", "8")] {
        sample(&format!("{duration}_bucket{{phase=\"dns\",le=\"{bound}\"}}"), count);
    }
    sample(&format!("{duration}_sum{{phase=\"dns\"}}"), "14.5");
    sample(&format!("{duration}_count{{phase=\"dns\"}}"), "8");
}

#[test]
fn pages_beside_each_other_name_nothing_twice() {
    let (config, heap) = two();
    let text = |arguments| prometheus::render(&heap.page(&config, arguments, Order::Configuration));
    let (first, second) = (text("size=1"), text("size=1&page=2"));
    let is_sample = |line: &&str| !line.starts_with('#');
    let named = |text: &str| -> Vec<String> {
        let samples = text.lines().filter(is_sample);
        samples.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect()
    };
    let all = named(&text(""));
    let mut both = [named(&first), named(&second)].concat();
    both.sort();
    let mut expected = all.clone();
    expected.sort();
    assert_eq!(both, expected);
    let one = heap.assemble(&config, |it| it.one("shop.test", &Query::parse("", 1))).unwrap();
    let one = prometheus::render_certificates(&one);
    assert!(!one.contains("helper_up") && one.contains("shop.test"), "{one}");
}

#[test]
fn an_entity_tag_changes_with_what_is_shown() {
    let (config, mut heap) = two();
    let tag = |heap: &Heap, now: UnixTime| {
        let mut page = heap.page(&config, "", Order::Urgency);
        page.now = now;
        entity_tag(&json::render(&page), now)
    };
    let before = tag(&heap, NOW);
    assert!(before.starts_with("W/\"") && before.ends_with('"') && before.len() == 20, "{before}");
    assert_eq!(tag(&heap, days(9)), before);
    heap.state = HelperState::Down;
    assert_ne!(tag(&heap, NOW), before);
}

#[test]
fn a_request_is_shown_for_an_hour_and_a_token_where_there_is_a_maker() {
    let config = config(&[(&["a.test"], BOTH)]);
    let request = |state, minutes: i64| {
        let at = UnixTime(NOW.0 - 60 * minutes);
        let requested = Some(RenewalRequest { at, state });
        (Some(served(-1, 80)), Some(Plan { requested, ..plan(Activity::Idle, 50) }))
    };
    let none = || (Some(served(-1, 80)), Some(plan(Activity::Idle, 50)));
    let (granted, refused) = (RequestState::Granted, RequestState::Refused);
    for (variants, is_pending, expected) in [
        ([none(), none()], false, None),
        ([none(), none()], true, Some((RequestState::Pending, 0))),
        ([request(granted, 10), none()], false, Some((granted, 10))),
        ([request(granted, 10), request(refused, 5)], false, Some((refused, 5))),
        ([request(granted, 10), none()], true, Some((RequestState::Pending, 0))),
        ([request(granted, 60), none()], false, None),
    ] {
        let mut heap = Heap::of(&variants);
        heap.requested = if is_pending { vec![CertificateId::new(0)] } else { vec![] };
        let page = heap.assemble(&config, |assembly| {
            assert_eq!(
                assembly.one("a.test", &Query::parse("", 1)).unwrap().certificates[0].renew_token,
                None
            );
            let token = |name: &str| format!("token of {name}");
            let assembly = Assembly { tokens: Some(&token), ..*assembly };
            assembly.one("a.test", &Query::parse("", 1)).unwrap()
        });
        let shown = page.certificates[0].requested;
        let shown = shown.map(|it| (it.state, NOW.since(it.at).as_secs() as i64 / 60));
        assert_eq!(shown, expected);
        let json: Value = serde_json::from_str(&json::render_one(&page)).unwrap();
        assert_eq!(json["renewToken"], "token of a.test");
    }
}
