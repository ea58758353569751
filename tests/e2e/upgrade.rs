//! The module of an earlier commit, this one, and the earlier one again, on one state path.
//!
//! `make upgrade` builds the earlier module and runs these tests.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use tempfile::TempDir;
use testbed::clients::tls::Leaf;
use testbed::measurements::proc;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::process::Orphan;
use crate::separation::{check_owner, give_back};
use crate::site::{LIMIT, NOBODY, SERVICE, Site};

const NAME: &str = "example.test";

fn earlier() -> PathBuf {
    env::var_os("ACME_DNS_EARLIER_MODULE").expect("make upgrade sets it").into()
}

/// A site with the earlier module and a certificate, in a directory that stays.
fn site() -> (Site, TempDir, Leaf) {
    let dir = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a directory");
    let mut site = Site::new();
    let build = NginxBuild { module: earlier(), ..NginxBuild::get().clone() };
    site.nginx = Nginx::new_in(&build, dir.path());
    site.nginx.service_user(None).daemon(true);
    site.set_servers(&[NAME]);
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    site.wait_until_clean();
    (site, dir, leaf)
}

fn check(site: &Site, leaf: &Leaf, owner: u32) {
    assert_eq!(site.served(NAME), *leaf);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1, "no other order");
    check_owner(site, owner);
}

#[test]
#[ignore = "make upgrade builds the earlier module"]
fn by_restart_there_and_back() {
    let (mut site, dir, leaf) = site();
    check(&site, &leaf, NOBODY);
    site.nginx.quit();
    replace_module(&site, NginxBuild::get().module.clone());
    site.nginx = Nginx::new_in(NginxBuild::get(), dir.path());
    site.nginx.daemon(true);
    site.start_nginx();
    assert_eq!(site.served(NAME), leaf, "at once");
    site.nginx.wait_for_log("now belongs to user \"daemon\"", LIMIT);
    let helper = site.nginx.wait_for_helper();
    site.reload();
    site.wait_for_other_helper(&[helper]);
    check(&site, &leaf, SERVICE);
    site.nginx.quit();
    give_back(&site);
    replace_module(&site, earlier());
    let build = NginxBuild { module: earlier(), ..NginxBuild::get().clone() };
    site.nginx = Nginx::new_in(&build, dir.path());
    site.nginx.service_user(None).daemon(true);
    site.start_nginx();
    check(&site, &leaf, NOBODY);
    let helper = proc::children(site.nginx.master_pid());
    site.reload();
    let other = || (proc::children(site.nginx.master_pid()) != helper).then_some(());
    assert!(wait_until(LIMIT, other).is_some());
    check(&site, &leaf, NOBODY);
}

/// Replaces the module's file, as a package does: what is loaded stays as it is.
fn replace_module(site: &Site, module: PathBuf) {
    let place = site.nginx.dir().join("modules/ngx_http_acme_dns_module.so");
    let next = place.with_extension("next");
    fs::copy(module, &next).expect("it can be copied");
    fs::rename(next, &place).expect("it can be renamed");
}

/// Replaces the module and upgrades a master; gives the new one.
fn upgrade(site: &mut Site, old: u32, module: PathBuf, user: Option<&str>) -> Orphan {
    replace_module(site, module);
    site.nginx.service_user(user);
    site.configure();
    site.nginx.write_config();
    proc::kill(old, Signal::USR2);
    let of_new = |pid: &u32| proc::title(*pid).starts_with("nginx: master process");
    let new = wait_until(LIMIT, || proc::children(old).into_iter().find(of_new));
    Orphan(new.unwrap_or_else(|| panic!("no new master:\n{}", site.nginx.log())))
}

fn wait_for(site: &Site, mark: u64, text: &str) {
    let said = || site.nginx.log_from(mark).contains(text).then_some(());
    assert!(wait_until(LIMIT, said).is_some(), "no {text:?}\n{}", site.nginx.log());
}

#[test]
#[ignore = "make upgrade builds the earlier module"]
fn by_a_binary_upgrade_there_and_back() {
    let (mut site, _dir, leaf) = site();
    let first = site.nginx.master_pid();
    let ours = NginxBuild::get().module.clone();
    let second = upgrade(&mut site, first, ours, Some("daemon daemon"));
    wait_for(&site, 0, "waiting for another process to release state path");
    check(&site, &leaf, NOBODY);
    proc::kill(first, Signal::QUIT);
    wait_for(&site, 0, "now belongs to user \"daemon\"");
    check(&site, &leaf, SERVICE);
    assert!(wait_until(LIMIT, || (!proc::is_alive(first)).then_some(())).is_some());

    give_back(&site);
    let mark = site.nginx.log_mark();
    let third = upgrade(&mut site, second.0, earlier(), None);
    // Earlier modules say it in other words.
    wait_for(&site, mark, "acme_dns: waiting for ");
    proc::kill(second.0, Signal::QUIT);
    let gone = wait_until(LIMIT, || (!proc::is_alive(second.0)).then_some(()));
    assert!(gone.is_some(), "{}", site.nginx.log());
    check(&site, &leaf, NOBODY);
    // It works: an action is done.
    let renewal = site.state().join("actions").join(format!("renew-{NAME}"));
    fs::write(&renewal, "").expect("it can be written");
    std::os::unix::fs::chown(&renewal, Some(NOBODY), Some(NOBODY)).expect("root may do that");
    proc::kill(third.0, Signal::HUP);
    site.wait_for_other(NAME, &leaf.serial);
}
