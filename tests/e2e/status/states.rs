//! States of a certificate as they are shown, while the servers of the testbed hold it there.

use std::time::Duration;

use openssl::x509::X509;
use reqwest::Method;
use serde_json::{Value, json};
use servers::acme_proxy::AcmeStep;
use servers::ocsp::{Responder, Signer};
use servers::pebble::PebbleOptions;
use servers::process::wait_until;
use servers::promtool;
use servers::traffic::{Action, Fault, Hold, Match};
use testbed::clients::tls::Leaf;

use super::{NAME, Shown};
use crate::renewal_info::{PAST, window};
use crate::site::LIMIT;

/// Waits until a certificate is shown as expected, as JSON.
fn wait_for(shown: &Shown, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let one = || shown.get(&format!("/acme/{name}")).json();
    wait_until(LIMIT, || Some(one()).filter(&is_it)).unwrap_or_else(|| panic!("{:#}", one()))
}

/// Checks that an attempt is in a step, in both forms.
fn check_step(shown: &Shown, step: &str, words: &str, served: &str) {
    let it = wait_for(shown, NAME, |it| it["step"]["name"] == step);
    assert_eq!((&it["state"], &it["served"]), (&json!("issuing"), &json!(served)), "{it:#}");
    let page = shown.page("/acme");
    let current = format!("<li aria-current=\"step\">{words}</li>");
    assert!(page.text().contains(&current), "{step}: {}", page.text());
    assert_eq!(page.header("refresh"), "5", "{step}");
}

#[test]
fn an_issuance_is_shown_step_by_step_and_so_is_a_renewal() {
    let mut shown = Shown::new(&[NAME]);
    shown.site.issuer = "profile default;".to_owned();
    let traffic = shown.site.proxy.traffic.clone();
    let hold = |step: AcmeStep| traffic.hold(step.requests());
    let creation = Match::new(Method::POST, "/dns_records");
    let renewal_info = hold(AcmeStep::RenewalInfo);
    let ordered = hold(AcmeStep::NewOrder);
    let created = shown.site.bed.cloudflare.traffic.hold(creation);
    let finalized = hold(AcmeStep::Finalize);
    shown.site.bed.cloudflare.pause_propagation();
    shown.site.start_nginx();
    let check = |held: Hold, step, words| {
        held.wait(LIMIT);
        check_step(&shown, step, words, "none");
        held.release();
    };
    check(ordered, "ordering", "order");
    check(created, "records", "TXT records");
    check_step(&shown, "propagation", "seen at all name servers", "none");
    // The order is looked at while the CA validates.
    let validated = hold(AcmeStep::Order);
    shown.site.bed.cloudflare.resume_propagation();
    check(validated, "validation", "validated by the CA");
    check(finalized, "finalize", "certificate issued");
    shown.wait_for("valid");

    // The CA asks for a renewal at once.
    let first = shown.site.wait_for_certificate(NAME).leaf;
    renewal_info.wait(LIMIT);
    shown.site.bed.pebble.set_renewal_info(&first.pem(), &window(PAST[0], PAST[1]));
    let order = hold(AcmeStep::NewOrder);
    renewal_info.release();
    order.wait(LIMIT);
    check_step(&shown, "ordering", "order", "valid");
    let it = shown.get(&format!("/acme/{NAME}")).json();
    assert_eq!(it["variants"][0]["renewal"]["reason"], "ari", "{it:#}");
    assert!(shown.page("/acme").text().contains("<span class=\"state\">renewing</span>"));
    order.release();
    shown.site.wait_for_other(NAME, &first.serial);
    shown.wait_for("valid");
    shown.site.wait_until_clean();
}

#[test]
fn a_certificate_that_expires_unreplaced_is_shown_with_the_words_of_a_hostile_authority() {
    const DETAIL: &str = "</p><script>alert(1)</script> \u{202e}gnp.\u{7} \"&amp;\\ {x=\"y\"}";
    let mut shown = Shown::with(&[NAME], |options| options.shortlived(Duration::from_secs(12)));
    shown.site.issuer = "profile shortlived require;".to_owned();
    shown.site.start_nginx();
    shown.site.wait_for_certificate(NAME);
    let problem = Action::Problem {
        status: 403,
        kind: "rejectedIdentifier".into(),
        detail: DETAIL.into(),
        retry_after: None,
    };
    shown.site.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), problem).always());
    let it = wait_for(&shown, NAME, |it| it["served"] == "expired" && it["state"] == "failing");
    let text = it["lastError"]["text"].as_str().expect("a text");
    assert!(text.contains("alert(1)") && !text.chars().any(char::is_control), "{text}");
    assert!(!text.contains('\u{202e}'), "what turns the text around is gone: {text}");
    assert_eq!(it["lastError"]["remedy"], "reload");
    let page = shown.page("/acme").text();
    assert!(page.contains("expired, renewal fails") && page.contains("alert(1)"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    let metrics = shown.get("/metrics").text();
    promtool::check_metrics(&metrics).unwrap_or_else(|error| panic!("{error}"));
    for state in ["expired", "failing"] {
        let sample = format!("acme_dns_certificate_state{{name=\"{NAME}\",state=\"{state}\"}} 1");
        assert!(metrics.contains(&sample), "{metrics}");
    }
}

#[test]
fn what_the_responder_says_is_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut responder = Responder::reserve(dir.path());
    let url = responder.url();
    let (good, bad) = ("good.example.test", "bad.example.test");
    let mut shown =
        Shown::with(&[good, bad], |options| PebbleOptions { ocsp_responder: Some(url), ..options });
    shown.site.http.push_str("ssl_stapling on;");
    let signer = Signer::issuer(&shown.site.bed.pebble);
    responder.start(&signer.certificate, &signer, Some(60));
    // It learns of the certificates while it is asked.
    let asked = responder.traffic.hold(Match::any());
    shown.site.start_nginx();
    asked.wait(LIMIT);
    let [first, second] = [good, bad].map(|name| shown.site.wait_for_certificate(name).leaf);
    let x509 = |leaf: &Leaf| X509::from_der(&leaf.der).expect("it is readable");
    responder.know(&[(&x509(&first), false), (&x509(&second), true)]);
    asked.release();
    let it =
        wait_for(&shown, good, |it| !it["variants"][0]["certificate"]["stapledUntil"].is_null());
    assert_eq!((&it["state"], &it["revoked"]), (&json!("valid"), &json!(false)), "{it:#}");
    let it = wait_for(&shown, bad, |it| it["revoked"] == true);
    assert_eq!((&it["state"], &it["served"]), (&json!("valid"), &json!("valid")), "{it:#}");
    assert_eq!(it["variants"][0]["certificate"]["stapledUntil"], Value::Null, "{it:#}");
    let status = shown.status();
    assert_eq!(status["totals"]["revoked"], 1);
    assert_eq!(status["certificates"][0]["name"], bad, "the most urgent");
    assert!(shown.page("/acme").text().contains("<span class=\"state\">revoked</span>"));
    assert_eq!(shown.get("/acme?state=revoked").json()["listing"]["matching"], 1);
}

#[test]
fn a_record_that_somebody_has_to_add_is_shown() {
    const RECORD: &str = "_validation-persist.example.test";
    let mut shown = Shown::new(&["example.test *.example.test"]);
    shown.site.provider = Some(String::new());
    shown.site.issuer = "challenge dns-persist-01;".to_owned();
    shown.site.start_nginx();
    let it = wait_for(&shown, NAME, |it| it["lastError"]["remedy"] == "record");
    assert_eq!((&it["state"], &it["served"]), (&json!("failing"), &json!("none")), "{it:#}");
    let text = it["lastError"]["text"].as_str().expect("a text");
    let (_, record) = text.split_once("add it: ").expect("the record");
    let value = record.strip_prefix(&format!("{RECORD}. IN TXT ")).expect("its name");
    let page = shown.page("/acme").text();
    assert!(page.contains("<span class=\"state\">waits for a record</span>"), "{page}");
    assert!(page.contains(&value.replace('"', "&quot;")), "{value} in {page}");
    shown.site.bed.dns.set_rrset(RECORD, "TXT", &[value]);
    shown.wait_for("valid");
}
