//! Name servers that are lame, lag behind, or do not answer.

use crate::bed::{Bed, NAME, ZONE};
use servers::dns_proxy::{DnsAction, DnsProxy, Questions, Transport};
use servers::knot::Knot;
use std::net::SocketAddr;

/// Adds a second server to the zone, at 127.0.0.2.
fn second(bed: &Bed) -> SocketAddr {
    let dns = &bed.testbed.dns;
    dns.set_rrset(ZONE, "NS", &["ns1.example.test.", "ns2.example.test."]);
    dns.set_rrset("ns2.example.test", "A", &["127.0.0.2"]);
    ([127, 0, 0, 2], dns.addr().port()).into()
}

#[test]
fn a_second_server_that_does_not_serve() {
    let bed = Bed::start();
    let address = second(&bed);
    bed.expect("silent", "all,nowrite", "D04", "ns2.example.test (127.0.0.2:");
    let dir = bed.testbed.dir().join("knot");
    let lame = Knot::start(&dir, address, "other.test", "");
    bed.expect("lame", "all,nowrite", "D02", "does not know zone \"example.test\": REFUSED");
    bed.testbed.dns.set_rrset(ZONE, "NS", &["ns2.example.test."]);
    bed.expect(
        "all lame",
        "all,nowrite",
        "D02",
        "no name server of zone \"example.test\" knows it",
    );
    drop(lame);
    bed.expect(
        "all silent",
        "all,nowrite",
        "D04",
        "no name server of zone \"example.test\" answers",
    );
}

#[test]
fn a_second_server_that_lags_behind() {
    let bed = Bed::start();
    let address = second(&bed);
    let records = "@ NS ns2\nns1 A 127.0.0.1\nns2 A 127.0.0.2";
    let dir = bed.testbed.dir().join("knot");
    let _lagging = Knot::start(&dir, address, ZONE, records);
    bed.testbed.dns.set_rrset(
        ZONE,
        "SOA",
        &["ns1.example.test. hostmaster.example.test. 7 3600 600 86400 3600"],
    );
    bed.expect("versions", "all,nowrite", "D03", "ns1.example.test (127.0.0.1:");
    let findings = bed.findings("all");
    let ids: Vec<&str> = findings.iter().map(|finding| finding.id).collect();
    assert!(ids.contains(&"D03"), "{findings:#?}");
    let unseen = findings.iter().find(|f| f.observed.contains("the test record in zone"));
    assert!(unseen.is_some_and(|f| f.observed.contains("ns2.example.test")), "{findings:#?}");
    let left = bed.testbed.dns.all_txt();
    assert!(!left.iter().any(|(name, _)| name.contains("test-")), "removed all the same: {left:?}");
}

#[test]
fn transports_case_and_long_answers() {
    let mut bed = Bed::start();
    let proxy = DnsProxy::start(bed.testbed.dns.addr());
    bed.ask(bed.testbed.dns.addr(), proxy.addr().port());
    let soa = || Questions::soa(ZONE);
    for (row, questions, action, id, words) in [
        ("TCP", soa().over(Transport::Tcp), DnsAction::Close, "D04", "does not answer over TCP"),
        ("UDP", soa().over(Transport::Udp), DnsAction::Silence, "D04", "does not answer over UDP"),
        ("case", soa(), DnsAction::LowerCase, "D16", "does not keep the case of names"),
    ] {
        proxy.inject(questions, action);
        bed.expect(row, "all,nowrite", id, words);
        proxy.clear(ZONE);
    }
    let values: Vec<String> = (0..14).map(|number| format!("\"{number:a>60}\"")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    bed.testbed.dns.set_rrset(NAME, "TXT", &values);
    bed.expect("leftovers", "all,nowrite", "D19", "\"_acme-challenge.example.test\" has 14 TXT");
    proxy.inject(Questions::txt(NAME).over(Transport::Tcp), DnsAction::Close);
    bed.expect("too long", "all,nowrite", "D05", "do not fit into UDP");
    proxy.clear(NAME);
    proxy.answer_as_a_router();
    bed.expect("intercepted", "all,nowrite", "D11", "somebody else answers in the place of ns1");
}

#[test]
fn a_long_negative_time_to_live() {
    let bed = Bed::start();
    // The record's own time to live counts as well.
    let soa = "ns1.example.test. hostmaster.example.test. 1 3600 600 86400 7200";
    bed.testbed.dns.set_rrset_for(3600, ZONE, "SOA", &[soa]);
    bed.expect("long", "all,nowrite", "D18", "may remember for 3600 s");
}
