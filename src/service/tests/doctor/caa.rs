//! CAA records of real zones.

use crate::bed::{Bed, ZONE};
use servers::dns_proxy::{DnsAction, DnsProxy, Questions};

#[test]
fn records_that_forbid_are_found_with_the_line_that_is_missing() {
    let bed = Bed::start();
    let dns = &bed.testbed.dns;
    for (records, id, words, remedy) in [
        (
            &["0 issue \"digicert.com\""][..],
            "A01",
            "CAA of \"example.test\" allows digicert.com only",
            "add the record: example.test. CAA 0 issue \"pebble.letsencrypt.org\"",
        ),
        (
            &["0 issue \"pebble.letsencrypt.org\"", "0 issuewild \";\""],
            "A02",
            "CAA of \"example.test\" allows no CA for wildcards",
            "add the record: example.test. CAA 0 issuewild \"pebble.letsencrypt.org\"",
        ),
        (
            &["0 issue \"pebble.letsencrypt.org; validationmethods=http-01\""],
            "A04",
            "CAA of \"example.test\" allows the methods http-01, not dns-01",
            "add the record: example.test. CAA 0 issue \"pebble.letsencrypt.org; validationmethods=dns-01\"",
        ),
        (
            &["128 tbs \"x\"", "0 issue \"pebble.letsencrypt.org\""],
            "A05",
            "has the critical property \"tbs\"",
            "remove that record",
        ),
    ] {
        dns.set_rrset(ZONE, "CAA", records);
        let findings = bed.findings("all,nowrite");
        assert_eq!(findings.len(), 1, "{id}: {findings:#?}");
        assert_eq!((findings[0].id, &*findings[0].remedy), (id, remedy));
        assert!(findings[0].observed.contains(words), "{}", findings[0].observed);
    }
    dns.set_rrset(ZONE, "CAA", &["0 issue \"pebble.letsencrypt.org\""]);
    assert_eq!(bed.findings("all,nowrite"), []);
}

#[test]
fn records_at_the_target_of_an_alias_count() {
    let mut bed = Bed::start();
    let dns = &bed.testbed.dns;
    dns.set_cname("www.example.test", "host.example.test");
    dns.set_rrset("host.example.test", "CAA", &["0 issue \"digicert.com\""]);
    let keys = [acme_dns_core::key::KeyType::EcdsaP256];
    bed.config.add_certificate("www", &["www.example.test"], &keys);
    let words =
        "\"www.example.test\" is an alias of \"host.example.test\", whose CAA counts: CAA of";
    bed.expect("alias", "www,nowrite", "A06", words);
}

#[test]
fn servers_that_fail_with_caa_are_told_from_resolvers_that_fail() {
    let mut bed = Bed::start();
    let proxy = DnsProxy::start(bed.testbed.dns.addr());
    proxy.inject(Questions::caa(ZONE), DnsAction::ServerFailure);
    // The resolver alone fails.
    bed.ask(proxy.addr(), bed.testbed.dns.addr().port());
    bed.expect("resolver", "all,nowrite", "D12", "CAA of \"example.test\": SERVFAIL");
    bed.ask(proxy.addr(), proxy.addr().port());
    bed.expect(
        "servers",
        "all,nowrite",
        "D17",
        "do not answer questions for CAA: ns1.example.test",
    );
}
