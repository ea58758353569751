//! Whose servers are asked for TXT records: those that the provider names, those that this machine's
//! resolvers name, and what happens where the two differ or cannot be believed.
//!
//! PowerDNS on 127.0.0.1 is the resolver, and a server of the zone; Knot on 127.0.0.2 is another.

use super::bed::{Bed, LONG, NAME, ZONE, block_on};
use acme_dns_core::level::Level;
use acme_dns_service::event::VisibilityEvent;
use acme_dns_service::propagation::{Checker, PropagationError, ZoneServers};
use servers::dns_proxy::DnsProxy;
use servers::unbound::Unbound;
use std::cell::RefCell;
use std::time::{Duration, Instant};

fn wait(
    checker: &Checker,
    (zone, servers): (&str, Option<&[&str]>),
    name: &str,
    on_event: impl Fn(&VisibilityEvent),
) -> (Result<(), PropagationError>, Vec<VisibilityEvent>) {
    let events = RefCell::new(Vec::new());
    let servers: Option<Vec<String>> =
        servers.map(|servers| servers.iter().map(|server| (*server).to_owned()).collect());
    let tell = |event: VisibilityEvent| {
        on_event(&event);
        events.borrow_mut().push(event);
    };
    let asked = ZoneServers { zone, servers: servers.as_deref() };
    let records = [(name.to_owned(), "v".to_owned())];
    let result = block_on(checker.wait_for(asked, &records, &tell));
    (result, events.into_inner())
}

/// Gives the events that everybody sees.
fn aloud(events: &[VisibilityEvent]) -> Vec<&VisibilityEvent> {
    let is_aloud = |event: &&VisibilityEvent| matches!(event.level(), Level::Notice | Level::Warn);
    events.iter().filter(is_aloud).collect()
}

const PROVIDER: (&str, Option<&[&str]>) = (ZONE, Some(&["A.ns.test."]));

#[test]
fn a_zone_that_is_delegated_to_others_is_waited_for_with_that_as_the_reason() {
    let bed = Bed::with_provider();
    let _knot = bed.knot(ZONE, "ns1 A 127.0.0.1\n_acme-challenge TXT v");
    let (result, events) =
        wait(&Checker::new(&bed.settings(Duration::from_millis(900))), PROVIDER, NAME, |_| {});
    let text = result.expect_err("the CA will not see it").to_string();
    for part in
        ["delegated to ns1.example.test", "has it on a.ns.test", "registrar", "\"resolvers\""]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let [VisibilityEvent::Elsewhere { zone, why, is_first: true, .. }] = aloud(&events)[..] else {
        panic!("{events:#?}")
    };
    assert!(zone == ZONE && why.starts_with("it is delegated to"), "{why}");
}

#[test]
fn a_zone_that_moves_in_time_is_waited_for() {
    let bed = Bed::with_provider();
    let _knot = bed.knot(ZONE, "ns1 A 127.0.0.1\n_acme-challenge TXT v");
    let move_it = |event: &VisibilityEvent| {
        if matches!(event, VisibilityEvent::Elsewhere { .. }) {
            std::thread::scope(|scope| {
                scope.spawn(|| bed.dns.set_rrset(ZONE, "NS", &["a.ns.test."]));
            });
        }
    };
    wait(&Checker::new(&bed.settings(LONG)), PROVIDER, NAME, move_it).0.expect("visible");
}

#[test]
fn where_this_machine_sees_servers_that_do_not_speak_for_the_zone_the_provider_decides() {
    let bed = Bed::with_provider();
    let _knot = bed.knot(ZONE, "ns1 A 127.0.0.1\n_acme-challenge TXT v");
    // A server that nobody listens at, a name without an address, no answer at all.
    let views: [(&str, &dyn Fn()); 3] = [
        ("name other servers", &|| bed.dns.set_rrset("ns1.example.test", "A", &["127.0.0.3"])),
        ("name other servers", &|| bed.dns.set_rrset(ZONE, "NS", &["nowhere.ns.test."])),
        ("do not know the servers", &|| bed.dns.remove_zone(ZONE)),
    ];
    for (expected, change) in views {
        change();
        let checker = Checker::new(&bed.settings(LONG));
        let (result, events) = wait(&checker, PROVIDER, NAME, |_| {});
        result.unwrap_or_else(|error| panic!("{expected}: {error}"));
        let [VisibilityEvent::Remarkable { note }] = aloud(&events)[..] else {
            panic!("{events:#?}")
        };
        assert!(note.contains(expected) && note.contains("a.ns.test"), "{note}");
        let (result, events) = wait(&checker, PROVIDER, NAME, |_| {});
        result.expect("visible");
        assert!(aloud(&events).is_empty(), "it is said once: {events:#?}");
    }
}

#[test]
fn the_servers_of_both_are_asked() {
    let bed = Bed::with_provider();
    bed.dns.set_rrset(ZONE, "NS", &["ns1.example.test.", "a.ns.test."]);
    bed.dns.set_rrset(NAME, "TXT", &["\"v\""]);
    let knot = bed.knot(ZONE, "ns1 A 127.0.0.1");
    let is_wait = |event: &VisibilityEvent| match event {
        VisibilityEvent::Lacking { lacks, .. } => {
            lacks.contains("a.ns.test (127.0.0.2") && lacks.contains("has no name")
        }
        _ => false,
    };
    let put = |event: &VisibilityEvent| {
        if is_wait(event) {
            knot.set_records("ns1 A 127.0.0.1\n_acme-challenge TXT v");
        }
    };
    let (result, events) = wait(&Checker::new(&bed.settings(LONG)), PROVIDER, NAME, put);
    result.expect("visible at both");
    assert!(events.iter().any(is_wait), "{events:#?}");
}

#[test]
fn the_zone_of_a_domain_is_where_its_soa_record_is() {
    let bed = Bed::with_provider();
    for domain in ["www.example.test", "a.b.c.example.test"] {
        let name = format!("_acme-challenge.{domain}");
        bed.dns.set_rrset(&name, "TXT", &["\"v\""]);
        let (result, _) = wait(&Checker::new(&bed.settings(LONG)), (domain, None), &name, |_| {});
        result.unwrap_or_else(|error| panic!("{domain}: {error}"));
    }
    let checker = Checker::new(&bed.settings(Duration::from_millis(300)));
    let text =
        wait(&checker, ("other", None), "a.other", |_| {}).0.expect_err("no zone").to_string();
    assert!(text.contains("cannot find the servers of zone \"other\""), "{text}");
}

#[test]
fn nothing_is_asked_of_who_answers_in_the_place_of_all_servers() {
    let bed = Bed::with_provider();
    bed.dns.set_rrset(NAME, "TXT", &["\"v\""]);
    let router = DnsProxy::start(bed.dns.addr());
    router.answer_as_a_router();
    // One that answers whatever it is asked, and one that wants to be asked as a resolver.
    let unbound = Unbound::start(&bed.dir.path().join("unbound"), ZONE, bed.dns.addr());
    let delay = Duration::from_millis(300);
    for port in [router.addr().port(), unbound.addr().port()] {
        for servers in [&[][..], &["ns1.example.test"]] {
            let checker = Checker::new(&bed.settings_at(LONG, port)).with_blind_delay(delay);
            let begun = Instant::now();
            let (result, events) = wait(&checker, (ZONE, Some(servers)), NAME, |_| {});
            result.expect("it goes on");
            assert!(begun.elapsed() >= delay && begun.elapsed() < Duration::from_secs(20));
            let [VisibilityEvent::Intercepted { servers, delay: waited, .. }] = aloud(&events)[..]
            else {
                panic!("{events:#?}")
            };
            assert_eq!(*waited, delay);
            assert!(servers.contains("not authoritative"), "{servers}");
        }
    }
}

#[test]
fn what_resolvers_and_delegation_say_is_told_where_it_differs() {
    let bed = Bed::with_provider();
    // The zone above, whose servers delegate to others than the resolver knows.
    bed.dns.create_zone("above.test");
    bed.dns.set_rrset("above.test", "NS", &["k.above.test."]);
    bed.dns.set_rrset("k.above.test", "A", &["127.0.0.2"]);
    bed.dns.create_zone("sub.above.test");
    let _knot = bed.knot("above.test", "ns1 A 127.0.0.2\nsub NS real.ns.test.");
    let checker = Checker::new(&bed.settings(Duration::from_millis(400)));
    let zone = ("sub.above.test", Some(&[][..]));
    let text = wait(&checker, zone, "_acme-challenge.sub.above.test", |_| {}).0;
    let text = text.expect_err("not there").to_string();
    for part in [
        "not all servers of zone \"sub.above.test\" have the TXT records",
        "this machine's resolvers name ns1.sub.above.test, the delegation names real.ns.test; ",
        "set \"resolvers\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Where both say the same, there is nothing to tell.
    let text =
        wait(&checker, (ZONE, Some(&[])), NAME, |_| {}).0.expect_err("not there").to_string();
    assert!(!text.contains("delegation"), "{text}");
}
