//! Hooks, webhooks and exports of an NGINX that obtains and renews its certificate.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use servers::http_server::HttpServer;
use servers::process::wait_until;
use servers::traffic::Match;

use crate::site::{LIMIT, SERVICE, Site};

/// Appends what it is told, and what it is, to a file.
const HOOK: &str = "#!/bin/sh\n{ echo \"$1 $(id -u) $ACME_DNS_EVENT\"; grep ^NoNewPrivs /proc/self/status; } >> \
                    ${0%/*}/out/told\n";

/// A site with a listener of each kind, and the server of the webhook.
fn site() -> (Site, HttpServer) {
    let (mut site, server) = (Site::new(), HttpServer::accepting());
    let dir = site.nginx.dir().to_owned();
    let out = dir.join("out");
    fs::create_dir(&out).expect("a new directory");
    chown(&out, Some(SERVICE), Some(SERVICE)).expect("root may do that");
    fs::set_permissions(&out, Permissions::from_mode(0o755)).expect("a mode");
    let hook = dir.join("hook.sh");
    fs::write(&hook, HOOK).expect("it can be written");
    fs::set_permissions(&hook, Permissions::from_mode(0o755)).expect("a mode");
    let (hook, out, url) = (hook.display(), out.display(), server.addr());
    site.http = format!(
        "acme_dns_hook {hook} word {{ events issued renewed; }}\n\
         acme_dns_webhook http://{url}/hook {{ format slack; }}\n\
         acme_dns_export * {{ directory {out}; group daemon; bundle $name.pem; fullchain $name.crt; }}\n"
    );
    (site, server)
}

fn wait_for<T>(site: &Site, what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_until(LIMIT, condition).unwrap_or_else(|| panic!("no {what}: {}", site.nginx.log()))
}

#[test]
fn a_new_certificate_is_told_exported_and_told_again_when_it_is_renewed() {
    let (mut site, server) = site();
    site.set_servers(&["example.test"]);
    site.start_nginx();
    let dir = site.nginx.dir().join("out");
    let first = site.wait_for_certificate("example.test").leaf.serial;
    let told = |site: &Site, number: usize| {
        wait_for(site, "hook", || {
            let told = fs::read_to_string(dir.join("told")).ok()?;
            let lines: Vec<String> = told.lines().map(str::to_owned).collect();
            (lines.len() == number).then_some(lines)
        })
    };
    let expected = [format!("word {SERVICE} issued"), "NoNewPrivs:\t1".to_owned()];
    assert_eq!(told(&site, 2), expected);
    let bundle = dir.join("example.test.pem");
    let metadata = wait_for(&site, "export", || fs::metadata(&bundle).ok());
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (SERVICE, 1, 0o640));
    let serial = || {
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-noout", "-serial", "-in"]).arg(&bundle);
        let output = openssl.output().expect("openssl runs");
        String::from_utf8_lossy(&output.stdout).trim().replace("serial=", "").to_lowercase()
    };
    assert_eq!(serial(), first.to_lowercase());
    let posted = server.traffic().wait_for_request(&Match::any().body("was issued by"), LIMIT);
    assert!(posted.json()["text"].as_str().is_some_and(|text| text.contains("example.test")));
    fs::write(site.state().join("actions/renew-example.test"), "").expect("it can be written");
    site.reload();
    let second = site.wait_for_other("example.test", &first).leaf.serial;
    assert_eq!(told(&site, 4)[2], format!("word {SERVICE} renewed"));
    wait_for(&site, "export", || (serial() == second.to_lowercase()).then_some(()));
    server.traffic().wait_for_request(&Match::any().body("was renewed by"), LIMIT);
    assert!(!site.nginx.log().contains("[error]"), "{}", site.nginx.log());
}
