//! Requests that go wrong on their way to PowerDNS or back.

use crate::{API_KEY, Bed, NAME, placed, run, txt};
use acme_dns_service::dns::{About, DnsProvider, ProviderError};
use http::Method;
use servers::http_forward;
use servers::traffic::{Action, Fault, Match, Reply};
use std::time::Duration;

const OTHERS: &str = "of somebody else";

fn status(status: u16, retry_after: Option<u64>) -> Action {
    Action::Status { status, retry_after }
}

fn writes() -> Match {
    Match::any().method(Method::PATCH)
}

fn reads() -> Match {
    Match::any().method(Method::GET).path_ends("/zones/example.com.")
}

#[test]
fn what_fails_for_a_while_is_made_up_for() {
    for (what, fault) in [
        ("throttled", Fault::new(writes(), status(429, Some(1)))),
        ("out of order", Fault::new(writes(), status(500, None)).times(2)),
        ("behind a gateway that is", Fault::new(reads(), status(502, None))),
        ("a connection lost", Fault::new(writes(), Action::Drop)),
        ("an answer lost", Fault::new(writes(), Action::LostAnswer)),
        ("slow", Fault::new(writes(), Action::Delay(Duration::from_secs(2)))),
    ] {
        let bed = Bed::new();
        bed.server.set_rrset(NAME, "TXT", &[&format!("\"{OTHERS}\"")]);
        let proxy = http_forward::start(&bed.server.api_url());
        let provider = bed.make_at(&format!("http://{}", proxy.addr()), "localhost", API_KEY);
        let zone = run(provider.listed_zone_of(NAME)).expect(what);
        proxy.traffic().inject(fault.clone());
        run(provider.create(&zone, &[txt("v")])).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(bed.values(), [OTHERS, "v"], "{what}");
        proxy.traffic().clear_faults();
        proxy.traffic().inject(fault);
        let removed = run(provider.remove(&[placed(&zone, "v", Some(""))], &|_| Ok(())));
        assert_eq!(removed.unwrap_or_else(|e| panic!("{what}: {e}")), [], "{what}");
        assert_eq!(bed.values(), [OTHERS], "{what}");
    }
}

/// Test for the error that is expected.
type IsIt = fn(&ProviderError) -> bool;

#[test]
fn what_goes_on_failing_is_told_for_what_it_is() {
    let page = Reply::new(200, "text/html", "<html>Welcome to the router</html>");
    let cases: [(&str, Fault, IsIt, &str); 4] = [
        (
            "throttled for long",
            Fault::new(writes(), status(429, Some(3600))).always(),
            |e| e.retry_after() == Some(Duration::from_secs(3600)),
            "3600",
        ),
        (
            "no PowerDNS",
            Fault::new(reads(), Action::Reply(page)).always(),
            |e| !e.is_definite(),
            "check \"api\"",
        ),
        (
            "a key that was changed",
            Fault::new(writes(), status(401, None)).always(),
            |e| *e.about() == About::Credentials && e.is_permanent(),
            "api_key_file",
        ),
        (
            "moved",
            Fault::new(writes(), status(301, None)).always(),
            |e| *e.about() == About::Provider && e.is_permanent(),
            "\"api\"",
        ),
    ];
    for (what, fault, is_it, said) in cases {
        let bed = Bed::new();
        let proxy = http_forward::start(&bed.server.api_url());
        let provider = bed.make_at(&format!("http://{}", proxy.addr()), "localhost", API_KEY);
        let zone = run(provider.listed_zone_of(NAME)).expect(what);
        proxy.traffic().inject(fault);
        let error = run(provider.create(&zone, &[txt("v")])).expect_err(what);
        assert!(is_it(&error), "{what}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(said) && !text.contains(API_KEY), "{what}: {text}");
        assert_eq!(bed.values(), Vec::<String>::new(), "{what}");
    }
}
