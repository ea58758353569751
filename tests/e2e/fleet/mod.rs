//! Several nginx with one set of certificates, on an engine: `acme_dns_share`.

mod faults;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use servers::acme_proxy::AcmeStep;
use servers::etcd::{Etcd, EtcdOptions};
use servers::paths::FAKETIME;
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::process::wait_until;
use testbed::clients::tls::TlsClient;
use testbed::measurements::proc;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::site::{LIMIT, Site};

const NAME: &str = "example.test";

/// Key that records are encrypted with: 32 bytes in base64.
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// Ten minutes, as a clock may be ahead of all others, or behind.
const AHEAD: &str = "+600s";
const BEHIND: &str = "-600s";

/// Environment of a host whose clock differs by so much.
fn clock_is(ahead: &'static str) -> [(&'static str, &'static str); 3] {
    [("LD_PRELOAD", FAKETIME), ("FAKETIME", ahead), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
}

/// Two hosts and their engine.
struct Fleet {
    site: Site,
    other: Nginx,
    port: Port,
    etcd: Etcd,
}

impl Fleet {
    /// Starts both with a server; `http` is what else stands in `http { }` of a host.
    fn start(names: &str, acme_dns: &str, http: impl FnOnce(&Site) -> String) -> Self {
        let mut fleet = Self::prepare(names, acme_dns, http);
        fleet.start_nginx();
        fleet
    }

    /// Makes the configurations of both.
    fn prepare(names: &str, acme_dns: &str, http: impl FnOnce(&Site) -> String) -> Self {
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
        let (mut other, port) = (Nginx::new(NginxBuild::get()), Port::reserve());
        other.http(format!(
            "{}{}server {{ listen {} ssl; server_name {names}; acme_dns {acme_dns}; return 200; }}",
            site.definitions(),
            site.http,
            port.addr()
        ));
        Self { site, other, port, etcd }
    }

    fn start_nginx(&mut self) {
        self.site.start_nginx();
        self.other.start();
    }

    fn logs(&self) -> String {
        format!("{}\n{}", self.site.nginx.log(), self.other.log())
    }

    /// Returns the serial number of the issued certificate that the other host serves.
    fn served(&self, name: &str) -> Option<String> {
        let client = TlsClient::new(self.port.addr()).sni(name);
        let peer = client.roots(&self.site.bed.pebble.root_pem(0)).handshake();
        peer.ok().map(|peer| peer.leaf.serial)
    }

    /// Waits until both serve a certificate that was issued, the same; gives its serial number.
    fn wait_for(&self, name: &str) -> String {
        let serial = self.site.wait_for_certificate(name).leaf.serial;
        let is_shared = || (self.served(name).as_ref() == Some(&serial)).then_some(());
        assert!(wait_until(LIMIT, is_shared).is_some(), "{name}: {}", self.logs());
        serial
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

#[test]
fn a_service_that_is_killed_while_it_orders_completes_its_order() {
    let mut fleet = Fleet::prepare(NAME, "on", |_| String::new());
    let hold = fleet.site.proxy.traffic.hold(AcmeStep::Challenge.requests());
    // The first is alone until it has created its record.
    fleet.site.start_nginx();
    hold.wait(LIMIT);
    fleet.other.start();
    proc::kill(fleet.site.nginx.wait_for_helper(), Signal::KILL);
    hold.release();
    fleet.wait_for(NAME);
    let has_no_txt = || fleet.site.bed.cloudflare.txt_records().is_empty().then_some(());
    assert!(wait_until(LIMIT, has_no_txt).is_some(), "{}", fleet.logs());
    assert_eq!(fleet.orders(), 1, "{}", fleet.logs());
}

#[test]
fn a_host_whose_clock_is_behind_shares_all_the_same() {
    let mut fleet = Fleet::prepare(NAME, "on", |_| String::new());
    for (name, value) in clock_is(BEHIND) {
        fleet.other.env(name, value);
    }
    fleet.start_nginx();
    fleet.wait_for(NAME);
    assert_eq!(fleet.orders(), 1, "{}", fleet.logs());
    assert!(!fleet.logs().contains("it is replaced"), "{}", fleet.logs());
}
