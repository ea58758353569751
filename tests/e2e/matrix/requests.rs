//! The helper ends at every request of an order, by SIGKILL or by a reload.

use std::fs;
use std::time::Instant;

use reqwest::Method;
use rustix::process::Signal;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::{Action, Fault, Hold, Match};
use testbed::measurements::proc;

use super::Matrix;
use crate::site::{LIMIT, Site};

/// End of the helper.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Reload,
}

/// The moment in a request at which it ends.
#[derive(Clone, Copy, Debug)]
enum When {
    /// The request has been sent and is never done.
    Before,
    /// The request is done and its answer not yet there.
    After,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Server {
    Acme,
    Cloudflare,
}

struct Case {
    what: String,
    server: Server,
    requests: Match,
    when: When,
}

fn acme(when: When) -> Vec<Case> {
    let steps = AcmeStep::ISSUANCE.into_iter();
    let case = |step: AcmeStep| Case {
        what: format!("{step:?}"),
        server: Server::Acme,
        requests: step.requests(),
        when,
    };
    steps.map(case).collect()
}

/// The requests of an order to Cloudflare, in their order.
pub(super) fn cloudflare_requests() -> [(&'static str, Match); 3] {
    let batch = |what: &str| {
        Match::new(Method::POST, "/dns_records/batch").body(&format!("\"{what}\":[{{"))
    };
    [
        ("zone lookup", Match::any().method(Method::GET).path_ends("/zones")),
        ("create", batch("posts")),
        ("delete", batch("deletes")),
    ]
}

fn cloudflare(when: When) -> Vec<Case> {
    let case = |(what, requests): (&str, Match)| Case {
        what: what.to_owned(),
        server: Server::Cloudflare,
        requests,
        when,
    };
    cloudflare_requests().map(case).into()
}

/// On a real server a request is carried out although its client is dead by then.
#[test]
fn records_that_are_created_after_the_helper_was_killed_are_removed() {
    let mut site = Site::new();
    site.set_servers(&["example.test *.example.test"]);
    let creation = Match::new(Method::POST, "/dns_records/batch").body("\"posts\":[{");
    let late = site.bed.cloudflare.traffic.hold(creation);
    site.start_nginx();
    late.wait(LIMIT);
    // The next one goes on with the order.
    let resuming = site.proxy.traffic.hold(AcmeStep::Order.requests());
    proc::kill(site.nginx.wait_for_helper(), Signal::KILL);
    resuming.wait(LIMIT);
    assert_eq!(site.entries("journal"), ["example.test.json"], "nobody knows yet how it ended");
    late.release();
    site.bed.cloudflare.wait_for_records(LIMIT, |records| records.len() == 2);
    resuming.release();
    site.wait_for_certificate("example.test");
    site.wait_until_clean();
    let look = Match::new(Method::GET, "/dns_records").query("type=TXT");
    let looks = site.bed.cloudflare.traffic.count(&look);
    assert!(looks > 0, "what was created late has nobody removed by its identifier");
}

#[test]
fn killed_before_each_request_to_the_authority_is_done() {
    run(End::Kill, acme(When::Before));
}

#[test]
fn killed_before_each_answer_of_the_authority() {
    run(End::Kill, acme(When::After));
}

#[test]
fn killed_at_each_request_to_cloudflare() {
    run(End::Kill, [cloudflare(When::Before), cloudflare(When::After)].into_iter().flatten());
}

#[test]
fn reloaded_at_each_request_to_the_authority() {
    run(End::Reload, [acme(When::Before), acme(When::After)].into_iter().flatten());
}

#[test]
fn reloaded_at_each_request_to_cloudflare() {
    run(End::Reload, [cloudflare(When::Before), cloudflare(When::After)].into_iter().flatten());
}

/// All cases in one nginx, each with a certificate and an account of its own.
fn run(end: End, cases: impl IntoIterator<Item = Case>) {
    let mut matrix = Matrix::start(match end {
        End::Kill => "killed at requests",
        End::Reload => "reloaded at requests",
    });
    for (number, case) in cases.into_iter().enumerate() {
        run_case(&mut matrix, end, &case, &format!("c{number}.example.test"));
    }
    matrix.end();
}

fn run_case(matrix: &mut Matrix, end: End, case: &Case, name: &str) {
    let site = &mut matrix.site;
    let traffic = match case.server {
        Server::Acme => site.proxy.traffic.clone(),
        Server::Cloudflare => site.bed.cloudflare.traffic.clone(),
    };
    site.proxy.traffic.clear_log();
    site.bed.cloudflare.traffic.clear_log();
    fs::remove_dir_all(site.state().join("accounts/pebble")).expect("there is an account");
    let gate: Option<Hold> = match case.when {
        When::Before => {
            traffic.inject(Fault::new(case.requests.clone(), Action::Hang));
            None
        }
        When::After => Some(traffic.hold_answer(case.requests.clone())),
    };
    let old = site.helpers();
    matrix.set_servers(&[&format!("{name} *.{name}")]);
    let site = &mut matrix.site;
    site.reload();
    match &gate {
        Some(gate) => gate.wait(LIMIT),
        None => traffic.wait_for_request(&case.requests, LIMIT),
    };
    let helper = site.wait_for_other_helper(&old);
    let start = Instant::now();
    match end {
        End::Kill => {
            proc::kill(helper, Signal::KILL);
            let gone = wait_until(LIMIT, || (!proc::is_alive(helper)).then_some(()));
            assert!(gone.is_some(), "{} {:?}: it lives", case.what, case.when);
        }
        End::Reload => {
            site.reload();
            site.wait_for_other_helper(&[helper]);
        }
    }
    drop(gate);
    let cell = format!("{} {:?}", case.what, case.when);
    site.wait_for_certificate(name);
    let took = start.elapsed();
    matrix.check_obtained(&cell, name);
    matrix.check_clean(&cell);
    assert_eq!(matrix.site.entries("accounts"), ["pebble"], "{cell}");
    let orders = matrix.site.proxy.traffic.count(&AcmeStep::NewOrder.requests());
    let fault = format!("{end:?} {:?}", case.when).to_lowercase();
    let survived = format!("obtained {:4} ms later, {orders} orders", took.as_millis());
    matrix.row(&case.what, &fault, &survived);
}
