//! Checks before the first order, so that it costs none.

use crate::support::{Bed, ISSUER, VARIANT};
use acme_dns_core::config::Propagation;
use acme_dns_service::acme::{KeyChoice, ObtainError};
use servers::acme_proxy::AcmeStep;
use servers::dns_proxy::{DnsAction, DnsProxy, Questions};
use servers::knot::Knot;
use servers::unbound::Unbound;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const ZONE: &str = "example.test";
const OTHER_CA: [&str; 1] = ["0 issue \"digicert.com\""];

fn orders(bed: &Bed) -> usize {
    bed.proxy.traffic.count(&AcmeStep::NewOrder.requests())
}

fn ask(bed: &mut Bed, resolver: SocketAddr, port: u16) {
    bed.config.propagation = Propagation::Check {
        timeout: Duration::from_secs(60),
        interval: Duration::from_millis(100),
        resolvers: vec![resolver],
        port,
    };
}

/// Expects that nothing is ordered, for the reason of a row of the doctor's table.
fn expect(bed: &Bed, id: &str) {
    let error = bed.obtain_error();
    let text = error.to_string();
    assert!(text.starts_with(&format!("nothing was ordered: {id} ")), "{id}: {text}");
    assert!(error.is_permanent() && orders(bed) == 0, "{text}");
}

#[test]
fn what_the_ca_would_refuse_is_not_ordered() {
    let mut bed = Bed::start();
    let dns = bed.testbed.dns.addr();
    bed.testbed.dns.set_rrset(ZONE, "CAA", &OTHER_CA);
    expect(&bed, "A01");
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewAccount.requests()), 0);
    bed.testbed.dns.delete_rrset(ZONE, "CAA");
    let proxy = DnsProxy::start(dns);
    proxy.inject(Questions::caa(ZONE), DnsAction::ServerFailure);
    ask(&mut bed, proxy.addr(), proxy.addr().port());
    expect(&bed, "D17");
    let unbound = Unbound::start_distrusting(&bed.testbed.dir().join("unbound"), ZONE, dns);
    ask(&mut bed, unbound.addr(), dns.port());
    expect(&bed, "D15");
    ask(&mut bed, dns, dns.port());
    bed.testbed.dns.set_rrset(ZONE, "NS", &["ns2.example.test."]);
    bed.testbed.cloudflare.set_name_servers(ZONE, &["ns2.example.test"]);
    bed.testbed.dns.set_rrset("ns2.example.test", "A", &["127.0.0.2"]);
    let lame = ([127, 0, 0, 2], dns.port()).into();
    let knot = Knot::start(&bed.testbed.dir().join("knot"), lame, "other.test", "");
    expect(&bed, "D02");
    drop(knot);
    bed.testbed.dns.set_rrset(ZONE, "NS", &["ns1.example.test."]);
    bed.testbed.cloudflare.set_name_servers(ZONE, &["ns1.example.test"]);
    bed.obtain().unwrap();
}

#[test]
fn what_nobody_can_say_stops_no_order_and_costs_little_time() {
    let mut bed = Bed::start();
    let dns = bed.testbed.dns.addr();
    let proxy = DnsProxy::start(dns);
    // The resolver does not know CAA, the servers of the zone do.
    proxy.inject(Questions::caa(ZONE), DnsAction::Silence);
    ask(&mut bed, proxy.addr(), dns.port());
    let begun = Instant::now();
    bed.obtain().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn a_renewal_is_not_checked_unless_it_was_refused() {
    let bed = Bed::start();
    let obtainer = bed.obtainer();
    let obtain = || {
        bed.run_in(&obtainer, async |it| it.obtain(VARIANT, ISSUER, KeyChoice::Configured).await)
    };
    obtain().unwrap();
    bed.testbed.dns.set_rrset(ZONE, "CAA", &OTHER_CA);
    obtain().unwrap();
    let refusal = ObtainError::NoChallenge {
        wanted: String::new(),
        name: ZONE.to_owned(),
        offered: String::new(),
    };
    let _noted = obtainer.failure(VARIANT, &refusal);
    let error = obtain().unwrap_err();
    assert!(error.to_string().contains("A01"), "{error}");
    assert_eq!(orders(&bed), 2);
    // The account is known now.
    let other = "0 issue \"pebble.letsencrypt.org; accounturi=https://ca.example/acct/2\"";
    bed.testbed.dns.set_rrset(ZONE, "CAA", &[other]);
    fs::remove_dir_all(bed.state().join("certs")).unwrap();
    let error = bed.obtain_error().to_string();
    assert!(
        error.contains("A03 CAA of \"example.test\" allows account https://ca.example/acct/2"),
        "{error}"
    );
}
