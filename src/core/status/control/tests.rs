use super::*;
use crate::status::Step;
use crate::status::certificate::RenewalRequest;
use crate::status::samples::{NOW, failing, issuing, page, valid};

#[test]
fn a_form_has_both_fields_once_and_no_others() {
    let form = |name: &str, token: &str| {
        Some(RenewalForm { name: name.to_owned(), token: token.to_owned() })
    };
    for (body, expected) in [
        ("renew=example.com&token=0a", form("example.com", "0a")),
        ("token=0a&renew=_.example.com", form("_.example.com", "0a")),
        ("renew=%C3%A4+b&token=", form("ä b", "")),
        ("", None),
        ("renew=example.com", None),
        ("token=0a", None),
        ("renew=a&renew=b&token=0a", None),
        ("renew=a&token=0a&token=0b", None),
        ("renew=a&token=0a&more=1", None),
        ("{\"renew\":\"a\",\"token\":\"0a\"}", None),
    ] {
        assert_eq!(RenewalForm::parse(body.as_bytes()), expected, "{body}");
    }
    assert_eq!(RenewalForm::parse(b"renew=\xff&token=\x00").map(|it| it.token), Some("\0".into()));
}

#[test]
fn a_form_is_told_by_its_media_type() {
    for (kind, expected) in [
        ("application/x-www-form-urlencoded", true),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", true),
        ("text/plain", false),
        ("multipart/form-data; boundary=x", false),
        ("application/json", false),
        ("", false),
    ] {
        assert_eq!(is_form(kind), expected, "{kind}");
    }
}

#[test]
fn a_request_of_another_site_does_not_count() {
    for (host, origin, site, expected) in [
        ("a.test", None, None, true),
        ("a.test:8080", Some("http://a.test:8080"), None, true),
        ("A.test", Some("https://a.TEST"), None, true),
        ("a.test", Some("https://b.test"), None, false),
        ("a.test", Some("https://a.test:8443"), None, false),
        ("a.test", Some("https://evil.test/a.test"), None, false),
        ("a.test", Some("null"), None, false),
        ("", Some("https://"), None, false),
        ("a.test", None, Some("same-origin"), true),
        ("a.test", None, Some("none"), true),
        ("a.test", None, Some("same-site"), false),
        ("a.test", None, Some("cross-site"), false),
        // A proxy has changed the host; the browser knows better.
        ("backend", Some("https://a.test"), Some("same-origin"), true),
        ("a.test", Some("https://a.test"), Some("cross-site"), false),
    ] {
        let provenance = Provenance { host, origin, site };
        assert_eq!(provenance.is_own(), expected, "{provenance:?}");
    }
}

#[test]
fn a_token_is_good_for_its_hour_and_the_next_one() {
    let later = |minutes: i64| UnixTime(NOW.0 + 60 * minutes);
    let [made, _] = token_messages("a.example", NOW);
    for (minutes, is_good) in [(0, true), (59, true), (60, true), (119, true), (120, false)] {
        let accepted = token_messages("a.example", later(minutes));
        assert_eq!(accepted.contains(&made), is_good, "{minutes}");
    }
    assert!(!token_messages("b.example", NOW).contains(&made), "it is for one certificate");
    assert!(!token_messages("a.example", later(-60)).contains(&made), "and not from the future");
    assert_eq!(token(&[0xa5; 32]), "a5".repeat(16));
}

fn asked(state: RequestState, minutes_ago: i64) -> CertificateStatus {
    let at = UnixTime(NOW.0 - 60 * minutes_ago);
    CertificateStatus { requested: Some(RenewalRequest { at, state }), ..valid("a.example", 1) }
}

#[test]
fn a_request_is_answered_by_what_is_shown() {
    let waiting = || {
        let mut certificate = valid("a.example", 60);
        certificate.activity = Activity::Waiting;
        certificate
    };
    let two_issuers = || {
        let mut certificate = valid("a.example", 1);
        certificate.issuers.push("another".to_owned());
        certificate
    };
    let throttled = || {
        let mut certificate = failing("a.example", "too many certificates already issued");
        if let Some(error) = &mut certificate.last_error {
            error.remedy = Remedy::Wait;
        }
        certificate
    };
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    let soon = Some(Duration::from_secs(30));
    for (certificate, is_held, kind, wait) in [
        (valid("a.example", 1), false, AnswerKind::Accepted, None),
        (issuing("a.example", Step::Records), false, AnswerKind::UnderWay, soon),
        (waiting(), false, AnswerKind::UnderWay, soon),
        (asked(RequestState::Pending, 0), false, AnswerKind::Asked, soon),
        (asked(RequestState::Granted, 10), false, AnswerKind::Asked, minutes(50)),
        (asked(RequestState::Granted, 60), false, AnswerKind::Accepted, None),
        (asked(RequestState::Refused, 1), false, AnswerKind::Accepted, None),
        (valid("a.example", 1), true, AnswerKind::Held, minutes(9 * 60)),
        (two_issuers(), true, AnswerKind::Accepted, None),
        (failing("a.example", "no"), false, AnswerKind::Accepted, None),
        (throttled(), false, AnswerKind::Held, minutes(32)),
    ] {
        let mut page = page(vec![certificate]);
        if !is_held {
            page.issuers[0].retry_after = None;
        }
        let answer = Answer::to(&page, &page.certificates[0]);
        assert_eq!((answer.kind, answer.retry_after), (kind, wait), "{:?}", page.certificates[0]);
        assert_eq!(answer.certificate.as_deref(), Some("a.example"));
    }
    for state in [HelperState::Down, HelperState::Following, HelperState::Starting] {
        let mut page = page(vec![valid("a.example", 1)]);
        page.helper.state = state;
        let answer = Answer::to(&page, &page.certificates[0]);
        assert_eq!((answer.kind, answer.status()), (AnswerKind::Absent, 503), "{state:?}");
    }
}

#[test]
fn a_program_gets_a_word_that_it_can_go_by() {
    let answer = Answer::plain(AnswerKind::Stale);
    assert_eq!(answer.status(), 403);
    let json: serde_json::Value =
        serde_json::from_str(&super::super::json::answer(&answer)).unwrap();
    assert_eq!(json["result"], "stale");
    assert_eq!(json["certificate"], serde_json::Value::Null);
    assert!(json["message"].as_str().unwrap().contains("load the page again"), "{json}");
}
