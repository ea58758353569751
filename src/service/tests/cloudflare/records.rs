//! Records at Cloudflare: created, found and removed.

use super::bed::{Bed, LONG, NAME, placed, remove, run, txt};
use acme_dns_core::challenge::{Candidate, Kept, Mark};
use acme_dns_service::dns::{DnsProvider, PlacedRecord, SparedRecord, TxtRecord, Zone};
use http::Method;
use servers::traffic::{Action, Reply};
use std::cell::RefCell;

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
