//! CAs that do what RFC 8555 leaves open, or do it late: none of it costs an order.
//!
//! What can differ in a single answer is a table of `acme::regular`; here are CAs that differ in everything at
//! once, and in what takes more than one answer.

use super::accounts::MAC_KEY;
use super::hostile::change;
use super::support::{Bed, ISSUER, VARIANT};
use acme_dns_core::level::Level;
use acme_dns_service::acme::KeyChoice;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method};
use serde_json::{Value, json};
use servers::acme_proxy::AcmeStep;
use servers::pebble::PebbleOptions;
use servers::traffic::{Action, Fault, Match, Reply};
use std::collections::BTreeMap;
use std::fs;

/// A URL of the CA without its scheme and host.
fn relative(url: &Value) -> Value {
    url.as_str().map_or(Value::Null, |url| {
        let path = url.splitn(4, '/').nth(3).unwrap();
        format!("/{path}").into()
    })
}

fn make_relative(json: &mut Value) {
    for name in
        ["finalize", "certificate", "url", "newNonce", "newAccount", "newOrder", "keyChange"]
    {
        if json[name].is_string() {
            json[name] = relative(&json[name]);
        }
    }
    if let Some(urls) = json["authorizations"].as_array_mut() {
        urls.iter_mut().for_each(|url| *url = relative(url));
    }
    if let Some(challenges) = json["challenges"].as_array_mut() {
        challenges.iter_mut().for_each(make_relative);
    }
}

/// Everything is relative, and there is more of everything than anybody has heard of.
fn oddities(reply: &mut Reply) {
    if let Some(location) = reply.headers.get(LOCATION) {
        let location = relative(&location.to_str().unwrap().into());
        reply.headers.insert(LOCATION, location.as_str().unwrap().parse().unwrap());
    }
    let Ok(mut json) = serde_json::from_slice::<Value>(&reply.body) else { return };
    if reply.status >= 400 || !json.is_object() {
        return;
    }
    if reply.status == 201 {
        reply.status = 200;
    }
    make_relative(&mut json);
    json["unknown"] = json!({"member": [null]});
    if let Some(challenges) = json["challenges"].as_array_mut() {
        challenges.insert(0, json!({"type": "new-01", "status": "thinking", "token": null}));
        challenges.insert(0, json!({"type": "http-02", "url": 7}));
        json["wildcard"] = if json["wildcard"] == true { true.into() } else { Value::Null };
        json["expires"] = Value::Null;
    }
    if json["finalize"].is_string() {
        for name in ["notBefore", "notAfter", "error", "profile", "replaces"] {
            json[name] = Value::Null;
        }
        if json["certificate"].is_null() {
            json["certificate"] = Value::Null;
        }
    }
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("Application/JSON; charset=utf-8"));
    reply.body = json.to_string().into();
}

#[test]
fn a_ca_that_is_odd_in_all_that_does_not_matter_issues_and_renews() {
    let bed = Bed::start();
    bed.proxy.traffic.inject(Fault::new(Match::any(), Action::rewrite(oddities)).always());
    let first = bed.obtain().unwrap();
    // The second one says what it replaces, and the answer does not repeat it.
    let second = bed.obtain().unwrap();
    assert_ne!(first.serial, second.serial);
    let orders = bed.proxy.traffic.requests(&AcmeStep::NewOrder.requests());
    assert_eq!(orders.len(), 2, "none is placed twice");
    assert!(orders[1].jws_payload()["replaces"].is_string());
    assert_eq!(bed.log.events(Level::Warn), []);
    bed.assert_clean();
}

#[test]
fn a_ca_that_says_little_issues() {
    let bed = Bed::start();
    let traffic = &bed.proxy.traffic;
    let empty = |status: u16| {
        Action::rewrite(move |reply| {
            reply.status = status;
            reply.body = "".into();
        })
    };
    traffic.inject(Fault::new(AcmeStep::NewNonce.requests(), empty(204)).always());
    traffic.inject(Fault::new(AcmeStep::NewAccount.requests(), empty(200)).always());
    traffic.inject(Fault::new(AcmeStep::Account.requests(), empty(200)).always());
    traffic.inject(Fault::new(AcmeStep::Challenge.requests(), empty(202)).always());
    bed.obtain().unwrap();
    let challenges = traffic.count(&AcmeStep::Challenge.requests());
    assert_eq!(challenges, 2, "each is answered once");
    assert_eq!(traffic.count(&AcmeStep::NewOrder.requests()), 1);
    bed.assert_clean();
}

/// Status of the order after the CSR was sent, while its certificate is made.
#[test]
fn an_order_that_is_slow_to_become_what_it_is_is_waited_for() {
    let bed = Bed::start();
    for (row, slow) in [
        ("still ready", json!({"status": "ready"})),
        ("still pending", json!({"status": "pending"})),
        ("valid, its certificate comes later", json!({"status": "valid"})),
        (
            "valid, with an error that was overcome",
            json!({"status": "valid", "error": {"detail": "x"}}),
        ),
    ] {
        bed.proxy.traffic.clear_log();
        let slow = change(move |json| {
            json.as_object_mut().unwrap().remove("certificate");
            for (name, value) in slow.as_object().unwrap() {
                json[name] = value.clone();
            }
        });
        // Of the requests that read the order, the first ones are those before it is ready.
        let traffic = &bed.proxy.traffic;
        traffic.inject(Fault::new(AcmeStep::Finalize.requests(), slow.clone()));
        bed.obtain().unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(traffic.count(&AcmeStep::NewOrder.requests()), 1, "{row}");
        assert_eq!(traffic.count(&AcmeStep::Finalize.requests()), 1, "{row}");
        bed.assert_clean();
    }
}

#[test]
fn a_day_that_is_asked_for_while_an_order_is_under_way_is_advice() {
    let bed = Bed::start();
    let day = Action::rewrite(|reply| {
        reply.headers.insert(RETRY_AFTER, HeaderValue::from_static("86400"));
    });
    for step in [AcmeStep::NewOrder, AcmeStep::Authorization, AcmeStep::Challenge, AcmeStep::Order]
    {
        bed.proxy.traffic.inject(Fault::new(step.requests(), day.clone()).always());
    }
    bed.proxy.traffic.inject(Fault::new(AcmeStep::Finalize.requests(), day).always());
    // That has a limit of its own, far below a day.
    bed.obtain().unwrap();
    bed.assert_clean();
}

#[test]
fn an_order_whose_authorizations_have_ended_meanwhile_is_placed_anew() {
    let ended = |status: &'static str| change(move |json| json["status"] = status.into());
    let gone = || Action::Problem {
        status: 404,
        kind: "malformed".into(),
        detail: "Expired authorization".into(),
        retry_after: None,
    };
    let bed = Bed::start();
    for (row, step, action) in [
        ("expired", AcmeStep::Authorization, ended("expired")),
        ("deactivated", AcmeStep::Authorization, ended("deactivated")),
        ("gone", AcmeStep::Authorization, gone()),
        ("the order too", AcmeStep::Order, gone()),
        ("at the challenge", AcmeStep::Challenge, gone()),
    ] {
        let _ = fs::remove_dir_all(bed.state());
        let limited = Action::Problem {
            status: 429,
            kind: "rateLimited".into(),
            detail: "later".into(),
            retry_after: None,
        };
        bed.proxy.traffic.inject(Fault::new(AcmeStep::Challenge.requests(), limited));
        bed.obtain_error();
        assert_eq!(bed.entries("orders"), ["example.test.order"], "{row}");
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.clear_log();
        // The order of before has two authorizations.
        let strikes = if step == AcmeStep::Authorization { 2 } else { 1 };
        bed.proxy.traffic.inject(Fault::new(step.requests(), action).times(strikes));
        bed.obtain().unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1, "{row}");
        assert_eq!(bed.log.events(Level::Warn), [], "{row}");
        bed.assert_clean();
    }
}

#[test]
fn an_authorization_that_has_ended_is_told_at_once() {
    let bed = Bed::start();
    let expired = change(|json| json["status"] = "expired".into());
    bed.proxy.traffic.inject(Fault::new(AcmeStep::Authorization.requests(), expired).always());
    let error = bed.obtain_error().to_string();
    assert!(error.contains("the authorization is expired"), "{error}");
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::Challenge.requests()), 0);
}

#[test]
fn an_order_that_nobody_can_find_is_not_placed_again_and_again() {
    let bed = Bed::start();
    let lost = Action::rewrite(|reply| {
        reply.headers.remove(LOCATION);
    });
    bed.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), lost).always());
    let error = bed.obtain_error().to_string();
    assert!(error.contains("placing the order at \"https://127.0.0.1:"), "{error}");
    assert!(error.ends_with("is not what it should be: no order URL found"), "{error}");
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
}

/// CAs for customers: who has an external account needs no proof, and no DNS provider.
#[test]
fn a_ca_that_asks_for_no_proof_issues_whatever_the_dns_provider_says() {
    let eab = BTreeMap::from([("kid-1".to_owned(), MAC_KEY.to_owned())]);
    let mut bed =
        Bed::start_with(|options| PebbleOptions { eab, authz_reuse_percent: 100, ..options });
    bed.bind("kid-1", MAC_KEY);
    // Pebble validates a name once; from then on its orders are ready at once.
    bed.obtain().unwrap();
    bed.proxy.traffic.clear_log();
    bed.testbed.cloudflare.traffic.clear_log();
    let refused = Action::Error { status: 403, code: 10_000, message: "no".into() };
    bed.testbed.cloudflare.traffic.inject(Fault::new(Match::any(), refused).always());
    let results = bed.run(async |obtainer| {
        let first = obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await;
        (first, obtainer.obtain(VARIANT, ISSUER, KeyChoice::New).await)
    });
    results.0.unwrap();
    results.1.unwrap();
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::Challenge.requests()), 0);
    assert_eq!(bed.testbed.cloudflare.traffic.count(&Match::any().method(Method::POST)), 0);
    bed.assert_clean();
}

#[test]
fn messages_name_the_url_the_status_and_what_came_instead() {
    let bed = Bed::start();
    let page =
        |status| Action::Reply(Reply::new(status, "text/html; charset=utf-8", "<html>Hello"));
    let url = bed.proxy.directory_url();
    let check = "check \"directory\" of issuer \"pebble\"";
    let json = "{\"welcome\":1}";
    let rows = [
        (
            AcmeStep::Directory,
            page(200),
            format!(
                "reading the directory at \"{url}\" failed: the answer, a 200 OK, is text/html instead of JSON; {check}"
            ),
        ),
        (
            AcmeStep::Directory,
            page(404),
            format!(
                "reading the directory at \"{url}\" failed: the answer is a 404 Not Found with text/html; {check}"
            ),
        ),
        (
            AcmeStep::Directory,
            Action::Reply(Reply::new(200, "application/json", json)),
            format!(
                "reading the directory at \"{url}\" failed: the answer, a 200 OK, cannot be read: missing field `newNonce` at line 1 column 13; {check}"
            ),
        ),
        (
            AcmeStep::NewOrder,
            page(502),
            format!(
                "placing the order at \"{}\" failed: the answer is a 502 Bad Gateway with text/html",
                url.replace("/dir", "/order-plz")
            ),
        ),
        (
            AcmeStep::NewOrder,
            Action::Reply(Reply::new(400, "application/json", "{\"message\":\"no\"}")),
            format!(
                "placing the order at \"{}\" failed: the answer is a 400 Bad Request with application/json",
                url.replace("/dir", "/order-plz")
            ),
        ),
    ];
    for (step, action, expected) in rows {
        let _ = fs::remove_dir_all(bed.state());
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.inject(Fault::new(step.requests(), action).always());
        assert_eq!(bed.obtain_error().to_string(), expected);
    }
}

#[test]
fn a_ca_that_is_not_trusted_says_which_setting_is_missing() {
    let mut bed = Bed::start();
    bed.config.issuers[ISSUER].trusted_certificate = None;
    let error = bed.obtain_error().to_string();
    let expected = "a CA that the system does not trust needs \"trusted_certificate\"";
    assert!(error.contains("certificate verify failed") && error.ends_with(expected), "{error}");
}
