//! `make live` against the testbed: by the same program, with the addresses of other servers.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use servers::Testbed;
use servers::ZONE;
use servers::bed::write_secret;
use servers::cloudflare::{Cloudflare, Token};
use servers::powerdns::PowerDns;
use servers::process::{Process, die_with_parent, wait_until};
use testbed::measurements::replay::replay;

/// A token of another zone.
const OTHER: &str = "other-0123456789-0123456789-0123456789";

/// Longer than an order takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn command(bed: &Testbed, out: &Path) -> Command {
    let other = bed.dir().join("other");
    write_secret(&other, OTHER);
    let propagation = bed.propagation();
    let propagation = propagation.trim().trim_start_matches("acme_dns_propagation ");
    let mut command = Command::new(env!("CARGO_BIN_EXE_live"));
    command
        .env("ZONE", ZONE)
        .env("TOKEN_FILE", bed.token_file())
        .env("OTHER_TOKEN_FILE", other)
        .env("API", bed.cloudflare.api_url())
        .env("DIRECTORY", bed.pebble.directory_url())
        .env("CA_FILE", bed.pebble.ca_file())
        .env("PROPAGATION", propagation.trim_end_matches(';'))
        .env("OUT", out)
        .stdin(std::process::Stdio::null());
    command
}

/// Error that Pebble 2.10 gives now and then about a certificate of its own, for some serial numbers.
const ORDER_NOT_FOUND: &str =
    "could not find order resulting in the given certificate serial number";

/// Runs it to its end; gives the report. Where Pebble does not find its own order, all is done anew.
fn run(bed: &Testbed, out: &Path) -> String {
    for _ in 0..5 {
        let output = die_with_parent(&command(bed, out)).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let plan = said.split("==>").next().unwrap_or_default();
        assert!(plan.contains("What is done") && plan.contains(ZONE), "{plan}");
        if output.status.success() {
            return read(&out.join("report.md"));
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(ORDER_NOT_FOUND), "{said}\n{errors}");
    }
    panic!("Pebble never finds the order of a certificate");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn all_steps_are_done_reported_and_recorded_without_secrets() {
    let bed = Testbed::start();
    bed.cloudflare.add_zone(&bed.dns, "other.test");
    bed.cloudflare.add_token(Token::new(OTHER).zones(&["other.test"]));
    let out = bed.dir().join("out");
    let report = run(&bed, &out);
    for step in [
        "apex and wildcard, ECDSA and RSA",
        "renewal information of the CA",
        "renewal that replaces, through the recorder",
        "revocation, after both were replaced",
        "a wrong token",
        "a token of another zone",
        "the zone is as it was",
    ] {
        assert!(report.contains(&format!("| {step} | ok |")), "{step}:\n{report}");
    }
    let recording = read(&out.join("cloudflare.json"));
    let zone_id = bed.cloudflare.zone_id(ZONE);
    let token_file = bed.token_file().display().to_string();
    for private in [bed.token(), OTHER, ZONE, &zone_id, &token_file] {
        assert!(!report.contains(private), "{private}:\n{report}");
        assert!(!recording.contains(private), "{private}:\n{recording}");
    }
    assert_eq!(bed.cloudflare.txt_records(), []);
    assert_eq!(bed.dns.all_txt(), []);

    // What was recorded can be replayed.
    let exchanges: Vec<Value> = serde_json::from_str(&recording).expect("it is JSON");
    assert_eq!(replayed(&exchanges), [""; 0]);
    let token = |label: &str| exchanges.iter().any(|exchange| exchange["token"] == label);
    assert!(["token", "wrong", "other"].into_iter().all(token), "{recording}");
}

#[test]
fn whoever_interrupts_it_finds_the_zone_as_it_was() {
    let bed = Testbed::start();
    let out = bed.dir().join("out");
    let log = bed.dir().join("live.log");
    let mut command = command(&bed, &out);
    command.env("PROPAGATION", "off delay=300s");
    let mut running = Process::start(&command, &log);
    let records = || (bed.cloudflare.txt_records().len() >= 2).then_some(());
    wait_until(LIMIT, records).unwrap_or_else(|| panic!("no records:\n{}", running.log()));
    running.signal(Signal::TERM);
    let status = running.wait(LIMIT).unwrap_or_else(|| panic!("it goes on:\n{}", running.log()));
    assert!(!status.success());
    assert_eq!(bed.cloudflare.txt_records(), []);
    let report = read(&out.join("report.md"));
    assert!(report.contains("| FAILED |") && report.contains("interrupted"), "{report}");
    assert!(report.contains("TXT records were left, and are removed now"), "{report}");
}

/// Replays against a stand-in of its own; gives the differences.
fn replayed(exchanges: &[Value]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dns = PowerDns::start(dir.path());
    let cloudflare = Cloudflare::start(&dns);
    for zone in ["example.com", "other.test"] {
        cloudflare.add_zone(&dns, zone);
    }
    cloudflare.add_token(Token::new("the-token"));
    cloudflare.add_token(Token::new("another").zones(&["other.test"]));
    let tokens = HashMap::from([("token", "the-token"), ("other", "another"), ("wrong", "wrong")]);
    replay(exchanges, &cloudflare.api_url(), &tokens)
}
