//! Types of keys: two certificates for one server, and keys that stay.

use std::fs;

use openssl::x509::X509;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use testbed::clients::tls::{Leaf, SslVersion};

use crate::site::{LIMIT, Site};

const NAME: &str = "example.test";
const RSA_NAME: &str = "example.test-rsa";

/// Signature algorithms of a client that takes only certificates of one kind.
const ECDSA: &str = "ECDSA+SHA256";
const RSA: &str = "RSA-PSS+SHA256:RSA+SHA256";

/// Returns the certificate for a client that can verify only these signatures.
fn served(site: &Site, signatures: &str, version: SslVersion) -> Option<Leaf> {
    let client = site.trusting(NAME).signatures(signatures).version(version);
    client.handshake().ok().map(|peer| peer.leaf)
}

#[test]
fn each_client_gets_the_certificate_that_it_can_verify() {
    let mut site = Site::new();
    site.add_server("example.test *.example.test", "on key=ecdsa:256,rsa:2048");
    site.start_nginx();
    let logged = |name: &str| format!("certificate \"{name}\" issued");
    site.nginx.wait_for_log(&logged(NAME), LIMIT);
    site.nginx.wait_for_log(&logged(RSA_NAME), LIMIT);
    site.wait_until_clean();
    let files = [site.check_files(NAME), site.check_files(RSA_NAME)];
    assert_eq!([files[0].key.as_str(), files[1].key.as_str()], ["EC", "RSA"]);
    let [ecdsa, rsa] = files.map(Some);
    let check = |site: &Site, when: &str| {
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            assert_eq!(served(site, ECDSA, version), ecdsa, "{when} {version:?}");
            assert_eq!(served(site, RSA, version), rsa, "{when} {version:?}");
        }
        let any = site.trusting(NAME).handshake().expect("a handshake").leaf;
        assert_eq!(Some(any), ecdsa, "{when}: who can verify both gets the cheaper one");
    };
    check(&site, "after the issue");
    site.reload();
    check(&site, "after a reload");
    site.nginx.quit();
    site.start_nginx();
    check(&site, "after a restart");
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 2);
}

#[test]
fn a_renewal_has_a_new_key_unless_the_key_is_to_stay() {
    let mut site = Site::new();
    site.add_server("new.example.test", "on");
    site.add_server("kept.example.test", "on reuse_key=on");
    site.start_nginx();
    let names = ["new.example.test", "kept.example.test"];
    let before = names.map(|name| site.wait_for_certificate(name).leaf);
    site.wait_until_clean();
    for name in names {
        let file = site.state().join("actions").join(format!("renew-{name}"));
        fs::write(file, "").expect("it is written");
    }
    site.reload();
    for (name, before, stays) in [(names[0], &before[0], false), (names[1], &before[1], true)] {
        let after = site.wait_for_other(name, &before.serial).leaf;
        assert_eq!(public_key(&after) == public_key(before), stays, "{name}");
        assert_eq!(site.check_files(name), after);
    }
}

fn public_key(leaf: &Leaf) -> Vec<u8> {
    let certificate = X509::from_der(&leaf.der).expect("a certificate");
    certificate.public_key().and_then(|key| key.public_key_to_der()).expect("a key")
}

#[test]
fn a_type_of_key_comes_and_goes_by_a_reload() {
    let mut site = Site::start(&[NAME]);
    let ecdsa = site.wait_for_certificate(NAME).leaf;
    assert_eq!(served(&site, RSA, SslVersion::TLS1_3), None);
    let reload = |site: &mut Site, keys: &str| {
        site.set_servers(&[]);
        site.add_server(NAME, &format!("on key={keys}"));
        site.reload();
    };
    reload(&mut site, "ecdsa:256,rsa:2048");
    site.nginx.wait_for_log(&format!("certificate \"{RSA_NAME}\" issued"), LIMIT);
    let rsa = site.check_files(RSA_NAME);
    assert_eq!(served(&site, RSA, SslVersion::TLS1_3), Some(rsa));
    assert_eq!(served(&site, ECDSA, SslVersion::TLS1_3), Some(ecdsa), "it is not replaced");
    // The only key now is of another type: served until the new certificate is there.
    let before = site.check_files(NAME).serial;
    reload(&mut site, "rsa:2048");
    let new = site.wait_for_other(NAME, &before).leaf;
    assert_eq!(new.key, "RSA");
    site.reload();
    let gone = || served(&site, ECDSA, SslVersion::TLS1_3).is_none().then_some(());
    assert!(wait_until(LIMIT, gone).is_some(), "something is left of it:\n{}", site.nginx.log());
    assert_eq!(served(&site, RSA, SslVersion::TLS1_2), Some(new));
}

#[test]
fn a_type_of_key_that_goes_by_a_reload_after_a_restart_is_not_served_any_more() {
    let mut site = Site::new();
    site.add_server(NAME, "on key=ecdsa:256,rsa:2048");
    site.start_nginx();
    // Whichever comes first is served to all until the other one is there.
    for name in [NAME, RSA_NAME] {
        site.nginx.wait_for_log(&format!("certificate \"{name}\" issued"), LIMIT);
    }
    let ecdsa = site.wait_for_certificate(NAME).leaf;
    // From now on the master knows what it has read.
    site.nginx.quit();
    site.nginx.start();
    assert!(served(&site, RSA, SslVersion::TLS1_3).is_some());
    site.set_servers(&[NAME]);
    site.reload();
    let gone = || served(&site, RSA, SslVersion::TLS1_3).is_none().then_some(());
    assert!(wait_until(LIMIT, gone).is_some(), "{}", site.nginx.log());
    assert_eq!(served(&site, ECDSA, SslVersion::TLS1_3), Some(ecdsa));
}
