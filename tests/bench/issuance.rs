//! From the start of nginx to certificates that are served: obtained, and from the disk.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use servers::Testbed;
use servers::ZONE;
use servers::bed::issuer;
use servers::ports::Port;
use testbed::measurements::proc;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::client::{Client, Served};
use crate::machine::cpu_time;
use crate::report::Report;
use crate::setup::Setup;

/// Longer than all certificates together take.
const LIMIT: Duration = Duration::from_secs(30);

/// Repetitions of a run that ended with Pebble in a deadlock of its own.
const REPETITIONS: usize = 5;

/// The pause after a look that was in vain: long enough not to slow down what is measured.
const PAUSE: Duration = Duration::from_millis(5);

/// Numbers of certificates, and of runs with them.
const SIZES: [(usize, usize); 3] = [(1, 5), (20, 3), (100, 2)];

/// Starts of nginx with its certificates on disk.
const RESTARTS: usize = 5;

/// One nginx with its servers.
pub(crate) struct Site {
    nginx: Nginx,
    port: Port,
    client: Client,
    /// A name that each certificate covers.
    names: Vec<String>,
}

/// Figures of a start, in seconds after it.
pub(crate) struct Start {
    first: f64,
    pub(crate) last: f64,
    /// Handshakes that met the certificate that stands in for a missing one.
    fallbacks: usize,
    /// Time of as many handshakes as there are certificates, when nothing is new.
    handshakes: f64,
}

/// Measures both.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let mut bed = bed();
    report.explain(
        "issue_N: from the start of nginx until the certificates of N servers, obtained from a \
         CA that asks for two waits of a second, are served",
    );
    let mut last = None;
    for (size, runs) in SIZES {
        let mut times = Vec::new();
        for _ in 0..setup.times(runs) {
            // One at a time works.
            drop(last.take());
            let (site, start) = issue(setup.build, &mut bed, size, report)?;
            times.push(start.last);
            last = Some(site);
        }
        report.runs(&format!("issue_{size}"), &times, "s");
    }
    match last {
        Some(site) => restart(&mut bed, site, setup.times(RESTARTS), report),
        None => Ok(()),
    }
}

/// The servers that certificates are obtained from.
pub(crate) fn bed() -> Testbed {
    Testbed::start_with(|mut options| {
        // Pebble's default waits. One profile, because it chooses among several at random.
        options.retry_after = Some((1, 1));
        options.profiles.truncate(1);
        options
    })
}

/// Obtains certificates for a new nginx.
pub(crate) fn issue(
    build: &NginxBuild,
    bed: &mut Testbed,
    size: usize,
    report: &Report,
) -> Result<(Site, Start), String> {
    let mut repetitions = 0;
    loop {
        let mut site = Site::new(build, bed, size)?;
        match site.start() {
            Ok(start) => return Ok((site, start)),
            Err(_) if repetitions < REPETITIONS && bed.pebble.is_stuck() => {
                report.explain("Pebble is in a deadlock: this run is repeated");
                repetitions += 1;
                bed.pebble.restart();
            }
            Err(error) => return Err(error),
        }
    }
}

/// Starts nginx with certificates on disk and no network.
fn restart(
    bed: &mut Testbed,
    mut site: Site,
    times: usize,
    report: &mut Report,
) -> Result<(), String> {
    bed.pebble.stop();
    bed.dns.stop();
    bed.cloudflare.stop();
    report.explain(
        "restart_N: from the start of nginx with N certificates on disk, and no server that it \
         could ask, until the first and the last is served; the CPU time of nginx until then; how \
         many handshakes met the certificate that stands in; and the time that N handshakes take \
         when nothing is new, which the last one contains",
    );
    let (mut starts, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..times {
        site.nginx.stop();
        starts.push(site.start()?);
        cpu.push(cpu_of(&site.nginx));
    }
    let figures = |of: fn(&Start) -> f64| starts.iter().map(of).collect::<Vec<f64>>();
    let name = format!("restart_{}", site.names.len());
    report.runs(&format!("{name}_first"), &figures(|start| start.first), "s");
    report.runs(&format!("{name}_last"), &figures(|start| start.last), "s");
    report.runs(&format!("{name}_cpu"), &cpu, "s");
    report.runs(&format!("{name}_handshakes"), &figures(|start| start.handshakes), "s");
    report.runs(
        &format!("{name}_fallbacks"),
        &figures(|start| start.fallbacks as f64),
        "handshakes",
    );
    Ok(())
}

impl Site {
    fn new(build: &NginxBuild, bed: &Testbed, size: usize) -> Result<Self, String> {
        let mut nginx = Nginx::new(build);
        let port = Port::reserve();
        let server_names: Vec<String> = match size {
            1 => vec![format!("{ZONE} *.{ZONE}")],
            _ => (0..size).map(|n| format!("h{n}.{ZONE}")).collect(),
        };
        let http = configuration(&nginx, bed, port.addr(), &server_names);
        nginx.log_level("notice").http(http);
        let first = |names: &String| names.split(' ').next().unwrap_or_default().to_owned();
        let names = server_names.iter().map(first).collect();
        let client = Client::trusting(&bed.pebble.root_pem(0));
        let client = client.map_err(|e| format!("no TLS client: {e}"))?;
        Ok(Self { nginx, port, client, names })
    }

    /// Starts nginx and looks for its certificates until all are served.
    fn start(&mut self) -> Result<Start, String> {
        let Self { nginx, port, client, names } = self;
        let address = port.addr();
        let begin = Instant::now();
        thread::scope(|scope| {
            // Beside the start, which itself ends only when it has seen all processes.
            let watch = scope.spawn(move || watch(client, address, names, begin));
            let started = nginx.try_start();
            let watched = watch.join().unwrap_or_else(|_| Err("the TLS client failed".into()));
            started.and(watched)
        })
        .map_err(|error| format!("{error}\n{}", self.nginx.log()))
    }
}

/// Looks at one name after the other until a trusted certificate was served for each.
fn watch(
    client: &Client,
    address: SocketAddr,
    names: &[String],
    begin: Instant,
) -> Result<Start, String> {
    let mut missing: Vec<&String> = names.iter().rev().collect();
    let mut start = Start { first: 0.0, last: 0.0, fallbacks: 0, handshakes: 0.0 };
    while let Some(name) = missing.pop() {
        let served = client.look(address, name).map_err(|e| format!("TLS client: {e}"))?;
        if served == Served::Trusted {
            start.last = begin.elapsed().as_secs_f64();
            if missing.len() + 1 == names.len() {
                start.first = start.last;
            }
            continue;
        }
        if begin.elapsed() > LIMIT {
            return Err(format!("{} certificates are not served", missing.len() + 1));
        }
        start.fallbacks += usize::from(served == Served::Untrusted);
        missing.insert(0, name);
        thread::sleep(PAUSE);
    }
    let again = Instant::now();
    for name in names {
        client.look(address, name).map_err(|e| format!("TLS client: {e}"))?;
    }
    start.handshakes = again.elapsed().as_secs_f64();
    Ok(start)
}

/// The CPU time of the master and all of its processes, in seconds.
fn cpu_of(nginx: &Nginx) -> f64 {
    let family = proc::family(nginx.master_pid()).into_iter();
    family.filter_map(cpu_time).map(|time| time.as_secs_f64()).sum()
}

fn configuration(nginx: &Nginx, bed: &Testbed, address: SocketAddr, servers: &[String]) -> String {
    // Copies, because those of the testbed go with its servers, and an nginx in a chroot sees
    // nothing else.
    let read = |path: &Path| {
        fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    };
    let ca = nginx.add_file("ca.pem", read(bed.pebble.ca_file()));
    let token = nginx.add_file("token", bed.token());
    let mut text = format!(
        "{issuer}\
         acme_dns_provider cloudflare {{\n    api {api};\n    token_file {token};\n}}\n\
         {propagation}",
        issuer = issuer("pebble", &bed.pebble.directory_url(), &ca, ""),
        api = bed.cloudflare.api_url(),
        token = token.display(),
        propagation = bed.propagation(),
    );
    for names in servers {
        text.push_str(&format!(
            "server {{\n    listen {address} ssl;\n    server_name {names};\n    acme_dns on;\n}}\n"
        ));
    }
    text
}
