//! The authority of the testbed has the features that other tests rely on.

use std::time::Duration;

use serde_json::{Value, json};
use servers::Testbed;
use servers::process::wait_until;
use testbed::clients::certbot;
use testbed::clients::tls::{Leaf, LoadClient, TlsClient, handshake};

use crate::support::{LONG, block_on, client};

fn get(bed: &Testbed, url: &str) -> Value {
    let ca = std::fs::read(bed.pebble.ca_file()).expect("the authority is there");
    let text = block_on(async { client(Some(&ca)).get(url).send().await?.text().await });
    serde_json::from_str(&text.expect("an answer")).expect("an answer in JSON")
}

#[test]
fn pebble_has_profiles_roots_and_renewal_information() {
    let mut bed = Testbed::start_with(|mut options| {
        options.alternate_roots = 1;
        options.shortlived(Duration::from_secs(300)).profile("default", Duration::from_secs(3600))
    });
    let url = bed.pebble.directory_url();
    let directory = get(&bed, &url);
    let profiles = &directory["meta"]["profiles"];
    assert!(profiles["shortlived"].is_string() && profiles["default"].is_string(), "{directory}");
    assert_ne!(bed.pebble.root_pem(0), bed.pebble.root_pem(1));

    let names = ["example.test", "www.example.test"];
    let chain = certbot::obtain(&bed, &url, bed.pebble.ca_file(), &names).expect("a certificate");
    let leaf = Leaf::from_pem(&std::fs::read(chain).expect("a certificate")).expect("readable");
    // certbot asks for no profile, so that Pebble takes any; the last second is included.
    let validity = leaf.not_after - leaf.not_before + 1;
    assert!([300, 3600].contains(&validity), "{validity} s");

    let info = format!("{}/{}", directory["renewalInfo"].as_str().expect("ARI"), cert_id(&leaf));
    let window = json!({"start": "2031-02-03T04:05:06Z", "end": "2031-02-04T04:05:06Z"});
    assert_ne!(get(&bed, &info)["suggestedWindow"], window);
    bed.pebble.set_renewal_info(&leaf.pem(), &json!({"suggestedWindow": window}));
    assert_eq!(get(&bed, &info)["suggestedWindow"], window);

    let root = bed.pebble.root_pem(0);
    bed.pebble.restart();
    assert_ne!(bed.pebble.root_pem(0), root, "it has forgotten all");
    assert_eq!(bed.pebble.certificate_status(&leaf.serial), None);
}

/// RFC 9773, section 4.1.
fn cert_id(leaf: &Leaf) -> String {
    let certificate = openssl::x509::X509::from_der(&leaf.der).expect("readable");
    let authority = certificate.authority_key_id().expect("an authority key identifier");
    let mut serial = certificate.serial_number().to_bn().expect("a number").to_vec();
    if serial.first().is_some_and(|byte| byte & 0x80 != 0) {
        serial.insert(0, 0);
    }
    let encode = |bytes: &[u8]| {
        let text = openssl::base64::encode_block(bytes);
        text.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
    };
    format!("{}.{}", encode(authority.as_slice()), encode(&serial))
}

#[test]
fn tls_clients_check_what_they_are_told_to() {
    let bed = Testbed::start();
    let ca = std::fs::read_to_string(bed.pebble.ca_file()).expect("the authority is there");
    let addr = bed.pebble.addr();
    let peer = handshake(addr, "localhost", Some(&ca), None).expect("it is trusted");
    assert_eq!((peer.leaf.issuer.as_str(), peer.leaf.key.as_str()), ("testbed authority", "EC"));
    assert_eq!(peer.leaf.sans, ["localhost"]);
    let wrong = handshake(addr, "other.test", Some(&ca), None).expect_err("another name");
    assert!(wrong.to_string().contains("hostname mismatch"), "{wrong}");
    let root = bed.pebble.root_pem(0);
    let wrong = handshake(addr, "localhost", Some(&root), None).expect_err("another authority");
    assert!(wrong.to_string().contains("certificate"), "{wrong}");
    let old = testbed::clients::tls::SslVersion::TLS1_2;
    assert_eq!(handshake(addr, "x", None, Some(old)).expect("any").protocol, "TLSv1.2");
}

#[test]
fn load_counts_handshakes_and_failures() {
    let mut bed = Testbed::start();
    let client = TlsClient::new(bed.pebble.addr()).sni("localhost");
    let serial = client.handshake().expect("a handshake").leaf.serial;
    let load = LoadClient::start(&client, 2, Duration::from_millis(1));
    load.wait(LONG, |report| report.made >= 20);
    assert_eq!(load.report().failed.len(), 0);
    bed.pebble.stop();
    load.wait(LONG, |report| !report.failed.is_empty());
    let report = load.stop();
    let seen = report.seen(&serial).expect("the certificate was seen");
    assert_eq!(seen.count, report.made);
    assert!(seen.first < seen.last);
}

#[test]
fn pebble_that_hangs_is_told_from_one_that_works() {
    let mut bed = Testbed::start();
    assert!(!bed.pebble.is_stuck());
    bed.pebble.pause();
    // A signal takes a moment to stop every thread.
    let stuck = wait_until(LONG, || bed.pebble.is_stuck().then_some(()));
    assert!(stuck.is_some());
    bed.pebble.resume();
    assert!(!bed.pebble.is_stuck());
}
