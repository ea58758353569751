//! The examples of docs/hooks.md: other software reads what is exported, and systemd the units.

use crate::bed::Bed;
use acme_dns_core::level::Level;
use servers::paths::workspace_dir;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn examples() -> PathBuf {
    workspace_dir().join("docs/examples")
}

fn check(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    output
}

#[test]
fn haproxy_reads_the_bundles() {
    let mut bed = Bed::new();
    let out = bed.path("out");
    fs::create_dir(&out).unwrap();
    let directory = out.display().to_string();
    bed.export(&[&["directory", &directory], &["bundle", "$name.pem"]]);
    bed.save(90);
    let _desk = bed.start();
    bed.wait_for_log("wrote \"a.example.pem\"");
    let example = fs::read_to_string(examples().join("haproxy.cfg")).unwrap();
    let ours = example.replace("/var/lib/acme_dns_export/haproxy/", &format!("{directory}/"));
    assert_ne!(ours, example);
    fs::write(bed.path("haproxy.cfg"), ours).unwrap();
    // Debian has it where only root's path leads.
    let haproxy = || {
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-c", "-f"]).arg(bed.path("haproxy.cfg"));
        command
    };
    check(&mut haproxy());
    fs::write(out.join("a.example.pem"), "no certificate").unwrap();
    assert!(!haproxy().output().unwrap().status.success(), "it does not look");
}

#[test]
fn systemd_accepts_the_units() {
    let mut units: Vec<PathBuf> = fs::read_dir(examples().join("systemd"))
        .unwrap()
        .map(|unit| unit.unwrap().path())
        .collect();
    units.sort();
    assert_eq!(units.len(), 6);
    let output = check(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units));
    let text = String::from_utf8_lossy(&output.stderr);
    let ours = text.lines().filter(|line| line.contains("acme-dns-"));
    assert_eq!(ours.count(), 0, "{text}");
}

#[test]
fn notices_are_mailed() {
    let mut bed = Bed::new();
    let hook = fs::read_to_string(examples().join("mail-hook")).unwrap();
    let mailer = bed.script("mailer", "echo \"$@\" > $dir/arguments; cat > $dir/mail");
    let body = hook.trim_start_matches("#!/bin/sh").replace("$1", "admin@a.example");
    bed.hook(&body, &[&["env", "MAILER", &mailer], &["events", "failed"]]);
    let desk = bed.start();
    desk.tell_failed(Level::Warn);
    bed.wait_for_log("was told of \"failed\"");
    assert_eq!(bed.read("arguments"), "-- admin@a.example\n");
    let mail = bed.read("mail");
    let (head, text) = mail.split_once("\n\n").unwrap();
    assert!(head.starts_with("To: admin@a.example\nSubject: [acme_dns] failed a.example\n"));
    assert!(text.starts_with("certificate \"a.example\" was not obtained"), "{mail}");
}
