//! Handshakes of a worker that is asked for the status every second: what those who watch take from those who visit.

use std::time::Duration;

use openssl::ssl::SslVersion;
use servers::ZONE;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::client::Client;
use crate::report::Report;
use crate::scale::{Kind, Stage};
use crate::server::Server;
use crate::setup::Setup;
use crate::turns::{Competitor, Pace, Turns};

/// Number of certificates that the status tells of.
const SIZE: usize = 1000;

/// Time that is measured, without starts.
const TIME: Duration = Duration::from_secs(120);

/// A turn takes the worker a second.
const PACE: Pace = Pace { starts: 4, warm_up: 1 };
const SECOND: Duration = Duration::from_secs(1);

/// Handshakes that show how many take a second.
const PROBE: usize = 200;

/// Competitors, and what is asked for in each turn; all others are compared to the first.
const COMPETITORS: [(&str, Option<&str>); 4] = [
    ("alone", None),
    ("control", None),
    ("json", Some("/json?size=1000")),
    ("prometheus", Some("/prometheus")),
];

/// An nginx, and what is asked for beside the handshakes.
struct Watched {
    server: Server,
    target: Option<&'static str>,
}

/// Measures the cost of as many handshakes as take a second, with a request and without.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    report.explain(
        "watched: CPU time of a worker with 1,000 certificates for as many full handshakes as take it a second, \
         alone and with one request for the whole status between them, as JSON and for Prometheus; each ratio \
         is to alone. control: alone once more",
    );
    let client =
        Client::of_version(SslVersion::TLS1_3).map_err(|e| format!("no TLS client: {e}"))?;
    let stage = Stage::new(SIZE);
    let probe = start(&stage, setup.build)?;
    let cost = probe.cost(PROBE, || client.handshake(probe.address(), ZONE))?;
    drop(probe);
    let handshakes = (setup.time(SECOND).as_nanos() as f64 / cost) as usize;
    report.value("watched_handshakes", handshakes as f64, "handshakes");
    let all = || {
        let competitor = |(name, target)| {
            Ok(Competitor { name, server: Watched { server: start(&stage, setup.build)?, target } })
        };
        COMPETITORS.into_iter().map(competitor).collect()
    };
    let turns = Turns::take_at(PACE, setup.time(TIME), all, |watched| {
        watched.server.cost(1, || watched.turn(&client, handshakes))
    })?;
    turns.report(report, "watched");
    Ok(())
}

impl Watched {
    fn turn(&self, client: &Client, handshakes: usize) -> Result<(), String> {
        let address = self.server.address();
        for number in 0..handshakes {
            match self.target {
                Some(target) if number == handshakes / 2 => self.ask(client, target)?,
                _ => client.handshake(address, ZONE)?,
            }
        }
        Ok(())
    }

    fn ask(&self, client: &Client, target: &str) -> Result<(), String> {
        let mut connection = client.open(self.server.address(), ZONE)?;
        connection.ask_for(target, ZONE);
        let body = connection.request()?;
        let last = format!("n{}.example.test", SIZE - 1);
        if body.contains(&last) { Ok(()) } else { Err(format!("{target} does not tell of {last}")) }
    }
}

/// Starts an nginx with the certificates of the stage, which are also those of its locations' server.
fn start(stage: &Stage, build: &'static NginxBuild) -> Result<Server, String> {
    let mut nginx = Nginx::new(build);
    nginx.env("TOKEN", "a-token");
    let locations = ["json", "prometheus"]
        .map(|form| format!("location /{form} {{ acme_dns_status {form}; }}"))
        .concat();
    let http = stage.configuration(Kind::Ours, "LISTEN");
    Server::start(nginx, &http, &format!("acme_dns n0.example.test; {locations}"))
}
