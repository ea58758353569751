//! Privileges of the processes.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use servers::process::wait_until;
use testbed::measurements::proc;
use testbed::nginx::Nginx;

use super::{Attacker, NAME, cache, check_all_works, processes, site};
use crate::site::{LIMIT, NOBODY, SERVICE, Site};

/// `CAP_NET_RAW`, which nginx itself leaves its workers for `transparent`.
const NET_RAW: u64 = 0x2000;

/// The fields of /proc/PID/status.
fn status(pid: u32) -> Option<BTreeMap<String, String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    Some(text.lines().filter_map(field).collect())
}

/// A user in all four places of a status.
fn four(id: u32) -> String {
    vec![id.to_string(); 4].join(" ")
}

/// Waits until each process but the master has its capabilities and no others.
fn check(nginx: &Nginx, of_workers: u64, when: &str) {
    let wrong = || {
        let of = |(name, pid): (String, u32)| {
            let status = status(pid)?;
            let expected = if name.starts_with("worker") { of_workers } else { 0 };
            let sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|set| {
                let expected = if set == "CapPrm" || set == "CapEff" { expected } else { 0 };
                (set, u64::from_str_radix(&status[set], 16).ok(), Some(expected))
            });
            let wrong: Vec<_> = sets.into_iter().filter(|(_, is, should)| is != should).collect();
            (!wrong.is_empty()).then_some((name, wrong))
        };
        processes(nginx).into_iter().filter_map(of).collect::<Vec<_>>()
    };
    let right = wait_until(LIMIT, || wrong().is_empty().then_some(()));
    assert!(right.is_some(), "{when}: {:?}", wrong());
}

#[test]
fn no_process_keeps_a_capability_of_root() {
    let mut site = site();
    site.http = cache(&site.nginx);
    site.start_nginx();
    site.wait_for_certificate(NAME);
    check(&site.nginx, 0, "with a certificate");
    let names: Vec<String> = processes(&site.nginx).into_iter().map(|(name, _)| name).collect();
    for name in ["service", "manager", "loader", "worker 1", "worker 2"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    proc::kill(site.nginx.manager_pid(), rustix::process::Signal::KILL);
    proc::kill(site.nginx.worker_pids()[0], rustix::process::Signal::KILL);
    wait_until(LIMIT, || (site.nginx.worker_pids().len() == 2).then_some(())).expect("a new one");
    let _ = site.nginx.wait_for_helper();
    check(&site.nginx, 0, "after some were killed");
    // Loaded and unused.
    let cache = cache(&site.nginx);
    site.nginx.http(cache.clone()).reload();
    check(&site.nginx, 0, "unused");
    site.nginx.load_module(false).reload();
    check(&site.nginx, 0, "taken out");
    site.nginx.reload();
    proc::kill(site.nginx.worker_pids()[0], rustix::process::Signal::KILL);
    wait_until(LIMIT, || (site.nginx.worker_pids().len() == 2).then_some(())).expect("a new one");
    check(&site.nginx, 0, "taken out before");
    site.nginx.load_module(true);
    site.reload();
    let _ = site.nginx.wait_for_helper();
    check(&site.nginx, 0, "back again");
    site.nginx.stop();
    site.nginx.http(cache).start();
    check(&site.nginx, 0, "never used");
}

/// A server that reaches its upstream from its client's address.
fn transparent(site: &Site) -> String {
    let socket = site.nginx.path("transparent.sock");
    format!(
        "server {{ listen unix:{}; location / {{ proxy_pass http://127.0.0.1:1; \
         proxy_bind $remote_addr transparent; }} }}",
        socket.display()
    )
}

#[test]
fn a_transparent_proxy_keeps_what_nginx_gives_it() {
    let mut site = site();
    site.http = cache(&site.nginx) + &transparent(&site);
    site.start_nginx();
    site.wait_for_certificate(NAME);
    check(&site.nginx, NET_RAW, "with a certificate");
    let (text, cache) = (transparent(&site), cache(&site.nginx));
    site.nginx.http(text).load_module(false).reload();
    check(&site.nginx, NET_RAW, "without the module");
    site.nginx.http(cache).reload();
    check(&site.nginx, 0, "without the module and the proxy");
}

#[test]
fn under_an_unprivileged_master_nobody_has_anything() {
    let mut site = Site::new();
    site.run_as_nobody();
    site.http = transparent(&site);
    site.set_servers(&[NAME]);
    site.start_nginx();
    site.wait_for_certificate(NAME);
    check(&site.nginx, 0, "under nobody's master");
    let helper = status(site.nginx.wait_for_helper()).expect("it is there");
    assert_eq!(helper["Uid"], four(NOBODY));
}

#[test]
fn the_service_has_a_user_of_its_own_and_no_way_back() {
    let attacker = Attacker::new();
    let mut site = site();
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let (master, helper) = (site.nginx.master_pid(), site.nginx.wait_for_helper());
    let of_manager = status(site.nginx.manager_pid()).expect("it is there");
    assert_eq!(of_manager["Uid"], four(NOBODY));
    let of_service = status(helper).expect("it is there");
    let four = four(SERVICE);
    assert_eq!((&of_service["Uid"], &of_service["Gid"]), (&four, &four));
    // nogroup, by which it may read what nginx's workers may.
    assert_eq!(of_service["Groups"], format!("{SERVICE} {NOBODY}"));
    assert_eq!(of_service["NoNewPrivs"], "1");
    for thread in fs::read_dir(format!("/proc/{helper}/task")).expect("it is there") {
        let path = thread.expect("a thread").path().join("status");
        let text = fs::read_to_string(&path).expect("it is there");
        assert!(text.contains(&format!("Uid:\t{SERVICE}\t{SERVICE}\t")), "{text}");
    }
    if cfg!(target_arch = "x86_64") {
        const EPERM: i32 = 1;
        for (call, arguments) in [("setuid", [0]), ("setgid", [0]), ("setuid", [NOBODY])] {
            let given = json!({ "process": helper, "call": call, "arguments": arguments });
            let said = attacker.run_as_root("inject.py", &given);
            assert_eq!(said["result"], -EPERM, "{call}({arguments:?})");
        }
    }
    check_all_works(&mut site, master);
}

#[test]
fn an_ordinary_signal_does_not_reach_the_service() {
    let attacker = Attacker::new();
    let mut site = site();
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let helper = site.nginx.wait_for_helper();
    let given = json!({
        "processes": { "service": helper }, "needles": [], "directory": attacker.dir(),
    });
    assert_eq!(attacker.run("core.py", &given)["signalled"], json!([]));
    assert!(proc::is_alive(helper));
}
