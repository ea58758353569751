//! The zone of a name: in listings, by `zone_id`, and where the token sees little.

use super::bed::{Bed, NAME, TOKEN, placed, remove, run, txt};
use acme_dns_service::dns::{DnsProvider, TxtRecord};
use http::Method;
use servers::cloudflare::Token;
use servers::traffic::{Action, Reply};

#[test]
fn the_longest_zone_holds_the_name_and_is_looked_up_once() {
    let bed = Bed::new();
    bed.cloudflare.add_zone(&bed.dns, "sub.example.com");
    let cf = bed.provider();
    for (name, expected) in [
        ("_acme-challenge.www.sub.example.com", "sub.example.com"),
        ("_acme-challenge.SUB.example.com.", "sub.example.com"),
        ("_acme-challenge.notsub.example.com", "example.com"),
    ] {
        assert_eq!(run(cf.listed_zone_of(name)).unwrap().name, expected, "{name}");
    }
}

#[test]
fn a_failed_lookup_is_not_kept() {
    let bed = Bed::new();
    let cf = bed.provider();
    let name = "_acme-challenge.later.test";
    let error = run(cf.listed_zone_of(name)).unwrap_err();
    assert!(error.is_permanent());
    let text = error.to_string();
    for part in ["\"cf\"", name, "\"later.test\"", "Zone/Zone/Read", "Zone/DNS/Edit", "zone_id"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    bed.cloudflare.add_zone(&bed.dns, "later.test");
    assert_eq!(run(cf.listed_zone_of(name)).unwrap().name, "later.test");
}

#[test]
fn a_zone_that_is_not_active_is_not_used() {
    let bed = Bed::new();
    let pending = Action::rewrite(|reply: &mut Reply| {
        let text = String::from_utf8_lossy(&reply.body);
        reply.body = text.replace("\"status\":\"active\"", "\"status\":\"pending\"").into();
    });
    bed.inject(Method::GET, "/zones", pending.clone());
    bed.inject(Method::GET, "/zones", pending);
    let text = run(bed.provider().listed_zone_of(NAME)).unwrap_err().to_string();
    assert!(text.contains("\"example.com\" is pending") && text.contains("registrar"), "{text}");
}

#[test]
fn a_zone_that_the_token_may_not_see_is_no_zone() {
    let bed = Bed::new();
    bed.cloudflare.add_token(Token::new(TOKEN).zones(&["other.test"]));
    let text = run(bed.provider().listed_zone_of(NAME)).unwrap_err().to_string();
    assert!(text.contains("\"example.com\" that the token may see"), "{text}");
}

#[test]
fn a_zone_id_is_used_without_a_search() {
    let bed = Bed::new();
    let cf = bed.with_zone_id(&bed.zone().id);
    for _ in 0..2 {
        assert_eq!(run(cf.listed_zone_of(NAME)).unwrap(), bed.zone());
    }
    assert_eq!(bed.cloudflare.traffic.log().len(), 1);
}

#[test]
fn a_zone_id_makes_up_for_a_token_that_may_not_read_zones() {
    let bed = Bed::new();
    bed.cloudflare.add_token(Token::new(TOKEN).without_zone_read());
    let cf = bed.with_zone_id(&bed.zone().id);
    let zone = run(cf.listed_zone_of(NAME)).unwrap();
    assert_eq!(zone, bed.zone());
    let ids = run(cf.create(&zone, &[txt("one")])).unwrap();
    assert_eq!(bed.values(), ["one"]);
    run(remove(&cf, &[placed(&zone, "one", Some(&ids[0]))])).unwrap();
    assert_eq!(bed.values(), [""; 0]);
}

#[test]
fn the_name_of_an_unreadable_zone_follows_from_its_records() {
    let bed = Bed::new();
    let record = TxtRecord { name: "a.b.example.com".to_owned(), value: "v".to_owned() };
    run(bed.provider().create(&bed.zone(), &[record])).unwrap();
    bed.cloudflare.add_token(Token::new(TOKEN).without_zone_read());
    let cf = bed.with_zone_id(&bed.zone().id);
    for name in [NAME, "_acme-challenge.www.example.com"] {
        assert_eq!(run(cf.listed_zone_of(name)).unwrap(), bed.zone(), "{name}");
    }
    let text = run(cf.listed_zone_of("_acme-challenge.other.test")).unwrap_err().to_string();
    assert!(text.contains("its records are in \"a.b.example.com\""), "{text}");
}

#[test]
fn a_zone_id_of_another_zone_is_found_out() {
    let bed = Bed::new();
    let other = bed.cloudflare.add_zone(&bed.dns, "other.test");
    let text = run(bed.with_zone_id(&other).listed_zone_of(NAME)).unwrap_err().to_string();
    assert!(text.contains("it is the zone \"other.test\""), "{text}");

    // Without the permission to read the zone only the created record tells.
    bed.cloudflare.add_token(Token::new(TOKEN).without_zone_read());
    for records in [&[txt("one")][..], &[txt("one"), txt("two")]] {
        let cf = bed.with_zone_id(&other);
        let zone = run(cf.listed_zone_of(NAME)).unwrap();
        let error = run(cf.create(&zone, records)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("example.com.other.test") && text.contains("zone_id"), "{text}");
        assert!(error.is_permanent());
        assert_eq!(bed.values(), [""; 0], "{records:?}");
    }
}

#[test]
fn an_unknown_zone_id_is_explained() {
    let bed = Bed::new();
    for id in ["0123456789abcdef0123456789abcdef", "nonsense"] {
        let error = run(bed.with_zone_id(id).listed_zone_of(NAME)).unwrap_err();
        let text = error.to_string();
        assert!(error.is_permanent() && text.contains("\"zone_id\" is wrong"), "{text}");
    }
}

#[test]
fn a_zone_that_was_made_anew_is_looked_up_again() {
    let bed = Bed::new();
    let cf = bed.provider();
    let old = run(cf.listed_zone_of(NAME)).unwrap();
    bed.cloudflare.remove_zone("example.com");
    bed.cloudflare.add_zone(&bed.dns, "example.com");
    run(cf.create(&old, &[txt("a"), txt("b")])).unwrap_err();
    let new = run(cf.listed_zone_of(NAME)).unwrap();
    assert_ne!(new, old);
    run(cf.create(&new, &[txt("a"), txt("b")])).unwrap();
    assert_eq!(bed.values(), ["a", "b"]);
}
