//! Work of nginx's SSL module on a context, which goes on beside our certificates: session
//! resumption, stapling.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use testbed::measurements::proc;

use crate::lone::Lone;
use crate::site::Site;
use crate::support::{is_resumed, s_client};

/// Visits, and keeps the session in a file; whether it was resumed.
fn visit(addr: SocketAddr, version: &str, old: Option<&Path>, new: &Path) -> bool {
    let text = |path: &Path| path.display().to_string();
    let (old, new) = (old.map(text), text(new));
    // No server name: with one, nginx refuses sessions of other names for reasons of its own.
    let mut args = vec![version, "-noservername", "-sess_out", &new];
    args.extend(old.iter().flat_map(|old| ["-sess_in", old]));
    is_resumed(&s_client(addr, "localhost", &args))
}

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

#[test]
fn a_session_of_one_certificate_is_not_resumed_at_another() {
    let lone = Lone::start(
        "ssl_session_cache shared:SSL:1m;
         server { listen LISTEN ssl; server_name a.example.com; acme_dns on; return 200; }
         server { listen OTHER ssl; server_name b.example.com; acme_dns on; return 200; }",
    );
    let dir = lone.nginx.dir();
    for version in VERSIONS {
        let (session, other) = (dir.join("session"), dir.join("other"));
        assert!(!visit(lone.addr(), version, None, &session), "{version}");
        assert!(visit(lone.addr(), version, Some(&session), &other), "{version}: at home");
        assert!(!visit(lone.other_addr(), version, Some(&session), &other), "{version}: next door");
    }
}

#[test]
fn sessions_are_resumed_before_and_after_a_swap() {
    let mut site = Site::new();
    site.http = "ssl_session_cache shared:SSL:1m;".to_owned();
    site.set_servers(&["example.test"]);
    site.start_nginx();
    let session = site.nginx.dir().join("session");
    let other = site.nginx.dir().join("other");
    let mut serial = String::new();
    for round in 0..2 {
        let leaf = site.wait_for_other("example.test", &serial).leaf;
        for version in VERSIONS {
            assert!(!visit(site.addr(), version, None, &session), "{version}");
            assert!(visit(site.addr(), version, Some(&session), &other), "{version} {round}");
        }
        serial = leaf.serial;
        let action = site.state().join("actions/renew-example.test");
        std::fs::write(action, "").expect("it can be written");
        // The next one looks at once.
        proc::kill(site.nginx.wait_for_helper(), Signal::KILL);
    }
}

#[test]
fn stapling_gives_no_error_and_prints_no_certificate() {
    let mut site = Site::new();
    site.http = "ssl_stapling on; ssl_stapling_verify on;".to_owned();
    site.set_servers(&["example.test"]);
    site.start_nginx();
    site.wait_for_certificate("example.test");
    site.reload();
    site.wait_for_certificate("example.test");
    let log = site.nginx.log();
    for text in ["stapling", "BEGIN", "data:", "[warn]", "[error]", "[emerg]"] {
        assert!(!log.contains(text), "{text}:\n{log}");
    }
    let (good, said) = site.nginx.test();
    assert!(good && !said.contains("stapling") && !said.contains("[warn]"), "{said}");
}

/// A client certificate of an authority of its own, and the authority, as files.
fn client_authority(dir: &Path, name: &str) -> (String, String) {
    let path = |end: &str| dir.join(format!("{name}.{end}")).display().to_string();
    let (key, certificate) = (path("key"), path("crt"));
    let subject = format!("/CN={name}");
    let args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let made = Command::new("openssl")
        .args(args)
        .args(["-days", "2", "-subj", &subject, "-keyout", &key, "-out", &certificate])
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

#[test]
fn a_client_that_one_server_has_verified_is_verified_anew_by_the_other() {
    let mut lone = Lone::new();
    let dir = lone.nginx.dir().to_owned();
    let (x, x_key) = client_authority(&dir, "x");
    client_authority(&dir, "y");
    let server = |name: &str, authority: &str| {
        format!(
            "server {{ listen LISTEN ssl; server_name {name}; acme_dns example.com name=one; \
             ssl_verify_client on; ssl_trusted_certificate {authority}; \
             location / {{ return 200 $ssl_client_verify; }} }}\n"
        )
    };
    lone.set(&format!(
        "{}ssl_session_cache shared:SSL:1m;\n{}{}",
        Lone::DEFINITIONS,
        server("a.example.com", "x.crt"),
        server("b.example.com", "y.crt")
    ));
    lone.nginx.start();
    for version in VERSIONS {
        let session = lone.nginx.dir().join("session");
        let session = session.display().to_string();
        let visit = |name: &str, more: &[&str]| {
            let own = [version, "-servername", name, "-cert", &x, "-key", &x_key];
            s_client(lone.addr(), name, &[&own, more].concat())
        };
        let at_home = visit("a.example.com", &["-sess_out", &session]);
        assert!(at_home.contains("SUCCESS"), "{version}: {at_home}");
        let again = visit("a.example.com", &["-sess_in", &session]);
        assert!(is_resumed(&again) && again.contains("SUCCESS"), "{version}: {again}");
        let next_door = visit("b.example.com", &["-sess_in", &session]);
        assert!(!next_door.contains("SUCCESS"), "{version}: {next_door}");
    }
}
