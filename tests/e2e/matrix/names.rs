//! Every DNS question of the propagation check has a bad answer, or none, or the helper is killed
//! before there is one.
//!
//! Each cell has a zone of its own, so that nothing is remembered from another.

use std::time::Instant;

use rustix::process::Signal;
use servers::dns_proxy::{DnsAction, DnsProxy, Questions, Transport};
use servers::process::wait_until;
use testbed::measurements::proc;

use super::Matrix;
use crate::site::{LIMIT, Site};

/// The subject of a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    NameServers,
    Addresses,
    Txt,
    /// After the answer over UDP did not fit.
    TxtOverTcp,
}

impl Step {
    const ALL: [Self; 4] = [Self::NameServers, Self::Addresses, Self::Txt, Self::TxtOverTcp];

    fn questions(self, zone: &str) -> Questions {
        match self {
            Self::NameServers => Questions::name_servers(zone),
            Self::Addresses => Questions::addresses(&format!("ns1.{zone}")),
            Self::Txt => txt(zone),
            Self::TxtOverTcp => txt(zone).over(Transport::Tcp),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NameServers => "DNS: name servers",
            Self::Addresses => "DNS: their addresses",
            Self::Txt => "DNS: TXT records",
            Self::TxtOverTcp => "DNS: TXT records over TCP",
        }
    }
}

fn txt(zone: &str) -> Questions {
    Questions::txt(&format!("_acme-challenge.{zone}"))
}

/// A matrix whose module asks the proxy, for the name servers and as the only one of them.
fn start(title: &'static str) -> (DnsProxy, Matrix) {
    let mut site = Site::new();
    let proxy = DnsProxy::start(site.bed.dns.addr());
    let (addr, port) = (proxy.addr(), proxy.addr().port());
    site.propagation =
        format!("acme_dns_propagation timeout=5s interval=200ms resolvers={addr} port={port};\n");
    (proxy, Matrix::start_with(title, site))
}

fn add_zone(matrix: &Matrix, zone: &str) {
    let bed = &matrix.site.bed;
    bed.cloudflare.add_zone(&bed.dns, zone);
}

fn inject(proxy: &DnsProxy, step: Step, zone: &str, questions: Questions, action: DnsAction) {
    if step == Step::TxtOverTcp {
        proxy.inject(txt(zone).over(Transport::Udp), DnsAction::Truncate);
    }
    proxy.inject(questions, action);
}

fn clear(proxy: &DnsProxy, zone: &str) {
    for name in [zone.to_owned(), format!("ns1.{zone}"), format!("_acme-challenge.{zone}")] {
        proxy.clear(&name);
    }
}

#[test]
fn killed_at_each_question() {
    let (proxy, mut matrix) = start("killed at DNS questions");
    for (number, step) in Step::ALL.into_iter().enumerate() {
        let zone = format!("z{number}.test");
        add_zone(&matrix, &zone);
        let questions = step.questions(&zone);
        inject(&proxy, step, &zone, questions.clone(), DnsAction::Silence);
        let old = matrix.site.helpers();
        matrix.set_servers(&[&format!("{zone} *.{zone}")]);
        matrix.site.reload();
        proxy.wait_for(&questions, LIMIT);
        let helper = matrix.site.wait_for_other_helper(&old);
        let start = Instant::now();
        proc::kill(helper, Signal::KILL);
        clear(&proxy, &zone);
        matrix.site.wait_for_certificate(&zone);
        let took = start.elapsed().as_millis();
        matrix.check_obtained(step.text(), &zone);
        matrix.check_clean(step.text());
        matrix.row(step.text(), "kill", &format!("obtained {took:4} ms later"));
    }
    matrix.end();
}

/// Fate of a question until the attempt has failed, or until the certificate is there.
struct Cell {
    step: Step,
    over: Option<Transport>,
    action: DnsAction,
    fails: bool,
}

const fn fails(step: Step, action: DnsAction) -> Cell {
    Cell { step, over: None, action, fails: true }
}

/// Only UDP is bad, so that TCP helps.
const fn survives(action: DnsAction) -> Cell {
    Cell { step: Step::Txt, over: Some(Transport::Udp), action, fails: false }
}

/// The provider names the zone's servers too.
const fn is_not_needed(step: Step, action: DnsAction) -> Cell {
    Cell { step, over: None, action, fails: false }
}

const CELLS: [Cell; 16] = [
    is_not_needed(Step::NameServers, DnsAction::ServerFailure),
    is_not_needed(Step::NameServers, DnsAction::Garbage),
    is_not_needed(Step::NameServers, DnsAction::Silence),
    fails(Step::Addresses, DnsAction::ServerFailure),
    fails(Step::Addresses, DnsAction::Garbage),
    fails(Step::Addresses, DnsAction::Silence),
    fails(Step::Txt, DnsAction::ServerFailure),
    fails(Step::Txt, DnsAction::Garbage),
    fails(Step::Txt, DnsAction::Silence),
    fails(Step::TxtOverTcp, DnsAction::ServerFailure),
    fails(Step::TxtOverTcp, DnsAction::Garbage),
    fails(Step::TxtOverTcp, DnsAction::Silence),
    fails(Step::TxtOverTcp, DnsAction::Close),
    survives(DnsAction::Garbage),
    survives(DnsAction::Silence),
    survives(DnsAction::Truncate),
];

#[test]
fn bad_answers_and_none_to_each_question() {
    let (proxy, mut matrix) = start("DNS answers that fail or never come");
    let zones: Vec<String> = (0..CELLS.len()).map(|number| format!("z{number}.test")).collect();
    for (zone, cell) in zones.iter().zip(&CELLS) {
        add_zone(&matrix, zone);
        let mut questions = cell.step.questions(zone);
        if let Some(transport) = cell.over {
            questions = questions.over(transport);
        }
        inject(&proxy, cell.step, zone, questions, cell.action);
    }
    let servers: Vec<String> = zones.iter().map(|zone| format!("{zone} *.{zone}")).collect();
    matrix.set_servers(&servers.iter().map(String::as_str).collect::<Vec<_>>());
    let start = Instant::now();
    matrix.site.reload();
    let failed = |zone: &str| format!("certificate \"{zone}\" was not obtained");
    for (zone, cell) in zones.iter().zip(&CELLS) {
        if cell.fails {
            matrix.site.nginx.wait_for_log(&failed(zone), LIMIT);
            clear(&proxy, zone);
        }
    }
    let mut waiting: Vec<usize> = (0..CELLS.len()).collect();
    let mut times = vec![0.0; CELLS.len()];
    let all = wait_until(LIMIT, || {
        waiting.retain(|cell| match matrix.site.trusting(&zones[*cell]).handshake() {
            Ok(_) => {
                times[*cell] = start.elapsed().as_secs_f64();
                false
            }
            Err(_) => true,
        });
        waiting.is_empty().then_some(())
    });
    assert!(all.is_some(), "{waiting:?} of {zones:?}:\n{}", matrix.site.nginx.log());
    let log = matrix.site.nginx.log();
    for ((zone, cell), time) in zones.iter().zip(&CELLS).zip(times) {
        matrix.check_obtained(cell.step.text(), zone);
        assert_eq!(log.contains(&failed(zone)), cell.fails, "{zone}: {log}");
        let over = cell.over.map_or(String::new(), |over| format!(" over {over:?}"));
        let fault = format!("{:?}{over}", cell.action);
        let how = if cell.fails { "at the next attempt" } else { "at once" };
        matrix.row(cell.step.text(), &fault, &format!("obtained after {time:4.1} s, {how}"));
    }
    matrix.check_clean("DNS");
    matrix.end();
}
