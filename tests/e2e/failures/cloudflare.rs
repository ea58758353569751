//! Failures of Cloudflare's API and of the zone's servers.

use std::fs;

use reqwest::Method;
use serde_json::Value;
use servers::acme_proxy::AcmeStep;
use servers::bed::write_secret;
use servers::cloudflare::Token;
use servers::traffic::{Action, Fault, Match, Reply};

use super::Outcome::{Fails, Survives};
use super::{Outcome, check_failure, check_recovery, check_survival, is_obtained, wait_for_count};
use crate::site::{LIMIT, Site};

/// Requests that are made before the attempt fails: what fails so often works at the next.
const TRIES: usize = 5;

/// A certificate for `NAME.test`, which is a zone of its own.
struct Row {
    name: &'static str,
    faults: fn(&Zone) -> Vec<Fault>,
    outcome: Outcome,
}

struct Zone {
    id: String,
}

impl Zone {
    fn records(&self) -> Match {
        Match::any().path(&format!("/zones/{}/dns_records", self.id))
    }

    fn batch(&self, what: &str) -> Match {
        self.records().path_ends("/batch").body(&format!("\"{what}\":[{{"))
    }
}

fn status(status: u16) -> Action {
    Action::Status { status, retry_after: None }
}

fn error(status: u16, code: i64, message: &str) -> Action {
    Action::Error { status, code, message: message.to_owned() }
}

fn refuse_as_identical(reply: &mut Reply) {
    let body = serde_json::json!({
        "success": false,
        "errors": [{"code": 81058, "message": "An identical record already exists."}],
        "messages": [],
        "result": null,
    });
    *reply = Reply::json(400, &body);
}

const ROWS: [Row; 15] = [
    Row {
        name: "gateway",
        faults: |zone| vec![Fault::new(zone.batch("posts"), status(502)).times(3)],
        outcome: Survives,
    },
    Row {
        name: "down",
        faults: |zone| vec![Fault::new(zone.batch("posts"), status(503)).times(TRIES)],
        outcome: Fails(
            "error",
            &[
                "cannot create TXT records \"_acme-challenge.down.test\" in zone \"down.test\": ",
                "HTTP status 503",
            ],
        ),
    },
    Row {
        name: "dropped",
        faults: |zone| vec![Fault::new(zone.batch("posts"), Action::Drop).times(2)],
        outcome: Survives,
    },
    Row {
        name: "unreachable",
        faults: |zone| vec![Fault::new(zone.batch("posts"), Action::Drop).times(TRIES)],
        outcome: Fails("error", &["provider \"unreachable\" cannot create TXT records "]),
    },
    Row {
        name: "lost",
        faults: |zone| vec![Fault::new(zone.batch("posts"), Action::LostAnswer)],
        outcome: Survives,
    },
    Row {
        name: "lost-delete",
        faults: |zone| vec![Fault::new(zone.batch("deletes"), Action::LostAnswer)],
        outcome: Survives,
    },
    Row {
        name: "garbled",
        faults: |zone| vec![Fault::new(zone.batch("posts"), Action::Garbage)],
        outcome: Survives,
    },
    Row {
        name: "garbage",
        faults: |zone| vec![Fault::new(zone.batch("posts"), Action::Garbage).times(TRIES)],
        outcome: Fails("error", &["unexpected answer: it is not JSON as Cloudflare sends it"]),
    },
    Row {
        name: "identical",
        faults: |zone| vec![Fault::new(zone.batch("posts"), Action::rewrite(refuse_as_identical))],
        outcome: Survives,
    },
    Row {
        name: "no-batch",
        faults: |zone| {
            let refused = error(404, 7000, "No route for that URI");
            vec![Fault::new(zone.records().path_ends("/batch"), refused).always()]
        },
        outcome: Survives,
    },
    Row {
        name: "throttled",
        faults: |zone| {
            let throttled = Action::Status { status: 429, retry_after: Some(2) };
            vec![Fault::new(zone.batch("posts"), throttled)]
        },
        outcome: Survives,
    },
    Row {
        name: "hanging",
        faults: |zone| vec![Fault::new(zone.batch("posts"), Action::Hang)],
        outcome: Survives,
    },
    Row {
        name: "hanging-delete",
        faults: |zone| vec![Fault::new(zone.batch("deletes"), Action::Hang)],
        outcome: Survives,
    },
    Row {
        name: "full",
        faults: |zone| {
            let full = error(400, 81045, "Record quota exceeded.");
            vec![Fault::new(zone.records().method(Method::POST), full)]
        },
        outcome: Fails("error", &["81045 \"Record quota exceeded.\"", "remove some"]),
    },
    // The last, so that it would wait for all others if it had to.
    Row { name: "healthy", faults: |_| Vec::new(), outcome: Survives },
];

#[test]
fn failures_of_the_api_are_survived_or_named() {
    let mut site = Site::new();
    let traffic = site.bed.cloudflare.traffic.clone();
    for row in &ROWS {
        let name = format!("{}.test", row.name);
        let id = site.bed.cloudflare.add_zone(&site.bed.dns, &name);
        // A provider of its own: what fails there is not waited for by the others.
        let provider =
            site.bed.provider().replace("cloudflare {", &format!("{} cloudflare {{", row.name));
        site.http.push_str(&provider);
        site.add_server(&format!("{name} *.{name}"), &format!("on provider={}", row.name));
        (row.faults)(&Zone { id }).into_iter().for_each(|fault| traffic.inject(fault));
    }
    site.start_nginx();
    // What hangs and what is tried again holds nothing up.
    site.wait_for_certificate("healthy.test");
    assert!(!is_obtained(&site, "hanging.test"));
    for row in &ROWS {
        if let Fails(level, texts) = row.outcome {
            check_failure(&site, &format!("{}.test", row.name), level, texts);
        }
    }
    let rows = ROWS.iter().map(|row| (format!("{}.test", row.name), &row.outcome));
    check_recovery(&mut site, rows);
}

#[test]
fn what_a_token_lacks_is_named() {
    // What becomes of the token, and what the log says.
    type Change = fn(Token) -> Token;
    let rows: [(&str, Option<Change>, &[&str]); 4] = [
        ("unknown", None, &["9109 ", "HTTP status 403; check that the token is valid"]),
        ("read-only", Some(Token::read_only), &["10000 ", "has Zone/DNS/Edit"]),
        ("no-zones", Some(Token::without_zone_read), &["Zone/Zone/Read", "(or set \"zone_id\")"]),
        (
            "other-zone",
            Some(|token| token.zones(&["example.test"])),
            &["there is no zone", "that the token may see; add the domain to the account, or give"],
        ),
    ];
    let mut site = Site::new();
    let mut tokens = Vec::new();
    for (row, change, _) in &rows {
        let zone = format!("{row}.test");
        site.bed.cloudflare.add_zone(&site.bed.dns, &zone);
        let token = format!("stand-in-token-of-{row}");
        if let Some(change) = change {
            site.bed.cloudflare.add_token(change(Token::new(&token)));
        }
        let file = site.bed.dir().join(row);
        write_secret(&file, &token);
        let (api, file) = (site.bed.cloudflare.api_url(), file.display());
        let block =
            format!("acme_dns_provider {row} cloudflare {{ api {api}; token_file {file}; }}\n");
        site.http.push_str(&block);
        site.add_server(&format!("{zone} *.{zone}"), &format!("on provider={row}"));
        tokens.push(token);
    }
    site.start_nginx();
    for (row, _, texts) in &rows {
        check_failure(&site, &format!("{row}.test"), "error", texts);
    }
    for token in &tokens {
        assert!(!site.nginx.log().contains(token), "a token is in the log");
        site.bed.cloudflare.revoke_token(token);
        site.bed.cloudflare.add_token(Token::new(token));
    }
    // What needs a person is tried again at once when a person has been there.
    site.reload();
    for (row, ..) in &rows {
        site.wait_for_certificate(&format!("{row}.test"));
    }
    site.wait_until_clean();
}

#[test]
fn zone_that_is_missing_is_named_and_found_when_it_is_there() {
    let mut site = Site::new();
    site.set_servers(&["late.test *.late.test", "example.test"]);
    site.start_nginx();
    check_failure(
        &site,
        "late.test",
        "error",
        &[
            "cannot find the zone of \"_acme-challenge.late.test\"",
            "there is no zone \"_acme-challenge.late.test\", \"late.test\" that the token may see",
            "Zone/DNS/Edit and Zone/Zone/Read",
        ],
    );
    site.wait_for_certificate("example.test");
    site.bed.cloudflare.add_zone(&site.bed.dns, "late.test");
    site.reload();
    site.wait_for_certificate("late.test");
    site.wait_until_clean();
}

#[test]
fn long_pause_that_cloudflare_asks_for_is_kept() {
    let mut site = Site::new();
    let throttled = Action::Status { status: 429, retry_after: Some(100) };
    let traffic = site.bed.cloudflare.traffic.clone();
    traffic.inject(Fault::new(Match::any().method(Method::POST), throttled));
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    check_failure(&site, "example.test", "error", &["too many requests, the next in 100 s"]);
    assert_eq!(traffic.count(&Match::any().method(Method::POST)), 1, "{}", traffic.summary());
    let progress = fs::read(site.state().join("orders/example.test.json")).expect("it is kept");
    let progress: Value = serde_json::from_slice(&progress).expect("it is JSON");
    let hold = &progress["holds"][0];
    let pause =
        hold["until"].as_i64().zip(hold["since"].as_i64()).map(|(until, from)| until - from);
    assert!(pause.is_some_and(|pause| (99..=101).contains(&pause)), "{progress}");
}

#[test]
fn challenges_are_answered_when_all_servers_have_the_records() {
    let mut site = Site::new();
    site.bed.cloudflare.pause_propagation();
    site.nginx.log_level("debug");
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    wait_for_count("questions", 3, || {
        site.nginx.log().matches("waiting for TXT records of zone \"example.test\"").count()
    });
    assert_eq!(site.bed.cloudflare.txt_records().len(), 2);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::Challenge.requests()), 0);
    site.bed.cloudflare.resume_propagation();
    site.wait_for_certificate("example.test");
    check_survival(&site, "example.test");
    site.wait_until_clean();
}

#[test]
fn records_that_do_not_appear_in_time_are_named() {
    let mut site = Site::new();
    site.propagation = site.propagation.replace("timeout=30s", "timeout=2s");
    site.bed.cloudflare.pause_propagation();
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    let texts = [
        "not all servers of zone \"example.test\" have the TXT records within 2s",
        "raise \"timeout\" in \"acme_dns_propagation\" directive",
    ];
    let waiting = "still waiting for TXT records of zone \"example.test\", at most 2 s: ns1";
    site.nginx.wait_for_log(waiting, LIMIT);
    check_failure(&site, "example.test", "error", &texts);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::Challenge.requests()), 0);
    site.bed.cloudflare.resume_propagation();
    site.wait_for_certificate("example.test");
    site.wait_until_clean();
}
