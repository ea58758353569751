//! The doctor against real servers, each broken in one way.

mod bed;
mod caa;
mod issuers;
mod limits;
mod names;
mod persist;
mod providers;
mod servers_of_zones;
mod share;

use acme_dns_core::key::KeyType;
use bed::Bed;

#[test]
fn a_good_set_up_has_no_problem_and_keeps_no_trace() {
    let bed = Bed::start();
    let before = bed.testbed.dns.all_txt();
    let report = bed.report("all").unwrap();
    let table = report.table();
    for part in [
        "acme_dns check of 1 certificate, 1 issuer, 1 provider (as user \"nobody\")\n",
        "ok    issuer pebble   directory answered in 0.",
        "ok    example.test    zone \"example.test\" at pdns; test record seen at all servers after 0.",
        " s, removed\n",
        "no problems, no warnings\n",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert_eq!(bed.testbed.dns.all_txt(), before);
    assert!(!bed.config.state_path.exists());
    let table = bed.report("example.test,nowrite").unwrap().table();
    assert!(table.contains("zone \"example.test\" at pdns\n"), "{table}");
    let error = bed.report("example.org").unwrap_err();
    assert!(error.contains("no certificate of the configuration has that name"), "{error}");
}

#[test]
fn a_zone_with_many_certificates_is_looked_at_once() {
    let mut bed = Bed::start();
    for name in ["a.example.test", "b.example.test"] {
        bed.config.add_certificate(name, &[name], &[KeyType::EcdsaP256]);
    }
    let report = bed.report("all").unwrap();
    let lines: Vec<&str> =
        report.findings.iter().skip(1).map(|finding| finding.observed.as_str()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| *line == lines[0]), "one test record: {lines:?}");
}
