//! Several nginx with one set of certificates, on an engine: `acme_dns_share`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use servers::acme_proxy::AcmeStep;
use servers::etcd::{Etcd, EtcdOptions};
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::process::wait_until;
use testbed::clients::tls::TlsClient;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::site::{LIMIT, Site};

const NAME: &str = "example.test";

/// Key that records are encrypted with: 32 bytes in base64.
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// Returns the serial number of what is served there.
fn served(addr: SocketAddr) -> Option<String> {
    let peer = TlsClient::new(addr).sni(NAME).handshake();
    peer.ok().map(|peer| peer.leaf.serial)
}

#[test]
fn two_nginx_order_a_certificate_once_and_serve_it_without_the_engine() {
    // Each order is counted at its request.
    let mut site = Site::with(|options| PebbleOptions { nonce_reject_percent: 0, ..options });
    let options = EtcdOptions { members: 3, ..EtcdOptions::default() };
    let mut etcd = Etcd::start(&site.bed.dir().join("etcd"), options);
    let key = site.bed.dir().join("share_key");
    fs::write(&key, KEY).expect("it can be written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    site.http = format!(
        "acme_dns_share etcd {{ endpoint {}; encryption_key_file {}; }}\n",
        etcd.endpoints().join(" "),
        key.display()
    );
    site.set_servers(&[NAME]);
    let (mut other, port) = (Nginx::new(NginxBuild::get()), Port::reserve());
    other.http(format!(
        "{}{}server {{ listen {} ssl; server_name {NAME}; acme_dns on; return 200; }}",
        site.definitions(),
        site.http,
        port.addr()
    ));
    site.start_nginx();
    other.start();
    let serial = site.wait_for_certificate(NAME).leaf.serial;
    let is_shared = || (served(port.addr()).as_ref() == Some(&serial)).then_some(());
    let logs = |other: &Nginx| format!("{}\n{}", site.nginx.log(), other.log());
    assert!(wait_until(LIMIT, is_shared).is_some(), "{}", logs(&other));
    let both = logs(&other);
    let count = |words: &str| both.matches(words).count();
    assert_eq!((count("\" issued by"), count("\" adopted from")), (1, 1), "{both}");
    // Without the engine the disk does.
    (0..3).for_each(|member| etcd.stop(member));
    other.stop();
    other.start();
    assert_eq!(served(port.addr()), Some(serial), "{}", logs(&other));
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
    for nginx in [&site.nginx, &other] {
        assert!(!nginx.log().contains(KEY), "the key is told");
    }
}
