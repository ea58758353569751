use super::*;
use crate::config::{Config, Share, ShareKind};
use crate::id::VariantId;
use crate::key::KeyType;
use crate::status::figure::Figure;
use crate::status::samples::HOSTILE;
use crate::status::testing::{Heap, NOW, config, days, plan, served};
use crate::status::{Activity, HelperState, Order, Page, json, prometheus};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

const FIRST: VariantId = VariantId::new(0);

fn engine() -> EngineRecord {
    EngineRecord {
        state: ShareState::Away,
        since: days(-1),
        last_contact: Some(days(-2)),
        records: 12,
        hosts: 3,
        host: "web1".to_owned(),
        last_error: Some(ShareFailure {
            text: "https://etcd1:2379 cannot be reached".to_owned(),
            at: NOW,
        }),
    }
}

fn shared() -> SharedVariant {
    SharedVariant {
        obtained_by: Some("web2".to_owned()),
        issued: Some(days(-3)),
        taken_over: Some(days(-2)),
        leader: Some("web3".to_owned()),
    }
}

#[test]
fn records_are_read_as_they_were_written() {
    let good = EngineRecord { state: ShareState::Reached, last_error: None, ..engine() };
    let unheard = EngineRecord { last_contact: None, host: String::new(), ..engine() };
    for record in [engine(), good, unheard] {
        assert_eq!(EngineRecord::decode(&record.encode()), Ok(Some(record)));
    }
    for record in [shared(), SharedVariant::default()] {
        assert_eq!(SharedVariant::decode(&record.encode()), Ok(Some(record)));
    }
    assert_eq!(EngineRecord::decode(&[0; ENGINE]), Ok(None));
    assert_eq!(SharedVariant::decode(&[0; SHARED]), Ok(None));
}

#[test]
fn long_words_of_others_are_cut_between_characters() {
    let mut long = EngineRecord { host: "ä".repeat(40), ..engine() };
    long.last_error.as_mut().unwrap().text = format!("x{}", "ä".repeat(TEXT));
    let read = EngineRecord::decode(&long.encode()).unwrap().unwrap();
    assert_eq!(read.host, "ä".repeat(32));
    assert_eq!(read.last_error.unwrap().text, format!("x{}", "ä".repeat((TEXT - 1) / 2)));
    let long = SharedVariant { leader: Some("ö".repeat(99)), ..shared() };
    let read = SharedVariant::decode(&long.encode()).unwrap().unwrap();
    assert_eq!(read, SharedVariant { leader: Some("ö".repeat(32)), ..shared() });
}

#[test]
fn a_field_that_nobody_writes_is_refused() {
    for (at, byte, expected) in [
        (0, 2, RecordError::Version(2)),
        (1, 6, RecordError::Unknown("state")),
        (2, 65, RecordError::Unknown("length")),
        (5, 3, RecordError::Unknown("length")),
        (40, 0xff, RecordError::Unknown("text")),
    ] {
        let mut record = engine().encode();
        record[at] = byte;
        assert_eq!(EngineRecord::decode(&record), Err(expected), "{at}");
    }
    for (at, byte, expected) in [
        (0, 2, RecordError::Version(2)),
        (1, 65, RecordError::Unknown("length")),
        (2, 65, RecordError::Unknown("length")),
        (24, 0xff, RecordError::Unknown("text")),
    ] {
        let mut record = shared().encode();
        record[at] = byte;
        assert_eq!(SharedVariant::decode(&record), Err(expected), "{at}");
    }
}

proptest! {
    #![proptest_config(crate::schedule::test_config(256))]

    /// Whatever another process has left there: an error or a record, never a panic.
    #[test]
    fn any_bytes_are_read(mut bytes in proptest::collection::vec(any::<u8>(), ENGINE + SHARED)) {
        (bytes[0], bytes[ENGINE]) = (1, 1);
        let (engine, rest) = bytes.split_first_chunk().unwrap();
        if let Ok(Some(read)) = EngineRecord::decode(engine) {
            prop_assert_eq!(EngineRecord::decode(&read.encode()), Ok(Some(read)));
        }
        if let Ok(Some(read)) = SharedVariant::decode(rest.first_chunk().unwrap()) {
            prop_assert_eq!(SharedVariant::decode(&read.encode()), Ok(Some(read)));
        }
    }
}

/// The engine of the configuration, as far as the page shows it.
fn etcd() -> Share {
    Share {
        kind: ShareKind::Etcd,
        endpoints: Vec::new(),
        prefix: "acme_dns".to_owned(),
        username: None,
        password: None,
        client_certificate: None,
        trusted_certificate: None,
        encryption_keys: Vec::new(),
    }
}

/// A certificate that is shared, and shared memory that says so.
fn fleet() -> (Config, Heap) {
    let mut config = config(&[(&["a.test"], &[KeyType::EcdsaP256])]);
    config.share = Some(etcd());
    let mut heap = Heap::of(&[(Some(served(-1, 80)), Some(plan(Activity::Idle, 50)))]);
    heap.engine = Some(engine());
    heap.shared.insert(FIRST, shared());
    heap.figures = vec![
        (Figure::lag(Duration::from_secs(2)), 3),
        (Figure::lag(Duration::from_secs(9_999)), 1),
        (Figure::LagSum, 10_005_000),
    ];
    (config, heap)
}

fn page((config, heap): &(Config, Heap)) -> Page {
    heap.page(config, "", Order::Urgency)
}

#[test]
fn json_has_the_engine_and_the_hosts_as_documented() {
    let read: Value = serde_json::from_str(&json::render(&page(&fleet()))).unwrap();
    let buckets = [(1, 0), (5, 3), (15, 3), (30, 3), (60, 3), (120, 3), (300, 3), (900, 3)];
    assert_eq!(
        read["share"],
        json!({
            "type": "etcd",
            "host": "web1",
            "state": "away",
            "since": "2027-01-14T08:00:00Z",
            "lastContact": "2027-01-13T08:00:00Z",
            "records": 12,
            "hosts": 3,
            "lastError": {
                "text": "https://etcd1:2379 cannot be reached",
                "at": "2027-01-15T08:00:00Z",
            },
            "lag": {"buckets": buckets, "count": 4, "sum": 10_005.0},
        })
    );
    assert_eq!(
        read["certificates"][0]["variants"][0]["share"],
        json!({
            "obtainedBy": "web2",
            "issued": "2027-01-12T08:00:00Z",
            "takenOver": "2027-01-13T08:00:00Z",
            "leader": "web3",
        })
    );
}

#[test]
fn prometheus_has_the_engine_and_the_hosts_as_documented() {
    let (config, mut heap) = fleet();
    heap.shared.get_mut(&FIRST).unwrap().leader = Some("a\"b\\c\nd".to_owned());
    let text = prometheus::render(&page(&(config, heap)));
    for sample in [
        "share_state{type=\"etcd\",state=\"away\"} 1",
        "share_state{type=\"etcd\",state=\"reached\"} 0",
        "share_last_contact_timestamp_seconds 1799827200",
        "share_records 12",
        "share_hosts 3",
        "share_lag_seconds_bucket{le=\"1\"} 0",
        "share_lag_seconds_bucket{le=\"5\"} 3",
        "share_lag_seconds_bucket{le=\"+Inf\"} 4",
        "share_lag_seconds_sum 10005",
        "share_certificate_info{name=\"a.test\",key_type=\"ecdsa:256\",host=\"web2\"} 1",
        "share_leader_info{name=\"a.test\",key_type=\"ecdsa:256\",host=\"a\\\"b\\\\c\\nd\"} 1",
    ] {
        assert!(text.lines().any(|line| line == format!("acme_dns_{sample}")), "{sample}: {text}");
    }
}

#[test]
fn without_an_engine_nothing_of_it_is_shown() {
    let (mut config, heap) = fleet();
    config.share = None;
    let page = heap.page(&config, "", Order::Urgency);
    let html = crate::status::html::render(&page);
    assert!(!json::render(&page).contains("share\""));
    assert!(!prometheus::render(&page).contains("acme_dns_share_"));
    assert!(html.contains("<h1>The certificate is valid</h1>") && !html.contains("hared with"));
}

#[test]
fn the_state_is_that_of_the_process_that_asks() {
    for (noted, helper, expected, has_since) in [
        (Some(ShareState::Reached), HelperState::Working, ShareState::Reached, true),
        (Some(ShareState::Refused), HelperState::Working, ShareState::Refused, true),
        (None, HelperState::Working, ShareState::Joining, false),
        (Some(ShareState::Reached), HelperState::Down, ShareState::Joining, false),
        (Some(ShareState::Away), HelperState::Following, ShareState::Following, false),
    ] {
        let (config, mut heap) = fleet();
        heap.engine = noted.map(|state| EngineRecord { state, ..engine() });
        heap.state = helper;
        let share = page(&(config, heap)).share.unwrap();
        assert_eq!((share.state, share.since.is_some()), (expected, has_since), "{noted:?}");
        assert_eq!(share.is_broken(), expected == ShareState::Refused, "{expected:?}");
    }
}

#[test]
fn the_page_says_that_certificates_are_not_shared_now() {
    let (config, mut heap) = fleet();
    let html = |heap: &Heap| crate::status::html::render(&heap.page(&config, "", Order::Urgency));
    let away = html(&heap);
    for part in [
        "<h1>The certificate is valid, but not shared with other hosts now</h1>",
        "The etcd that certificates are shared on is away, first seen 24 hours ago. This host serves what it has",
        "<p><bdi>https://etcd1:2379 cannot be reached</bdi></p>",
        "<h2>Shared with other hosts</h2>",
        "<dt>This host</dt><dd><bdi>web1</bdi></dd>",
        "<dd>4 certificates, 2501.2 s after the issue on average</dd>",
        "Shared by <bdi>web2</bdi>, taken over 2 days ago. The next one is being ordered by <bdi>web3</bdi>.",
    ] {
        assert!(away.contains(part), "{part}: {away}");
    }
    let reached = EngineRecord { state: ShareState::Reached, last_error: None, ..engine() };
    heap.engine = Some(reached);
    heap.shared.insert(FIRST, SharedVariant { leader: Some("web1".to_owned()), ..shared() });
    let good = html(&heap);
    assert!(good.contains("<h1>The certificate is valid</h1>") && !good.contains("is away"));
    assert!(good.contains("The next one is being ordered by this host."), "{good}");
}

#[test]
fn words_of_other_hosts_are_no_markup() {
    let (config, mut heap) = fleet();
    let mut hostile = EngineRecord { host: HOSTILE.to_owned(), ..engine() };
    hostile.last_error.as_mut().unwrap().text = HOSTILE.to_owned();
    heap.engine = Some(hostile);
    let name = Some(HOSTILE.to_owned());
    heap.shared
        .insert(FIRST, SharedVariant { obtained_by: name.clone(), leader: name, ..shared() });
    let html = crate::status::html::render(&page(&(config, heap)));
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
    assert!(!html.contains('\u{202e}') && !html.contains('\u{0}'), "{html}");
}
