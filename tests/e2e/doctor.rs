//! The doctor: `ACME_DNS_CHECK=all nginx -t`, and the same checks before the first order.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use reqwest::Method;
use servers::acme_proxy::AcmeStep;
use servers::traffic::Match;

use crate::site::{LIMIT, Site};

/// CAA records for another CA than Pebble.
const OTHER_CA: [&str; 1] = ["0 issue \"digicert.com\""];

fn site() -> Site {
    let mut site = Site::new();
    site.set_servers(&["example.test *.example.test"]);
    site.configure();
    site
}

/// Runs the check; gives whether it was good, standard output and standard error.
fn check(site: &Site, value: &str) -> (bool, String, String) {
    let output = site.nginx.test_with(&[("ACME_DNS_CHECK", value)]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn expect(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "\"{part}\": {text}");
    }
}

#[test]
fn a_good_site_is_found_good_before_and_beside_nginx() {
    let mut site = site();
    let before = site.bed.dns.all_txt();
    let (good, _, said) = check(&site, "all");
    assert!(good, "{said}");
    let line = "zone \"example.test\" at cloudflare; test record seen at all servers after ";
    let user = "acme_dns check of 1 certificate, 1 issuer, 1 provider (as user \"daemon\")";
    expect(&said, &[user, line, " s, removed", "no account yet", "no problems, no warnings"]);
    assert_eq!(site.bed.dns.all_txt(), before, "the test record is gone");
    assert!(!site.nginx.dir().join("acme_dns").exists(), "nothing is written");
    let requests = site.bed.cloudflare.traffic.requests(&Match::any());
    let names: Vec<String> = requests.iter().map(|request| request.body()).collect();
    assert!(names.iter().any(|body| body.contains("_acme-challenge-test-")), "{names:?}");
    assert!(site.proxy.traffic.requests(&AcmeStep::NewAccount.requests()).is_empty());
    site.start_nginx();
    site.wait_for_certificate("example.test");
    let orders = || site.proxy.traffic.requests(&AcmeStep::NewOrder.requests()).len();
    let placed = orders();
    let (good, _, said) = check(&site, "example.test");
    assert!(good, "{said}");
    expect(&said, &["account https://", " is valid; clock agrees"]);
    assert_eq!(orders(), placed);
}

#[test]
fn a_bad_site_is_found_bad_as_a_table_and_as_json() {
    let site = site();
    site.bed.dns.set_rrset("example.test", "CAA", &OTHER_CA);
    let (good, _, said) = check(&site, "all,nowrite");
    assert!(!good, "{said}");
    expect(
        &said,
        &[
            "FAIL  example.test    A01 CAA of \"example.test\" allows digicert.com only\n",
            " add the record: example.test. CAA 0 issue \"pebble.letsencrypt.org\"\n",
            "1 problem, no warnings\n",
            "nginx.conf test failed\n",
        ],
    );
    let (good, printed, said) = check(&site, "all,nowrite,json");
    assert!(!good, "{said}");
    let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON alone");
    let finding = &json["findings"][2];
    assert_eq!((&json["problems"], &finding["id"]), (&1.into(), &"A01".into()), "{json}");
    let (good, _, said) = check(&site, "all,xml");
    assert!(!good, "{said}");
    expect(&said, &["nginx: acme_dns: invalid value \"all,xml\" of ACME_DNS_CHECK, the forms are"]);
    let (good, _, said) = check(&site, "example.org");
    assert!(!good, "{said}");
    expect(&said, &["asks for \"example.org\", no certificate of the configuration has that name"]);
}

#[test]
fn without_the_variable_nobody_is_contacted() {
    let site = site();
    let (good, said) = site.nginx.test();
    assert!(good, "{said}");
    assert!(!said.contains("check of"), "{said}");
    for traffic in [&site.proxy.traffic, &site.bed.cloudflare.traffic] {
        assert!(traffic.requests(&Match::any()).is_empty());
    }
}

#[test]
fn a_caa_record_that_forbids_stops_the_first_order() {
    let mut site = site();
    site.bed.dns.set_rrset("example.test", "CAA", &OTHER_CA);
    site.start_nginx();
    let line = site.nginx.wait_for_log("nothing was ordered: A01 CAA of \"example.test\"", LIMIT);
    expect(&line, &["[error]", "allows digicert.com only; add the record: example.test. CAA 0"]);
    for step in [AcmeStep::NewAccount, AcmeStep::NewOrder] {
        assert!(site.proxy.traffic.requests(&step.requests()).is_empty(), "{step:?}");
    }
    let own = ["0 issue \"pebble.letsencrypt.org\""];
    site.bed.dns.set_rrset("example.test", "CAA", &[OTHER_CA[0], own[0]]);
    // A configuration that is loaded anew is tried at once.
    site.reload();
    site.wait_for_certificate("example.test");
}

#[test]
fn a_file_in_the_state_path_has_all_certificates_checked() {
    let mut site = Site::start(&["example.test"]);
    site.wait_for_certificate("example.test");
    let before = site.bed.cloudflare.traffic.requests(&Match::any()).len();
    site.bed.dns.set_rrset("example.test", "CAA", &OTHER_CA);
    fs::write(site.state().join("actions/check"), "").expect("it is written");
    site.reload();
    let line = site.nginx.wait_for_log("\"actions/check\" found: example.test: A01 CAA of", LIMIT);
    expect(&line, &["[notice]", "; add the record: example.test. CAA 0 issue"]);
    site.nginx.wait_for_log("\"actions/check\" found: 1 problem, no warnings", LIMIT);
    site.nginx.wait_for_log("\"actions/check\" is done", LIMIT);
    let requests = site.bed.cloudflare.traffic.requests(&Match::any());
    assert!(
        requests[before..].iter().all(|request| request.request.method == Method::GET),
        "no record"
    );
}

#[test]
fn the_images_script_passes_its_words_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let nginx = dir.path().join("nginx");
    fs::write(&nginx, "#!/bin/sh\necho \"$ACME_DNS_CHECK $*\"\n").expect("it is written");
    fs::set_permissions(&nginx, Permissions::from_mode(0o755)).expect("a mode");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/check");
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    for (arguments, expected) in [
        (&[][..], "all -t\n"),
        (&["example.com,json"], "example.com,json -t\n"),
        (&["all", "-c", "x.conf"], "all -t -c x.conf\n"),
    ] {
        let output = Command::new(&script).args(arguments).env("PATH", &path).output();
        let output = output.expect("it runs").stdout;
        assert_eq!(String::from_utf8_lossy(&output), expected, "{arguments:?}");
    }
}
