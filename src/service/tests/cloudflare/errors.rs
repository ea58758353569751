//! Refusals, throttling and failures of Cloudflare's API, and what is said of them.

use super::bed::{Bed, NAME, TOKEN, fast, make, placed, remove, run, txt};
use acme_dns_core::config::{
    CloudflareCredentials, CloudflareSettings as Settings, Provider, ProviderKind, SecretId,
};
use acme_dns_core::id::Table;
use acme_dns_service::dns::cloudflare::{Budget, Cloudflare, Timing};
use acme_dns_service::dns::{About, DnsProvider, providers};
use acme_dns_service::http::Clients;
use acme_dns_service::program::Programs;
use acme_dns_service::resolver::Resolver;
use http::Method;
use secrecy::SecretString;
use servers::cloudflare::Token;
use servers::traffic::{Action, Fault, Match};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[test]
fn a_full_zone_says_how_much_of_it_is_ours() {
    let bed = Bed::new();
    let cf = bed.provider();
    let zone = bed.zone();
    let about = |cf: &Cloudflare| {
        let error = run(cf.create(&zone, &[txt("c"), txt("d")])).unwrap_err();
        error.about().clone()
    };
    let full = |ours| About::Quota { zone: "example.com".into(), ours };
    let others = run(bed.provider().create(&zone, &[txt("theirs")])).unwrap();
    let ids = run(cf.create(&zone, &[txt("a"), txt("b")])).unwrap();
    bed.cloudflare.set_record_quota(3);
    assert_eq!(about(&cf), full(2));
    assert_eq!(bed.values(), ["a", "b", "theirs"], "nothing is left of the half that would fit");
    run(remove(&cf, &[placed(&zone, "a", Some(&ids[0]))])).unwrap();
    assert_eq!(about(&cf), full(1));
    run(remove(&cf, &[placed(&zone, "b", Some(&ids[1]))])).unwrap();
    bed.cloudflare.set_record_quota(1);
    assert_eq!(about(&cf), full(0));
    run(remove(&cf, &[placed(&zone, "theirs", Some(&others[0]))])).unwrap();
}

#[test]
fn a_short_retry_after_is_sat_out() {
    let bed = Bed::new();
    bed.inject(Method::POST, "", Action::Status { status: 429, retry_after: Some(1) });
    let begun = Instant::now();
    run(bed.provider().create(&bed.zone(), &[txt("one")])).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(bed.values(), ["one"]);
    assert_eq!(bed.count(Method::POST, ""), 2);
}

#[test]
fn a_retry_after_holds_all_providers_back() {
    let bed = Bed::new();
    bed.inject(Method::POST, "", Action::Status { status: 429, retry_after: Some(1) });
    let budget = Rc::new(Budget::new(|_| {}));
    let made = |timing| {
        let secret = |_| SecretString::from(TOKEN);
        Cloudflare::new("cf", &bed.settings(), secret, budget.clone(), &Clients::default())
            .unwrap()
            .with_timing(timing)
    };
    let impatient = made(Timing { patience: Duration::ZERO, ..fast() });
    run(impatient.create(&bed.zone(), &[txt("one")])).unwrap_err();
    let begun = Instant::now();
    run(made(fast()).listed_zone_of(NAME)).unwrap();
    assert!(begun.elapsed() > Duration::from_millis(900));
}

#[test]
fn a_long_retry_after_is_an_error_that_says_so() {
    let bed = Bed::new();
    bed.inject(Method::POST, "", Action::Status { status: 429, retry_after: Some(300) });
    let cf = bed.provider();
    let error = run(cf.create(&bed.zone(), &[txt("one")])).unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(300)));
    assert!(!error.is_permanent());
    // Nothing goes out before that time is over.
    let error = run(cf.listed_zone_of(NAME)).unwrap_err();
    assert!(error.retry_after().is_some_and(|wait| wait > Duration::from_secs(290)), "{error}");
    assert_eq!(bed.cloudflare.traffic.log().len(), 1);
}

#[test]
fn passing_trouble_is_sat_out() {
    for action in [
        Action::Status { status: 500, retry_after: None },
        Action::Status { status: 503, retry_after: None },
        Action::Status { status: 429, retry_after: None },
        Action::Drop,
        Action::Garbage,
    ] {
        let bed = Bed::new();
        let cf = bed.provider();
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let fault = Fault::new(Match::any().method(method), action.clone()).times(2);
            bed.cloudflare.traffic.inject(fault);
        }
        let zone =
            run(cf.listed_zone_of("example.com")).unwrap_or_else(|e| panic!("{action:?}: {e}"));
        let ids =
            run(cf.create(&zone, &[txt("one")])).unwrap_or_else(|e| panic!("{action:?}: {e}"));
        assert_eq!(ids, [bed.id_of("one")], "{action:?}");
        let gone = run(remove(&cf, &[placed(&zone, "one", Some(&ids[0]))]));
        gone.unwrap_or_else(|e| panic!("{action:?}: {e}"));
        assert_eq!(bed.values(), [""; 0], "{action:?}");
    }
}

#[test]
fn lasting_trouble_is_an_error_after_some_tries() {
    for (action, expected) in [
        (Action::Status { status: 502, retry_after: None }, "HTTP status 502"),
        (Action::Drop, "the request failed"),
        (Action::Garbage, "unexpected answer"),
        (Action::Hang, "timed out"),
    ] {
        let bed = Bed::new();
        let timing = Timing { request: Duration::from_millis(100), ..fast() };
        let cf = bed.provider().with_timing(timing);
        bed.always(Method::POST, "/dns_records", action.clone());
        let error = run(cf.create(&bed.zone(), &[txt("one")])).unwrap_err();
        let text = error.to_string();
        assert!(!error.is_permanent(), "{action:?}: {text}");
        for part in [expected, "\"cf\"", NAME, "\"example.com\""] {
            assert!(text.contains(part), "{action:?}: {text}");
        }
        assert_eq!(bed.count(Method::POST, ""), 5, "{action:?}");
    }
}

#[test]
fn no_try_begins_after_the_time_is_over() {
    let bed = Bed::new();
    let timing = Timing { total: Duration::ZERO, ..fast() };
    let cf = bed.provider().with_timing(timing);
    bed.always(Method::POST, "", Action::Status { status: 500, retry_after: None });
    run(cf.create(&bed.zone(), &[txt("one")])).unwrap_err();
    assert_eq!(bed.count(Method::POST, ""), 1);
}

#[test]
fn an_unknown_token_is_explained_and_not_shown() {
    let bed = Bed::new();
    let cf = make(&bed.settings(), "a-token-that-is-wrong");
    let finding = run(cf.listed_zone_of(NAME)).unwrap_err();
    let creating = run(cf.create(&bed.zone(), &[txt("one"), txt("two")])).unwrap_err();
    for error in [finding, creating] {
        let text = error.to_string();
        assert!(error.is_permanent(), "{text}");
        assert!(text.contains("check that the token is valid"), "{text}");
        assert!(!text.contains("a-token-that"), "{text}");
    }
    assert_eq!(bed.count(Method::POST, ""), 1);
}

#[test]
fn a_token_of_the_wrong_form_is_explained() {
    let bed = Bed::new();
    let cf = make(&bed.settings(), "token = x!");
    let text = run(cf.listed_zone_of(NAME)).unwrap_err().to_string();
    assert!(text.contains("6111") && text.contains("form of a token"), "{text}");
    assert!(!text.contains("x!"), "{text}");
}

#[test]
fn missing_permissions_are_named() {
    let bed = Bed::new();
    bed.cloudflare.add_token(Token::new(TOKEN).read_only());
    let text = run(bed.provider().create(&bed.zone(), &[txt("one")])).unwrap_err().to_string();
    for part in ["Zone/DNS/Edit", NAME, "\"example.com\"", "10000 \"Authentication error\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    bed.cloudflare.add_token(Token::new(TOKEN).without_zone_read());
    let text = run(bed.provider().listed_zone_of(NAME)).unwrap_err().to_string();
    for part in ["Zone/Zone/Read", "set \"zone_id\"", NAME] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_legacy_pair_is_accepted_and_explained() {
    let key = "0123456789abcdef0123456789abcdef01234";
    let bed = Bed::new();
    bed.cloudflare.set_legacy_key("you@example.com", key);
    let credentials =
        CloudflareCredentials::Key { email: "you@example.com".to_owned(), key: SecretId(3) };
    let kind = ProviderKind::Cloudflare(Settings { credentials, ..bed.settings() });
    let config = Table::from(vec![Provider {
        name: "cf".to_owned(),
        zones: Vec::new(),
        zone: None,
        kind,
        secrets: vec![SecretId(3)],
    }]);
    let made = |secret: &'static str| {
        let secret = move |id: SecretId| {
            assert_eq!(id, SecretId(3));
            SecretString::from(secret)
        };
        let programs = Rc::new(Programs::new(PathBuf::new(), |_| {}));
        let made = providers(&config, secret, &Clients::default(), &programs, |_| {}).unwrap();
        made.into_values().next().unwrap()
    };
    let resolver = Resolver::new(&[]);
    run(async {
        let cf = made(key);
        let zone = cf.zone_of(NAME, &resolver).await.unwrap();
        cf.create(&zone, &[txt("one")]).await.unwrap();
    });
    assert_eq!(bed.values(), ["one"]);

    let wrong = made("ffffffffffffffffffffffffffffffffffff");
    let text = run(wrong.zone_of(NAME, &resolver)).unwrap_err().to_string();
    for part in ["9103", "\"email\"", "Global API Key"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("ffff"), "{text}");
}

#[test]
fn a_full_zone_is_explained() {
    let bed = Bed::new();
    bed.cloudflare.set_record_quota(1);
    let error = run(bed.provider().create(&bed.zone(), &[txt("a"), txt("b")])).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("81045") && text.contains("remove some"), "{text}");
}

#[test]
fn secrets_that_no_header_can_carry_are_refused() {
    let bed = Bed::new();
    let budget = Rc::new(Budget::new(|_| {}));
    let made = Cloudflare::new(
        "cf",
        &bed.settings(),
        |_| SecretString::from("a\nb"),
        budget,
        &Clients::default(),
    );
    let text = made.unwrap_err().to_string();
    assert!(text.contains("provider \"cf\"") && !text.contains("a\nb"), "{text}");
}
