//! This module and an earlier one side by side: whether a change has made anything slower.
//!
//! Both are loaded into the same nginx and take turns. The earlier one takes part twice, so that the
//! ratio of the two, the control, shows what differs by chance.

use std::env;
use std::time::Duration;

use openssl::ssl::SslVersion;
use servers::ZONE;
use testbed::nginx::build::NginxBuild;

use crate::client::Client;
use crate::issuance;
use crate::report::Report;
use crate::scale::{FIGURES, Kind, Run, Stage};
use crate::server::{Certificate, Source};
use crate::setup::Setup;
use crate::sni;
use crate::swap;
use crate::turns::{Competitor, Turns};

/// The file of the earlier module, in the environment.
const EARLIER: &str = "ACME_DNS_EARLIER_MODULE";

/// Those that take turns; all others are compared to the first.
const COMPETITORS: [&str; 3] = ["earlier", "control", "this"];

/// Duration of the handshakes, and their number in one turn.
const TIME: Duration = Duration::from_secs(60);
const TURN: usize = 10;

/// Number of servers, each with a certificate of its own, for start and reload.
const SERVERS: usize = 1_000;

/// Number of certificates that are obtained together.
const ORDERS: usize = 20;

/// Number of workers that serve a new certificate.
const WORKERS: usize = 2;

/// Number of rounds for what takes long. With six the interval of the ratio is from the least to the
/// greatest.
const ROUNDS: usize = 6;

/// The same for a start with as many names in one server as `BENCH_SIZES` says.
const FEW_ROUNDS: usize = 3;

/// Compares the two, if there is an earlier one.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let Some(module) = env::var_os(EARLIER).filter(|file| !file.is_empty()) else {
        report.explain("versions: left out, `make bench-versions FROM=REV` compares with a commit");
        return Ok(());
    };
    let earlier = NginxBuild { module: module.into(), ..setup.build.clone() };
    let earlier: &'static NginxBuild = Box::leak(Box::new(earlier));
    report.explain(
        "versions: ratios to an earlier module; control: that module once more, this: the one of this \
         tree. Handshakes: CPU time of the worker; start and reload: CPU time and memory of all processes \
         with a thousand servers, and with one server for so many names if sizes are given; issue: seconds until twenty certificates are served; swap: milliseconds \
         until both workers serve a new certificate",
    );
    let builds = [earlier, earlier, setup.build];
    handshakes(setup, &builds, report)?;
    starts(setup, &builds, report)?;
    orders(setup, &builds, report)?;
    swaps(setup, &builds, report)
}

fn handshakes(
    setup: &Setup,
    builds: &[&'static NginxBuild; 3],
    report: &mut Report,
) -> Result<(), String> {
    let certificate = Certificate::obtain(setup.build, "ecdsa:256")?;
    let client =
        Client::of_version(SslVersion::TLS1_3).map_err(|e| format!("no TLS client: {e}"))?;
    let start = || {
        let start = |(name, build): (&&'static str, &&'static NginxBuild)| {
            let server = certificate.serve_with(build, Source::Module, "")?;
            Ok(Competitor { name, server })
        };
        COMPETITORS.iter().zip(builds).map(start).collect()
    };
    let turns = Turns::take(setup.time(TIME), start, |server| {
        server.cost(TURN, || client.handshake(server.address(), ZONE))
    })?;
    turns.report(report, "versions_handshake");
    Ok(())
}

fn starts(
    setup: &Setup,
    builds: &[&'static NginxBuild; 3],
    report: &mut Report,
) -> Result<(), String> {
    let stage = Stage::new(SERVERS);
    // The first service looks for what a crash has left.
    stage.run(setup.build, Kind::Ours)?;
    let runs = rounds(setup.times(ROUNDS), builds, |build| stage.run(build, Kind::Ours))?;
    report_runs(report, "versions", &runs);
    for size in sni::given_sizes()?.unwrap_or_default() {
        let stage = Stage::new(size);
        stage.settle(setup.build)?;
        let few = setup.times(FEW_ROUNDS);
        let runs = rounds(few, builds, |build| stage.run(build, Kind::Chosen))?;
        report_runs(report, &format!("versions_sni_{size}"), &runs);
    }
    Ok(())
}

fn report_runs(report: &mut Report, name: &str, rounds: &[Vec<Run>]) {
    for ((figure, unit), of) in FIGURES {
        let times = rounds.iter().map(|round| round.iter().map(of).collect()).collect();
        compare(report, &format!("{name}_{figure}"), unit, times);
    }
}

fn orders(
    setup: &Setup,
    builds: &[&'static NginxBuild; 3],
    report: &mut Report,
) -> Result<(), String> {
    let mut bed = issuance::bed();
    let mut times = Vec::new();
    for _ in 0..setup.times(ROUNDS) {
        let mut round = Vec::new();
        for build in builds {
            let (_site, start) = issuance::issue(build, &mut bed, ORDERS, report)?;
            round.push(start.last);
        }
        times.push(round);
    }
    compare(report, "versions_issue", "s", times);
    Ok(())
}

fn swaps(
    setup: &Setup,
    builds: &[&'static NginxBuild; 3],
    report: &mut Report,
) -> Result<(), String> {
    let times = rounds(setup.times(ROUNDS), builds, |build| {
        let site = swap::Site::start(&Setup { build, ..*setup }, WORKERS)?;
        let [_first, last, _handshakes] = site.swap()?;
        Ok(last)
    })?;
    compare(report, "versions_swap", "ms", times);
    Ok(())
}

/// Measures all of them again and again.
fn rounds<T>(
    count: usize,
    builds: &[&'static NginxBuild; 3],
    mut measure: impl FnMut(&'static NginxBuild) -> Result<T, String>,
) -> Result<Vec<Vec<T>>, String> {
    let round = |_| builds.iter().map(|build| measure(build)).collect();
    (0..count).map(round).collect()
}

/// Reports the figures of each, and the ratios to the first.
fn compare(report: &mut Report, name: &str, unit: &str, rounds: Vec<Vec<f64>>) {
    let of = |which: usize| rounds.iter().map(|round| round[which]).collect::<Vec<f64>>();
    for (which, competitor) in COMPETITORS.iter().enumerate() {
        report.runs(&format!("{name}_{competitor}"), &of(which), unit);
    }
    for (which, competitor) in COMPETITORS.iter().enumerate().skip(1) {
        let ratios: Vec<f64> = rounds.iter().map(|round| round[which] / round[0]).collect();
        report.ratio(&format!("{name}_{competitor}_ratio"), &ratios);
    }
}
