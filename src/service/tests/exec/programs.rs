//! Programs that misbehave, and what they are given besides arguments.

use crate::bed::{
    Bed, LIMIT, NAME, create, is_alive, lego, run, settings, txt, wait_for_end, with_secret, zone,
};
use acme_dns_core::config::ExecSettings;
use acme_dns_service::dns::{About, DnsProvider, ProviderError};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

fn one() -> [acme_dns_service::dns::TxtRecord; 1] {
    [txt(NAME, "one")]
}

fn fail(bed: &Bed, body: &str) -> ProviderError {
    create(&bed.lego(body), &one()).unwrap_err()
}

/// Settings with a time-out of a second.
fn hasty(bed: &Bed, body: &str) -> ExecSettings {
    let settings = settings(lego(&bed.script("hook", body)));
    ExecSettings { timeout: Duration::from_secs(1), ..settings }
}

#[test]
fn a_failed_program_is_quoted() {
    let bed = Bed::new();
    let error = fail(
        &bed,
        "for n in 1 2 3 4 5 6; do echo line $n; done; echo \"wrong \x07key\" >&2; exit 3",
    );
    assert!(!error.is_definite() && !error.is_permanent());
    assert_eq!(*error.about(), About::Zone("example.com".into()));
    let text = error.to_string();
    let start = "provider \"own\" cannot create TXT record \"_acme-challenge.example.com\" in zone \
                 \"example.com\": it has ended with status 3; it said: ";
    assert!(text.starts_with(start), "{text}");
    for (part, is_there) in [("line 6", true), ("wrong  key", true), ("line 1", false)] {
        assert_eq!(text.contains(part), is_there, "{part}: {text}");
    }
    assert_eq!(bed.log().len(), 7);
    assert!(bed.is_tidy());
}

#[test]
fn what_it_says_as_errors_is_quoted_whatever_else_it_prints() {
    let bed = Bed::new();
    for (body, expected) in [
        ("echo first >&2; seq 100; exit 3", "97 | 98 | 99 | 100 | first"),
        ("seq 100; seq 201 207 >&2; exit 3", "203 | 204 | 205 | 206 | 207"),
        ("echo one; echo two >&2; exit 3", "one | two"),
    ] {
        let text = fail(&bed, body).to_string();
        assert!(text.ends_with(&format!("it said: {expected}")), "{text}");
    }
}

#[test]
fn a_program_that_is_being_written_is_started_when_that_has_ended() {
    let bed = Bed::new();
    let hook = bed.script("hook", "");
    let provider = bed.exec(&settings(lego(&hook)), &[]);
    let writer = File::options().append(true).open(&hook).unwrap();
    let error = create(&provider, &one()).unwrap_err();
    assert!(error.to_string().contains("somebody has it open to write to it"), "{error}");
    assert!(error.is_definite() && !error.is_permanent(), "{error}");
    let ending = thread::spawn(move || {
        // Two of the attempts to start it are over by then, most likely; it succeeds in any case.
        thread::sleep(Duration::from_millis(250));
        drop(writer);
    });
    create(&provider, &one()).unwrap();
    ending.join().unwrap();
}

#[test]
fn the_ways_not_to_start_say_what_to_do() {
    let bed = Bed::new();
    for (body, is_permanent, part) in [
        ("no_such_command", true, "install it, or give its directory by \"env PATH\""),
        ("$dir/plain", true, "check its mode"),
        ("kill -9 $$", false, "it was ended by signal 9"),
    ] {
        fs::write(bed.path("plain"), "").unwrap();
        let error = fail(&bed, body);
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.is_permanent(), is_permanent, "{error}");
        assert!(!error.is_definite(), "{error}");
    }
    let hook = bed.script("hook", "");
    let provider = bed.exec(&settings(lego(&hook)), &[]);
    let with_mode = |text: &str, mode: u32| {
        fs::write(&hook, text).unwrap();
        fs::set_permissions(&hook, Permissions::from_mode(mode)).unwrap();
        let error = create(&provider, &one()).unwrap_err();
        assert!(error.is_definite() && error.is_permanent(), "{error}");
        assert_eq!(*error.about(), About::Provider);
        error.to_string()
    };
    for (text, mode, part) in [
        ("#!/bin/sh\n", 0o644, "is not executable"),
        ("#!/bin/sh\n", 0o757, "can be written by everyone"),
        ("#!/no/such/shell\n", 0o755, "the interpreter that its first line names is missing"),
    ] {
        let error = with_mode(text, mode);
        assert!(error.contains(part), "{error}");
    }
    fs::remove_file(&hook).unwrap();
    let error = create(&provider, &one()).unwrap_err().to_string();
    assert!(error.contains("(2: No such file"), "{error}");
}

#[test]
fn a_program_that_hangs_is_ended_with_its_children() {
    let bed = Bed::new();
    for (body, least) in [
        ("sleep 1000 & echo $! > $dir/pid; sleep 1000", 1),
        // The one that does not end when it is asked to has to be killed.
        ("trap '' TERM; sleep 1000 & echo $! > $dir/pid; while :; do sleep 1; done", 6),
    ] {
        let provider = bed.exec(&hasty(&bed, body), &[]);
        let begun = Instant::now();
        let error = create(&provider, &one()).unwrap_err();
        assert!(error.to_string().contains("it was not done in 1 s"), "{error}");
        assert!(!error.is_permanent() && *error.about() == About::Provider);
        let taken = begun.elapsed();
        assert!(taken >= Duration::from_secs(least) && taken < LIMIT, "{taken:?}");
        wait_for_end(&bed.read("pid"));
        fs::remove_file(bed.path("pid")).unwrap();
    }
}

#[test]
fn what_a_program_leaves_behind_is_ended() {
    let bed = Bed::new();
    let begun = Instant::now();
    // It holds the pipes.
    create(&bed.lego("sleep 1000 & echo $! > $dir/pid"), &one()).unwrap();
    wait_for_end(&bed.read("pid"));
    // One that has left the group is left alone, and nobody waits for it.
    create(&bed.lego("setsid sleep 1000 & echo $! > $dir/free; sleep 0.2"), &one()).unwrap();
    assert!(begun.elapsed() < LIMIT);
    let free = bed.read("free");
    assert!(is_alive(&free));
    let pid = rustix::process::Pid::from_raw(free.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_program_that_nobody_waits_for_is_killed() {
    let bed = Bed::new();
    let provider = bed.lego("sleep 1000 & echo $! > $dir/child; echo $$ > $dir/pid; wait");
    run(async {
        let (zone, records) = (zone(), one());
        let creation = provider.create(&zone, &records);
        let is_there = async {
            while bed.read("pid").is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            result = creation => panic!("{result:?}"),
            () = is_there => {}
        }
    });
    for name in ["pid", "child"] {
        wait_for_end(&bed.read(name));
    }
}

#[test]
fn a_program_ends_with_the_thread_that_has_started_it() {
    let bed = Bed::new();
    let hook = bed.script("hook", "echo $$ > $dir/pid; while :; do sleep 1; done");
    let mut command = std::process::Command::new(&hook);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    crate::child::prepare(&mut command);
    let starting = thread::spawn(move || command.spawn().unwrap());
    let mut child = starting.join().unwrap();
    let ended = servers::process::wait_until(LIMIT, || child.try_wait().unwrap());
    let _has_ended = child.kill();
    assert!(!ended.expect("it has ended").success());
}

#[test]
fn a_flood_is_cut_and_bounded() {
    let bed = Bed::new();
    let flood = "head -c 3000000 /dev/zero | tr '\\0' x; echo; yes | head -n 100000; echo last";
    create(&bed.lego(flood), &one()).unwrap();
    let log = bed.log();
    assert_eq!(log.len(), 201);
    assert!(log.iter().all(|line| line.len() < 1100), "{log:?}");
    assert!(log.last().unwrap().contains("(99802 more lines)"), "{:?}", log.last());
}

#[test]
fn a_secret_is_nowhere_in_what_is_told() {
    let bed = Bed::new();
    let body = "set -x; echo \"$TOKEN\"; echo ?k=a%2Fb+%20c%2526; echo \"$TOKEN\" >&2; \
                printf 'x%.0s' $(seq 990); echo \"$TOKEN\"; exit 1";
    let settings = with_secret(settings(lego(&bed.script("hook", body))), "TOKEN");
    let secret = "a/b+ c%26";
    let error = create(&bed.exec(&settings, &[secret]), &one()).unwrap_err().to_string();
    let log = bed.log().join("\n");
    for text in [&error, &log] {
        assert!(text.contains("***"), "{text}");
        for form in [secret, "a%2Fb%2B%20c%2526", "a/b"] {
            assert!(!text.contains(form), "{form}: {text}");
        }
    }
}

#[test]
fn a_program_begins_with_nothing_of_its_parents() {
    let bed = Bed::new();
    let file = File::open("/dev/null").unwrap();
    // As the service's own, but open over exec.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let body = "ls /proc/self/fd | tr '\\n' ' '; echo; umask; ulimit -c; readlink /proc/self/fd/0; \
                echo pgrp $(cut -d ' ' -f 5 /proc/$$/stat) pid $$";
    create(&bed.lego(body), &one()).unwrap();
    let log = bed.log().join("\n");
    // "ls" has a descriptor of the directory.
    for expected in ["says: 0 1 2 3", "says: 0077", "says: 0\n", "/dev/null"] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    assert!(!log.contains("0 1 2 3 4"), "{log}");
    let numbers: Vec<&str> = log.lines().last().unwrap().rsplit(' ').collect();
    assert_eq!(numbers[0], numbers[2], "it leads its group: {log}");
    drop(file);
}

#[test]
fn leftovers_of_an_earlier_process_are_removed() {
    let bed = Bed::new();
    fs::create_dir_all(bed.path("homes/7/x")).unwrap();
    let provider = bed.lego("echo $$ > $HOME/file; mkdir -p $HOME/a/b; ls -ld $HOME");
    assert!(!bed.path("homes").exists());
    create(&provider, &one()).unwrap();
    assert!(bed.is_tidy());
    assert!(bed.log()[0].contains("drwx------"), "{:?}", bed.log());
}

#[test]
fn one_program_of_a_block_runs_at_a_time() {
    let bed = Bed::new();
    let body = "mkdir $dir/busy || exit 9; sleep 0.1; rmdir $dir/busy";
    let provider = bed.lego(body);
    let records: Vec<_> = (0..6).map(|n| txt(NAME, &n.to_string())).collect();
    let zone = zone();
    let creations =
        records.iter().map(|record| provider.create(&zone, std::slice::from_ref(record)));
    for created in run(futures_util::future::join_all(creations)) {
        created.unwrap();
    }
}
