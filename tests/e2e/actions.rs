//! Actions that a person asks for by a file in the state path and a reload.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::{Action, Fault};
use testbed::clients::tls::Leaf;

use crate::site::{LIMIT, Site};

const NAME: &str = "example.test";

fn ask(site: &mut Site, file: &str, content: &str) {
    fs::write(site.state().join("actions").join(file), content).expect("it is written");
    site.reload();
}

/// Waits until nothing that was asked for is left; gives what is refused.
fn wait_until_done(site: &Site) -> Vec<String> {
    let left = || site.entries("actions");
    let done = wait_until(LIMIT, || {
        let left = left();
        left.iter().all(|name| name.ends_with(".invalid")).then_some(left)
    });
    done.unwrap_or_else(|| panic!("{:?} is left:\n{}", left(), site.nginx.log()))
}

fn status(site: &Site, leaf: &Leaf) -> Option<String> {
    site.bed.pebble.certificate_status(&leaf.serial)
}

#[test]
fn a_certificate_is_renewed() {
    let mut site = Site::start(&[NAME]);
    let first = site.wait_for_certificate(NAME).leaf;
    ask(&mut site, &format!("renew-{NAME}"), "");
    site.wait_for_other(NAME, &first.serial);
    assert_eq!(wait_until_done(&site), [""; 0]);
    assert_eq!(status(&site, &first).as_deref(), Some("Valid"));
    site.nginx.wait_for_log(&format!("\"actions/renew-{NAME}\" is done"), LIMIT);
}

#[test]
fn a_revoked_certificate_is_replaced_first_with_another_key() {
    let mut site = Site::new();
    site.add_server(NAME, "on reuse_key=on");
    site.start_nginx();
    let first = site.wait_for_certificate(NAME).leaf;
    let placing = site.proxy.traffic.hold(AcmeStep::NewOrder.requests());
    ask(&mut site, &format!("revoke-{NAME}"), "keyCompromise\n");
    placing.wait(LIMIT);
    assert_eq!(status(&site, &first).as_deref(), Some("Valid"), "it is still served");
    // A helper that dies now does not lead to the revocation of the new one.
    let helper = site.nginx.wait_for_helper();
    site.reload();
    site.wait_for_other_helper(&[helper]);
    placing.release();
    let second = site.wait_for_other(NAME, &first.serial).leaf;
    assert_eq!(wait_until_done(&site), [""; 0]);
    assert_eq!(status(&site, &first).as_deref(), Some("Revoked"));
    assert_eq!(status(&site, &second).as_deref(), Some("Valid"));
    let revocations = site.proxy.traffic.requests(&AcmeStep::Revoke.requests());
    assert_eq!(revocations.len(), 1);
    assert_eq!(revocations[0].jws_payload()["reason"], 1);
    let key = |leaf: &Leaf| {
        let leaf = openssl::x509::X509::from_der(&leaf.der).expect("a certificate");
        leaf.public_key().and_then(|key| key.public_key_to_der()).expect("a key")
    };
    assert_ne!(key(&first), key(&second), "a compromised key is not used again");
}

#[test]
fn a_revocation_waits_until_a_restart_would_serve_the_new_certificate() {
    let mut site = Site::start(&[NAME]);
    let first = site.wait_for_certificate(NAME).leaf;
    let placing = site.proxy.traffic.hold(AcmeStep::NewOrder.requests());
    ask(&mut site, &format!("revoke-{NAME}"), "");
    placing.wait(LIMIT);
    // The directory of certificates takes no new one.
    let certificates = site.state().join("certs");
    let owner = fs::metadata(&certificates).expect("it is there").uid();
    chown(&certificates, Some(0), None).expect("root may do that");
    placing.release();
    site.wait_for_other(NAME, &first.serial);
    site.nginx.wait_for_log("cannot be saved to disk", LIMIT);
    assert_eq!(site.entries("actions"), [format!("revoke-{NAME}")]);
    assert_eq!(status(&site, &first).as_deref(), Some("Valid"), "a restart would serve it");
    chown(&certificates, Some(owner), None).expect("root may do that");
    site.nginx.wait_for_log(&format!("certificate \"{NAME}\" has been saved to disk"), LIMIT);
    assert_eq!(wait_until_done(&site), [""; 0]);
    assert_eq!(status(&site, &first).as_deref(), Some("Revoked"));
}

#[test]
fn an_account_key_is_changed() {
    let mut site = Site::start(&[NAME]);
    site.wait_for_certificate(NAME);
    let key = site.state().join("accounts/pebble/account_key.pem");
    let before = fs::read(&key).expect("the key");
    // The first answer is lost: which key holds has to be found out.
    site.proxy.traffic.inject(Fault::new(AcmeStep::KeyChange.requests(), Action::LostAnswer));
    ask(&mut site, "rollover-pebble", "");
    site.nginx.wait_for_log("account key changed", LIMIT);
    assert_eq!(wait_until_done(&site), [""; 0]);
    assert_ne!(fs::read(&key).expect("the key"), before);
    site.set_servers(&[NAME, "www.example.test"]);
    site.reload();
    site.wait_for_certificate("www.example.test");
    assert_eq!(site.entries("accounts"), ["pebble"], "it is the same account");
}

#[test]
fn what_is_no_longer_configured_is_revoked_if_asked_and_removed() {
    const OTHERS: [&str; 2] = ["a.example.test", "b.example.test"];
    let mut site = Site::start(&[NAME, OTHERS[0], OTHERS[1]]);
    site.wait_for_certificate(NAME);
    let [a, b] = OTHERS.map(|name| site.wait_for_certificate(name).leaf);
    ask(&mut site, "forget-a.example.test", "");
    let refused = "certificate \"a.example.test\" is configured";
    site.nginx.wait_for_log(refused, LIMIT);
    site.set_servers(&[NAME]);
    for (name, content) in [(OTHERS[0], "revoke superseded\n"), (OTHERS[1], "")] {
        let file = site.state().join("actions").join(format!("forget-{name}"));
        fs::write(file, content).expect("it is written");
    }
    site.reload();
    assert_eq!(wait_until_done(&site), ["forget-a.example.test.invalid"]);
    assert_eq!(site.entries("certs"), [".versions", NAME]);
    assert_eq!(site.entries("certs/.versions"), [NAME]);
    assert_eq!(status(&site, &a).as_deref(), Some("Revoked"));
    assert_eq!(status(&site, &b).as_deref(), Some("Valid"));
    let revocations = site.proxy.traffic.requests(&AcmeStep::Revoke.requests());
    assert_eq!(revocations.len(), 1);
    assert_eq!(revocations[0].jws_payload()["reason"], 4);
    site.nginx.wait_for_log("\"actions/forget-b.example.test\" is done", LIMIT);
}

#[test]
fn nothing_is_forgotten_that_is_still_of_use() {
    let mut site = Site::start(&[NAME]);
    let leaf = site.wait_for_certificate(NAME).leaf;
    // The same certificate, as a renamed one has it, and one that nginx reads.
    let state = site.state();
    for copy in ["copy", "read"] {
        fs::create_dir(state.join("certs").join(copy)).expect("it is made");
        for file in ["fullchain.pem", "privkey.pem", "issuer.json"] {
            let from = state.join("certs").join(NAME).join(file);
            let to = state.join("certs").join(copy).join(file);
            fs::copy(&from, &to).expect("it can be copied");
        }
    }
    let owner = fs::metadata(state.join("certs")).expect("it is there");
    for copy in ["copy", "read"] {
        let entries = fs::read_dir(state.join("certs").join(copy)).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        for path in paths.chain([state.join("certs").join(copy)]) {
            chown(path, Some(owner.uid()), Some(owner.gid())).expect("root may do that");
        }
    }
    site.http = format!(
        "proxy_ssl_trusted_certificate {};\n",
        state.join("certs/read/fullchain.pem").display()
    );
    let rows = [
        ("forget-copy", "revoke", "is the same and is served, ask for \"revoke-example.test\""),
        ("forget-read", "", "the configuration reads files of \"certs/read\""),
        ("forget-nothing", "", "nothing is kept of a certificate \"nothing\""),
        ("forget-..", "", "\"..\" is no name of a certificate"),
        ("forget-.versions", "", "\".versions\" is no name of a certificate"),
        ("forget-copy2", "because", "nothing is kept"),
    ];
    for (file, content, _) in rows {
        fs::write(state.join("actions").join(file), content).expect("it is written");
    }
    site.reload();
    for (file, _, reason) in rows {
        let line = site.nginx.wait_for_log(&format!("\"actions/{file}\" cannot be done"), LIMIT);
        assert!(line.contains("[error]") && line.contains(reason), "{line}");
    }
    assert_eq!(wait_until_done(&site).len(), rows.len());
    assert_eq!(site.entries("certs"), [".versions", "copy", NAME, "read"]);
    // Without a revocation the copy can go.
    ask(&mut site, "forget-copy", "");
    wait_until_done(&site);
    site.nginx.wait_for_log("\"actions/forget-copy\" is done", LIMIT);
    assert_eq!(site.entries("certs"), [".versions", NAME, "read"]);
    assert_eq!((site.served(NAME), status(&site, &leaf).as_deref()), (leaf, Some("Valid")));
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let mut site = Site::start(&[NAME]);
    let leaf = site.wait_for_certificate(NAME).leaf;
    let rows = [
        ("renew-other.test", "", "no certificate \"other.test\" is configured"),
        ("rollover-nobody", "", "no \"acme_dns_issuer\" \"nobody\" is defined"),
        ("revoke-example.test", "because", "its first line is none of the reasons unspecified"),
        ("dance", "", "its name is none of \"check\""),
    ];
    for (file, content, _) in rows {
        fs::write(site.state().join("actions").join(file), content).expect("it is written");
    }
    site.reload();
    for (file, _, reason) in rows {
        let line = site.nginx.wait_for_log(&format!("\"actions/{file}\" cannot be done"), LIMIT);
        assert!(line.contains("[error]") && line.contains(reason), "{line}");
    }
    let mut refused = wait_until_done(&site);
    refused.sort();
    let mut expected: Vec<_> = rows.iter().map(|(file, ..)| format!("{file}.invalid")).collect();
    expected.sort();
    assert_eq!(refused, expected);
    assert_eq!(site.served(NAME), leaf);
}
