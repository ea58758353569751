//! Targets of aliases: asked of the servers of their zones, PowerDNS and Knot, and of resolvers.

use super::bed::{Bed, LONG, block_on};
use acme_dns_core::config::Propagation;
use acme_dns_service::propagation::Checker;
use acme_dns_service::resolver::Resolver;
use servers::unbound::Unbound;
use std::time::Duration;

const CHALLENGE: &str = "_acme-challenge.www.example.test";

/// Names of the zone, each with the target that it is an alias of.
const ALIASES: [(&str, Option<&str>); 6] = [
    (CHALLENGE, Some("x.elsewhere.test")),
    ("_ACME-challenge.WWW.example.test", Some("x.elsewhere.test")),
    ("ns1.example.test", None),
    ("_acme-challenge.example.test", None),
    ("_acme-challenge.wild.example.test", Some("lb.elsewhere.test")),
    ("example.test", None),
];

fn alias(checker: &Checker, resolver: &Resolver, name: &str) -> Option<String> {
    block_on(checker.alias(resolver, name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn aliases_are_found_at_servers_and_through_resolvers() {
    let bed = Bed::start();
    bed.dns.create_zone("elsewhere.test");
    bed.dns.set_cname(CHALLENGE, "X.elsewhere.test");
    bed.dns.set_cname("*.wild.example.test", "lb.elsewhere.test");
    let unbound = Unbound::start(&bed.dir.path().join("unbound"), "test", bed.dns.addr());
    let off = Checker::new(&Propagation::Off { delay: Duration::ZERO });
    let (own, recursive) = (Resolver::new(&[bed.dns.addr()]), Resolver::new(&[unbound.addr()]));
    let rows = [("servers", bed.checker(), &own), ("resolver", off, &recursive)];
    for (row, checker, resolver) in &rows {
        for (name, expected) in ALIASES {
            assert_eq!(alias(checker, resolver, name).as_deref(), expected, "{row}: {name}");
        }
    }
    assert_eq!(alias(&rows[0].1, &own, "no name"), None);
}

#[test]
fn one_server_that_answers_is_enough_and_the_resolver_where_none_does() {
    let bed = Bed::with_second();
    bed.dns.set_cname(CHALLENGE, "x.elsewhere.test");
    let resolver = Resolver::new(&[bed.dns.addr()]);
    // The second server of the zone is not there, then another zone's, then none can be reached.
    assert_eq!(alias(&bed.checker(), &resolver, CHALLENGE).as_deref(), Some("x.elsewhere.test"));
    let knot = bed.knot("other.test", "ns1 A 127.0.0.1");
    assert_eq!(alias(&bed.checker(), &resolver, CHALLENGE).as_deref(), Some("x.elsewhere.test"));
    drop(knot);
    bed.dns.set_rrset("ns1.example.test", "A", &["127.0.0.3"]);
    assert_eq!(alias(&bed.checker(), &resolver, CHALLENGE).as_deref(), Some("x.elsewhere.test"));
    // Nobody answers at all.
    let nobody = Resolver::new(&[bed.second()]);
    let settings = Propagation::Check {
        timeout: LONG,
        interval: Duration::from_millis(100),
        resolvers: vec![bed.second()],
        port: bed.dns.addr().port(),
    };
    let error = block_on(Checker::new(&settings).alias(&nobody, CHALLENGE)).unwrap_err();
    assert!(error.to_string().contains(&format!("CNAME of \"{CHALLENGE}\"")), "{error}");
}

#[test]
fn the_servers_of_a_zone_are_believed_where_a_resolver_says_otherwise() {
    let bed = Bed::with_second();
    // The resolver, which sees an alias, is no server of the zone.
    bed.dns.set_cname(CHALLENGE, "x.elsewhere.test");
    bed.dns.set_rrset(super::bed::ZONE, "NS", &["ns2.example.test."]);
    let _knot =
        bed.knot(super::bed::ZONE, "ns2 A 127.0.0.2\n_acme-challenge.www CNAME y.elsewhere.test.");
    let resolver = Resolver::new(&[bed.dns.addr()]);
    assert_eq!(alias(&bed.checker(), &resolver, CHALLENGE).as_deref(), Some("y.elsewhere.test"));
}
