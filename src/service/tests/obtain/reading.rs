//! The log, read line by line: from a start to the first certificate, and after each of the usual
//! mistakes. What a person must know is there once, with what to do and what happens next; and no wall
//! of lines stands around it.

use super::certificates::Change;
use super::support::{Bed, CERTIFICATE, Log, names};
use acme_dns_core::config::Propagation;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::Loading;
use acme_dns_service::engine::{Service, Settings};
use secrecy::SecretString;
use servers::acme_proxy::AcmeStep;
use servers::ports::Port;
use servers::process::wait_until;
use servers::traffic::{Action, Fault};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything takes that does not wait for a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names of certificates besides the first: enough for a wall.
const MORE: [&str; 4] = ["a.example.test", "b.example.test", "c.example.test", "d.example.test"];

const HOUR: i64 = 3600;

/// Reads the log until every attempt has ended, without what differs from run to run.
fn read(bed: &Bed, settings: Settings) -> Vec<(Level, String)> {
    let log = Arc::<Log>::default();
    let variants = bed.config.variants.values().map(|variant| variant.name.as_str());
    let missing: Vec<&str> =
        variants.filter(|name| !bed.state().join("certs").join(name).exists()).collect();
    let service = Service::start(settings, log.clone()).unwrap();
    let have_ended = || missing.iter().all(|name| has_ended(bed, &log, name));
    let ended = wait_until(PATIENCE, || have_ended().then_some(()));
    assert!(ended.is_some(), "{:#?}", log.all());
    service.stop();
    let host = bed.proxy.directory_url();
    let host = host.split('/').nth(2).unwrap().to_owned();
    let lines = log.with_levels().into_iter().filter(|(level, _)| *level != Level::Debug);
    let lines = lines.map(|(level, line)| (level, mask(&line.replace(&host, "CA"))));
    lines.filter(|(_, line)| !is_about_a_later_time(line)).collect()
}

/// Returns whether the line is about what begins once an attempt has ended: the CA is asked when to renew. How many
/// such answers are there when the last attempt ends differs from run to run.
fn is_about_a_later_time(line: &str) -> bool {
    line.ends_with(": renewal at TIME, as the CA suggests")
}

/// Puts words in the place of times and numbers that differ.
fn mask(line: &str) -> String {
    let mut masked = Vec::new();
    for word in line.split(' ') {
        let is_time = word.starts_with("20") && word.contains('T') && word.contains('Z');
        let end = word.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || ".-:".contains(c));
        let end = if word.ends_with(':') { ":" } else { end };
        match (is_time, masked.last().map(String::as_str)) {
            (true, _) => masked.push(format!("TIME{end}")),
            (_, Some("serial")) => masked.push(format!("SERIAL{end}")),
            (_, Some("in")) => masked.push("SECONDS".to_owned()),
            _ => masked.push(word.to_owned()),
        }
    }
    masked.join(" ")
}

/// Returns whether an attempt has ended: it is told that it has a certificate, or the disk has its progress.
fn has_ended(bed: &Bed, log: &Log, name: &str) -> bool {
    let issued = format!("certificate \"{name}\" issued by");
    let progress = fs::read_to_string(bed.state().join(format!("orders/{name}.json")));
    log.all().iter().any(|line| line.contains(&issued))
        || progress.is_ok_and(|progress| progress.contains("\"unfinished\":0"))
}

/// A line that is expected: its level, its beginning, and what else it says.
type Expected = (Level, &'static str, &'static [&'static str]);

fn assert_reads(what: &str, lines: &[(Level, String)], expected: &[Expected]) {
    let all = || format!("{what}: {lines:#?}");
    assert_eq!(lines.len(), expected.len(), "{}", all());
    for ((level, line), (expected_level, start, parts)) in lines.iter().zip(expected) {
        assert_eq!(level, expected_level, "{}", all());
        assert!(line.starts_with(start), "{start}: {}", all());
        for part in *parts {
            assert!(line.contains(part), "{part}: {}", all());
        }
        assert!(line.len() < 440, "{}", all());
    }
}

fn bed() -> Bed {
    let mut bed = Bed::start();
    for name in MORE {
        bed.add(name, &[name]);
    }
    bed
}

const ORDERED: Expected = (
    Level::Notice,
    "acme_dns: certificate \"",
    &[
        "example.test\" is ordered now from \"pebble\" (https://CA/dir) by provider \"cloudflare\", for ",
    ],
);
const ACCOUNT: Expected =
    (Level::Notice, "acme_dns: issuer \"pebble\": account created at https://CA/", &[]);

#[test]
fn a_start_tells_its_plan_and_what_came_of_it() {
    let bed = bed();
    let lines = read(&bed, bed.settings());
    let issued: Expected = (
        Level::Notice,
        "acme_dns: certificate \"",
        &[
            "example.test\" issued by \"Pebble ",
            " in SECONDS s, valid until TIME, renewal at TIME, serial ",
        ],
    );
    assert_reads("healthy", &lines, &[&[ORDERED; 5][..], &[ACCOUNT], &[issued; 5]].concat());
    // The last of them.
    let lines = start(&bed, bed.settings(), 1, "certificate \"d.example.test\" from \"");
    assert_eq!(lines.len(), 5, "{lines:#?}");
    for line in lines {
        assert!(line.contains("example.test\" from \""), "{line}");
        assert!(line.contains("\": valid until 2") && line.contains(", renewal at 2"), "{line}");
    }
}

#[test]
fn usual_mistakes_are_told_once_with_what_to_do() {
    let bed = bed();
    let secrets = vec![SecretString::from("wrong")];
    let token: Expected = (
        Level::Error,
        "acme_dns: provider \"cloudflare\": 5 certificates wait, attempt 1, next attempt at TIME, or at \
         once after a reload: ",
        &["cannot find the zone of", "; check that the token is valid"],
    );
    let lines = read(&bed, Settings { secrets, ..bed.settings() });
    assert_reads("token", &lines, &[&[ORDERED; 5][..], &[token]].concat());

    let _ = fs::remove_dir_all(bed.state());
    let action = Action::Problem {
        status: 400,
        kind: "invalidContact".into(),
        detail: "contact email has forbidden domain \"example.com\"".into(),
        retry_after: None,
    };
    bed.proxy.traffic.inject(Fault::new(AcmeStep::NewAccount.requests(), action).always());
    let contact: Expected = (
        Level::Error,
        "acme_dns: issuer \"pebble\": 5 certificates wait, attempt 1, next attempt at TIME, or at \
         once after a reload: creating the account was refused by \"https://CA/",
        &["invalidContact: contact email has forbidden domain"],
    );
    assert_reads("contact", &read(&bed, bed.settings()), &[&[ORDERED; 5][..], &[contact]].concat());
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 0);
}

#[test]
fn a_closed_port_53_is_told_once() {
    let mut bed = bed();
    let closed = Port::reserve();
    bed.config.propagation = Propagation::Check {
        timeout: Duration::from_secs(1),
        interval: Duration::from_millis(100),
        resolvers: vec![closed.addr()],
        port: closed.number(),
    };
    let mut lines = read(&bed, bed.settings());
    // What is waited for, of each certificate.
    lines.retain(|(_, line)| {
        !line.contains("cannot find the servers of zone \"example.test\" yet: ")
    });
    let port: Expected = (
        Level::Error,
        "acme_dns: zone \"example.test\" of provider \"cloudflare\": 5 certificates wait, attempt 1, next \
         attempt at TIME, or at once after a reload: cannot find the servers of zone \"example.test\"",
        &["acme_dns_propagation"],
    );
    assert_reads("port 53", &lines, &[&[ORDERED; 5][..], &[ACCOUNT, port]].concat());
}

#[test]
fn a_zone_that_is_missing_is_named_and_many_are_no_wall() {
    let mut bed = Bed::start();
    for number in 1..30 {
        bed.add(&format!("h{number}"), &[&format!("www.zone{number}.invalid")]);
    }
    bed.config.certificates[CERTIFICATE].names = names(&["www.zone0.invalid"]);
    let lines = read(&bed, bed.settings());
    let count = |level| lines.iter().filter(|(of, _)| *of == level).count();
    // Ten, and the number of the others; at level info the others too.
    assert_eq!((count(Level::Error), count(Level::Warn)), (10, 0), "{lines:#?}");
    assert_eq!(count(Level::Info), 20, "{lines:#?}");
    for (level, line) in &lines[1..] {
        let what = "attempt 1, next attempt at TIME, or at once after a reload: provider \"cloudflare\" cannot find ";
        assert!(
            line.contains(what) && line.contains("add the domain to the account"),
            "{level:?}: {line}"
        );
    }
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 0);
}

#[test]
fn a_wrong_clock_is_told_beside_the_certificate() {
    let bed = Bed::start();
    bed.change_certificates(Change::dates(2 * HOUR, 90 * 24 * HOUR, 2 * HOUR));
    let clock: Expected = (
        Level::Error,
        "acme_dns: issuer \"pebble\": the clock of this host is ",
        &["set the clock"],
    );
    let issued: Expected =
        (Level::Notice, "acme_dns: certificate \"example.test\" issued by ", &[]);
    assert_reads("clock", &read(&bed, bed.settings()), &[ORDERED, ACCOUNT, clock, issued]);
}

/// A start of the service with a configuration that was loaded for the so manieth time; gives the lines
/// until one of them has this text.
fn start(bed: &Bed, settings: Settings, loading: u64, until: &str) -> Vec<String> {
    let log = Arc::<Log>::default();
    let settings = Settings { loading: Loading(loading), ..settings };
    let service = Service::start(settings, log.clone()).unwrap();
    let is_there = || log.all().iter().any(|line| line.contains(until));
    assert!(wait_until(PATIENCE, || is_there().then_some(())).is_some(), "{:#?}", log.all());
    // Its progress is on the disk before the line is there.
    service.stop();
    assert!(bed.state().join("orders").exists());
    log.all()
}

#[test]
fn a_reload_tries_again_until_it_says_that_it_does_not() {
    let bed = bed();
    let wrong = || {
        let secrets = vec![SecretString::from("wrong")];
        Settings { secrets, ..bed.settings() }
    };
    for loading in 0..4 {
        let lines = start(&bed, wrong(), loading, "certificates wait, attempt");
        let remedy =
            if loading < 3 { ", or at once after a reload: " } else { ", sooner only by " };
        assert!(lines.iter().any(|line| line.contains(remedy)), "{loading}: {lines:#?}");
    }
    let lines = start(&bed, wrong(), 4, "5 certificates wait, \"");
    let stands = "too many attempts have failed and the configuration is unchanged";
    assert!(lines.iter().any(|line| line.contains(stands)), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("next attempt at")), "{lines:#?}");
    // The right token is something else.
    start(&bed, bed.settings(), 5, "issued by");
}
