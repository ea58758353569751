//! Attacks on the state path.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use serde_json::json;
use servers::process::{Process, wait_until};

use super::{Attacker, NAME, check_all_works, site};
use crate::site::{LIMIT, NOBODY, SERVICE, Site};

/// Everything below a directory, by its name there: files and directories.
fn below(state: &std::path::Path) -> (Vec<String>, Vec<String>) {
    let (mut files, mut directories) = (Vec::new(), vec![String::new()]);
    let mut next = 0;
    while let Some(directory) = directories.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(state.join(&directory)).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let name = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            let is_directory = entry.file_type().expect("a type").is_dir();
            if is_directory { &mut directories } else { &mut files }.push(name);
        }
    }
    (files, directories)
}

#[test]
fn nothing_in_the_state_path_is_open_to_the_workers_user() {
    let attacker = Attacker::new();
    let mut site = site();
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    // An order under way and its journal are there as well.
    site.bed.cloudflare.pause_propagation();
    site.set_servers(&[NAME, "b.example.test"]);
    site.reload();
    site.bed.cloudflare.wait_for_records(LIMIT, |records| !records.is_empty());
    let (files, directories) = below(&site.state());
    for file in ["lock", "accounts/pebble/account_key.pem", "journal/b.example.test.json"] {
        assert!(files.contains(&file.to_owned()), "{file}: {files:?}");
    }
    let given = json!({ "state": site.state(), "files": files, "directories": directories });
    assert_eq!(attacker.run("files.py", &given), json!({ "opened": [] }));
    // The program finds what is open.
    let given = json!({ "state": attacker.dir(), "files": [], "directories": [""] });
    assert_ne!(attacker.run("files.py", &given), json!({ "opened": [] }));
    site.bed.cloudflare.resume_propagation();
    site.wait_for_certificate("b.example.test");
    assert_eq!(site.check_files(NAME), leaf);
}

#[test]
fn a_lock_that_the_workers_user_holds_before_a_takeover_is_told() {
    check_with_a_lock_held_by(NOBODY);
}

#[test]
fn a_lock_that_does_not_come_free_is_told() {
    check_with_a_lock_held_by(SERVICE);
}

/// A site that has run as the version before did: the workers' user has its state path.
pub(super) fn of_the_version_before(site: &mut Site) {
    site.nginx.service_user(Some("nobody nogroup"));
    site.start_nginx();
}

/// The next start is one with a user for the service.
pub(super) fn separate(site: &mut Site) {
    site.nginx.quit();
    let owner = fs::metadata(site.state()).expect("it is there").uid();
    assert_eq!(owner, NOBODY, "the state path is the workers' user's");
    site.nginx.service_user(Some("daemon daemon"));
}

/// Holds the lock as a user, before a start; the certificate goes on being served.
fn check_with_a_lock_held_by(holder: u32) {
    let mut site = site();
    if holder == NOBODY {
        of_the_version_before(&mut site);
    } else {
        site.start_nginx();
    }
    let leaf = site.wait_for_certificate(NAME).leaf;
    match holder {
        NOBODY => separate(&mut site),
        _ => site.nginx.quit(),
    }
    let mut command = Command::new("setpriv");
    let id = holder.to_string();
    command.args([&*format!("--reuid={id}"), &*format!("--regid={id}"), "--clear-groups", "--"]);
    command.arg("flock").arg(site.state().join("lock")).args(["sleep", "1000"]);
    let holder = Process::start(&command, &site.bed.dir().join("flock.log"));
    let held = || {
        let file = fs::File::open(site.state().join("lock")).expect("it is there");
        file.try_lock().is_err().then_some(())
    };
    wait_until(LIMIT, held).expect("it is locked");
    let mark = site.nginx.log_mark();
    site.start_nginx();
    let line = site.nginx.wait_for_log_from(mark, "is locked by process", LIMIT);
    assert!(line.contains("[notice]"), "{line}");
    assert_eq!(site.served(NAME), leaf);
    // `flock` and its child hold it together.
    let master = site.nginx.master_pid();
    for pid in testbed::measurements::proc::children(holder.pid()) {
        testbed::measurements::proc::kill(pid, rustix::process::Signal::KILL);
    }
    drop(holder);
    check_all_works(&mut site, master);
    assert_eq!(fs::metadata(site.state()).expect("it is there").uid(), SERVICE);
}

#[test]
fn a_state_path_that_is_another_directives_too_is_served() {
    let mut site = site();
    let state = site.state();
    site.http = format!(
        "server {{ listen unix:{}; client_body_temp_path {}; return 200; }}",
        site.nginx.path("other.sock").display(),
        state.display()
    );
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let master = site.nginx.master_pid();
    check_all_works(&mut site, master);
}

#[test]
fn a_state_path_whose_name_is_a_link_stays_one() {
    let mut site = site();
    let elsewhere = site.bed.dir().join("elsewhere");
    fs::create_dir(&elsewhere).expect("it is new");
    symlink(&elsewhere, site.state()).expect("it is new");
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    assert_eq!(site.check_files(NAME), leaf);
    assert_eq!(fs::read_link(site.state()).ok(), Some(elsewhere));
}
