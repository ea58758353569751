//! Forged messages on the sockets by which nginx's processes are told what to do.

use std::collections::BTreeSet;

use serde_json::json;
use servers::process::wait_until;

use super::{Attacker, NAME, check_all_works, needles, processes_json, site};
use crate::site::LIMIT;

/// nginx takes them for indices into an array of 1024.
const SLOTS: [i64; 6] = [1 << 30, -(1 << 30), 1 << 20, -(1 << 20), 5000, -5000];

const OPEN_CHANNEL: u32 = 1;
const CLOSE_CHANNEL: u32 = 2;
const QUIT: u32 = 3;
const TERMINATE: u32 = 4;
const REOPEN: u32 = 5;

#[test]
fn no_message_reaches_the_process_with_the_secrets() {
    let attacker = Attacker::new();
    let mut site = site();
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let master = site.nginx.master_pid();
    let mut services = BTreeSet::new();
    for command in [OPEN_CHANNEL, CLOSE_CHANNEL, REOPEN, QUIT, TERMINATE] {
        let helper = site.nginx.wait_for_helper();
        services.insert(helper);
        let worker = wait_until(LIMIT, || site.nginx.worker_pids().first().copied());
        let given = json!({
            "worker": worker.expect("it is started anew"), "slots": SLOTS, "commands": [command],
        });
        let said = attacker.run("channel.py", &given);
        assert!(said["sockets"].as_u64() > Some(0) && said["sent"].as_u64() > Some(0), "{said}");
        let back = || (site.nginx.worker_pids().len() == 2).then(|| site.nginx.helper_pid());
        wait_until(LIMIT, || back().flatten()).expect("all are started anew");
        let given = json!({ "processes": processes_json(&site.nginx), "needles": needles(&site) });
        let said = attacker.run("memory.py", &given);
        for (name, of) in said.as_object().expect("an object") {
            assert_eq!(of["hits"], 0, "{command}: {name}: {said}");
        }
    }
    check_all_works(&mut site, master);
    let log = site.nginx.log();
    for service in services {
        let crashed = format!("process {service} exited on signal");
        let line = log.lines().find(|line| line.contains(&crashed));
        assert_eq!(line, None, "a message has crashed the service");
    }
}
