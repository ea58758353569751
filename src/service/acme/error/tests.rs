use super::{AcmeError, ObtainError};
use crate::acme::problem::Problem;
use crate::acme::step::Step;
use std::time::Duration;

fn refusal(json: &str) -> Problem {
    Problem::new(&serde_json::from_str(json).unwrap())
}

#[test]
fn a_refusal_names_the_identifiers_and_is_one_line() {
    let problem = refusal(
        r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"Two\nlines",
            "subproblems":[{"type":"urn:ietf:params:acme:error:rejectedIdentifier",
            "detail":"no","identifier":{"type":"dns","value":"a.example"}}]}"#,
    );
    let error = AcmeError::Refused {
        step: Step::NewOrder,
        url: "https://ca.example/order".into(),
        status: None,
        problem,
        retry_after: None,
    };
    assert_eq!(
        error.to_string(),
        "placing the order was refused by \"https://ca.example/order\": malformed: Two lines; \
         \"a.example\": rejectedIdentifier: no"
    );
    assert!(error.is_permanent());
}

#[test]
fn problems_are_permanent_or_not() {
    for (kind, permanent) in [
        ("urn:ietf:params:acme:error:rateLimited", false),
        ("urn:ietf:params:acme:error:serverInternal", false),
        ("urn:ietf:params:acme:error:dns", false),
        ("urn:ietf:params:acme:error:unauthorized", false),
        ("urn:ietf:params:acme:error:caa", true),
        ("urn:ietf:params:acme:error:invalidProfile", true),
        ("urn:ietf:params:acme:error:externalAccountRequired", true),
        ("about:blank", false),
    ] {
        let problem = refusal(&format!("{{\"type\":\"{kind}\"}}"));
        let error = ObtainError::Invalid(vec![("a.example".into(), problem)]);
        assert_eq!(error.is_permanent(), permanent, "{kind}");
    }
}

#[test]
fn what_a_ca_does_not_have_is_final() {
    let error = |status, kind: &str| AcmeError::Refused {
        step: Step::KeyChange,
        url: "https://ca.example/key-change".into(),
        status: Some(status),
        problem: refusal(&format!("{{\"type\":\"urn:ietf:params:acme:error:{kind}\"}}")),
        retry_after: None,
    };
    for (status, kind, is_final) in [
        (501, "rejectedIdentifier", true),
        (403, "unauthorized", true),
        (404, "malformed", true),
        (405, "malformed", true),
        (409, "malformed", true),
        (500, "serverInternal", false),
        (503, "malformed", false),
        (429, "rateLimited", false),
        (400, "badNonce", false),
        (403, "userActionRequired", false),
    ] {
        assert_eq!(error(status, kind).is_final(), is_final, "{status} {kind}");
    }
    for (status, is_final) in
        [(Some(501), true), (Some(404), true), (Some(502), false), (None, false)]
    {
        let (step, url) = (Step::KeyChange, String::new());
        let reason = "x".to_owned();
        let failed = AcmeError::Failed { step, url, status, reason, retry_after: None };
        assert_eq!(failed.is_final(), is_final, "{status:?}");
    }
}

#[test]
fn the_pause_that_the_ca_asks_for_is_passed_on() {
    let problem = refusal(r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"x"}"#);
    let retry_after = Some(Duration::from_secs(3600));
    let (step, url, status) = (Step::NewOrder, "https://ca.example/order".to_owned(), Some(429));
    let error = AcmeError::Refused { step, url, status, problem, retry_after };
    assert!(error.is("rateLimited"));
    assert_eq!(ObtainError::from(error).retry_after(), retry_after);
}

#[test]
fn what_is_about_the_account_is_about_all_orders() {
    let failed = |step| AcmeError::Failed {
        step,
        url: "https://ca.example/order".into(),
        status: None,
        reason: "x".into(),
        retry_after: None,
    };
    for (step, issuer_wide) in [
        (Step::Directory, true),
        (Step::NewNonce, true),
        (Step::FindAccount, true),
        (Step::NewAccount, true),
        (Step::UpdateAccount, true),
        (Step::NewOrder, true),
        (Step::Finalize, false),
        (Step::RenewalInfo, false),
        (Step::Revoke, false),
    ] {
        assert_eq!(failed(step).is_issuer_wide(), issuer_wide, "{step:?}");
    }
}

#[test]
fn an_account_that_is_not_authorized_needs_a_person() {
    for (step, permanent) in [(Step::NewAccount, true), (Step::NewOrder, false)] {
        let error = AcmeError::Refused {
            step,
            url: "https://ca.example/order".into(),
            status: None,
            problem: refusal(r#"{"type":"urn:ietf:params:acme:error:unauthorized"}"#),
            retry_after: None,
        };
        assert_eq!(error.is_permanent(), permanent, "{step:?}");
    }
}
