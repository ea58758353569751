//! From a certificate on disk to all workers serving it.
//!
//! Certificates live so short that they are renewed by themselves. A renewal begins to count when
//! the link of the certificate points to the new version, and ends when each worker has served it:
//! they are asked one after the other, each through a port of ours whose connections the kernel
//! gives to that worker. So a part of the time is that of these handshakes, which is reported too.
//!
//! Not by the CA's renewal information: a second suggestion to renew at once is obeyed after an hour.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use openssl::ssl::SslVersion;
use openssl::x509::X509;
use servers::Testbed;
use servers::ZONE;
use servers::ports::Port;
use testbed::clients::tls::{LoadClient, TlsClient};
use testbed::nginx::Nginx;

use crate::client::Client;
use crate::report::Report;
use crate::setup::Setup;

/// Numbers of workers.
const WORKERS: [usize; 3] = [1, 2, 8];

/// The swaps of each number of workers, idle and under load.
const SWAPS: usize = 5;

/// Validity of a certificate: it is renewed at half of that.
const VALIDITY: Duration = Duration::from_secs(10);

/// Longer than any renewal takes, and until workers serve it.
const LIMIT: Duration = Duration::from_secs(60);

/// Between two looks at the link.
const LOOK: Duration = Duration::from_micros(50);

/// The threads of the load, and the pause of each between two handshakes.
const LOAD: (usize, Duration) = (2, Duration::from_millis(1));

/// The ports that are tried until each worker has one.
const MOST_PORTS: usize = 500;

/// An nginx whose certificate is renewed again and again.
pub(crate) struct Site {
    nginx: Nginx,
    _bed: Testbed,
    port: Port,
    client: Client,
    /// A port of ours for each worker.
    routes: Vec<Port>,
}

/// Measures all numbers of workers.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    report.explain(
        "swap_N: from the moment when the link of a certificate points to its new version until \
         the first and the last of N workers serve that; handshakes: the time of N handshakes when \
         nothing is new, which is a part of it; load: beside clients that shake hands all the time",
    );
    for workers in WORKERS {
        let site = Site::start(setup, workers)?;
        site.measure(setup.times(SWAPS), report, &format!("swap_{workers}_idle"))?;
        let client = TlsClient::new(site.port.addr()).sni(ZONE);
        let load = LoadClient::start(&client, LOAD.0, LOAD.1);
        site.measure(setup.times(SWAPS), report, &format!("swap_{workers}_load"))?;
        let seen = load.stop();
        if let Some((_, error)) = seen.failed.first() {
            return Err(format!("{} handshakes of the load failed: {error}", seen.failed.len()));
        }
    }
    Ok(())
}

impl Site {
    pub(crate) fn start(setup: &Setup, workers: usize) -> Result<Self, String> {
        let bed = Testbed::start_with(|mut options| {
            options.profiles.clear();
            options.profile("default", VALIDITY)
        });
        let (mut nginx, port) = (Nginx::new(setup.build), Port::reserve());
        nginx.log_level("notice").workers(workers).http(format!(
            "{}server {{\n    listen {} ssl reuseport;\n    server_name {ZONE};\n    acme_dns on;\n    \
             return 200 $pid;\n}}\n",
            bed.directives(),
            port.addr(),
        ));
        nginx.try_start()?;
        let client = Client::of_version(SslVersion::TLS1_3);
        let client = client.map_err(|e| format!("no TLS client: {e}"))?;
        let mut site = Self { nginx, _bed: bed, port, client, routes: Vec::new() };
        site.find_routes()?;
        site.wait_for_version(None)?;
        Ok(site)
    }

    /// Looks for a port for each worker: of two connections with the same addresses and ports, the
    /// kernel gives both to the same one.
    fn find_routes(&mut self) -> Result<(), String> {
        let mut missing = self.nginx.worker_pids();
        for _ in 0..MOST_PORTS {
            if missing.is_empty() {
                return Ok(());
            }
            let route = Port::reserve();
            let mut connection = self.client.open_from(route.addr(), self.port.addr(), ZONE)?;
            let worker = connection.request()?;
            if let Some(found) = missing.iter().position(|pid| pid.to_string() == worker) {
                missing.swap_remove(found);
                self.routes.push(route);
            }
        }
        Err(format!("of {MOST_PORTS} ports none leads to the workers {missing:?}"))
    }

    /// Measures some swaps.
    fn measure(&self, swaps: usize, report: &mut Report, name: &str) -> Result<(), String> {
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..swaps {
            for (times, time) in times.iter_mut().zip(self.swap()?) {
                times.push(time);
            }
        }
        for (times, what) in times.iter().zip(["first", "last", "handshakes"]) {
            report.runs(&format!("{name}_{what}"), times, "ms");
        }
        Ok(())
    }

    /// Waits for a swap; gives the milliseconds until the first and the last worker serve it, and those
    /// that the handshakes alone take.
    pub(crate) fn swap(&self) -> Result<[f64; 3], String> {
        let old = self.version().ok_or("there is no certificate")?;
        let stored = self.wait_for_version(Some(&old))?;
        let new = self.on_disk()?;
        let mut moments = Vec::new();
        for route in &self.routes {
            self.wait_for_worker(route, &new)?;
            moments.push(stored.elapsed());
        }
        let again = Instant::now();
        for route in &self.routes {
            self.served(route)?;
        }
        let again = again.elapsed();
        let first = moments.first().copied().unwrap_or_default();
        let last = moments.last().copied().unwrap_or_default();
        Ok([first, last, again].map(|time| time.as_secs_f64() * 1000.0))
    }

    fn link(&self) -> PathBuf {
        self.nginx.dir().join("acme_dns/certs").join(ZONE)
    }

    /// Returns the target of the link.
    fn version(&self) -> Option<PathBuf> {
        fs::read_link(self.link()).ok()
    }

    /// Waits until the link points elsewhere; gives the moment.
    fn wait_for_version(&self, old: Option<&PathBuf>) -> Result<Instant, String> {
        let begin = Instant::now();
        while begin.elapsed() < LIMIT {
            if self.version().is_some_and(|version| Some(&version) != old) {
                return Ok(Instant::now());
            }
            thread::sleep(LOOK);
        }
        Err(format!("no new certificate within {LIMIT:?}:\n{}", self.nginx.log()))
    }

    /// The certificate of the version that the link points to, in DER.
    fn on_disk(&self) -> Result<Vec<u8>, String> {
        let path = self.link().join("cert.pem");
        let failed = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let pem = fs::read(&path).map_err(|e| failed(&e))?;
        X509::from_pem(&pem).and_then(|certificate| certificate.to_der()).map_err(|e| failed(&e))
    }

    /// The certificate that the worker serves to which a port leads.
    fn served(&self, route: &Port) -> Result<Vec<u8>, String> {
        self.client.open_from(route.addr(), self.port.addr(), ZONE)?.certificate()
    }

    fn wait_for_worker(&self, route: &Port, new: &[u8]) -> Result<(), String> {
        let begin = Instant::now();
        while self.served(route)? != new {
            if begin.elapsed() > LIMIT {
                return Err(format!("a worker serves the old one:\n{}", self.nginx.log()));
            }
        }
        Ok(())
    }
}
