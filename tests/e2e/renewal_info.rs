//! Renewal information of the authority (RFC 9773): when it says that a certificate is renewed.

use serde_json::{Value, json};
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::{Action, Fault};
use testbed::clients::tls::Leaf;

use crate::site::{LIMIT, Site};

const NAME: &str = "example.test";

/// Some moments of RFC 3339, long gone and far away.
pub(crate) const PAST: [&str; 2] = ["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"];

/// Makes an authority's answer about a certificate: when it suggests a renewal, and where the reason is.
pub(crate) fn window(start: &str, end: &str) -> Value {
    json!({
        "suggestedWindow": {"start": start, "end": end},
        "explanationURL": "https://ca.example/why",
    })
}

/// A site whose certificate is there, and whose first question for renewal information is answered
/// with a window.
fn site_with(window: &Value) -> (Site, Leaf) {
    let mut site = Site::new();
    site.issuer = "profile default;".to_owned();
    site.set_servers(&[NAME]);
    let asked = site.proxy.traffic.hold(AcmeStep::RenewalInfo.requests());
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    asked.wait(LIMIT);
    site.bed.pebble.set_renewal_info(&leaf.pem(), window);
    asked.release();
    (site, leaf)
}

#[test]
fn a_window_that_is_over_means_now_and_the_order_says_what_it_replaces() {
    let (site, first) = site_with(&window(PAST[0], PAST[1]));
    site.wait_for_other(NAME, &first.serial);
    let asked = site.proxy.traffic.requests(&AcmeStep::RenewalInfo.requests());
    let identifier = asked[0].request.path.rsplit('/').next().expect("it ends with it").to_owned();
    let orders = site.proxy.traffic.requests(&AcmeStep::NewOrder.requests());
    assert_eq!(orders.len(), 2);
    assert!(orders[0].jws_payload()["replaces"].is_null(), "there was nothing to replace");
    assert_eq!(orders[1].jws_payload()["replaces"], identifier);
    let line = site.nginx.wait_for_log("see https://ca.example/why", LIMIT);
    assert!(line.contains("[notice]") && line.contains(NAME), "{line}");
}

#[test]
fn an_order_that_may_replace_nothing_is_placed_without_it() {
    for kind in ["alreadyReplaced", "malformed"] {
        let mut site = Site::new();
        site.issuer = "profile default;".to_owned();
        site.set_servers(&[NAME]);
        let asked = site.proxy.traffic.hold(AcmeStep::RenewalInfo.requests());
        site.start_nginx();
        let first = site.wait_for_certificate(NAME).leaf;
        asked.wait(LIMIT);
        site.bed.pebble.set_renewal_info(&first.pem(), &window(PAST[0], PAST[1]));
        let refused = Action::Problem {
            status: 409,
            kind: kind.into(),
            detail: "that certificate was replaced already".into(),
            retry_after: None,
        };
        site.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), refused));
        asked.release();
        site.wait_for_other(NAME, &first.serial);
        let orders = site.proxy.traffic.requests(&AcmeStep::NewOrder.requests());
        let replaces = |n: usize| orders[n].jws_payload()["replaces"].is_string();
        assert_eq!([replaces(1), replaces(2)], [true, false], "{kind}");
        assert_eq!(site.lines("warn", 0), [""; 0], "{kind}: no attempt has failed");
    }
}

#[test]
fn a_time_in_the_window_is_chosen_once() {
    let (mut site, first) = site_with(&window("2080-01-01T00:00:00Z", "2081-01-01T00:00:00Z"));
    let path = site.state().join("certs").join(NAME).join("renewal.json");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    let kept = wait_until(LIMIT, || Some(read()).filter(|text| text.contains("start")));
    let kept = kept.unwrap_or_else(|| panic!("{}:\n{}", read(), site.nginx.log()));
    let helper = site.nginx.wait_for_helper();
    site.reload();
    site.wait_for_other_helper(&[helper]);
    site.nginx.quit();
    site.start_nginx();
    assert_eq!(site.served(NAME), first);
    assert_eq!(read(), kept, "nothing was chosen anew");
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
}
