//! Attacks on what processes have in memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use servers::process::wait_until;
use testbed::measurements::proc;

use super::{Attack, Attacker, NAME, cache, check_all_works, needles, processes_json, site};
use crate::site::{LIMIT, Site};

/// Both name the same token, as a container's environment may.
const VARIABLES: [&str; 2] = ["CLOUDFLARE_API_TOKEN", "CF_API_TOKEN"];

/// A site with all kinds of processes, which has its token twice in the environment.
fn site_with_cache(credentials: &str) -> Site {
    let mut site = site();
    site.http = cache(&site.nginx);
    let token = site.bed.token().to_owned();
    VARIABLES.iter().for_each(|name| {
        site.nginx.env(name, &token);
    });
    let file = site.bed.token_file().display().to_string();
    let (api, credentials) = (site.bed.cloudflare.api_url(), credentials.replace("FILE", &file));
    site.provider =
        Some(format!("acme_dns_provider cloudflare {{\n    api {api};\n    {credentials}\n}}\n"));
    site
}

/// Nothing of the service, the manager and the loader is open, and there is no secret anywhere.
fn check(site: &Site, attacker: &Attacker, when: &str) {
    let _ = site.nginx.wait_for_helper();
    let processes = processes_json(&site.nginx);
    let given = json!({ "processes": processes, "needles": needles(site) });
    let said = attacker.run("memory.py", &given);
    for name in ["service", "manager", "loader", "worker 1", "worker 2"] {
        assert!(said[name].is_object(), "{when}: there is no {name}: {said}");
    }
    for (name, of) in said.as_object().expect("an object") {
        assert_eq!(of["hits"], 0, "{when}: {name}: {said}");
        let may_be_open = name.starts_with("worker");
        assert!(may_be_open || of["opened"] == json!([]), "{when}: {name}: {said}");
        // The attack works where it may.
        assert!(!may_be_open || of["opened"] != json!([]), "{when}: {name}: {said}");
    }
}

#[test]
fn no_process_gives_a_secret_away() {
    for credentials in ["token_file FILE;", "token env:CLOUDFLARE_API_TOKEN;"] {
        let attacker = Attacker::new();
        let mut site = site_with_cache(credentials);
        site.start_nginx();
        site.wait_for_certificate(NAME);
        check(&site, &attacker, &format!("{credentials} after the start"));
        let helpers = site.helpers();
        site.reload();
        site.wait_for_other_helper(&helpers);
        check(&site, &attacker, &format!("{credentials} after a reload"));
    }
}

/// Longer than the program of the race looks at a process.
const LOOK: Duration = Duration::from_millis(500);

/// A race for what new processes have in memory.
struct Race<'a> {
    attacker: &'a Attacker,
    attack: Attack,
}

impl<'a> Race<'a> {
    fn start(site: &Site, attacker: &'a Attacker, kill: bool) -> Self {
        let file = |name: &str| attacker.dir().join(name);
        for name in ["stop", "begun"] {
            let _ = fs::remove_file(file(name));
        }
        let given = json!({
            "master": site.nginx.master_pid(), "needles": needles(site), "kill": kill,
            "stop": file("stop"), "begun": file("begun"),
        });
        let attack = attacker.start("race.py", &given);
        let begun = wait_until(LIMIT, || file("begun").exists().then_some(()));
        if begun.is_none() {
            panic!("the race does not begin: {}", attack.finish());
        }
        Self { attacker, attack }
    }

    /// Ends it. Whatever it has opened held nothing, and was none of the processes that are closed.
    fn finish(self) -> Value {
        fs::write(self.attacker.dir().join("stop"), "").expect("it can be written");
        let said = self.attack.finish();
        assert_eq!(said["hits"], 0, "{said}");
        let opened = said["opened"].as_object().expect("an object");
        assert!(opened.keys().all(|title| title.starts_with("worker process")), "{said}");
        said
    }
}

#[test]
fn new_processes_give_nothing_away_at_their_birth() {
    let attacker = Attacker::new();
    let mut site = site_with_cache("token env:CLOUDFLARE_API_TOKEN;");
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let (race, begin) = (Race::start(&site, &attacker, false), Instant::now());
    let mut reloads = 0;
    while reloads == 0 || begin.elapsed() < super::time_of_a_race() {
        let helpers = site.helpers();
        site.reload();
        site.wait_for_other_helper(&helpers);
        // They are looked at for a moment.
        std::thread::sleep(LOOK);
        reloads += 1;
    }
    let said = race.finish();
    assert!(said["opened"]["worker process"].as_u64() > Some(0), "the attack fails: {said}");
    // Workers, manager, loader and service.
    assert!(said["seen"].as_u64() >= Some(5 * reloads), "{said}");
}

#[test]
fn killing_the_manager_again_and_again_opens_nothing() {
    let attacker = Attacker::new();
    let mut site = site_with_cache("token env:CLOUDFLARE_API_TOKEN;");
    site.nginx.log_level("notice");
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let master = site.nginx.master_pid();
    let race = Race::start(&site, &attacker, true);
    std::thread::sleep(super::time_of_a_race());
    let said = race.finish();
    println!("the manager under fire: {said}");
    assert!(said["kills"].as_u64() > Some(5), "{said}");
    check_all_works(&mut site, master);
}

#[test]
fn a_core_dump_holds_no_secret() {
    const PATTERN: &str = "/proc/sys/kernel/core_pattern";
    let pattern = fs::read_to_string(PATTERN).unwrap_or_default();
    if pattern.starts_with(['|', '/']) {
        println!("{PATTERN} is {}: cores go elsewhere, this test sees none", pattern.trim());
        return;
    }
    let attacker = Attacker::new();
    let mut site = site_with_cache("token env:CLOUDFLARE_API_TOKEN;");
    let cores = site.bed.dir().join("cores");
    fs::create_dir(&cores).expect("it is new");
    fs::set_permissions(&cores, fs::Permissions::from_mode(0o777)).expect("a mode");
    site.nginx.main(format!("worker_rlimit_core 500m; working_directory {};", cores.display()));
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let (master, helper) = (site.nginx.master_pid(), site.nginx.wait_for_helper());
    let given = json!({
        "processes": processes_json(&site.nginx), "needles": needles(&site), "directory": cores,
    });
    let said = attacker.run("core.py", &given);
    assert_eq!(said["hits"], 0, "{said}");
    assert!(said["cores"].as_u64() > Some(0), "a worker leaves one: {said}");
    let signalled = said["signalled"].as_array().expect("a list");
    assert!(signalled.contains(&json!("manager")) && signalled.contains(&json!("worker 1")));
    assert!(!signalled.contains(&json!("service")), "{said}");
    site.wait_for_other_helper(&[helper]);
    // Nor does root, by its own mistake.
    let helper = site.nginx.wait_for_helper();
    proc::kill(helper, Signal::SEGV);
    site.wait_for_other_helper(&[helper]);
    let held = |path: &std::path::Path| {
        let core = fs::read(path).expect("it can be read");
        memchr::memmem::find(&core, site.bed.token().as_bytes()).is_some()
    };
    let entries = fs::read_dir(&cores).expect("it is there");
    let bad: Vec<_> = entries.map(|entry| entry.expect("it").path()).filter(|p| held(p)).collect();
    assert!(bad.is_empty(), "{bad:?}");
    check_all_works(&mut site, master);
}
