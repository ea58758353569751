//! OCSP responses, stapled where `ssl_stapling` is on and the certificate names a responder.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use openssl::x509::X509;
use servers::ocsp::{Responder, Signer};
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::process::wait_until;
use servers::traffic::Match;

use crate::site::{CROWD, LIMIT, Site};

const NAME: &str = "example.test";

/// Returns what OpenSSL's client says of the status that it has asked for, and of the handshake.
fn status(addr: SocketAddr, version: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-status", version, "-servername", NAME]);
    command.args(["-connect", &addr.to_string()]);
    let output = command.stdin(Stdio::null()).output().expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("BEGIN CERTIFICATE"), "no handshake: {text}");
    text
}

fn is_stapled(addr: SocketAddr, version: &str) -> bool {
    let text = status(addr, version);
    let (has, lacks) =
        (text.contains("OCSP Response Status: successful"), text.contains("no response sent"));
    assert!(has != lacks, "{text}");
    assert!(!has || text.contains("Cert Status: good"), "{text}");
    has
}

#[test]
fn a_response_is_stapled_in_all_kinds_of_servers_that_want_it() {
    staple(0);
}

#[test]
fn a_response_is_stapled_by_one_among_many_servers() {
    staple(CROWD);
}

#[test]
fn a_response_is_stapled_to_a_certificate_that_is_chosen_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut responder = Responder::reserve(dir.path());
    let url = responder.url();
    let mut site = Site::with(|options| PebbleOptions { ocsp_responder: Some(url), ..options });
    site.http = "ssl_stapling on; acme_dns_domains customers.txt;".to_owned();
    site.nginx.add_file("customers.txt", format!("{NAME}\n"));
    site.add_server("_", "sni");
    let signer = Signer::issuer(&site.bed.pebble);
    responder.start(&signer.certificate, &signer, Some(60));
    let asked = responder.traffic.hold(Match::any());
    site.start_nginx();
    asked.wait(LIMIT);
    let leaf = site.wait_for_certificate(NAME).leaf;
    responder.know(&[(&X509::from_der(&leaf.der).expect("it is readable"), false)]);
    asked.release();
    let stapled = wait_until(LIMIT, || is_stapled(site.addr(), "-tls1_3").then_some(()));
    assert!(stapled.is_some(), "{}", site.nginx.log());
    assert!(is_stapled(site.addr(), "-tls1_2"));
}

fn staple(crowd: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut responder = Responder::reserve(dir.path());
    let url = responder.url();
    let mut site = Site::with(|options| PebbleOptions { ocsp_responder: Some(url), ..options });
    site.crowd = crowd;
    let (plain, stream) = (Port::reserve(), Port::reserve());
    site.http = format!(
        "ssl_stapling on;
         server {{ listen {} ssl; server_name {NAME}; acme_dns on; ssl_stapling off; return 200; }}",
        plain.addr()
    );
    site.nginx.main(format!(
        "stream {{ server {{ listen {} ssl; acme_dns {NAME}; ssl_stapling on; return ok; }} }}",
        stream.addr()
    ));
    site.set_servers(&[NAME]);
    let signer = Signer::issuer(&site.bed.pebble);
    responder.start(&signer.certificate, &signer, Some(60));
    // It learns of the certificate while it is asked.
    let asked = responder.traffic.hold(Match::any());
    site.start_nginx();
    asked.wait(LIMIT);
    let leaf = site.wait_for_certificate(NAME).leaf;
    assert!(!is_stapled(site.addr(), "-tls1_3"), "nothing is there yet");
    responder.know(&[(&X509::from_der(&leaf.der).expect("it is readable"), false)]);
    asked.release();
    let stapled = wait_until(LIMIT, || is_stapled(site.addr(), "-tls1_3").then_some(()));
    assert!(stapled.is_some(), "{}", site.nginx.log());
    assert!(is_stapled(site.addr(), "-tls1_2") && is_stapled(stream.addr(), "-tls1_3"));
    assert!(!is_stapled(plain.addr(), "-tls1_3"), "it does not want it");
    assert_eq!(site.served(NAME), leaf, "the same certificate");
    // A reload keeps it, even if nobody answers any more.
    responder.stop();
    let helper = site.nginx.wait_for_helper();
    site.reload();
    site.wait_for_other_helper(&[helper]);
    let stapled = wait_until(LIMIT, || is_stapled(site.addr(), "-tls1_3").then_some(()));
    assert!(stapled.is_some(), "{}", site.nginx.log());
    for level in ["warn", "error"] {
        assert_eq!(site.lines(level, 0), [""; 0], "{level}");
    }
}
