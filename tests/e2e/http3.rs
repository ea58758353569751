//! HTTP/3: the same certificates over QUIC, where nginx drives the handshakes by itself.

use std::time::Duration;

use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::Hold;
use testbed::clients::http3::Http3Client;
use testbed::clients::tls::{Leaf, TlsError};
use testbed::clients::visit::{Answer, Visit};

use crate::lone::{Lone, stands_in};
use crate::renewal_info::{PAST, window};
use crate::site::{LIMIT, Site};

const NAME: &str = "example.test";

/// Between two handshakes of a thread of the load.
const PAUSE: Duration = Duration::from_millis(5);

/// A site that is reached over QUIC, not yet started.
fn site(servers: &[&str]) -> Site {
    let mut site = Site::new();
    site.quic = true;
    site.http = "ssl_session_cache shared:SSL:1m;".to_owned();
    site.issuer = "profile default;".to_owned();
    site.nginx.workers(2);
    site.set_servers(servers);
    site
}

/// A client that trusts Pebble's root alone.
fn trusting(site: &Site, name: &str) -> Http3Client {
    Http3Client::new(site.addr(), name, Some(&site.bed.pebble.root_pem(0)))
}

/// A renewal that happens when the test wants it, and without a reload.
struct Renewal {
    asked: Hold,
    old: Leaf,
}

impl Renewal {
    /// Starts the site and waits for its first certificate. What the authority suggests for it
    /// stays unknown.
    fn prepare(site: &mut Site) -> Self {
        let asked = site.proxy.traffic.hold(AcmeStep::RenewalInfo.requests());
        site.start_nginx();
        let old = site.wait_for_certificate(NAME).leaf;
        asked.wait(LIMIT);
        Self { asked, old }
    }

    /// Lets the authority suggest to renew now, and waits until the workers serve what it issues.
    fn run(self, site: &Site) -> Leaf {
        site.bed.pebble.set_renewal_info(&self.old.pem(), &window(PAST[0], PAST[1]));
        self.asked.release();
        site.wait_for_other(NAME, &self.old.serial).leaf
    }
}

fn visit(client: &mut Http3Client) -> Visit {
    client.visit().unwrap_or_else(|e| panic!("over QUIC: {e}"))
}

/// Waits until there is a session to resume: the server sends it behind the handshake.
fn wait_for_session(client: &Http3Client) {
    let there = wait_until(LIMIT, || (client.sessions() > 0).then_some(()));
    assert!(there.is_some(), "no session was sent");
}

/// Returns whether one of the workers has answered a request.
fn is_of_a_worker(site: &Site, answer: &Answer) -> bool {
    answer.status == 200
        && answer.body.parse().is_ok_and(|pid| site.nginx.worker_pids().contains(&pid))
}

#[test]
fn requests_are_answered_with_the_certificate_of_their_server() {
    let names = [NAME, "www.example.test"];
    let mut site = site(&names);
    site.start_nginx();
    for name in names {
        let over_tcp = site.wait_for_certificate(name);
        let over_quic = visit(&mut trusting(&site, name));
        assert_eq!(over_quic.peer.chain, over_tcp.chain, "{name}: the intermediate is sent too");
        assert_eq!(over_quic.peer.leaf.sans, [name]);
        assert!(is_of_a_worker(&site, &over_quic.answer), "{name}: {:?}", over_quic.answer);
    }
}

#[test]
fn a_renewal_reaches_new_connections_and_leaves_open_ones_alone() {
    let mut site = site(&[NAME]);
    let renewal = Renewal::prepare(&mut site);
    let old = renewal.old.clone();
    let mut client = trusting(&site, NAME);
    let mut open = client.connect().expect("a connection");
    assert_eq!(open.peer().leaf, old);
    let before = open.get().expect("an answer");
    assert!(is_of_a_worker(&site, &before), "{before:?}");

    let new = renewal.run(&site);
    assert_eq!(open.get().expect("an answer"), before, "the same worker on the same connection");
    client.forget();
    let fresh = visit(&mut client);
    assert!(!fresh.resumed);
    assert_eq!(fresh.peer.leaf, new);
    assert!(is_of_a_worker(&site, &fresh.answer), "{:?}", fresh.answer);
    assert_eq!(open.get().expect("an answer"), before, "beside a connection with the new one");
}

#[test]
fn renewals_under_load_lose_no_connection() {
    let mut site = site(&[NAME]);
    let renewal = Renewal::prepare(&mut site);
    let old = renewal.old.clone();
    let load = trusting(&site, NAME).load(2, PAUSE);
    let wait_for = |leaf: &Leaf| {
        load.wait(LIMIT, |report| {
            let enough = report.seen(&leaf.serial).is_some_and(|seen| seen.count >= 10);
            enough || !report.failed.is_empty()
        })
    };
    wait_for(&old);
    let new = renewal.run(&site);
    wait_for(&new);
    let report = load.stop();
    assert_eq!(report.failed, []);
    let serials: Vec<_> = report.serials.iter().map(|seen| &seen.serial).collect();
    assert_eq!(serials, [&old.serial, &new.serial]);
}

#[test]
fn sessions_are_resumed_before_and_after_a_swap() {
    let mut site = site(&[NAME]);
    let renewal = Renewal::prepare(&mut site);
    let old = renewal.old.clone();
    let mut client = trusting(&site, NAME);
    assert!(!visit(&mut client).resumed, "there is nothing to resume");
    wait_for_session(&client);
    let resumed = visit(&mut client);
    assert!(resumed.resumed, "before the swap");
    assert!(is_of_a_worker(&site, &resumed.answer), "{:?}", resumed.answer);
    wait_for_session(&client);

    let new = renewal.run(&site);
    let resumed = visit(&mut client);
    assert!(resumed.resumed, "a session of before the swap");
    assert_eq!(resumed.peer.leaf, old, "what was verified when the session began");
    assert!(is_of_a_worker(&site, &resumed.answer), "{:?}", resumed.answer);

    client.forget();
    let fresh = visit(&mut client);
    assert!(!fresh.resumed);
    assert_eq!(fresh.peer.leaf, new);
    wait_for_session(&client);
    let resumed = visit(&mut client);
    assert!(resumed.resumed, "a session of after the swap");
    assert_eq!(resumed.peer.leaf, new);
    assert!(is_of_a_worker(&site, &resumed.answer), "{:?}", resumed.answer);
}

#[test]
fn a_self_signed_certificate_is_served_until_the_first_one_is_issued() {
    let mut site = site(&[NAME]);
    let asked = site.proxy.traffic.hold(AcmeStep::Directory.requests());
    site.start_nginx();
    asked.wait(LIMIT);
    let early = visit(&mut Http3Client::new(site.addr(), NAME, None));
    assert!(stands_in(&early.peer), "{:?}", early.peer.leaf);
    assert_eq!(early.peer.leaf.sans, [NAME]);
    assert!(is_of_a_worker(&site, &early.answer), "{:?}", early.answer);
    let mut client = trusting(&site, NAME);
    let refused = client.visit().expect_err("it is not to be trusted");
    assert!(matches!(refused, TlsError::Handshake(_)), "{refused}");
    asked.release();
    let issued = site.wait_for_certificate(NAME).leaf;
    assert_eq!(visit(&mut client).peer.leaf, issued);
}

#[test]
fn without_a_certificate_a_handshake_can_be_refused() {
    let lone = Lone::start(
        "server { listen LISTEN quic reuseport; listen LISTEN ssl; http3 on;
                  server_name a.example.com; acme_dns on; acme_dns_fallback reject; }",
    );
    let mut client = Http3Client::new(lone.addr(), "a.example.com", None);
    let refused = client.visit().expect_err("there is no certificate").to_string();
    // Alert 40, handshake_failure, as over TCP.
    assert!(refused.contains("the cryptographic handshake failed: error 40"), "{refused}");
}
