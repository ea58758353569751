use super::{problem, success};
use bytes::Bytes;
use instant_acme::{
    AuthorizationState, AuthorizationStatus, Challenge, ChallengeType, OrderState, OrderStatus,
    Problem,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

const BASE: &str = "https://ca.example/acme/order/1";

/// Reads an answer to a POST-as-GET, or to a request with this payload, as instant-acme does.
fn read<T: DeserializeOwned>(
    body: &Value,
    payload: Option<&Value>,
) -> Result<T, serde_json::Error> {
    let payload =
        payload.map(|json| acme_dns_core::encoding::base64url(json.to_string().as_bytes()));
    let sent = json!({"protected": "", "payload": payload.unwrap_or_default(), "signature": ""});
    let base = Url::parse(BASE).unwrap();
    let body = Bytes::from(body.to_string());
    serde_json::from_slice(&success(body, &base, sent.to_string().as_bytes()))
}

fn order() -> Value {
    json!({
        "status": "ready",
        "identifiers": [{"type": "dns", "value": "a.example"}],
        "authorizations": ["https://ca.example/authz/1"],
        "finalize": "https://ca.example/finalize/1",
    })
}

/// Makes the same with other members.
fn with(mut json: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        json[name] = value.clone();
    }
    json
}

fn without(mut json: Value, name: &str) -> Value {
    json.as_object_mut().unwrap().remove(name);
    json
}

#[test]
fn an_order_is_read_whatever_rfc_8555_leaves_open() {
    let valid = || with(order(), &json!({"status": "valid"}));
    for (row, body) in [
        ("as it should be", order()),
        ("unknown members", with(order(), &json!({"x": {"y": [1]}, "expires": 7}))),
        (
            "nulls",
            with(
                order(),
                &json!({"error": null, "certificate": null, "expires": null,
            "notBefore": null, "profile": null, "replaces": null, "identifiers": null}),
            ),
        ),
        (
            "relative URLs",
            with(
                order(),
                &json!({
            "authorizations": ["/authz/1"], "finalize": "../../finalize/1"}),
            ),
        ),
        ("no authorizations", without(valid(), "authorizations")),
        ("null authorizations", with(valid(), &json!({"authorizations": null}))),
        ("no URL to finalize", without(valid(), "finalize")),
        ("an error that was overcome", with(valid(), &json!({"error": {"detail": "before"}}))),
        ("an empty error", with(valid(), &json!({"error": {}}))),
        ("a text as error", with(order(), &json!({"error": "none"}))),
        ("no identifiers", without(order(), "identifiers")),
        ("an empty certificate", with(order(), &json!({"certificate": ""}))),
        ("an odd profile", with(order(), &json!({"profile": {"name": "x"}}))),
        ("an odd replacement", with(order(), &json!({"replaces": {}}))),
    ] {
        let order: OrderState = read(&body, None).unwrap_or_else(|error| panic!("{row}: {error}"));
        assert!(order.error.is_none(), "{row}");
        assert_eq!(order.certificate, None, "{row}");
        if order.status == OrderStatus::Ready {
            assert_eq!(order.authorizations[0].url, "https://ca.example/authz/1", "{row}");
            assert_eq!(order.finalize, "https://ca.example/finalize/1", "{row}");
        }
    }
}

#[test]
fn what_matters_of_an_order_stays() {
    let error = json!({"type": "urn:x", "detail": "no", "status": "403", "subproblems": null});
    let failed = with(order(), &json!({"status": "invalid", "error": error}));
    let failed: OrderState = read(&failed, None).unwrap();
    assert_eq!(failed.error.unwrap().detail.as_deref(), Some("no"));
    let relative = with(order(), &json!({"status": "valid", "certificate": "/cert/1?x=y"}));
    let relative: OrderState = read(&relative, None).unwrap();
    assert_eq!(relative.certificate.as_deref(), Some("https://ca.example/cert/1?x=y"));
    // A URL is signed as the CA has written it.
    let odd = "https://CA.example:443/a/../b";
    let odd_order: OrderState = read(&with(order(), &json!({"finalize": odd})), None).unwrap();
    assert_eq!(odd_order.finalize, odd);
    assert!(read::<OrderState>(&with(order(), &json!({"status": "odd"})), None).is_err());
}

#[test]
fn an_order_replaces_what_it_was_placed_for_even_if_the_answer_does_not_say_so() {
    let payload = json!({"identifiers": [], "replaces": "aa.bb"});
    let replaces = |body: &Value| {
        let order: OrderState = read(body, Some(&payload)).unwrap();
        order.replaces.map(|id| id.to_string())
    };
    assert_eq!(replaces(&order()).as_deref(), Some("aa.bb"));
    assert_eq!(replaces(&with(order(), &json!({"replaces": null}))).as_deref(), Some("aa.bb"));
    let other = with(order(), &json!({"replaces": "cc.dd"}));
    assert_eq!(replaces(&other).as_deref(), Some("cc.dd"));
}

fn dns_01() -> Value {
    json!({"type": "dns-01", "url": "https://ca.example/chall/1", "token": "t", "status": "pending"})
}

fn authorization(challenges: Value) -> Value {
    json!({
        "status": "pending",
        "identifier": {"type": "dns", "value": "a.example"},
        "challenges": challenges,
    })
}

#[test]
fn an_authorization_is_read_whatever_rfc_8555_leaves_open() {
    let relative = with(dns_01(), &json!({"url": "/chall/1"}));
    let odd = [
        json!({"type": "new-01", "status": "waiting", "url": null, "token": null}),
        json!({"type": "other-01"}),
        json!({"type": "http-01", "status": "pending", "url": "x", "error": null}),
        json!({"type": "device-attest-01", "status": 7, "error": "odd", "token": ["t"]}),
        json!({"type": null}),
        json!("text"),
        json!(null),
    ];
    let among: Vec<Value> = odd.iter().cloned().chain([dns_01()]).collect();
    for (row, body) in [
        ("as it should be", authorization(json!([dns_01()]))),
        ("relative URLs", authorization(json!([relative]))),
        ("challenges of unknown types", authorization(json!(among))),
        (
            "nulls",
            with(authorization(json!([dns_01()])), &json!({"wildcard": null, "expires": null})),
        ),
        ("an odd wildcard", with(authorization(json!([dns_01()])), &json!({"wildcard": "no"}))),
        (
            "a state of another RFC",
            with(authorization(json!([dns_01()])), &json!({"status": "processing"})),
        ),
        (
            "a validated time, an error of null",
            authorization(json!([with(dns_01(), &json!({"validated": null, "error": null}))])),
        ),
    ] {
        let read: AuthorizationState =
            read(&body, None).unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(read.status, AuthorizationStatus::Pending, "{row}");
        assert!(!read.wildcard, "{row}");
        let challenge = read.challenges.iter().find(|c| c.r#type == ChallengeType::Dns01);
        let challenge = challenge.unwrap_or_else(|| panic!("{row}"));
        assert_eq!(challenge.url, "https://ca.example/chall/1", "{row}");
        assert_eq!(challenge.token, "t", "{row}");
        assert!(challenge.error.is_none(), "{row}");
    }
    for challenges in [json!(null), json!([]), json!("none")] {
        let read: AuthorizationState = read(&authorization(challenges.clone()), None).unwrap();
        assert_eq!(read.challenges.len(), 0, "{challenges}");
    }
    let wildcard = with(authorization(json!([dns_01()])), &json!({"wildcard": true}));
    assert!(read::<AuthorizationState>(&wildcard, None).unwrap().wildcard);
}

#[test]
fn whatever_accepts_the_answer_to_a_challenge_will_do() {
    let empty = json!({});
    for body in [dns_01(), authorization(json!([dns_01()])), json!({}), json!(null), json!([1])] {
        let challenge: Challenge = read(&body, Some(&empty)).unwrap();
        assert!(challenge.error.is_none(), "{body}");
    }
    let base = Url::parse(BASE).unwrap();
    let sent = br#"{"protected":"","payload":"e30","signature":""}"#;
    let answer = success(Bytes::new(), &base, sent);
    assert!(serde_json::from_slice::<Challenge>(&answer).is_ok(), "an empty answer");
    // Nothing else is made up.
    assert_eq!(success(Bytes::new(), &base, b"{}"), "");
    for garbage in ["OK", "<html>", "{\"type\""] {
        assert_eq!(success(Bytes::from(garbage), &base, sent), garbage);
    }
    let refused = with(dns_01(), &json!({"status": "invalid", "error": {"detail": "no"}}));
    let refused: Challenge = read(&refused, Some(&empty)).unwrap();
    assert_eq!(refused.error.unwrap().detail.as_deref(), Some("no"));
}

#[test]
fn a_problem_is_read_whatever_is_odd_about_it() {
    let acme = "urn:ietf:params:acme:error:rejectedIdentifier";
    for (row, body, kind, detail) in [
        ("as it should be", json!({"type": acme, "detail": "d", "status": 400}), Some(acme), "d"),
        (
            "a status in text",
            json!({"type": acme, "detail": "d", "status": "400"}),
            Some(acme),
            "d",
        ),
        (
            "nulls",
            json!({"type": acme, "detail": "d", "subproblems": null, "status": null,
            "instance": null}),
            Some(acme),
            "d",
        ),
        ("only a title", json!({"title": "t"}), None, "t"),
        ("an odd type", json!({"type": 7, "detail": "d"}), None, "d"),
        (
            "an odd subproblem",
            json!({"type": acme, "detail": "d", "subproblems": [
            null, {"type": acme, "identifier": {"type": "new", "value": {}}, "detail": "s"}]}),
            Some(acme),
            "d",
        ),
    ] {
        let body = problem(body.to_string().as_bytes()).unwrap_or_else(|| panic!("{row}"));
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.r#type.as_deref(), kind, "{row}");
        assert_eq!(problem.detail.as_deref(), Some(detail), "{row}");
        assert!(problem.subproblems.iter().all(|sub| sub.identifier.is_none()), "{row}");
    }
    for body in ["", "<html>", "{}", "[]", "null", r#"{"message":"not found"}"#, r#"{"type":null}"#]
    {
        assert_eq!(problem(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn an_identifier_of_a_subproblem_stays() {
    let body = json!({"type": "t", "subproblems": [
        {"type": "s", "detail": "d", "identifier": {"type": "dns", "value": "a.example"}}]});
    let body = problem(body.to_string().as_bytes()).unwrap();
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    let identifier = problem.subproblems[0].identifier.as_ref().unwrap();
    assert_eq!(identifier.authorized(false).to_string(), "a.example");
}
