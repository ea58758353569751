//! Zone cuts of names, as resolvers see it: PowerDNS, and Unbound in front of it.

use super::bed::{Bed, ZONE, block_on};
use acme_dns_service::dns::{
    About, DnsProvider, PlacedRecord, ProviderError, Rule, SparedRecord, TxtRecord, Zone,
};
use acme_dns_service::resolver::{Resolver, ZoneCutError};
use async_trait::async_trait;
use servers::unbound::Unbound;

/// A provider that does not list its zones.
struct Listless;

#[async_trait(?Send)]
impl DnsProvider for Listless {
    async fn create(&self, _: &Zone, _: &[TxtRecord]) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    async fn remove(
        &self,
        _: &[PlacedRecord],
        _: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        Ok(Vec::new())
    }
}

/// A zone with another below it, and names with and without records.
fn zones() -> Bed {
    let bed = Bed::start();
    bed.dns.create_zone("sub.example.test");
    bed.dns.set_rrset(ZONE, "NS", &["ns1.example.test."]);
    bed.dns.set_rrset("sub.example.test", "NS", &["ns1.example.test."]);
    bed.dns.set_rrset("www.example.test", "A", &["192.0.2.1"]);
    bed.dns.set_cname("_acme-challenge.out.example.test", "x.elsewhere.test");
    bed.dns.set_cname("_acme-challenge.in.sub.example.test", "www.example.test");
    bed.dns.set_cname("*.wild.sub.example.test", "www.example.test");
    bed.dns.create_zone("elsewhere.test");
    bed
}

#[test]
fn a_zone_begins_where_its_soa_record_is() {
    let bed = zones();
    let unbound = Unbound::start(&bed.dir.path().join("unbound"), "test", bed.dns.addr());
    for (row, resolver) in [("authoritative", bed.dns.addr()), ("recursive", unbound.addr())] {
        let resolver = Resolver::new(&[resolver]);
        for (name, expected) in [
            ("example.test", "example.test"),
            ("www.example.test", "example.test"),
            ("_acme-challenge.www.EXAMPLE.test", "example.test"),
            ("_acme-challenge.a.b.c.example.test", "example.test"),
            // The zone below, and names within.
            ("sub.example.test", "sub.example.test"),
            ("_acme-challenge.sub.example.test", "sub.example.test"),
            ("_acme-challenge.www.sub.example.test", "sub.example.test"),
            // Aliases: into another zone, into the zone above, and by a wildcard.
            ("_acme-challenge.out.example.test", "example.test"),
            ("_acme-challenge.in.sub.example.test", "sub.example.test"),
            ("_acme-challenge.wild.sub.example.test", "sub.example.test"),
        ] {
            let found = block_on(resolver.zone_cut(name));
            let found = found.unwrap_or_else(|error| panic!("{row}: {name}: {error}"));
            assert_eq!(found, expected, "{row}: {name}");
        }
    }
}

#[test]
fn a_name_without_a_zone_is_told_from_resolvers_that_do_not_answer() {
    let bed = zones();
    bed.dns.create_zone("test");
    let name = "_acme-challenge.nowhere.test";
    let error = block_on(Resolver::new(&[bed.dns.addr()]).zone_cut(name)).unwrap_err();
    assert!(matches!(error, ZoneCutError::NoZone(_)), "{error}");
    assert_eq!(error.to_string(), "there is no zone below \"test\" that holds it");
    // Nobody listens there; the next one knows.
    let dead = bed.second();
    let found = block_on(Resolver::new(&[dead, bed.dns.addr()]).zone_cut("a.example.test"));
    assert_eq!(found.unwrap(), "example.test");
    let error = block_on(Resolver::new(&[dead]).zone_cut("a.example.test")).unwrap_err();
    assert!(matches!(error, ZoneCutError::Unresolved(_)), "{error}");
    assert!(error.to_string().contains("SOA of \"a.example.test\""), "{error}");
}

#[test]
fn a_provider_that_lists_no_zones_has_them_from_dns() {
    let bed = zones();
    bed.dns.create_zone("test");
    let zone_of = |name: &str, resolver| {
        block_on(async { Listless.zone_of(name, &Resolver::new(&[resolver])).await })
    };
    let zone = zone_of("_acme-challenge.www.sub.example.test", bed.dns.addr()).unwrap();
    assert_eq!((zone.id.as_str(), zone.name.as_str()), ("sub.example.test", "sub.example.test"));
    let error = zone_of("_acme-challenge.nowhere.test", bed.dns.addr()).unwrap_err();
    assert!(error.is_permanent() && *error.about() == About::Name, "{error}");
    // What resolvers do not know now may be there, and concerns nobody else.
    let error = zone_of("_acme-challenge.nowhere.test", bed.second()).unwrap_err();
    assert!(!error.is_permanent() && *error.about() == About::Name, "{error}");
}
