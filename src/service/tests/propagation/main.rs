//! The propagation check against real servers: PowerDNS on 127.0.0.1 is one server of the zone,
//! and answers for the zone as a resolver does where no other is named; 127.0.0.2 is another.
//!
//! What has to happen while a check waits is set off by an event that it tells, in another thread.

mod aliases;
mod bed;
mod faults;
mod views;
mod zone_cuts;

use acme_dns_core::config::Propagation;
use acme_dns_service::event::VisibilityEvent;
use acme_dns_service::propagation::{Checker, PropagationError};
use bed::{Bed, LONG, NAME, ZONE, block_on};
use futures_util::future::join_all;
use servers::knot::Knot;
use servers::unbound::Unbound;
use std::cell::RefCell;
use std::net::{TcpListener, UdpSocket};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

fn records(values: &[&str]) -> Vec<(String, String)> {
    values.iter().map(|&value| (NAME.to_owned(), value.to_owned())).collect()
}

/// Runs one check and returns its result with its events.
fn wait(
    checker: &Checker,
    records: &[(String, String)],
) -> (Result<(), PropagationError>, Vec<VisibilityEvent>) {
    wait_and(checker, records, |_| false, || {})
}

/// The same; `action` runs in another thread at the first event that is meant.
fn wait_and(
    checker: &Checker,
    records: &[(String, String)],
    is_meant: impl Fn(&VisibilityEvent) -> bool,
    action: impl FnOnce() + Send,
) -> (Result<(), PropagationError>, Vec<VisibilityEvent>) {
    let events = RefCell::new(Vec::new());
    let (trigger, triggered) = channel();
    let result = thread::scope(|scope| {
        scope.spawn(move || triggered.recv().map(|()| action()));
        let tell = |event: VisibilityEvent| {
            if is_meant(&event) {
                let _ = trigger.send(());
            }
            events.borrow_mut().push(event);
        };
        let result = block_on(checker.wait(ZONE, records, &tell));
        drop(trigger);
        result
    });
    (result, events.into_inner())
}

/// Says whether an event is about a server that lacks records, with this text.
fn lacks(text: &str) -> impl Fn(&VisibilityEvent) -> bool {
    move |event| matches!(event, VisibilityEvent::Lacking { lacks, .. } if lacks.contains(text))
}

/// Makes the event of a server that does not count.
fn ignored(server: String, why: &str, is_new: bool) -> VisibilityEvent {
    VisibilityEvent::Ignored { server, zone: ZONE.into(), why: why.into(), is_new }
}

#[test]
fn returns_when_every_server_has_the_records() {
    let bed = Bed::with_second();
    let _knot = Knot::start(
        &bed.dir.path().join("knot"),
        bed.second(),
        ZONE,
        "ns1 A 127.0.0.1\n_acme-challenge TXT a\n_acme-challenge TXT b\n_acme-challenge TXT old",
    );
    bed.put(NAME, &["b", "a"]);
    let (result, events) = wait(&bed.checker(), &records(&["a", "b"]));
    result.expect("visible");
    let servers = bed.text("ns1.example.test (127.0.0.1:PORT), ns2.example.test (127.0.0.2:PORT)");
    assert_eq!(events[0], VisibilityEvent::Servers { zone: ZONE.into(), servers });
}

#[test]
fn waits_for_records_that_come_later() {
    let bed = Bed::start();
    let on = lacks("has no name \"_acme-challenge.example.test\"");
    let put = || bed.put(NAME, &["a", "b"]);
    wait_and(&bed.checker(), &records(&["a", "b"]), on, put).0.expect("visible");
}

#[test]
fn waits_for_the_second_of_two_values_and_for_other_names() {
    let bed = Bed::start();
    bed.put(NAME, &["a"]);
    let mut wanted = records(&["a", "b"]);
    wanted.push(("_acme-challenge.www.example.test".to_owned(), "c".to_owned()));
    let on =
        lacks("has 1 TXT record at \"_acme-challenge.example.test\", none with \"b\" (and 1 more");
    let (result, _) = wait_and(&bed.checker(), &wanted, on, || {
        bed.put("_acme-challenge.www.example.test", &["c"]);
        bed.put(NAME, &["a", "b"]);
    });
    result.expect("visible");
}

#[test]
fn waits_for_a_server_that_answers_without_the_record() {
    let bed = Bed::with_second();
    let knot = Knot::start(&bed.dir.path().join("knot"), bed.second(), ZONE, "ns1 A 127.0.0.1");
    bed.put(NAME, &["a"]);
    let on = bed.text("ns2.example.test (127.0.0.2:PORT) has no name");
    let (result, _) = wait_and(&bed.checker(), &records(&["a"]), lacks(&on), || {
        knot.set_records("ns1 A 127.0.0.1\n_acme-challenge TXT a");
    });
    result.expect("visible");
}

#[test]
fn names_the_servers_and_what_they_lack_when_the_time_is_over() {
    let bed = Bed::with_second();
    let records_of_knot = "ns1 A 127.0.0.1\n_acme-challenge TXT old";
    let _knot = Knot::start(&bed.dir.path().join("knot"), bed.second(), ZONE, records_of_knot);
    bed.put(NAME, &["a"]);
    let checker = Checker::new(&bed.settings(Duration::from_millis(1500)));
    let error = wait(&checker, &records(&["a"])).0.expect_err("ns2 lacks the record");
    assert_eq!(
        error.to_string(),
        bed.text(
            "not all servers of zone \"example.test\" have the TXT records within 1.5s: \
             ns2.example.test (127.0.0.2:PORT) has 1 TXT record at \
             \"_acme-challenge.example.test\", none with \"a\"; raise \"timeout\" in \
             \"acme_dns_propagation\" directive, set \"resolvers\" there if this machine's see \
             another zone than the internet, or use \"acme_dns_propagation off\""
        )
    );
}

#[test]
fn ignores_a_server_that_refuses_and_an_address_without_a_server() {
    let bed = Bed::with_second();
    // It does not have the zone.
    let _knot =
        Knot::start(&bed.dir.path().join("knot"), bed.second(), "other.test", "ns1 A 192.0.2.1");
    // Nothing listens there.
    bed.dns.set_rrset("ns2.example.test", "A", &["127.0.0.2", "127.0.0.3"]);
    bed.put(NAME, &["a"]);
    let (result, events) = wait(&bed.checker(), &records(&["a"]));
    result.expect("ns1 has the record");
    for (server, why) in [
        ("ns2.example.test (127.0.0.2:PORT)", "REFUSED"),
        ("ns2.example.test (127.0.0.3:PORT)", "Connection refused (os error 111)"),
    ] {
        let expected = ignored(bed.text(server), why, true);
        assert!(events.contains(&expected), "{expected:?}: {events:#?}");
    }
}

#[test]
fn ignores_a_server_that_never_answers_and_remembers_it() {
    let bed = Bed::with_second();
    let _udp = UdpSocket::bind(bed.second()).expect("a socket");
    let _tcp = TcpListener::bind(bed.second()).expect("a socket");
    bed.put(NAME, &["a"]);
    let checker = bed.checker();
    let (result, events) = wait(&checker, &records(&["a"]));
    result.expect("ns1 has the record");
    let silent = |why, is_new| ignored(bed.text("ns2.example.test (127.0.0.2:PORT)"), why, is_new);
    assert!(events.contains(&silent("no answer", true)), "{events:#?}");
    let (result, events) = wait(&checker, &records(&["a"]));
    result.expect("ns1 has the record");
    assert!(events.contains(&silent("it did not answer the last time", false)), "{events:#?}");
}

#[test]
fn asks_over_tcp_what_is_too_long_for_udp() {
    let bed = Bed::start();
    let values: Vec<String> = (0..20).map(|i| format!("{i:043}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    bed.put(NAME, &values);
    let (result, events) = wait(&bed.checker(), &records(&[values[0], values[19]]));
    result.expect("visible");
    let is_wait = |event: &VisibilityEvent| {
        matches!(event, VisibilityEvent::Lacking { .. } | VisibilityEvent::StillWaiting { .. })
    };
    assert!(!events.iter().any(is_wait), "{events:#?}");
}

#[test]
fn joins_the_strings_of_a_long_value() {
    let bed = Bed::start();
    let value = "v".repeat(300);
    let content = format!("\"{}\" \"{}\"", &value[..255], &value[255..]);
    bed.dns.set_rrset(NAME, "TXT", &[&content]);
    wait(&bed.checker(), &records(&[&value])).0.expect("visible");
}

#[test]
fn does_not_follow_an_alias() {
    let bed = Bed::start();
    bed.dns.set_cname(NAME, "target.example.test");
    bed.put("target.example.test", &["a"]);
    let checker = Checker::new(&bed.settings(Duration::from_millis(500)));
    let error = wait(&checker, &records(&["a"])).0.expect_err("an alias");
    let expected = bed.text(
        "ns1.example.test (127.0.0.1:PORT) has an alias to \"target.example.test\" at \
         \"_acme-challenge.example.test\"",
    );
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn asks_a_resolver_for_the_servers_only() {
    let bed = Bed::start();
    let unbound = Unbound::start(&bed.dir.path().join("unbound"), ZONE, bed.dns.addr());
    let resolvers = vec![unbound.addr()];
    let interval = Duration::from_millis(100);
    let port = bed.dns.addr().port();
    let settings = Propagation::Check { timeout: LONG, interval, resolvers, port };
    let put = || bed.put(NAME, &["a"]);
    wait_and(&Checker::new(&settings), &records(&["a"]), lacks("has no name"), put)
        .0
        .expect("visible");
    let log = unbound.log();
    for asked in ["example.test. NS IN", "ns1.example.test. A IN", "ns1.example.test. AAAA IN"] {
        assert!(log.contains(asked), "{asked} was not asked:\n{log}");
    }
    assert!(!log.contains("TXT"), "TXT was asked:\n{log}");
}

#[test]
fn looks_the_servers_up_once_for_many_waits_at_a_time() {
    let bed = Bed::start();
    let names: Vec<String> = (0..20).map(|i| format!("_acme-challenge.{i}.example.test")).collect();
    for name in &names {
        bed.put(name, &["a"]);
    }
    let checker = bed.checker();
    let tell = |_| {};
    let results = block_on(join_all(names.iter().map(|name| {
        let records = vec![(name.clone(), "a".to_owned())];
        let (checker, tell) = (&checker, &tell);
        async move { checker.wait(ZONE, &records, tell).await }
    })));
    for result in results {
        result.expect("visible");
    }
    let log = bed.dns.log();
    assert_eq!(log.matches("'example.test|NS'").count(), 1, "{log}");
}

#[test]
fn waits_until_the_zone_is_there() {
    let bed = Bed::start();
    bed.put(NAME, &["a"]);
    bed.dns.remove_zone(ZONE);
    let refused = bed.text("resolver 127.0.0.1:PORT: NS of \"example.test\": REFUSED");
    let missing = VisibilityEvent::NoServers { zone: ZONE.into(), why: refused, is_first: true };
    let (result, events) = wait_and(
        &bed.checker(),
        &records(&["a"]),
        |event| *event == missing,
        || {
            bed.dns.create_zone(ZONE);
            bed.put(NAME, &["a"]);
        },
    );
    result.expect("visible");
    assert!(events.contains(&missing), "{events:#?}");
}

#[test]
fn tells_which_resolver_does_not_know_the_servers() {
    let bed = Bed::start();
    let (timeout, interval) = (Duration::from_millis(300), Duration::from_millis(100));
    let port = bed.dns.addr().port();
    let resolvers = vec![bed.second(), bed.dns.addr()];
    let checker = Checker::new(&Propagation::Check { timeout, interval, resolvers, port });
    let records = [("a.sub.example.test".to_owned(), "a".to_owned())];
    let error = block_on(checker.wait("sub.example.test", &records, &|_| {}));
    assert_eq!(
        error.expect_err("no such zone").to_string(),
        bed.text(
            "cannot find the servers of zone \"sub.example.test\" within 300ms: \
             resolver 127.0.0.2:PORT: NS of \"sub.example.test\": Connection refused (os error 111), \
             resolver 127.0.0.1:PORT: no NS record of \"sub.example.test\"; set \"resolvers\" in \
             \"acme_dns_propagation\" directive to resolvers that know the zone, or use \
             \"acme_dns_propagation off\""
        )
    );
}

#[test]
fn tells_when_no_server_can_be_reached() {
    let bed = Bed::start();
    bed.dns.set_rrset("ns1.example.test", "A", &["127.0.0.2"]);
    let checker = Checker::new(&bed.settings(Duration::from_millis(500)));
    let error = wait(&checker, &records(&["a"])).0.expect_err("nothing listens");
    assert_eq!(
        error.to_string(),
        bed.text(
            "no server of zone \"example.test\" has answered for \"_acme-challenge.example.test\" \
             within 500ms: ns1.example.test (127.0.0.2:PORT): Connection refused (os error 111); \
             let this machine reach them by UDP and TCP, or use \"acme_dns_propagation off\""
        )
    );
}

#[test]
fn an_address_of_a_family_without_route_does_not_matter() {
    let bed = Bed::start();
    // Addresses for documentation: without a route, or without an answer.
    bed.dns.set_rrset("ns1.example.test", "AAAA", &["2001:db8::1"]);
    bed.put(NAME, &["a"]);
    wait(&bed.checker(), &records(&["a"])).0.expect("visible");
}

#[test]
fn contacts_nobody_when_the_check_is_off() {
    let checker = Checker::new(&Propagation::Off { delay: Duration::ZERO });
    let (result, events) = wait(&checker, &records(&["a"]));
    result.expect("waited");
    let unchecked = VisibilityEvent::Unchecked { zone: ZONE.into(), delay: Duration::ZERO };
    assert_eq!(events, [unchecked]);
}

#[test]
fn refuses_names_that_are_none() {
    let checker = Bed::start().checker();
    let records = [("a..b".to_owned(), "a".to_owned())];
    let error = block_on(checker.wait(ZONE, &records, &|_| {})).expect_err("no name");
    assert_eq!(error.to_string(), "invalid name \"a..b\" of a zone or a TXT record");
}
