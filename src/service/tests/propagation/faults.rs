//! Two servers of a zone, of which one is in a bad way: a proxy at 127.0.0.2, in front of the good one.

use crate::bed::{Bed, LONG, NAME, ZONE};
use crate::{ignored, lacks, records, wait, wait_and};
use acme_dns_core::config::Propagation;
use acme_dns_service::event::VisibilityEvent;
use acme_dns_service::propagation::{Checker, PropagationError};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use servers::dns_proxy::{
    DnsAction, DnsAction::*, DnsProxy, Questions, Transport, Transport::Tcp, Transport::Udp,
};
use servers::unbound::Unbound;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A fault of all questions that come one way.
type Fault = (Transport, DnsAction);

/// State of the second server.
struct Case {
    fault: &'static [Fault],
    /// Set if the name has more values than a packet of UDP holds.
    is_long: bool,
    /// The reason for which the server does not count, if it does not.
    ignored: Option<&'static str>,
}

const CASES: &[(&str, Case)] = &[
    ("good", Case { fault: &[], is_long: false, ignored: None }),
    ("over UDP only", Case { fault: &[(Tcp, Close)], is_long: false, ignored: None }),
    ("over TCP only", Case { fault: &[(Udp, Silence)], is_long: false, ignored: None }),
    ("UDP is tampered with", Case { fault: &[(Udp, Garbage)], is_long: false, ignored: None }),
    ("always truncated", Case { fault: &[(Udp, Truncate)], is_long: false, ignored: None }),
    (
        "long answers, and UDP only",
        Case {
            fault: &[(Tcp, Close)],
            is_long: true,
            ignored: Some("answer too long for UDP, over TCP: unexpected end of file"),
        },
    ),
    (
        "silent",
        Case {
            fault: &[(Udp, Silence), (Tcp, Silence)],
            is_long: false,
            ignored: Some("no answer"),
        },
    ),
    (
        "SERVFAIL",
        Case {
            fault: &[(Udp, ServerFailure), (Tcp, ServerFailure)],
            is_long: false,
            ignored: Some("SERVFAIL"),
        },
    ),
    (
        "SERVFAIL over TCP, truncated over UDP",
        Case {
            fault: &[(Udp, Truncate), (Tcp, ServerFailure)],
            is_long: false,
            ignored: Some("SERVFAIL"),
        },
    ),
];

fn second(bed: &Bed, faults: &[Fault]) -> DnsProxy {
    let proxy = DnsProxy::start_at(bed.second(), bed.dns.addr());
    for (transport, action) in faults {
        proxy.inject(Questions::txt(NAME).over(*transport), *action);
    }
    proxy
}

#[test]
fn a_server_counts_unless_it_never_answers() {
    for (what, case) in CASES {
        let bed = Bed::with_second();
        let _proxy = second(&bed, case.fault);
        let values: Vec<String> = match case.is_long {
            true => (0..20).map(|number| format!("{number:043}")).collect(),
            false => vec!["a".to_owned()],
        };
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        bed.put(NAME, &values);
        let (result, events) = wait(&bed.checker(), &records(&values));
        result.unwrap_or_else(|error| panic!("{what}: {error}"));
        let is_ignored =
            |event: &&VisibilityEvent| matches!(event, VisibilityEvent::Ignored { .. });
        let found: Vec<&VisibilityEvent> = events.iter().filter(is_ignored).collect();
        let server = bed.text("ns2.example.test (127.0.0.2:PORT)");
        let expected = case.ignored.map(|why| ignored(server, why, true));
        assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{what}");
    }
}

#[test]
fn a_server_that_has_once_answered_is_waited_for_while_it_fails() {
    let bed = Bed::with_second();
    let proxy = second(&bed, &[]);
    let checker = Checker::new(&bed.settings(Duration::from_secs(2)));
    // Without the record, both answer; then one falls ill, and only the other one gets the record.
    let on = lacks("127.0.0.2");
    let (result, _) = wait_and(&checker, &records(&["a"]), on, || {
        proxy.inject(Questions::txt(NAME), ServerFailure);
        bed.put(NAME, &["a"]);
    });
    let error = result.expect_err("a CA may ask the one that fails");
    assert!(matches!(error, PropagationError::Missing { .. }), "{error}");
    let told = bed.text("ns2.example.test (127.0.0.2:PORT): SERVFAIL");
    assert!(error.to_string().contains(&told), "{error}");
}

#[test]
fn a_zone_with_addresses_of_another_family_only_is_told_as_such() {
    let bed = Bed::start();
    bed.put(NAME, &["a"]);
    bed.dns.delete_rrset("ns1.example.test", "A");
    bed.dns.set_rrset("ns1.example.test", "AAAA", &["2001:db8::1"]);
    let checker = Checker::new(&bed.settings(Duration::from_millis(500)));
    let error = wait(&checker, &records(&["a"])).0.expect_err("this machine has no way to it");
    assert!(matches!(error, PropagationError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("ns1.example.test ([2001:db8::1]:"), "{error}");
}

#[test]
fn a_resolver_that_remembers_that_the_name_is_not_there_does_no_harm() {
    let bed = Bed::start();
    let unbound = Unbound::start(&bed.dir.path().join("unbound"), ZONE, bed.dns.addr());
    // An answer with the zone's negative time to live, an hour in this zone.
    assert_eq!(txt_records(unbound.addr()), 0);
    bed.put(NAME, &["a"]);
    assert_eq!(txt_records(unbound.addr()), 0, "the resolver remembers");
    let (resolvers, port) = (vec![unbound.addr()], bed.dns.addr().port());
    let interval = Duration::from_millis(100);
    let settings = Propagation::Check { timeout: LONG, interval, resolvers, port };
    wait(&Checker::new(&settings), &records(&["a"])).0.expect("visible at the zone's server");
}

/// Asks a resolver for the challenge's TXT records and counts them.
fn txt_records(resolver: SocketAddr) -> usize {
    let mut request = Message::query();
    request.metadata.recursion_desired = true;
    let name = Name::from_ascii(NAME).expect("a name");
    request.add_query(Query::query(name, RecordType::TXT));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(LONG)).expect("a time-out");
    socket.send_to(&request.to_vec().expect("bytes"), resolver).expect("sent");
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).expect("an answer");
    Message::from_vec(&buffer[..length]).expect("a message").answers.len()
}
