//! The stand-in answers as Cloudflare does.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use servers::cloudflare::{Cloudflare, Token};
use servers::powerdns::PowerDns;

use crate::support::{Answer, Api, LONG, send};

const TOKEN: &str = "stand-in-token";

struct Bed {
    cloudflare: Cloudflare,
    dns: PowerDns,
    _dir: tempfile::TempDir,
    records: String,
    api: Api,
}

fn bed() -> Bed {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dns = PowerDns::start(dir.path());
    let cloudflare = Cloudflare::start(&dns);
    let zone = cloudflare.add_zone(&dns, "example.test");
    cloudflare.add_token(Token::new(TOKEN));
    let api = Api::new(cloudflare.api_url(), TOKEN);
    Bed { cloudflare, dns, _dir: dir, records: format!("/zones/{zone}/dns_records"), api }
}

fn txt(name: &str, content: &str) -> Value {
    json!({"type": "TXT", "name": name, "content": content, "ttl": 60})
}

fn id(answer: &Answer) -> String {
    answer.result()["id"].as_str().expect("a record has an identifier").to_owned()
}

#[test]
fn record_comes_back_quoted_and_reaches_powerdns() {
    let bed = bed();
    let long = "x".repeat(300);
    let created = bed.api.post(&bed.records, &txt("_acme-challenge.example.test", "plain"));
    assert_eq!(created.result()["content"], "\"plain\"");
    bed.api.post(&bed.records, &txt("_acme-challenge", "\"quoted\"")).result();
    bed.api.post(&bed.records, &txt("long", &long)).result();
    let mut values = bed.dns.txt_records("_acme-challenge.example.test");
    values.sort();
    assert_eq!(values, ["plain", "quoted"], "a relative name is completed");
    assert_eq!(bed.dns.txt_records("long.example.test"), [long]);

    let query = "?type=TXT&name=_acme-challenge.example.test&content.exact=plain";
    let listed = bed.api.get(&format!("{}{query}", bed.records));
    assert_eq!(listed.result()[0]["id"], created.result()["id"]);
    assert_eq!(listed.json["result_info"]["total_count"], 1);

    bed.api.delete(&format!("{}/{}", bed.records, id(&created))).result();
    assert_eq!(bed.dns.txt_records("_acme-challenge.example.test"), ["quoted"]);
}

#[test]
fn record_is_changed_by_patch_and_replaced_by_put() {
    let bed = bed();
    let mut body = txt("a", "one");
    body["comment"] = "mine".into();
    let record = format!("{}/{}", bed.records, id(&bed.api.post(&bed.records, &body)));
    let patched = bed.api.with_body(Method::PATCH, &record, &json!({"content": "two"}));
    assert_eq!(patched.result()["comment"], "mine");
    let replaced = bed.api.with_body(Method::PUT, &record, &txt("b", "three"));
    assert_eq!(replaced.result()["comment"], Value::Null);
    assert_eq!(bed.dns.all_txt(), [("b.example.test.".to_owned(), "three".to_owned())]);
    assert_eq!(bed.api.get(&record).result()["name"], "b.example.test");
}

#[test]
fn invalid_records_are_refused_with_their_codes() {
    let bed = bed();
    bed.api.post(&bed.records, &txt("same", "value")).result();
    let cname = json!({"type": "CNAME", "name": "alias", "content": "target.example.test"});
    bed.api.post(&bed.records, &cname).result();
    let with = |key: &str, value: Value| {
        let mut body = txt("new", "value");
        body[key] = value;
        body
    };
    let rows = [
        ("identical", txt("same", "\"value\""), (400, 81058)),
        ("TTL too short", with("ttl", 59.into()), (400, 9021)),
        ("TTL too long", with("ttl", 86_401.into()), (400, 9021)),
        ("comment too long", with("comment", "x".repeat(101).into()), (400, 1004)),
        ("bad name", with("name", "a..b".into()), (400, 1004)),
        ("no content", with("content", "".into()), (400, 9007)),
        ("unknown type", with("type", "SPAM".into()), (400, 1004)),
        ("beside an alias", txt("alias", "value"), (400, 81054)),
        ("bad address", json!({"type": "A", "name": "a", "content": "::1"}), (400, 9005)),
        ("not an object", json!([]), (400, 6007)),
    ];
    for (what, body, expected) in rows {
        assert_eq!(bed.api.post(&bed.records, &body).error(), expected, "{what}");
    }
    for ttl in [1, 60, 86_400] {
        bed.api.post(&bed.records, &with("ttl", ttl.into())).result();
        let id = bed.cloudflare.records().pop().expect("it is stored").id;
        bed.api.delete(&format!("{}/{id}", bed.records)).result();
    }
    bed.cloudflare.set_record_quota(2);
    assert_eq!(bed.api.post(&bed.records, &txt("more", "x")).error(), (400, 81045));
}

#[test]
fn missing_objects_are_answered_with_their_codes() {
    let bed = bed();
    let nothing = "0".repeat(32);
    let rows = [
        (format!("{}/{nothing}", bed.records), (404, 81044)),
        (format!("{}/short", bed.records), (400, 7003)),
        (format!("/zones/{nothing}/dns_records"), (404, 7003)),
        (format!("/zones/{nothing}"), (404, 7003)),
        ("/zones/short".to_owned(), (400, 7003)),
        ("/nowhere".to_owned(), (404, 7000)),
    ];
    for (path, expected) in rows {
        assert_eq!(bed.api.get(&path).error(), expected, "{path}");
    }
    assert_eq!(bed.api.delete(&format!("{}/{nothing}", bed.records)).error(), (404, 81044));
    assert_eq!(bed.api.delete("/zones").error(), (405, 10405));
}

#[test]
fn zones_and_records_come_in_pages() {
    let bed = bed();
    for n in 0..6 {
        bed.cloudflare.add_zone(&bed.dns, &format!("z{n}.test"));
        bed.api.post(&bed.records, &txt("many", &format!("v{n}"))).result();
    }
    for path in ["/zones", bed.records.as_str()] {
        let mut seen = Vec::new();
        let mut page = 1;
        loop {
            let answer = bed.api.get(&format!("{path}?per_page=3&page={page}"));
            let info = answer.json["result_info"].clone();
            let items = answer.result().as_array().expect("a list").clone();
            assert_eq!(info["count"], items.len());
            assert_eq!(info["per_page"], 3);
            assert_eq!(info["page"], page);
            seen.extend(items.into_iter().map(|item| item["id"].to_string()));
            if page >= info["total_pages"].as_i64().expect("a number of pages") {
                assert_eq!(info["total_count"], seen.len());
                break;
            }
            page += 1;
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), if path == "/zones" { 7 } else { 6 }, "{path}");
    }
    let named = bed.api.get("/zones?name=z3.test&per_page=50");
    assert_eq!(named.result()[0]["name"], "z3.test");
    assert_eq!(bed.api.get("/zones?name=unknown.test").result(), &json!([]));
    assert_eq!(bed.api.get("/zones?per_page=500").json["result_info"]["per_page"], 50);
}

#[test]
fn names_are_shown_in_unicode_and_found_by_either_form() {
    let bed = bed();
    bed.cloudflare.add_zone(&bed.dns, "bücher.test");
    let ascii = "xn--bcher-kva.test";
    for name in ["bücher.test", "BÜCHER.test", ascii] {
        let found = bed.api.get(&format!("/zones?name={name}"));
        assert_eq!(found.result()[0]["name"], "bücher.test", "{name}");
    }
    let records = format!("/zones/{}/dns_records", bed.cloudflare.zone_id(ascii));
    let created = bed.api.post(&records, &txt(&format!("www.{ascii}"), "v"));
    assert_eq!(created.result()["name"], "www.bücher.test");
    assert_eq!(bed.dns.txt_records(&format!("www.{ascii}")), ["v"]);
    for query in ["name.exact=www.bücher.test", "name=www.xn--bcher-kva.test"] {
        assert_eq!(bed.api.get(&format!("{records}?{query}")).json["result_info"]["count"], 1);
    }
}

#[test]
fn filters_are_all_or_any() {
    let bed = bed();
    for (name, value) in [("a", "one"), ("b", "two"), ("c", "three")] {
        bed.api.post(&bed.records, &txt(name, value)).result();
    }
    for (query, expected) in [
        ("?name.exact=a.example.test&content.exact=two", 0),
        ("?match=all&name.exact=a.example.test&content.exact=two", 0),
        ("?match=any&name.exact=a.example.test&content.exact=two", 2),
        ("?match=any&name.startswith=c&content.contains=w&type=MX", 2),
        ("?match=any", 3),
    ] {
        let found = bed.api.get(&format!("{}{query}", bed.records));
        assert_eq!(found.json["result_info"]["total_count"], expected, "{query}");
    }
    for (query, expected) in [
        ("name=contains:ample", 1),
        ("name=ends_with:.test", 1),
        ("name=not_equal:example.test", 0),
        ("match=any&name=x.test&status=active", 1),
    ] {
        let found = bed.api.get(&format!("/zones?{query}"));
        assert_eq!(found.json["result_info"]["total_count"], expected, "{query}");
    }
}

#[test]
fn identifiers_come_first_as_shell_clients_need_it() {
    let bed = bed();
    let text = bed.api.get("/zones").text;
    assert!(text.starts_with("{\"result\":[{\"id\":\""), "{text}");
}

#[test]
fn batch_is_one_transaction_in_a_fixed_order() {
    let bed = bed();
    let batch = format!("{}/batch", bed.records);
    let posts = json!({"posts": [txt("c", "apex"), txt("c", "wildcard")]});
    let done = bed.api.post(&batch, &posts);
    assert_eq!(done.result()["posts"].as_array().map(Vec::len), Some(2));
    assert_eq!(done.result()["deletes"], Value::Null);
    assert_eq!(bed.dns.txt_records("c.example.test").len(), 2);

    let failing = json!({"posts": [txt("new", "x"), txt("c", "apex")]});
    assert_eq!(bed.api.post(&batch, &failing).error(), (400, 81058));
    assert_eq!(bed.dns.txt_records("new.example.test").len(), 0, "nothing of it is done");

    // Deletes come first wherever they stand, so that this is no duplicate.
    let first = &done.result()["posts"][0];
    let swap = json!({"posts": [txt("c", "apex")], "deletes": [{"id": first["id"]}]});
    bed.api.post(&batch, &swap).result();
    let gone = json!({"deletes": [{"id": first["id"]}]});
    assert_eq!(bed.api.post(&batch, &gone).error(), (404, 81044));

    let many = |count: usize| {
        let posts: Vec<Value> = (0..count).map(|n| txt("many", &n.to_string())).collect();
        json!({"posts": posts})
    };
    assert_eq!(bed.api.post(&batch, &many(201)).status, 400);
    bed.api.post(&batch, &many(200)).result();
    bed.cloudflare.set_batch_enabled(false);
    assert_eq!(bed.api.post(&batch, &many(1)).error(), (404, 7000));
}

#[test]
fn credentials_are_checked_as_cloudflare_does() {
    let bed = bed();
    let key = "0123456789abcdef0123456789abcdef01234";
    bed.cloudflare.set_legacy_key("admin@example.test", key);
    let with = |headers: &[(&str, &str)]| {
        let mut request = bed.api.request(Method::GET, &bed.records);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request).error()
    };
    type Row<'a> = (&'a [(&'a str, &'a str)], (u16, i64));
    let rows: [Row; 10] = [
        (&[], (400, 9106)),
        (&[("X-Auth-Key", key)], (400, 9106)),
        (&[("X-Auth-Email", "admin@example.test")], (400, 9107)),
        (&[("X-Auth-Email", "admin@example.test"), ("X-Auth-Key", "short")], (400, 6003)),
        (&[("X-Auth-Email", "other@example.test"), ("X-Auth-Key", key)], (403, 9103)),
        (&[("X-Auth-Email", "admin@example.test"), ("X-Auth-Key", key)], (200, -1)),
        (&[("Authorization", "Bearer stand in")], (400, 6003)),
        (&[("Authorization", "Bearer unknown")], (403, 10000)),
        // The type of a GET is not looked at; that of a body is.
        (&[("Authorization", "Bearer stand-in-token"), ("Content-Type", "text/x")], (200, -1)),
        (&[("Authorization", "Bearer stand-in-token"), ("Content-Type", "")], (200, -1)),
    ];
    for (headers, expected) in rows {
        assert_eq!(with(headers), expected, "{headers:?}");
    }
    let typed = bed.api.request(Method::POST, &bed.records).bearer_auth(TOKEN).body("{}");
    assert_eq!(send(typed.header("Content-Type", "text/x")).error(), (400, 6003));
    let verified = bed.api.get("/user/tokens/verify");
    assert_eq!(verified.result()["status"], "active");
    let unknown = Api::new(bed.cloudflare.api_url(), "unknown");
    assert_eq!(unknown.get("/user/tokens/verify").error(), (401, 1000));
    assert_eq!(unknown.get("/zones").error(), (403, 9109));
}

#[test]
fn tokens_do_only_what_they_may() {
    let bed = bed();
    let other = bed.cloudflare.add_zone(&bed.dns, "other.test");
    let url = bed.cloudflare.api_url();
    bed.cloudflare.add_token(Token::new("one-zone").zones(&["example.test"]));
    bed.cloudflare.add_token(Token::new("reads").read_only());
    bed.cloudflare.add_token(Token::new("no-zones").without_zone_read());
    let one = Api::new(url.clone(), "one-zone");
    assert_eq!(one.get("/zones").json["result_info"]["total_count"], 1);
    assert_eq!(one.get("/zones?name=other.test").result(), &json!([]), "as if it were not there");
    assert_eq!(one.get(&format!("/zones/{other}/dns_records")).error(), (403, 10000));
    assert_eq!(one.get(&format!("/zones/{other}")).error(), (403, 9109));
    let reads = Api::new(url.clone(), "reads");
    reads.get(&bed.records).result();
    assert_eq!(reads.post(&bed.records, &txt("a", "b")).error(), (403, 10000));
    let no_zones = Api::new(url, "no-zones");
    assert_eq!(no_zones.get("/zones").error(), (403, 0));
    no_zones.post(&bed.records, &txt("a", "b")).result();
    bed.cloudflare.add_token(Token::new("own").zones(&["example.test"]).dns_edit_only());
    let own = Api::new(bed.cloudflare.api_url(), "own");
    assert_eq!(own.get("/zones?name=example.test").json["result_info"]["total_count"], 1);
    for query in ["", "?name=test", "?name=www.example.test", "?name=other.test"] {
        assert_eq!(own.get(&format!("/zones{query}")).error(), (403, 0), "{query}");
    }
    bed.cloudflare.revoke_token("no-zones");
    assert_eq!(no_zones.get(&bed.records).error(), (403, 10000));
}

#[test]
fn rate_limit_answers_429_until_a_window_has_passed() {
    let bed = bed();
    bed.cloudflare.set_rate_limit(2, Duration::from_secs(300));
    bed.api.get("/zones").result();
    bed.api.get("/zones").result();
    for _ in 0..2 {
        let refused = bed.api.get("/zones");
        assert_eq!(refused.error(), (429, 971));
        assert!((299..=300).contains(&refused.retry_after.unwrap_or(0)), "{refused:?}");
    }
    bed.cloudflare.clear_rate_limit();
    bed.api.get("/zones").result();
}

#[test]
fn records_can_be_late_in_powerdns() {
    let bed = bed();
    bed.cloudflare.pause_propagation();
    bed.api.post(&bed.records, &txt("late", "x")).result();
    assert_eq!(bed.cloudflare.txt_records().len(), 1);
    assert_eq!(bed.dns.txt_records("late.example.test").len(), 0);
    bed.cloudflare.resume_propagation();
    let there = || (bed.dns.txt_records("late.example.test").len() == 1).then_some(());
    servers::process::wait_until(LONG, there).expect("it gets there");

    bed.cloudflare.set_propagation_delay(Duration::from_secs(2));
    bed.api.post(&bed.records, &txt("later", "x")).result();
    assert_eq!(bed.dns.txt_records("later.example.test").len(), 0);
    let there = || (bed.dns.txt_records("later.example.test").len() == 1).then_some(());
    servers::process::wait_until(LONG, there).expect("it gets there");
}
