//! Programs that are told.

use crate::bed::{Bed, FAST, NAME};
use acme_dns_core::level::Level;
use acme_dns_service::event::{Event, ProcessEvent, StapleEvent, Subject, VisibilityEvent};
use acme_dns_service::notice::Timing;
use serde_json::Value;
use std::fs;
use std::time::Duration;

/// Body of a hook that appends what it is told.
const APPEND: &str = "cat >> $dir/told";

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn each_event_is_told_as_json() {
    let mut bed = Bed::new();
    bed.hook(APPEND, &[]);
    let desk = bed.start_with(FAST, true);
    assert_eq!(json(&bed.wait_for_lines("told", 1)[0])["event"], "restarted");
    bed.save(90);
    desk.tell_issued();
    let issued = json(&bed.wait_for_lines("told", 2)[1]);
    assert_eq!(issued["event"], "issued");
    assert_eq!(issued["certificate"], NAME);
    assert_eq!(issued["sans"][1], "*.a.example");
    assert_eq!(issued["issuer"], "Test CA");
    assert_eq!(issued["path"], bed.path("state/certs").join(NAME).to_str().unwrap());
    assert_eq!(issued["certFingerprint"].as_str().unwrap().len(), 64);
    desk.tell_failed(Level::Warn);
    let failed = json(&bed.wait_for_lines("told", 3)[2]);
    assert_eq!((&failed["event"], &failed["attempts"]), (&Value::from("failed"), &Value::from(3)));
    assert_eq!(failed["error"], "a \"reason\"");
    assert_eq!(failed["nextAttempt"], "1970-01-01T00:00:09Z");
    bed.save(90);
    desk.tell_issued();
    let lines = bed.wait_for_lines("told", 5);
    let mut last: Vec<String> =
        lines[3..].iter().map(|line| json(line)["event"].as_str().unwrap().to_owned()).collect();
    last.sort();
    assert_eq!(last, ["recovered", "renewed"]);
    let why = || "a reason".to_owned();
    let next = acme_dns_core::time::UnixTime(9);
    let revoked = StapleEvent::Revoked { host: why(), why: why(), next, is_known: false };
    desk.tell(&Event::Staple(NAME.to_owned(), revoked));
    let timeout = Duration::from_secs(1);
    let waiting = VisibilityEvent::StillWaiting { zone: why(), timeout, lacks: why() };
    desk.tell(&Event::Visibility(Subject::Certificate(NAME.to_owned()), waiting));
    desk.tell(&Event::Process(ProcessEvent::Unfit { why: why() }));
    let lines = bed.wait_for_lines("told", 8);
    let mut last: Vec<String> =
        lines[5..].iter().map(|line| json(line)["event"].as_str().unwrap().to_owned()).collect();
    last.sort();
    assert_eq!(last, ["attention", "revoked", "waiting"]);
}

#[test]
fn a_hook_hears_what_it_wants_and_no_more_often_than_it_is_to() {
    let mut bed = Bed::new();
    bed.save(90);
    bed.hook("echo $ACME_DNS_EVENT $ACME_DNS_CERTIFICATE >> $dir/all", &[]);
    let renewed: &[&str] = &["events", "renewed"];
    bed.hook("echo $ACME_DNS_EVENT $ACME_DNS_PATH >> $dir/renewed", &[renewed]);
    bed.hook("echo $ACME_DNS_EVENT >> $dir/attention", &[&["events", "attention"]]);
    let desk = bed.start();
    (0..3).for_each(|_| desk.tell_failed(Level::Error));
    bed.save(90);
    desk.tell_issued();
    let lines = bed.wait_for_lines("all", 3);
    assert_eq!(lines.len(), 3, "{lines:?}");
    let path = bed.path("state/certs").join(NAME);
    let expected = [format!("renewed {}", path.display())];
    assert_eq!(bed.wait_for_lines("renewed", 1), expected);
    // A failure that needs a person, to somebody who wants to hear of such.
    assert_eq!(bed.wait_for_lines("attention", 1), ["failed"]);
    bed.wait_for_notes(2);
    drop(desk);
    // Nothing is told again by the next service, nor what is known.
    let desk = bed.start();
    desk.tell_issued();
    desk.tell_failed(Level::Warn);
    assert_eq!(bed.wait_for_lines("all", 4)[3], format!("failed {NAME}"));
    assert_eq!(bed.wait_for_lines("renewed", 1).len(), 1);
}

#[test]
fn what_expires_is_told_once_a_day() {
    let mut bed = Bed::new();
    bed.hook("echo $ACME_DNS_MESSAGE >> $dir/told", &[&["events", "expiring"]]);
    for (days, expected) in [(10, "is not renewed yet"), (-1, "has expired at")] {
        bed.save(days);
        let _removed = fs::remove_file(bed.path("state/notices").join(format!("{NAME}.json")));
        let timing = Timing { look: Duration::from_millis(20), ..FAST };
        let desk = bed.start_with(timing, false);
        let line = bed.wait("expiring", || {
            bed.read("told").lines().find(|line| line.contains(expected)).map(str::to_owned)
        });
        assert!(line.contains(NAME), "{line}");
        std::thread::sleep(Duration::from_millis(200));
        drop(desk);
    }
    assert_eq!(bed.wait_for_lines("told", 2).len(), 2);
}

#[test]
fn dehydrated_hooks_get_the_arguments_of_deploy_cert() {
    let mut bed = Bed::new();
    bed.hook("for word; do echo \"$word\" >> $dir/words; done", &[&["protocol", "dehydrated"]]);
    let desk = bed.start();
    let chain = bed.save(90);
    desk.tell_failed(Level::Error);
    desk.tell_issued();
    let words = bed.wait_for_lines("words", 7);
    let [verb, domain, key, cert, full, chain_file, time] = words.as_slice() else {
        panic!("{words:?}")
    };
    assert_eq!((verb.as_str(), domain.as_str()), ("deploy_cert", NAME));
    assert_eq!(fs::read_to_string(full).unwrap(), chain);
    assert_eq!(fs::read_to_string(cert).unwrap(), chain);
    assert!(fs::read_to_string(key).unwrap().contains("PRIVATE KEY"));
    assert!(fs::read_to_string(chain_file).is_ok() && time.parse::<u64>().is_ok());
}

/// Body of a hook that fails until there is a file `good`.
const UNTIL_GOOD: &str = "echo $ACME_DNS_EVENT >> $dir/tried; test -e $dir/good || exit 3; \
                          echo $ACME_DNS_EVENT >> $dir/told";

#[test]
fn a_deployment_is_tried_until_it_succeeds_over_restarts_too() {
    let mut bed = Bed::new();
    bed.hook(UNTIL_GOOD, &[&["events", "issued", "renewed", "failed"]]);
    let desk = bed.start();
    bed.save(90);
    desk.tell_issued();
    bed.wait_for_lines("tried", 3);
    bed.wait_for_log("failed on \"issued\" of certificate \"a.example\", next attempt in 0 s: it has ended with status 3");
    drop(desk);
    // Issued while nobody listens, as if the service had died right after.
    bed.save(90);
    let before = bed.wait_for_lines("tried", 3).len();
    let desk = bed.start();
    bed.wait_for_lines("tried", before + 1);
    fs::write(bed.path("good"), "").unwrap();
    assert_eq!(bed.wait_for_lines("told", 1), ["issued"]);
    bed.wait_for_log("was told of \"issued\"");
    bed.wait_for_notes(1);
    drop(desk);
    let desk = bed.start();
    bed.save(90);
    desk.tell_issued();
    assert_eq!(bed.wait_for_lines("told", 2), ["issued", "renewed"]);
}

#[test]
fn other_notices_are_given_up() {
    let mut bed = Bed::new();
    bed.hook("exit 1", &[&["events", "failed"]]);
    let desk = bed.start();
    desk.tell_failed(Level::Warn);
    let line = bed.wait_for_log("is not told of it any more");
    assert!(line.starts_with("hook \""), "{line}");
    assert!(bed.failures() >= 2);
}

#[test]
fn a_hook_that_hangs_is_ended_and_in_nobodys_way() {
    let mut bed = Bed::new();
    bed.hook("sleep 1000", &[&["timeout", "1s"]]);
    bed.hook(APPEND, &[]);
    let desk = bed.start();
    bed.save(90);
    desk.tell_issued();
    bed.wait_for_lines("told", 1);
    bed.wait_for_log("it was not done in 1 s and was ended, set \"timeout\" if it needs more");
}

#[test]
fn secrets_of_a_hook_are_in_its_environment_and_not_in_the_log() {
    let mut bed = Bed::new();
    let block: &[&[&str]] = &[&["secret", "TOKEN", "s3cr3t-token"], &["env", "A", "b"]];
    bed.hook("echo \"$A $TOKEN\" > $dir/told; echo \"the token is $TOKEN\"; exit 1", block);
    let desk = bed.start();
    desk.tell_failed(Level::Warn);
    bed.wait_for_log("says: the token is ***");
    assert_eq!(bed.wait_for_lines("told", 1), ["b s3cr3t-token"]);
    bed.wait_for_log("it said: the token is ***");
    assert!(!bed.log().concat().contains("s3cr3t"));
}

#[test]
fn a_certificate_is_told_again_if_nobody_knows_whether_it_was() {
    let mut bed = Bed::new();
    bed.hook("echo $ACME_DNS_EVENT >> $dir/told", &[&["events", "issued", "renewed"]]);
    bed.save(90);
    drop(bed.start());
    fs::create_dir_all(bed.path("state/notices")).unwrap();
    fs::write(bed.path("state/notices/a.example.json"), "{").unwrap();
    let _desk = bed.start();
    assert_eq!(bed.wait_for_lines("told", 1), ["renewed"]);
}

#[test]
fn a_hook_that_is_new_is_not_told_of_what_is_there() {
    let mut bed = Bed::new();
    bed.save(90);
    bed.hook(APPEND, &[&["events", "issued", "renewed"]]);
    let desk = bed.start();
    bed.wait("the notes", || bed.path("state/notices/a.example.json").exists().then_some(()));
    drop(desk);
    let desk = bed.start();
    bed.save(90);
    desk.tell_issued();
    let lines = bed.wait_for_lines("told", 1);
    assert_eq!((lines.len(), json(&lines[0])["event"].as_str()), (1, Some("renewed")));
}
