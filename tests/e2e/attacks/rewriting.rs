//! A worker that rewrites all memory that it shares with others.

use serde_json::json;
use testbed::measurements::proc;

use super::{Attacker, NAME, check_all_works, site};

#[test]
fn a_worker_that_rewrites_all_that_it_can_harms_itself_alone() {
    let attacker = Attacker::new();
    let mut site = site();
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    let (master, helper) = (site.nginx.master_pid(), site.nginx.wait_for_helper());
    let workers = site.nginx.worker_pids();
    let said = attacker.run("rewrite.py", &json!({ "worker": workers[0] }));
    println!("a worker: {said}");
    assert_eq!(said["opened"], json!([]), "{said}");
    // nginx's own, which has nothing but counters, shows that the attack works.
    assert_ne!(said["rewritten"], json!([]), "{said}");
    for _ in 0..20 {
        assert_eq!(site.served(NAME), leaf);
    }
    check_all_works(&mut site, master);
    assert!(proc::is_alive(master));
    // Of another size.
    let many: Vec<String> = (0..20).map(|n| format!("n{n}.{NAME}")).collect();
    let names: Vec<&str> = [NAME].into_iter().chain(many.iter().map(String::as_str)).collect();
    let workers = site.nginx.worker_pids();
    attacker.run("rewrite.py", &json!({ "worker": workers[0] }));
    site.set_servers(&names);
    site.reload();
    names.iter().for_each(|name| {
        site.wait_for_certificate(name);
    });
    let log = site.nginx.log();
    for survivor in [master, helper] {
        assert!(!log.contains(&format!("process {survivor} exited on signal")), "{log}");
    }
    assert!(!log.contains("exited on signal"), "{log}");
}
