//! A state path with orders and journals that somebody has forged before it was ours.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::Match;

use super::{NAME, ask_for_renewal, site};
use crate::site::{LIMIT, Site};
use crate::support::Api;

/// No configuration names it.
const VICTIM: &str = "admin.deep.example.test";

/// Writes a file as the service would have.
fn forge(site: &Site, name: &str, content: &Value) {
    let path = site.state().join(name);
    let owner = fs::metadata(path.parent().expect("a directory")).expect("it is there");
    fs::write(&path, content.to_string()).expect("it is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    chown(&path, Some(owner.uid()), Some(owner.gid())).expect("root may do that");
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// An order of the account for the victim's name, as its file has it.
fn order_for_the_victim(site: &mut Site) -> Value {
    let held = site.proxy.traffic.hold(AcmeStep::Authorization.requests());
    site.set_servers(&[NAME, VICTIM]);
    site.reload();
    held.wait(LIMIT);
    let file = site.state().join(format!("orders/{VICTIM}.order"));
    let order = wait_until(LIMIT, || read(&file)).expect("it is under way");
    site.nginx.stop_hard();
    held.release();
    // Nothing of it is left but what the test makes of it.
    for file in [file, site.state().join(format!("orders/{VICTIM}.json"))] {
        fs::remove_file(file).expect("it is there");
    }
    order
}

#[test]
fn a_forged_order_puts_up_no_record() {
    let mut site = site();
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    site.wait_until_clean();
    let mut order = order_for_the_victim(&mut site);
    order["names"] = json!([NAME]);
    forge(&site, &format!("orders/{NAME}.order"), &order);
    ask_for_renewal(&site).expect("it can be asked for");
    site.set_servers(&[NAME]);
    site.start_nginx();
    site.proxy.traffic.wait_for_request(&AcmeStep::Authorization.requests(), LIMIT);
    // The order does not stay in the way.
    site.wait_for_other(NAME, &leaf.serial);
    site.wait_until_clean();
    let writes = site.bed.cloudflare.traffic.requests(&Match::any().body(VICTIM));
    let writes: Vec<_> = writes.iter().map(|write| write.body()).collect();
    assert!(writes.is_empty(), "{writes:?}");
    let told = format!("it has an authorization for \"{VICTIM}\", which was not ordered");
    site.nginx.wait_for_log(&told, LIMIT);
}

#[test]
fn a_forged_journal_removes_no_record() {
    let mut site = site();
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    site.wait_until_clean();
    let api = Api::new(site.bed.cloudflare.api_url(), site.bed.token());
    let zone = site.bed.cloudflare.zone_id(NAME);
    let mut ids = Vec::new();
    let records = [
        ("TXT", NAME.to_owned(), "v=spf1 -all"),
        ("TXT", format!("_acme-challenge.{NAME}"), "v=spf1 -all"),
        ("A", format!("www.{NAME}"), "192.0.2.1"),
        // With our form of value, of a name that is none of ours.
        ("TXT", format!("_acme-challenge.{VICTIM}"), "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"),
    ];
    for (kind, name, content) in &records {
        let body = json!({ "type": kind, "name": name, "content": content, "ttl": 60 });
        let answer = api.with_body(Method::POST, &format!("/zones/{zone}/dns_records"), &body);
        ids.push(answer.result()["id"].clone());
    }
    site.nginx.stop_hard();
    for (position, (_, name, content)) in records.iter().enumerate() {
        for (suffix, id) in [("", &Value::Null), ("-by-id", &ids[position])] {
            let journal = json!({ "provider": "cloudflare", "records": [{
                "record": { "name": name, "value": content },
                "zone": { "id": zone, "name": NAME },
                "id": id,
            }]});
            forge(&site, &format!("journal/evil{position}{suffix}.json"), &journal);
        }
    }
    // A name of ours, and the identifier of somebody else's record.
    let journal = json!({ "provider": "cloudflare", "records": [{
        "record": {
            "name": format!("_acme-challenge.{NAME}"),
            "value": "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ",
        },
        "zone": { "id": zone, "name": NAME },
        "id": ids[2],
    }]});
    forge(&site, "journal/example.test.json", &journal);
    ask_for_renewal(&site).expect("it can be asked for");
    site.start_nginx();
    let left = || {
        let left = site.entries("journal");
        left.iter().all(|name| !name.ends_with(".json")).then_some(())
    };
    wait_until(LIMIT, left).unwrap_or_else(|| panic!("{:?}", site.entries("journal")));
    site.wait_for_other(NAME, &leaf.serial);
    let names: Vec<String> = site.bed.cloudflare.records().into_iter().map(|r| r.name).collect();
    for (kind, name, content) in &records {
        assert!(names.contains(name), "{kind} {name} {content} is gone: {}", site.nginx.log());
    }
    let deletions = Match::any().method(Method::DELETE);
    for deletion in site.bed.cloudflare.traffic.requests(&deletions) {
        let path = &deletion.request.path;
        let hit = ids.iter().find(|id| id.as_str().is_some_and(|id| path.ends_with(id)));
        assert_eq!(hit, None, "{path}");
    }
}
