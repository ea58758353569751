//! Checks that would take too long.

use crate::bed::{Bed, NAME, PROVIDER, ZONE};
use acme_dns_core::config::ProviderKind;
use acme_dns_core::findings::Finding;
use http::Method;
use servers::dns_proxy::{DnsAction, DnsProxy, Questions};
use servers::http_forward;
use servers::http_server::HttpServer;
use servers::knot::Knot;
use servers::traffic::{Action, Fault, Match};
use std::time::Duration;

const REMEDY: &str = "look at the other findings for what does not answer, and check again";

/// A bed whose checks may take little time.
fn bed() -> Bed {
    let mut bed = Bed::start();
    bed.limit = Duration::from_secs(3);
    bed
}

/// Puts a proxy in front of the provider's API.
fn forward(bed: &mut Bed) -> HttpServer {
    let ProviderKind::PowerDns(settings) = &mut bed.config.providers[PROVIDER].kind else {
        panic!("PowerDNS")
    };
    let proxy = http_forward::start(&settings.api);
    settings.api = format!("http://{}", proxy.addr());
    proxy
}

fn given_up(what: &str) -> String {
    format!("the check was given up after 2 s and does not know {what}")
}

#[test]
fn a_zone_that_is_not_found_in_time() {
    let mut bed = bed();
    let proxy = forward(&mut bed);
    proxy.traffic().inject(Fault::new(Match::any(), Action::Hang).always());
    bed.expect_words("all", "T01", &given_up("the zone of \"example.test\""), REMEDY);
}

#[test]
fn a_record_that_is_not_taken_in_time() {
    let mut bed = bed();
    bed.limit = Duration::from_secs(6);
    let proxy = forward(&mut bed);
    let writes = Match::any().method(Method::PATCH);
    proxy.traffic().inject(Fault::new(writes, Action::Hang).always());
    let findings = bed.findings("all");
    let seconds = |finding: &Finding| -> Option<u64> {
        let words = "provider \"pdns\" cannot be reached: no answer within ";
        finding.observed.strip_prefix(words)?.strip_suffix(" s")?.parse().ok()
    };
    let is_it = |f: &Finding| f.id == "C06" && seconds(f).is_some_and(|seconds| seconds <= 4);
    assert!(findings.iter().any(is_it), "{findings:#?}");
}

#[test]
fn servers_that_are_not_heard_in_time() {
    let mut bed = bed();
    let proxy = DnsProxy::start(bed.testbed.dns.addr());
    bed.ask(bed.testbed.dns.addr(), proxy.addr().port());
    for name in [ZONE, NAME] {
        proxy.inject(Questions::soa(name), DnsAction::Silence);
    }
    let what =
        "the servers, signatures, the delegation, the right to write of zone \"example.test\"";
    bed.expect_words("all", "T01", &given_up(what), REMEDY);
}

#[test]
fn a_record_that_is_not_seen_in_time_is_removed() {
    let bed = bed();
    let dns = &bed.testbed.dns;
    dns.set_rrset(ZONE, "NS", &["ns1.example.test.", "ns2.example.test."]);
    dns.set_rrset("ns2.example.test", "A", &["127.0.0.2"]);
    let address = ([127, 0, 0, 2], dns.addr().port()).into();
    let records = "@ NS ns2\nns1 A 127.0.0.1\nns2 A 127.0.0.2";
    let _lagging = Knot::start(&bed.testbed.dir().join("knot"), address, ZONE, records);
    let what = "the test record at all servers of zone \"example.test\"";
    bed.expect_words("all", "T01", &given_up(what), REMEDY);
    assert_eq!(dns.all_txt(), []);
}
