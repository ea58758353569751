//! The helper process: its life beside the master, other helpers and reloads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::{Action, Fault, Match};
use testbed::clients::tls::LoadClient;
use testbed::measurements::proc;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::site::{LIMIT, NOBODY, Site};

const NAME: &str = "example.test";

/// Longer than a stop takes on a busy machine, and shorter than whatever it might wait for: the shortest is the
/// limit of a connection, 10 s.
const STOP: Duration = Duration::from_secs(8);

fn wait_until_gone(pid: u32) {
    let gone = wait_until(LIMIT, || (!proc::is_alive(pid)).then_some(()));
    assert!(gone.is_some(), "process {pid} ({}) is still there", proc::title(pid));
}

#[test]
fn works_as_a_daemon_and_in_the_foreground() {
    for daemon in [true, false] {
        let mut site = Site::new();
        site.nginx.daemon(daemon);
        site.set_servers(&[NAME]);
        site.start_nginx();
        site.wait_for_certificate(NAME);
        let helper = site.nginx.wait_for_helper();
        assert_eq!(proc::title(helper), "nginx: acme dns process");
        site.reload();
        let other = site.wait_for_other_helper(&[helper]);
        site.wait_for_certificate(NAME);
        site.nginx.quit();
        wait_until_gone(other);
    }
}

#[test]
fn a_single_process_obtains_and_reloads() {
    let mut site = Site::new();
    site.nginx.master_process(false);
    site.set_servers(&[NAME]);
    site.start_nginx();
    let first = site.wait_for_certificate(NAME).leaf;
    site.set_servers(&[NAME, "b.example.test"]);
    site.reload();
    // What it serves then is not looked at: nginx itself resets all connections after a reload in
    // this mode.
    site.nginx.wait_for_log("certificate \"b.example.test\" issued", LIMIT);
    assert_eq!(site.check_files(NAME), first, "what is there is not obtained again");
    assert_eq!(proc::children(site.nginx.master_pid()), [0; 0]);
    // The process is root, the thread that works is not.
    let tasks = format!("/proc/{}/task", site.nginx.master_pid());
    let users = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).expect("root may read it");
        let name = status.lines().next().unwrap_or_default().ends_with("acme_dns");
        let line = |key: &str| status.lines().find(|l| l.starts_with(key)).map(str::to_owned);
        name.then(|| (line("Uid:"), line("CapPrm:")))
    };
    let entries = fs::read_dir(tasks).expect("it runs");
    let service: Vec<_> = entries.filter_map(|task| users(task.ok()?)).collect();
    let expected = ("Uid:\t1\t1\t1\t1".to_owned(), "CapPrm:\t0000000000000000".to_owned());
    assert_eq!(service, [(Some(expected.0), Some(expected.1))]);
    // While a thread of it waits for an answer that does not come.
    site.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), Action::Hang).always());
    site.proxy.traffic.clear_log();
    site.set_servers(&["c.example.test"]);
    site.reload();
    site.proxy.traffic.wait_for_request(&AcmeStep::NewOrder.requests(), LIMIT);
    let start = Instant::now();
    site.nginx.quit();
    assert!(start.elapsed() < STOP, "{:?}", start.elapsed());
}

#[test]
fn the_helper_does_not_outlive_its_master() {
    let mut site = Site::start(&[NAME]);
    site.wait_for_certificate(NAME);
    let helper = Orphan(site.nginx.wait_for_helper());
    let workers: Vec<_> = site.nginx.worker_pids().into_iter().map(Orphan).collect();
    proc::kill(site.nginx.master_pid(), Signal::KILL);
    wait_until_gone(helper.0);
    drop(workers);
    site.nginx.stop_hard();
    // What it has left behind does not keep the next one from its work.
    site.set_servers(&[NAME, "b.example.test"]);
    site.start_nginx();
    site.wait_for_certificate("b.example.test");
}

#[test]
fn a_killed_helper_is_replaced() {
    let mut site = Site::start(&[NAME]);
    site.wait_for_certificate(NAME);
    let helper = site.nginx.wait_for_helper();
    proc::kill(helper, Signal::KILL);
    let second = site.wait_for_other_helper(&[helper]);
    site.set_servers(&[NAME, "b.example.test"]);
    site.reload();
    site.wait_for_certificate("b.example.test");
    site.wait_for_other_helper(&[helper, second]);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewAccount.requests()), 1);
}

/// Stops nginx in both ways when `obstruct` has started it and made the helper wait for something.
fn stops_at_once(obstruct: impl Fn(&mut Site)) {
    for stop in [Nginx::quit, Nginx::stop] {
        let mut site = Site::new();
        site.set_servers(&[NAME]);
        obstruct(&mut site);
        let helper = site.nginx.wait_for_helper();
        let start = Instant::now();
        stop(&mut site.nginx);
        assert!(start.elapsed() < STOP, "{:?}", start.elapsed());
        assert!(!proc::is_alive(helper));
        site.bed.dns.resume();
    }
}

#[test]
fn stops_at_once_while_records_spread() {
    stops_at_once(|site| {
        site.bed.cloudflare.pause_propagation();
        site.start_nginx();
        site.bed.cloudflare.wait_for_records(LIMIT, |records| !records.is_empty());
    });
}

#[test]
fn stops_at_once_while_a_name_server_is_silent() {
    stops_at_once(|site| {
        site.bed.dns.pause();
        site.start_nginx();
        site.bed.cloudflare.wait_for_records(LIMIT, |records| !records.is_empty());
    });
}

#[test]
fn stops_at_once_while_the_authority_is_silent() {
    stops_at_once(|site| {
        let requests = AcmeStep::NewOrder.requests();
        site.proxy.traffic.inject(Fault::new(requests.clone(), Action::Hang).always());
        site.start_nginx();
        site.proxy.traffic.wait_for_request(&requests, LIMIT);
    });
}

#[test]
fn stops_at_once_while_the_provider_is_silent() {
    stops_at_once(|site| {
        let requests = Match::any().method(Method::POST);
        site.bed.cloudflare.traffic.inject(Fault::new(requests.clone(), Action::Hang).always());
        site.start_nginx();
        site.bed.cloudflare.traffic.wait_for_request(&requests, LIMIT);
    });
}

#[test]
fn stops_at_once_in_the_pause_after_a_failure() {
    stops_at_once(|site| {
        let problem = Action::Problem {
            status: 403,
            kind: "unauthorized".into(),
            detail: "no".into(),
            retry_after: None,
        };
        site.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), problem).always());
        site.start_nginx();
        site.nginx.wait_for_log("next attempt at", LIMIT);
    });
}

#[test]
fn stops_at_once_while_another_has_the_lock() {
    let held = std::cell::RefCell::new(Vec::new());
    stops_at_once(|site| {
        let path = site.state().join("lock");
        fs::create_dir_all(site.state()).expect("it can be made");
        let lock = fs::File::create(&path).expect("it can be made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a mode");
        lock.lock().expect("nobody else has it");
        held.borrow_mut().push(lock);
        site.start_nginx();
        site.nginx.wait_for_log("waiting for another process to release state path", LIMIT);
    });
}

#[test]
fn of_two_on_one_state_path_one_works() {
    let mut site = Site::start(&[NAME]);
    site.wait_for_certificate(NAME);
    let mut second = Nginx::new(NginxBuild::get());
    let port = servers::ports::Port::reserve();
    second.http(format!(
        "{}acme_dns_state_path {};\nserver {{ listen {} ssl; server_name b.{NAME}; acme_dns on; }}",
        site.bed.directives_through(&site.proxy),
        site.state().display(),
        port.addr(),
    ));
    let orders = || site.proxy.traffic.count(&AcmeStep::NewOrder.requests());
    second.start();
    second.wait_for_log("waiting for another process to release state path", LIMIT);
    assert_eq!(orders(), 1);
    site.nginx.quit();
    second.wait_for_log(&format!("certificate \"b.{NAME}\" issued"), LIMIT);
    assert_eq!(orders(), 2);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewAccount.requests()), 1);
    // And the other way round.
    site.start_nginx();
    site.nginx.wait_for_log("waiting for another process to release state path", LIMIT);
    site.wait_for_certificate(NAME);
}

#[test]
fn a_reload_keeps_what_is_in_shared_memory() {
    let mut site = Site::new();
    site.http = "acme_dns_shared_zone zone=acme:256k;".to_owned();
    site.set_servers(&[NAME]);
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    // Nothing else has it: not the disk, and not the authority.
    site.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), Action::Hang).always());
    fs::remove_dir_all(site.state().join("certs")).expect("it is there");
    let load = LoadClient::start(&site.trusting(NAME), 2, Duration::from_millis(2));
    for (size, servers) in [
        ("256k", &[NAME][..]),
        ("512k", &[NAME]),
        ("256k", &["b.example.test", NAME]),
        ("1m", &["a.example.test", "b.example.test", NAME]),
        ("1m", &[NAME]),
    ] {
        site.http = format!("acme_dns_shared_zone zone=acme:{size};");
        site.set_servers(servers);
        let made = load.report().made;
        site.reload();
        load.wait(LIMIT, |report| report.made > made + 20);
        assert_eq!(site.served(NAME), leaf, "{size} {servers:?}");
    }
    let report = load.stop();
    assert_eq!(report.failed.len(), 0, "{:?}", report.failed);
    assert_eq!(report.serials.len(), 1);
}

#[test]
fn a_zone_too_small_leaves_the_others_at_work() {
    let mut site = Site::new();
    site.http = "acme_dns_shared_zone zone=acme:32k;".to_owned();
    let names: Vec<String> = (0..24).map(|n| format!("n{n}.{NAME}")).collect();
    for name in &names {
        site.add_server(name, "on key=rsa:2048");
    }
    site.start_nginx();
    // A certificate is issued before it is published: each is waited for until it is served, or the log says
    // that it cannot be.
    let refused = || site_lines(&site, "cannot be published", 0);
    let is_settled = |name: &String| {
        let quoted = format!("\"{name}\"");
        refused().iter().any(|line| line.contains(&quoted))
            || site.trusting(name).handshake().is_ok()
    };
    let done = wait_until(LIMIT, || names.iter().all(is_settled).then_some(()));
    assert!(done.is_some(), "{}", site.nginx.log());
    let lines = refused();
    assert!(!lines.is_empty() && lines.len() < names.len(), "{lines:?}");
    for line in &lines {
        assert!(
            line.contains("[error]") && line.contains("raise its size in \"acme_dns_shared_zone\"")
        );
    }
    let full = |name: &String| lines.iter().any(|line| line.contains(&format!("\"{name}\"")));
    let (out, served): (Vec<_>, Vec<_>) = names.iter().partition(|name| full(name));
    assert_eq!(out.len(), lines.len(), "{lines:?}");
    for name in &served {
        site.wait_for_certificate(name);
    }
    assert!(out.iter().all(|name| site.serves_fallback(name)));

    let mark = site.nginx.log_mark();
    site.reload();
    for name in &served {
        site.wait_for_certificate(name);
    }
    site.nginx.wait_for_log_from(mark, "cannot be published", LIMIT);
    // What the message says helps.
    site.http = String::new();
    site.reload();
    for name in &names {
        site.wait_for_certificate(name);
    }
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), names.len());
}

fn site_lines(site: &Site, text: &str, from: u64) -> Vec<String> {
    let log = site.nginx.log_from(from);
    log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[test]
fn the_manager_serves_a_cache_too() {
    let mut site = Site::new();
    let cache = site.nginx.path("cache").display().to_string();
    let addr = site.addr();
    site.http = format!(
        "proxy_cache_path {cache} keys_zone=cache:1m;
         server {{ listen unix:{cache}.sock; return 200 cached; }}
         server {{ listen {addr} ssl; server_name c.{NAME}; acme_dns on;
             location / {{ proxy_pass http://unix:{cache}.sock; proxy_cache cache;
                           proxy_cache_valid 1h; }} }}"
    );
    site.set_servers(&[NAME]);
    site.start_nginx();
    site.wait_for_certificate(NAME);
    site.wait_for_certificate(&format!("c.{NAME}"));
    let titles: Vec<_> =
        proc::family(site.nginx.master_pid()).into_iter().map(proc::title).collect();
    // The loader's child, which waits in vain, has a title of its own.
    let count =
        |text: &str| titles.iter().filter(|title| **title == format!("nginx: {text}")).count();
    assert_eq!((count("acme dns process"), count("cache manager process")), (1, 1), "{titles:?}");
    let helper = site.nginx.wait_for_helper();
    site.reload();
    site.wait_for_other_helper(&[helper]);
}

#[test]
fn an_unprivileged_master_works() {
    let mut site = Site::new();
    site.run_as_nobody();
    site.set_servers(&[NAME]);
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    assert_eq!(site.check_files(NAME), leaf);
    let master = fs::read_to_string(format!("/proc/{}/status", site.nginx.master_pid()));
    assert!(master.expect("it runs").contains(&format!("Uid:\t{NOBODY}\t")));
    site.set_servers(&[NAME, "b.example.test"]);
    site.reload();
    site.wait_for_certificate("b.example.test");
    assert_eq!(site.served(NAME), leaf);
}

/// Ends a process that is nobody's child.
pub(crate) struct Orphan(pub(crate) u32);

impl Drop for Orphan {
    fn drop(&mut self) {
        let family = proc::family(self.0);
        proc::kill(self.0, Signal::TERM);
        wait_until(STOP, || (!proc::is_alive(self.0)).then_some(()));
        family.iter().for_each(|pid| proc::kill(*pid, Signal::KILL));
    }
}

#[test]
fn a_binary_upgrade_hands_over() {
    let mut site = Site::new();
    // In the foreground nginx ignores the signal.
    site.nginx.daemon(true);
    site.set_servers(&[NAME]);
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    let old = site.nginx.master_pid();
    let load = LoadClient::start(&site.trusting(NAME), 2, Duration::from_millis(2));
    proc::kill(old, Signal::USR2);
    let of_new = |pid: &u32| proc::title(*pid).starts_with("nginx: master process");
    let new = wait_until(LIMIT, || proc::children(old).into_iter().find(of_new));
    let new = Orphan(new.unwrap_or_else(|| panic!("no new master:\n{}", site.nginx.log())));
    site.nginx.wait_for_log("waiting for another process to release state path", LIMIT);
    let made = load.report().made;
    load.wait(LIMIT, |report| report.made > made + 50);
    site.nginx.quit();
    // The disk has it, and so has the new one, at once.
    let made = load.report().made;
    load.wait(LIMIT, |report| report.made > made + 50);
    let report = load.stop();
    assert_eq!((report.failed.len(), report.serials.len()), (0, 1), "{report:?}");
    assert_eq!(report.serials[0].serial, leaf.serial);
    // It works: a helper that does not find a certificate on disk writes back what is served.
    let helper = wait_until(LIMIT, || proc::services(new.0).first().copied());
    fs::remove_dir_all(site.state().join("certs")).expect("it is there");
    proc::kill(helper.expect("a helper"), Signal::KILL);
    let file = site.state().join("certs").join(NAME).join("fullchain.pem");
    assert!(wait_until(LIMIT, || file.exists().then_some(())).is_some(), "{}", site.nginx.log());
    assert_eq!(site.check_files(NAME), leaf);
}
