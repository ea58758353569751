//! Aliases and zones.

use crate::bed::{Bed, NAME, PROVIDER, ZONE};
use acme_dns_core::name::Name;
use servers::unbound::Unbound;

#[test]
fn aliases_that_do_not_lead_to_a_zone_of_a_provider() {
    let mut bed = Bed::start();
    bed.config.providers[PROVIDER].zones = vec![Name::parse(ZONE).unwrap()];
    let dns = &bed.testbed.dns;
    dns.create_zone("other.test");
    dns.create_zone("test");
    let other = format!("\"{NAME}\" is an alias of \"x.other.test\", whose zone \"other.test\" no");
    for (row, target, id, words) in [
        ("loop", NAME, "D06", "is a loop of aliases"),
        ("no provider", "x.other.test", "D07", &*other),
        ("no zone", "x.nowhere.test", "D08", "\"x.nowhere.test\", which is not in any zone"),
    ] {
        dns.set_cname(NAME, target);
        bed.expect(row, "all,nowrite", id, words);
    }
}

#[test]
fn a_wildcard_alias_is_only_a_note() {
    let bed = Bed::start();
    bed.testbed.dns.set_cname("*.example.test", "lb.elsewhere.test");
    bed.expect("wildcard", "all", "D09", "\"*.example.test\" is an alias of \"lb.elsewhere.test\"");
    let report = bed.report("all").unwrap();
    assert!(report.is_good(), "{}", report.table());
}

#[test]
fn zones_that_providers_and_dns_see_differently() {
    let bed = Bed::with_cloudflare();
    let (cloudflare, dns) = (&bed.testbed.cloudflare, &bed.testbed.dns);
    dns.create_zone(NAME);
    bed.expect("own zone", "all,nowrite", "D10", "records for it go to ns1.example.test");
    dns.remove_zone(NAME);
    cloudflare.set_name_servers(ZONE, &["ada.ns.other.test", "bob.ns.other.test"]);
    dns.create_zone("ns.other.test");
    dns.set_rrset("ada.ns.other.test", "A", &["127.0.0.9"]);
    let words = "served by ns1.example.test, not by provider \"pdns\" at ada.ns.other.test, bob.ns";
    bed.expect("moved", "all,nowrite", "C05", words);
    cloudflare.set_name_servers(ZONE, &["ns7.example.test"]);
    dns.set_rrset("ns7.example.test", "A", &["127.0.0.9"]);
    bed.expect("another account", "all,nowrite", "C04", "the internet asks ns1.example.test");
    dns.create_zone("test");
    dns.remove_zone(ZONE);
    bed.expect("expired", "all,nowrite", "D01", "\"test\" says that there is no such name");
}

#[test]
fn resolvers_that_invent_or_refuse() {
    let mut bed = Bed::start();
    let dns = &bed.testbed.dns;
    dns.create_zone("invalid");
    dns.set_rrset("acme-dns-check.invalid", "A", &["192.0.2.1"]);
    bed.expect("invented", "all,nowrite", "D12", "has an address of \"acme-dns-check.invalid\"");
    let dir = bed.testbed.dir().join("unbound");
    let unbound = Unbound::start_distrusting(&dir, ZONE, dns.addr());
    let port = dns.addr().port();
    bed.ask(unbound.addr(), port);
    bed.expect("bogus", "all,nowrite", "D15", "answers SERVFAIL, and without validation");
}

#[test]
fn a_zone_at_servers_for_parked_domains() {
    let bed = Bed::start();
    let dns = &bed.testbed.dns;
    dns.create_zone("sedoparking.com");
    dns.set_rrset("ns1.sedoparking.com", "A", &["127.0.0.1"]);
    dns.set_rrset(ZONE, "NS", &["ns1.sedoparking.com."]);
    bed.expect_words(
        "all",
        "D20",
        "zone \"example.test\" is at servers for parked domains: ns1.sedoparking.com",
        "name the servers that have its records at the registrar",
    );
}
