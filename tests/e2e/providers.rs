//! Certificates by DNS providers other than Cloudflare, each with the server itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use servers::acme_dns::AcmeDns;
use servers::bed::write_secret;
use servers::duckdns::{DuckDns, TOKEN};
use servers::httpreq::{HttpReq, PASSWORD, USER};
use servers::knot::Knot;
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::powerdns::API_KEY;
use servers::tsig::TsigKey;

use crate::site::{LIMIT, Site};

const FOREIGN: [&str; 1] = ["\"somebody else's\""];

fn with_powerdns(key: &str) -> Site {
    let mut site = Site::new();
    let key_file = site.bed.dir().join("api_key");
    write_secret(&key_file, key);
    site.provider = Some(format!(
        "acme_dns_provider powerdns {{ api {}; api_key_file {}; }}\n",
        site.bed.dns.api_url(),
        key_file.display()
    ));
    site
}

#[test]
fn powerdns_proves_apex_and_wildcard_and_keeps_what_is_foreign() {
    let mut site = with_powerdns(API_KEY);
    site.bed.dns.set_rrset("_acme-challenge.example.test", "TXT", &FOREIGN);
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("example.test").leaf.sans.len(), 2);
    let is_clean = || site.bed.dns.txt_records("_acme-challenge.example.test").len() == 1;
    servers::process::wait_until(LIMIT, || is_clean().then_some(())).expect("ours are gone");
    let left = site.bed.dns.txt_records("_acme-challenge.example.test");
    assert!(left.iter().all(|value| value.contains("somebody else's")), "{left:?}");
    assert_eq!(site.bed.cloudflare.traffic.requests(&servers::traffic::Match::any()).len(), 0);
}

#[test]
fn powerdns_that_refuses_the_key_is_reported_without_it() {
    const WRONG: &str = "wrong-0123456789";
    let mut site = with_powerdns(WRONG);
    site.set_servers(&["example.test"]);
    site.start_nginx();
    let line = site.nginx.wait_for_log("check that \"api_key_file\"", LIMIT);
    assert!(line.contains("[error]") && line.contains("401"), "{line}");
    assert!(!site.nginx.log().contains(WRONG));
}

#[test]
fn updates_prove_apex_and_wildcard_and_keep_what_is_foreign() {
    let dir = tempfile::tempdir().expect("a directory");
    // nginx's workers and helper run as another user when the tests run as root.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let (key, port) = (TsigKey::new("update.example.test", "hmac-sha256"), Port::reserve());
    let records = "ns1 A 127.0.0.1\n_acme-challenge TXT \"somebody else's\"";
    let knot_dir = dir.path().join("knot");
    let knot = Knot::start_with_keys(&knot_dir, port.addr(), "example.test", records, &[&key], &[]);
    // Knot is all the DNS that there is.
    let mut site = Site::with(|options| PebbleOptions { dns: port.addr(), ..options });
    site.propagation = format!(
        "acme_dns_propagation timeout=30s interval=200ms resolvers={} port={};\n",
        port.addr(),
        port.number()
    );
    let key_file = dir.path().join("key");
    write_secret(&key_file, &key.secret);
    site.provider = Some(format!(
        "acme_dns_provider primary nsupdate {{ server {}; key_name {}; key_file {}; }}\n",
        port.addr(),
        key.name,
        key_file.display()
    ));
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("example.test").leaf.sans.len(), 2);
    servers::process::wait_until(LIMIT, || (knot.all_txt().len() == 1).then_some(()))
        .unwrap_or_else(|| panic!("{:?} is left:\n{}", knot.all_txt(), site.nginx.log()));
    assert!(knot.all_txt()[0].contains("somebody else's"), "{:?}", knot.all_txt());
    let log = site.nginx.log();
    assert!(!log.contains(&key.secret) && !log.contains("[error]"), "{log}");
}

#[test]
fn httpreq_proves_apex_and_wildcard_by_a_server_of_the_users() {
    let mut site = Site::new();
    let stand_in = HttpReq::start(&site.bed.dns, servers::ZONE);
    let password_file = site.bed.dir().join("password");
    write_secret(&password_file, PASSWORD);
    let (endpoint, password_file) = (stand_in.endpoint(), password_file.display());
    site.provider = Some(format!(
        "acme_dns_provider httpreq {{ endpoint {endpoint}; username {USER}; password_file {password_file}; }}\n"
    ));
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("example.test").leaf.sans.len(), 2);
    let is_clean = || site.bed.dns.txt_records("_acme-challenge.example.test").is_empty();
    servers::process::wait_until(LIMIT, || is_clean().then_some(())).expect("both are gone");
    assert_eq!(stand_in.traffic.log().len(), 4);
    assert!(!site.nginx.log().contains(PASSWORD));
}

#[test]
fn duckdns_proves_a_name_and_keeps_its_token_to_itself() {
    let mut site = Site::new();
    let stand_in = DuckDns::start(&site.bed.dns);
    let token_file = site.bed.dir().join("duckdns_token");
    write_secret(&token_file, TOKEN);
    let (api, token_file) = (stand_in.api_url(), token_file.display());
    site.provider =
        Some(format!("acme_dns_provider duckdns {{ api {api}; token_file {token_file}; }}\n"));
    site.set_servers(&["x.testbed.duckdns.org"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("x.testbed.duckdns.org").leaf.sans.len(), 1);
    let is_clean = || site.bed.dns.txt_records("testbed.duckdns.org").is_empty();
    servers::process::wait_until(LIMIT, || is_clean().then_some(())).expect("it is gone");
    assert!(!site.nginx.log().contains(TOKEN));
}

#[test]
fn acme_dns_proves_apex_and_wildcard_with_a_document_of_accounts() {
    let mut site = Site::new();
    let stand_in = AcmeDns::start(&site.bed.dns);
    let account = stand_in.register();
    let file = site.bed.dir().join("accounts.json");
    let servers::acme_dns::Account { username, password, subdomain } = &account;
    write_secret(
        &file,
        &format!(
            "{{\"example.test\": {{\"username\": \"{username}\", \"password\": \"{password}\", \
             \"subdomain\": \"{subdomain}\"}}}}"
        ),
    );
    let (api, file) = (stand_in.api_url(), file.display());
    site.provider =
        Some(format!("acme_dns_provider acme-dns {{ api {api}; account_file {file}; }}\n"));
    let target = format!("{subdomain}.{}", servers::acme_dns::ZONE);
    site.bed.dns.set_cname("_acme-challenge.example.test", &target);
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("example.test").leaf.sans.len(), 2);
    assert!(!site.nginx.log().contains(password));
}
