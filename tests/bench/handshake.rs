//! What a full handshake costs a worker: with our certificate, and with the same one from
//! `ssl_certificate`.
//!
//! Three nginx take turns: a static one, another static one as the control, and ours. Whatever
//! else the machine does meets all three alike, so the ratios within a round mean more than the
//! times.

use std::fs;
use std::thread;
use std::time::Duration;

use openssl::ssl::SslVersion;
use testbed::nginx::Nginx;
use testbed::nginx_build::NginxBuild;
use testbed::ports::Port;
use testbed::process::wait_until;
use testbed::{Testbed, ZONE};

use crate::client::{Client, Served};
use crate::machine::cpu_time;
use crate::report::Report;

/// How often each of the three has its turn.
const ROUNDS: usize = 240;

/// The handshakes of one turn.
const TURN: usize = 10;

/// The handshakes of each before anything is measured.
const WARM_UP: usize = 100;

/// How long a certificate may take.
const LIMIT: Duration = Duration::from_secs(60);

/// An nginx with one worker and one server.
struct Server {
    nginx: Nginx,
    port: Port,
    worker: u32,
}

/// Measures TLS 1.2 and 1.3.
pub(crate) fn measure(build: &NginxBuild, report: &mut Report) -> Result<(), String> {
    let bed = Testbed::start_with(|mut options| {
        options.profiles.truncate(1);
        options
    });
    let ours = ours(build, &bed)?;
    let certificate = ours.nginx.dir().join("acme_dns/certs").join(ZONE);
    let read = |file: &str| {
        let path = certificate.join(file);
        fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
    };
    let (chain, key) = (read("fullchain.pem")?, read("privkey.pem")?);
    let fixed = || {
        let mut nginx = Nginx::new(build);
        let (chain, key) = (nginx.add_file("chain.pem", &chain), nginx.add_file("key.pem", &key));
        let directives =
            format!("ssl_certificate {}; ssl_certificate_key {};", chain.display(), key.display());
        nginx.load_module(false);
        Server::start(nginx, "", &directives)
    };
    let servers = [fixed()?, fixed()?, ours];
    report.explain(
        "handshake: CPU time of the worker for a full handshake with an ECDSA P-256 certificate; \
         control: a static certificate against another, ours: against a static certificate; median \
         and its 95 % interval",
    );
    for (name, version) in [("tls12", SslVersion::TLS1_2), ("tls13", SslVersion::TLS1_3)] {
        let client = Client::of_version(version).map_err(|e| format!("no TLS client: {e}"))?;
        let turns = turns(&servers, &client)?;
        let ratios = |which: usize| turns.iter().map(|t| t[which] / t[0]).collect::<Vec<f64>>();
        let of = |which: usize| turns.iter().map(|t| t[which] / 1000.0).collect::<Vec<f64>>();
        report.runs(&format!("handshake_{name}_static"), &of(0), "us");
        report.runs(&format!("handshake_{name}_ours"), &of(2), "us");
        report.ratio(&format!("handshake_{name}_control_ratio"), &ratios(1));
        report.ratio(&format!("handshake_{name}_ours_ratio"), &ratios(2));
    }
    Ok(())
}

/// Our nginx, when it serves a certificate of the CA.
fn ours(build: &NginxBuild, bed: &Testbed) -> Result<Server, String> {
    let server = Server::start(Nginx::new(build), &bed.directives(), "acme_dns on;")?;
    let failed = |e| format!("no TLS client: {e}");
    let client = Client::trusting(&bed.pebble.root_pem(0)).map_err(failed)?;
    let address = server.port.addr();
    let served = wait_until(LIMIT, || match client.look(address, ZONE) {
        Ok(Served::Trusted) => Some(()),
        _ => None,
    });
    served.ok_or_else(|| format!("no certificate:\n{}", server.nginx.log()))?;
    Ok(server)
}

/// For each round the nanoseconds of a handshake with each server.
fn turns(servers: &[Server; 3], client: &Client) -> Result<Vec<[f64; 3]>, String> {
    for server in servers {
        server.shake_hands(client, WARM_UP)?;
    }
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let mut times = [0.0; 3];
        for turn in 0..servers.len() {
            // Each is as often the first as the others.
            let which = (round + turn) % servers.len();
            times[which] = servers[which].shake_hands(client, TURN)? / TURN as f64;
        }
        all.push(times);
    }
    Ok(all)
}

impl Server {
    fn start(mut nginx: Nginx, http: &str, directives: &str) -> Result<Self, String> {
        let port = Port::reserve();
        // All workers on one processor, the client mostly on another.
        nginx.log_level("notice").main("worker_cpu_affinity auto;").http(format!(
            "{http}server {{\n    listen {} ssl;\n    server_name {ZONE} *.{ZONE};\n    \
             {directives}\n}}\n",
            port.addr()
        ));
        nginx.try_start()?;
        let worker = *nginx.worker_pids().first().ok_or("nginx has no worker")?;
        Ok(Self { nginx, port, worker })
    }

    /// Makes handshakes; gives the nanoseconds that the worker has worked.
    fn shake_hands(&self, client: &Client, number: usize) -> Result<f64, String> {
        let before = self.work()?;
        for _ in 0..number {
            client.handshake(self.port.addr(), ZONE)?;
        }
        Ok((self.work()? - before).as_nanos() as f64)
    }

    /// The time that the worker has worked, when it has nothing to do any more.
    fn work(&self) -> Result<Duration, String> {
        let mut last = None;
        loop {
            let now = cpu_time(self.worker);
            let now = now.ok_or_else(|| format!("worker {} has ended", self.worker))?;
            if last == Some(now) {
                return Ok(now);
            }
            last = Some(now);
            thread::sleep(Duration::from_millis(2));
        }
    }
}
