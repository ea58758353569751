//! Failures of the authority.

use std::sync::atomic::{AtomicUsize, Ordering};

use servers::acme_proxy::{AcmeProxy, AcmeStep};
use servers::bed::issuer;
use servers::traffic::{Action, Fault, Reply};

use super::Outcome::{Fails, Survives};
use super::{Outcome, check_failure, check_recovery, is_obtained};
use crate::site::Site;

/// A certificate for `NAME.example.test` from an issuer of its own: a proxy in front of Pebble.
struct Row {
    name: &'static str,
    begin: fn(&mut AcmeProxy),
    outcome: Outcome,
}

/// Requests that are made before the attempt fails: what fails so often works at the next.
const TRIES: usize = 4;

fn inject(proxy: &AcmeProxy, times: usize, step: AcmeStep, action: Action) {
    proxy.traffic.inject(Fault::new(step.requests(), action).times(times));
}

fn status(status: u16) -> Action {
    Action::Status { status, retry_after: None }
}

fn problem(status: u16, kind: &str, detail: &str, retry_after: Option<u64>) -> Action {
    Action::Problem { status, kind: kind.to_owned(), detail: detail.to_owned(), retry_after }
}

/// A part of an answer, as of a server that breaks down in the middle of it.
fn part() -> Action {
    Action::rewrite(|reply| reply.body = reply.body.slice(..reply.body.len() / 4))
}

/// The order is said to be processing when it is valid, three times.
fn processing() -> Fault {
    let times = AtomicUsize::new(0);
    let action = Action::rewrite(move |reply| {
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        if text.contains("\"valid\"") && times.fetch_add(1, Ordering::Relaxed) < 3 {
            let mut order: serde_json::Value =
                serde_json::from_str(&text).expect("an order is JSON");
            order["status"] = "processing".into();
            let headers = std::mem::take(&mut reply.headers);
            *reply = Reply { headers, ..Reply::json(200, &order) };
        }
    });
    Fault::new(AcmeStep::Order.requests(), action).always()
}

const ROWS: [Row; 12] = [
    Row {
        name: "down",
        begin: AcmeProxy::stop,
        outcome: Fails("error", &["reading the directory at \"https://127.0.0.1:", "\" failed: "]),
    },
    Row {
        name: "garbage",
        begin: |proxy| inject(proxy, TRIES, AcmeStep::Directory, Action::Garbage),
        outcome: Fails(
            "error",
            &["reading the directory at \"https://127.0.0.1:", "cannot be read"],
        ),
    },
    Row {
        name: "broken",
        begin: |proxy| inject(proxy, TRIES, AcmeStep::NewOrder, status(500)),
        outcome: Fails(
            "error",
            &["placing the order at \"https://127.0.0.1:", "the answer is a 500"],
        ),
    },
    Row {
        name: "hiccup",
        begin: |proxy| inject(proxy, 2, AcmeStep::NewOrder, status(502)),
        outcome: Survives,
    },
    Row {
        name: "part",
        begin: |proxy| inject(proxy, TRIES, AcmeStep::Certificate, part()),
        outcome: Fails(
            "error",
            &[
                "downloading the certificate at \"https://127.0.0.1:",
                "is not what it should be: no certificate",
            ],
        ),
    },
    Row {
        name: "part-once",
        begin: |proxy| inject(proxy, 1, AcmeStep::NewOrder, part()),
        outcome: Survives,
    },
    Row {
        name: "hanging",
        begin: |proxy| inject(proxy, 1, AcmeStep::NewOrder, Action::Hang),
        outcome: Survives,
    },
    Row {
        name: "limited",
        begin: |proxy| {
            let action = problem(429, "rateLimited", "too many new orders", Some(12));
            inject(proxy, 1, AcmeStep::NewOrder, action);
        },
        outcome: Fails(
            "error",
            &[
                "placing the order was refused by \"https://127.0.0.1:",
                "rateLimited: too many new orders",
            ],
        ),
    },
    Row {
        name: "rejected",
        begin: |proxy| {
            let action = problem(400, "rejectedIdentifier", "forbidden by policy", None);
            inject(proxy, 1, AcmeStep::NewOrder, action);
        },
        outcome: Fails("error", &["rejectedIdentifier: forbidden by policy"]),
    },
    Row {
        name: "processing",
        begin: |proxy| proxy.traffic.inject(processing()),
        outcome: Survives,
    },
    Row {
        name: "lost",
        begin: |proxy| inject(proxy, 1, AcmeStep::Finalize, Action::LostAnswer),
        outcome: Survives,
    },
    // The last, so that it would wait for all others if it had to.
    Row { name: "healthy", begin: |_| (), outcome: Survives },
];

#[test]
fn failures_of_the_authority_are_survived_or_named() {
    let mut site = Site::new();
    let mut proxies = Vec::new();
    for row in &ROWS {
        let mut proxy = AcmeProxy::start(&site.bed.dir().join(row.name), &site.bed.pebble);
        (row.begin)(&mut proxy);
        site.http.push_str(&issuer(row.name, &proxy.directory_url(), proxy.ca_file(), ""));
        let name = format!("{}.example.test", row.name);
        site.add_server(&format!("{name} *.{name}"), &format!("on issuer={}", row.name));
        proxies.push(proxy);
    }
    site.start_nginx();
    // What hangs and what is tried again holds nothing up.
    site.wait_for_certificate("healthy.example.test");
    assert!(!is_obtained(&site, "hanging.example.test"));
    for (row, proxy) in ROWS.iter().zip(&mut proxies) {
        if let Fails(level, texts) = row.outcome {
            check_failure(&site, &format!("{}.example.test", row.name), level, texts);
            // The one that was stopped.
            proxy.restart();
        }
    }
    let rows = ROWS.iter().map(|row| (format!("{}.example.test", row.name), &row.outcome));
    check_recovery(&mut site, rows);
}

#[test]
fn authority_that_does_not_see_the_record_is_quoted() {
    let mut site = Site::new();
    site.propagation = "acme_dns_propagation off delay=0s;".to_owned();
    site.bed.cloudflare.pause_propagation();
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    let texts = ["the order was refused: \"", "example.test\": ", "_acme-challenge.example.test"];
    check_failure(&site, "example.test", "error", &texts);
    site.bed.cloudflare.resume_propagation();
    // It has cost an order, so the next one is minutes away; a person need not wait.
    site.reload();
    site.wait_for_certificate("example.test");
    site.wait_until_clean();
}

#[test]
fn identifier_that_the_authority_blocks_is_quoted() {
    let mut site = Site::with(|mut options| {
        options.blocklist = vec!["blocked.test".to_owned()];
        options
    });
    site.bed.cloudflare.add_zone(&site.bed.dns, "blocked.test");
    site.set_servers(&["blocked.test", "example.test"]);
    site.start_nginx();
    check_failure(&site, "blocked.test", "error", &["rejectedIdentifier", "blocked.test"]);
    site.wait_for_certificate("example.test");
}
