//! Certificates are obtained and served, the first time.

use std::collections::BTreeSet;

use reqwest::Method;
use servers::acme_proxy::AcmeStep;
use servers::pebble::PebbleOptions;
use servers::traffic::Match;

use crate::site::{LIMIT, Site};

const NAMES: &str = "example.test *.example.test";
const SANS: [&str; 2] = ["*.example.test", "example.test"];

fn batch(what: &str) -> Match {
    Match::new(Method::POST, "/dns_records/batch").body(&format!("\"{what}\":[{{"))
}

fn single_posts() -> Match {
    Match::any().method(Method::POST).path_ends("/dns_records")
}

#[test]
fn apex_and_wildcard_are_served_and_kept() {
    let site = Site::start(&[NAMES]);
    let apex = site.wait_for_certificate("example.test");
    let below = site.wait_for_certificate("www.example.test");
    assert_eq!(apex.leaf, below.leaf);
    assert_eq!(apex.leaf.sans, SANS);
    assert_eq!(apex.chain.len(), 2, "leaf and intermediate");
    assert_eq!(apex.leaf.key, "EC");
    assert_eq!(site.check_files("example.test"), apex.leaf);
    site.wait_until_clean();
    assert_eq!(site.entries("accounts"), ["pebble"]);
    let line = site.nginx.wait_for_log("certificate \"example.test\" issued by", LIMIT);
    assert!(line.contains("[notice]") && line.contains(&apex.leaf.serial), "{line}");
    assert!(line.contains(", valid until 2"), "{line}");
    assert!(line.contains(", for example.test, *.example.test"), "{line}");
    for level in ["warn", "error"] {
        assert_eq!(site.lines(level, 0), [""; 0]);
    }

    // One transaction put both records up, another took them away.
    let traffic = &site.bed.cloudflare.traffic;
    assert_eq!(traffic.count(&batch("posts")), 1, "{}", traffic.summary());
    assert_eq!(traffic.count(&batch("deletes")), 1, "{}", traffic.summary());
    assert_eq!(traffic.count(&single_posts()), 0);
    assert_eq!(traffic.count(&Match::any().method(Method::DELETE)), 0);
    let created = traffic.requests(&batch("posts"))[0].json();
    for post in created["posts"].as_array().expect("a list") {
        assert_eq!(post["name"], "_acme-challenge.example.test");
        let comment = post["comment"].as_str().expect("it says whose it is");
        assert!(comment.contains("ngx_http_acme_dns_module"), "{comment}");
    }
}

#[test]
fn refused_batch_becomes_single_requests() {
    let mut site = Site::new();
    site.bed.cloudflare.set_batch_enabled(false);
    site.set_servers(&[NAMES]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("example.test").leaf.sans, SANS);
    site.wait_until_clean();
    let traffic = &site.bed.cloudflare.traffic;
    assert_eq!(traffic.count(&single_posts()), 2, "{}", traffic.summary());
    assert_eq!(traffic.count(&Match::any().method(Method::DELETE)), 2, "{}", traffic.summary());
}

#[test]
fn twenty_certificates_are_obtained_with_one_account() {
    let names: Vec<String> = (0..20).map(|n| format!("h{n}.example.test")).collect();
    let site = Site::start(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let leaves = names.iter().map(|name| site.wait_for_certificate(name).leaf);
    let serials: BTreeSet<String> = leaves.map(|leaf| leaf.serial).collect();
    assert_eq!(serials.len(), 20, "each has its own");
    site.wait_until_clean();
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewAccount.requests()), 1);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 20);
    assert_eq!(site.entries("accounts"), ["pebble"]);
    for name in &names {
        assert_eq!(site.check_files(name).sans, [name.as_str()]);
    }
}

#[test]
fn servers_with_the_same_names_share_a_certificate() {
    let mut site = Site::new();
    site.set_servers(&[NAMES]);
    // Each takes the certificate of the first, two of them under names of their own.
    site.add_server("a.example.test", "example.test *.example.test");
    site.add_server("b.example.test", "*.example.test example.test");
    site.start_nginx();
    let [first, a, b] = ["example.test", "a.example.test", "b.example.test"]
        .map(|name| site.wait_for_certificate(name).leaf);
    assert_eq!((&first, &first), (&a, &b));
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
    site.wait_until_clean();
}

#[test]
fn names_of_two_zones_are_in_one_certificate() {
    let mut site = Site::new();
    site.bed.cloudflare.add_zone(&site.bed.dns, "other.test");
    site.set_servers(&["example.test *.example.test other.test *.other.test"]);
    site.start_nginx();
    let leaf = site.wait_for_certificate("www.other.test").leaf;
    assert_eq!(leaf.sans, ["*.example.test", "*.other.test", "example.test", "other.test"]);
    site.wait_until_clean();
    let traffic = &site.bed.cloudflare.traffic;
    assert_eq!(traffic.count(&batch("posts")), 2, "one for each zone: {}", traffic.summary());
    assert_eq!(traffic.count(&batch("deletes")), 2, "{}", traffic.summary());
}

fn survives_refused_nonces(percent: u8) {
    let mut site = Site::with(|options| PebbleOptions { nonce_reject_percent: percent, ..options });
    let names: Vec<String> = (0..5).map(|n| format!("h{n}.example.test")).collect();
    site.set_servers(&names.iter().map(String::as_str).collect::<Vec<_>>());
    site.start_nginx();
    for name in &names {
        site.wait_for_certificate(name);
    }
    site.wait_until_clean();
    assert_eq!(site.lines("warn", 0), [""; 0], "no order has failed");
}

#[test]
fn a_fifth_of_all_nonces_may_be_refused() {
    survives_refused_nonces(20);
}

#[test]
fn half_of_all_nonces_may_be_refused() {
    survives_refused_nonces(50);
}

#[test]
fn profile_is_asked_for_where_the_authority_lists_it() {
    let mut site = Site::new();
    site.issuer = "profile shortlived;".to_owned();
    site.set_servers(&[NAMES]);
    site.start_nginx();
    let leaf = site.wait_for_certificate("example.test").leaf;
    assert!(leaf.not_after - leaf.not_before <= 6 * 86_400, "{leaf:?}");
    let order = site.proxy.traffic.wait_for_request(&AcmeStep::NewOrder.requests(), LIMIT);
    assert_eq!(order.jws_payload()["profile"], "shortlived");

    // One that is not listed is done without, with a warning.
    site.issuer = "profile odd;".to_owned();
    site.set_servers(&["www.example.test"]);
    site.reload();
    site.wait_for_other("www.example.test", &leaf.serial);
    let orders = site.proxy.traffic.requests(&AcmeStep::NewOrder.requests());
    assert!(orders[1].jws_payload()["profile"].is_null(), "{:?}", orders[1].jws_payload());
    let warnings = site.lines("warn", 0);
    let warning = warnings.first().expect("a warning");
    assert!(warning.contains("without the profile \"odd\""), "{warning}");
    assert!(warning.contains("default, shortlived"), "{warning}");

    // One that is required is not.
    site.issuer = "profile odd require;".to_owned();
    site.set_servers(&["a.third.example.test"]);
    site.reload();
    let line = site.nginx.wait_for_log("certificate \"a.third.example.test\" was not", LIMIT);
    assert!(line.contains("[error]") && line.contains("next attempt at 2"), "{line}");
    assert!(
        line.contains("does not offer the profile \"odd\", only default, shortlived"),
        "{line}"
    );
    assert!(site.serves_fallback("a.third.example.test"));
}
