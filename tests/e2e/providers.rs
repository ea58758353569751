//! Certificates by DNS providers other than Cloudflare, each with the server itself.

use servers::bed::write_secret;
use servers::powerdns::API_KEY;

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
