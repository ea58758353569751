//! The status where several hosts share certificates: the engine, and which host has obtained what.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use servers::acme_proxy::AcmeStep;
use servers::etcd::{Etcd, EtcdOptions};
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::process::wait_until;
use servers::promtool;
use testbed::clients::tls::TlsClient;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use super::NAME;
use crate::site::{LIMIT, Site};
use crate::support::{block_on, client};

/// Key that records are encrypted with: 32 bytes in base64.
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A host that obtains a certificate, and one that joins meanwhile and is asked for its status.
struct Hosts {
    first: Site,
    second: Nginx,
    https: Port,
    status: Port,
    etcd: Etcd,
}

impl Hosts {
    fn new() -> Self {
        // Each order is counted at its request.
        let mut first = Site::with(|options| PebbleOptions { nonce_reject_percent: 0, ..options });
        let etcd = Etcd::start(&first.bed.dir().join("etcd"), EtcdOptions::default());
        let key = first.bed.dir().join("share_key");
        fs::write(&key, KEY).expect("it can be written");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
        let share = format!(
            "acme_dns_share etcd {{ endpoint {}; encryption_key_file {}; }}\n",
            etcd.endpoints().join(" "),
            key.display()
        );
        let mut second = Nginx::new(NginxBuild::get());
        let (https, status) = (Port::reserve(), Port::reserve());
        second.http(format!(
            "{}{share}server {{ listen {} ssl; server_name {NAME}; acme_dns on; return 200; }}\n\
             server {{ listen {}; location = /json {{ acme_dns_status json; }}\n\
             location = /html {{ acme_dns_status html; }}\n\
             location = /metrics {{ acme_dns_status prometheus; }} }}",
            first.definitions(),
            https.addr(),
            status.addr()
        ));
        first.http = share;
        first.add_server(NAME, "on");
        Self { first, second, https, status, etcd }
    }

    fn logs(&self) -> String {
        format!("{}\n{}", self.first.nginx.log(), self.second.log())
    }

    /// Returns the second host's status in a form.
    fn status(&self, form: &str) -> String {
        let request = client(None).get(format!("http://{}/{form}", self.status.addr()));
        block_on(async { request.send().await.expect("it answers").text().await }).expect("a text")
    }

    /// Waits until the second host's status is as it is to be, and gives it.
    fn wait_for(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let shown = || {
            let page: Value = serde_json::from_str(&self.status("json")).expect("JSON");
            is_it(&page).then_some(page)
        };
        let page = wait_until(LIMIT, shown);
        page.unwrap_or_else(|| panic!("{}\n{}", self.status("json"), self.logs()))
    }
}

fn hosts(page: &Value) -> &Value {
    &page["certificates"][0]["variants"][0]["share"]
}

#[test]
fn the_engine_is_shown_and_who_has_obtained_what() {
    let mut fleet = Hosts::new();
    let order = fleet.first.proxy.traffic.hold(AcmeStep::Finalize.requests());
    fleet.first.start_nginx();
    order.wait(LIMIT);
    fleet.second.start();
    // It has followed the engine for a while when the certificate is issued.
    let follows = |page: &Value| {
        let (now, since) = (page["now"].as_str(), page["share"]["since"].as_str());
        let is_joined = page["share"]["state"] == "reached" && now > since;
        is_joined && page["share"]["hosts"] == 2 && hosts(page)["leader"].is_string()
    };
    let page = fleet.wait_for(follows);
    assert_eq!(hosts(&page)["leader"], page["share"]["host"], "both are on this machine");
    let metrics = fleet.status("metrics");
    assert!(metrics.contains("acme_dns_share_leader_info{name=\"example.test\""), "{metrics}");
    order.release();
    let serial = fleet.first.wait_for_certificate(NAME).leaf.serial;
    let has_adopted =
        |page: &Value| hosts(page)["takenOver"].is_string() && hosts(page)["leader"].is_null();
    let page = fleet.wait_for(has_adopted);
    let share = &page["share"];
    assert_eq!((&share["type"], &share["lastError"]), (&"etcd".into(), &Value::Null));
    assert_eq!(share["host"], hosts(&page)["obtainedBy"], "both are on this machine");
    assert!(share["since"].is_string() && share["lastContact"].is_string(), "{share}");
    assert_eq!(share["lag"]["count"], 1, "{share}");
    let metrics = fleet.status("metrics");
    promtool::check_metrics(&metrics).unwrap_or_else(|error| panic!("{error}"));
    assert!(metrics.contains("acme_dns_share_state{type=\"etcd\",state=\"reached\"} 1\n"));
    assert!(fleet.status("html").contains("<h1>The certificate is valid</h1>"));

    fleet.etcd.stop(0);
    let away = fleet.wait_for(|page| page["share"]["state"] == "away");
    let text = away["share"]["lastError"]["text"].as_str().expect("an error").to_owned();
    assert!(text.contains("cannot be reached"), "{text}");
    let html = fleet.status("html");
    for part in [
        "<h1>The certificate is valid, but not shared with other hosts now</h1>",
        "The etcd that certificates are shared on is away",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    // Who has obtained what is shown over a reload.
    fleet.second.reload();
    let again = fleet.wait_for(|page| page["share"]["state"] == "away");
    assert_eq!(hosts(&again), hosts(&page));
    fleet.etcd.start_again(0);
    let back = fleet.wait_for(|page| page["share"]["state"] == "reached");
    assert_eq!(back["share"]["lastError"], Value::Null);
    assert!(!fleet.status("html").contains("not shared"));
    let served = TlsClient::new(fleet.https.addr()).sni(NAME).handshake();
    assert_eq!(served.expect("a handshake").leaf.serial, serial);
    let orders = fleet.first.proxy.traffic.count(&AcmeStep::NewOrder.requests());
    assert_eq!(orders, 1, "{}", fleet.logs());
    assert!(![fleet.status("json"), metrics, html].iter().any(|text| text.contains(KEY)));
}
