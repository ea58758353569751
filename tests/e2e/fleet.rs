//! Several nginx with one set of certificates, on an engine: `acme_dns_share`.

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

use crate::site::{LIMIT, Site};
use crate::support::{block_on, client};

const NAME: &str = "example.test";

/// Key that records are encrypted with: 32 bytes in base64.
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// Two hosts and their engine.
struct Fleet {
    site: Site,
    other: Nginx,
    port: Port,
    /// Port of the other host's status.
    status: Port,
    etcd: Etcd,
}

impl Fleet {
    /// Starts both with a server; `http` is what else stands in `http { }` of a host.
    fn start(names: &str, acme_dns: &str, http: impl FnOnce(&Site) -> String) -> Self {
        // Each order is counted at its request.
        let mut site = Site::with(|options| PebbleOptions { nonce_reject_percent: 0, ..options });
        let options = EtcdOptions { members: 3, ..EtcdOptions::default() };
        let etcd = Etcd::start(&site.bed.dir().join("etcd"), options);
        let key = site.bed.dir().join("share_key");
        fs::write(&key, KEY).expect("it can be written");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
        site.http = format!(
            "acme_dns_share etcd {{ endpoint {}; encryption_key_file {}; }}\n{}",
            etcd.endpoints().join(" "),
            key.display(),
            http(&site)
        );
        site.add_server(names, acme_dns);
        let mut other = Nginx::new(NginxBuild::get());
        let (port, status) = (Port::reserve(), Port::reserve());
        other.http(format!(
            "{}{}server {{ listen {} ssl; server_name {names}; acme_dns {acme_dns}; return 200; }}\n\
             server {{ listen {}; location = /json {{ acme_dns_status json; }}\n\
             location = /html {{ acme_dns_status html; }} location = /metrics {{ acme_dns_status prometheus; }} }}",
            site.definitions(),
            site.http,
            port.addr(),
            status.addr()
        ));
        site.start_nginx();
        other.start();
        Self { site, other, port, status, etcd }
    }

    fn logs(&self) -> String {
        format!("{}\n{}", self.site.nginx.log(), self.other.log())
    }

    /// Returns the serial number of what the other host serves.
    fn served(&self, name: &str) -> Option<String> {
        let peer = TlsClient::new(self.port.addr()).sni(name).handshake();
        peer.ok().map(|peer| peer.leaf.serial)
    }

    /// Waits until both serve a certificate that was issued, the same; gives its serial number.
    fn wait_for(&self, name: &str) -> String {
        let serial = self.site.wait_for_certificate(name).leaf.serial;
        let is_shared = || (self.served(name).as_ref() == Some(&serial)).then_some(());
        assert!(wait_until(LIMIT, is_shared).is_some(), "{name}: {}", self.logs());
        serial
    }

    /// Returns the status of the other host in a form.
    fn status(&self, form: &str) -> String {
        let request = client(None).get(format!("http://{}/{form}", self.status.addr()));
        block_on(async { request.send().await.expect("it answers").text().await }).expect("a text")
    }

    /// Waits until the other host shows its engine in a state; gives its whole status.
    fn wait_for_state(&self, state: &str) -> Value {
        let shown = || {
            let page: Value = serde_json::from_str(&self.status("json")).expect("JSON");
            (page["share"]["state"] == state).then_some(page)
        };
        let page = wait_until(LIMIT, shown);
        page.unwrap_or_else(|| panic!("not {state}: {}\n{}", self.status("json"), self.logs()))
    }

    fn orders(&self) -> usize {
        self.site.proxy.traffic.count(&AcmeStep::NewOrder.requests())
    }
}

#[test]
fn two_nginx_order_a_certificate_once_and_serve_it_without_the_engine() {
    let mut fleet = Fleet::start(NAME, "on", |_| String::new());
    let serial = fleet.wait_for(NAME);
    let both = fleet.logs();
    let count = |words: &str| both.matches(words).count();
    assert_eq!((count("\" issued by"), count("\" adopted from")), (1, 1), "{both}");
    // Without the engine the disk does.
    (0..3).for_each(|member| fleet.etcd.stop(member));
    fleet.other.stop();
    fleet.other.start();
    assert_eq!(fleet.served(NAME), Some(serial), "{}", fleet.logs());
    assert_eq!(fleet.orders(), 1);
    assert!(!fleet.logs().contains(KEY), "the key is told");
}

#[test]
fn the_status_says_how_the_engine_is_and_who_has_obtained_what() {
    let mut fleet = Fleet::start(NAME, "on", |_| String::new());
    fleet.wait_for(NAME);
    let has_adopted = || fleet.other.log().contains("\" adopted from");
    let share = || {
        let page = fleet.wait_for_state("reached");
        let hosts = page["certificates"][0]["variants"][0]["share"].clone();
        // The record of the certificate comes back by the watch, that of the attempt goes.
        let is_settled = hosts["obtainedBy"].is_string() && hosts["leader"].is_null();
        is_settled.then_some((page["share"].clone(), hosts))
    };
    let (share, hosts) = wait_until(LIMIT, share).unwrap_or_else(|| panic!("{}", fleet.logs()));
    assert_eq!((&share["type"], &share["lastError"]), (&"etcd".into(), &Value::Null));
    assert_eq!(share["host"], hosts["obtainedBy"], "all hosts are on this machine");
    assert!(share["since"].is_string() && share["lastContact"].is_string(), "{share}");
    let taken_over = u64::from(has_adopted());
    assert_eq!(hosts["takenOver"].is_string(), taken_over == 1, "{hosts}\n{}", fleet.logs());
    assert_eq!(share["lag"]["count"], taken_over, "{share}\n{}", fleet.logs());
    let metrics = fleet.status("metrics");
    promtool::check_metrics(&metrics).unwrap_or_else(|error| panic!("{error}"));
    assert!(metrics.contains("acme_dns_share_state{type=\"etcd\",state=\"reached\"} 1\n"));

    (0..3).for_each(|member| fleet.etcd.stop(member));
    let away = fleet.wait_for_state("away");
    let text = away["share"]["lastError"]["text"].as_str().expect("an error").to_owned();
    assert!(text.contains("cannot be reached"), "{text}");
    let html = fleet.status("html");
    assert!(
        html.contains("<h1>The certificate is valid, but not shared with other hosts now</h1>")
    );
    assert!(html.contains("The etcd that certificates are shared on is away"), "{html}");
    // What a host was told is shown over a reload, and who obtained what.
    fleet.other.reload();
    let again = fleet.wait_for_state("away");
    assert_eq!(again["certificates"][0]["variants"][0]["share"], hosts);
    (0..3).for_each(|member| fleet.etcd.start_again(member));
    assert_eq!(fleet.wait_for_state("reached")["share"]["lastError"], Value::Null);
    assert!(!fleet.status("html").contains("not shared"));
}

#[test]
fn a_line_that_comes_to_a_watched_file_is_ordered_once_too() {
    let mut lines = None;
    let fleet = Fleet::start("_", "sni", |site| {
        let file = site.bed.dir().join("customers.txt");
        fs::write(&file, format!("{NAME}\n")).expect("it can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
        let text = format!("acme_dns_domains {} watch;\n", file.display());
        lines = Some(file);
        text
    });
    fleet.wait_for(NAME);
    let lines = lines.expect("it was made");
    fs::write(lines, format!("{NAME}\nnew.{NAME}\n")).expect("it can be written");
    fleet.wait_for(&format!("new.{NAME}"));
    assert_eq!(fleet.orders(), 2, "{}", fleet.logs());
}
