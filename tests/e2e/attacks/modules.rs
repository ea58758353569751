//! The module is taken out of a running nginx and put in again, beside another one.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use servers::process::run;
use testbed::measurements::proc;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use super::{NAME, site};
use crate::site::Site;

/// A module that finds out if it is given the configuration of another one.
const SOURCE: &str = "tests/attacks/another_module.c";

/// Compiles it for the nginx of the tests; `None` where its headers are not at hand.
fn another_module(nginx: &Nginx) -> Option<PathBuf> {
    let headers = NginxBuild::get().headers()?;
    let module = nginx.dir().join("modules/another.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&module);
    for directory in headers {
        compiler.arg("-I").arg(directory);
    }
    compiler.arg(servers::paths::workspace_dir().join(SOURCE));
    run(&mut compiler).unwrap_or_else(|e| panic!("{e}"));
    Some(module)
}

/// nginx with these modules, in this order, and the configuration of what is there.
fn configure(site: &mut Site, ours: &str, modules: &[&str]) {
    let mut text = String::new();
    for module in modules {
        writeln!(text, "load_module {module};").expect("a string takes everything");
    }
    if modules.contains(&ours) {
        // The site's own line is left out.
        site.nginx.load(&text).main("");
        site.reload();
    } else {
        let addr = site.addr();
        site.nginx.load_module(false).main(text);
        site.nginx.http(format!("server {{ listen {addr}; return 200; }}")).reload();
        site.nginx.load_module(true);
    }
}

#[test]
fn modules_that_come_and_go_do_not_get_each_others_configuration() {
    let mut site = site();
    let Some(another) = another_module(&site.nginx) else {
        println!("the headers of this nginx are not known: nothing is tested");
        return;
    };
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    let master = site.nginx.master_pid();
    let ours = site.nginx.path("modules/ngx_http_acme_dns_module.so").display().to_string();
    let another = another.display().to_string();
    let (ours, another) = (ours.as_str(), another.as_str());
    let rounds: [&[&str]; 10] = [
        &[],
        &[another],
        &[another, ours],
        &[another, ours],
        &[],
        &[ours, another],
        &[another],
        &[ours],
        &[another, ours],
        &[ours, another],
    ];
    for modules in rounds {
        configure(&mut site, ours, modules);
        assert!(proc::is_alive(master), "{modules:?}");
        if modules.contains(&ours) {
            assert_eq!(site.wait_for_certificate(NAME).leaf, leaf, "{modules:?}");
            let _ = site.nginx.wait_for_helper();
        }
    }
    let log = site.nginx.log();
    assert!(!log.contains("of another module"), "{log}");
    assert!(!log.contains("exited on signal"), "{log}");
    assert_eq!(fs::read_dir(site.state().join("orders")).expect("it is there").count(), 0);
}
