//! Costs of a start, a reload and handshakes with many servers, each with a certificate of its
//! own: ours, and a stock nginx that reads the same certificates from files.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use openssl::ssl::SslVersion;
use servers::ports::Port;
use servers::process::wait_until;
use testbed::measurements::proc;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;
use testbed::nginx::generations::{Generations, Variant};

use crate::client::Client;
use crate::machine::cpu_time;
use crate::report::Report;
use crate::setup::Setup;

/// Numbers of servers.
const SIZES: [usize; 4] = [1, 100, 1_000, 10_000];

/// Starts of each, in turns.
const ROUNDS: usize = 3;

/// The user of the service, `daemon`.
const SERVICE: u32 = 1;

/// Ticks of a second in `/proc` (USER_HZ), on all of Linux's architectures.
const TICKS: u64 = 100;

/// Limit for the time that the processes are busy.
const LIMIT: Duration = Duration::from_secs(300);

/// Names that are visited. What a server keeps ready is bounded, so that more of them would show nothing new.
const VISITED: usize = 10_000;

/// Number of certificates from which on the service packs them, and the files that a start without the pack reads.
const PACKED_FROM: usize = 1_000;
const FILES: [&str; 3] = ["fullchain.pem", "privkey.pem", "issuer.json"];

/// An authority that is never asked: nothing is due.
const DIRECTORY: &str = "https://127.0.0.1:1/dir";

/// Measures each size.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let (sizes, rounds) = if setup.quick { (&SIZES[..2], 1) } else { (&SIZES[..], ROUNDS) };
    report.explain(
        "scale: CPU time of all processes until they are idle, and their memory (PSS, each shared page \
         counted once), with so many servers that have a certificate (P-256) each; stock: files, the \
         module not loaded; medians of interleaved runs",
    );
    for &size in sizes {
        let kinds = [("stock", Kind::Stock), ("ours", Kind::Ours)];
        compare(setup, report, &Stage::new(size), ("scale", &kinds, rounds))?;
    }
    Ok(())
}

/// Measures servers in turns, and compares all others to the first of them.
pub(crate) fn compare(
    setup: &Setup,
    report: &mut Report,
    stage: &Stage,
    (part, kinds, rounds): (&str, &[(&str, Kind)], usize),
) -> Result<(), String> {
    let size = stage.names.len();
    stage.settle(setup.build)?;
    let mut runs: Vec<Vec<Run>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, kind), runs) in kinds.iter().zip(&mut runs) {
            runs.push(stage.run(setup.build, *kind)?);
        }
    }
    for (name, of) in FIGURES {
        for ((kind, _), runs) in kinds.iter().zip(&runs) {
            let samples: Vec<f64> = runs.iter().map(of).collect();
            report.runs(&format!("{part}_{size}_{kind}_{}", name.0), &samples, name.1);
        }
        let others = kinds.iter().zip(&runs).skip(1);
        for ((kind, _), others) in others {
            let pairs = runs[0].iter().zip(others);
            let ratios: Vec<f64> = pairs.map(|(first, other)| of(other) / of(first)).collect();
            // `nginx -t` may take less than a tick.
            if ratios.iter().all(|ratio| ratio.is_finite()) {
                report.ratio(&format!("{part}_{size}_{kind}_{}_ratio", name.0), &ratios);
            }
        }
    }
    Ok(())
}

/// The reader of the certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Stock,
    Ours,
    /// Ours, in one server with `acme_dns sni`.
    Chosen,
    /// The same with a domains file that is watched.
    Watched,
    /// Files that stock nginx finds by the client's name, in one server.
    ByVariable,
}

impl Kind {
    fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::Chosen | Self::Watched)
    }
}

/// Figures of one run.
#[derive(Default)]
pub(crate) struct Run {
    test: Duration,
    first: Duration,
    start: Duration,
    start_memory: u64,
    reload: Duration,
    reload_memory: u64,
    handshakes: Duration,
    handshakes_memory: u64,
}

/// Name and unit of a figure, and how to read it.
pub(crate) type Figure = ((&'static str, &'static str), fn(&Run) -> f64);

pub(crate) const FIGURES: [Figure; 8] = [
    (("test_cpu", "ms"), |run| run.test.as_secs_f64() * 1e3),
    (("first_handshake", "ms"), |run| run.first.as_secs_f64() * 1e3),
    (("start_cpu", "ms"), |run| run.start.as_secs_f64() * 1e3),
    (("start_memory", "MiB"), |run| mebibytes(run.start_memory)),
    (("reload_cpu", "ms"), |run| run.reload.as_secs_f64() * 1e3),
    (("reloaded_memory", "MiB"), |run| mebibytes(run.reload_memory)),
    (("served_memory", "MiB"), |run| mebibytes(run.handshakes_memory)),
    // Each name once: the first handshake with its certificate.
    (("handshakes_cpu", "ms"), |run| run.handshakes.as_secs_f64() * 1e3),
];

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Certificates in both forms.
pub(crate) struct Stage {
    _directory: tempfile::TempDir,
    state: PathBuf,
    pub(crate) names: Vec<String>,
}

impl Stage {
    pub(crate) fn new(size: usize) -> Self {
        let directory = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary directory");
        let state = directory.path().join("state");
        fs::create_dir(&state).expect("it can be made");
        chown(&state, Some(SERVICE), Some(SERVICE)).expect("root may do that");
        let names: Vec<_> = (0..size).map(|n| format!("n{n}.example.test")).collect();
        let variant = |name: &String| Variant {
            directory: name.clone(),
            name: name.clone(),
            key: "ecdsa:256",
        };
        Generations::new(&state, DIRECTORY, names.iter().map(variant).collect()).write(1);
        Self { _directory: directory, state, names }
    }

    /// Reads all files: some systems take even fresh ones out of their memory, and the processor time of
    /// reading from the disk is not nginx's.
    fn warm(&self) {
        for name in &self.names {
            for file in FILES {
                let path = self.state.join("certs").join(name).join(file);
                fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
        }
    }

    /// Starts ours once and stops it: the first helper looks for what a crash has left, and packs what there is.
    pub(crate) fn settle(&self, build: &NginxBuild) -> Result<(), String> {
        let mut nginx = self.nginx(build, Kind::Chosen, &Port::reserve());
        nginx.try_start()?;
        let pack = self.state.join("packs/certificates");
        let is_there = || (self.names.len() < PACKED_FROM || pack.exists()).then_some(());
        wait_until(LIMIT, is_there).ok_or("no pack is written")?;
        Family(nginx.master_pid()).wait_until_idle()?;
        nginx.stop();
        Ok(())
    }

    pub(crate) fn nginx(&self, build: &NginxBuild, kind: Kind, port: &Port) -> Nginx {
        let mut nginx = Nginx::new(build);
        nginx
            .load_module(kind.is_ours())
            .workers(workers())
            .log_level("warn")
            .env("TOKEN", "a-token");
        nginx.http(self.configuration(kind, &port.addr().to_string()));
        nginx
    }

    /// Starts, reloads twice, visits each server once, and stops.
    pub(crate) fn run(&self, build: &NginxBuild, kind: Kind) -> Result<Run, String> {
        self.warm();
        let port = Port::reserve();
        let mut nginx = self.nginx(build, kind, &port);
        let mut run = Run::default();
        let before = children_time();
        let (is_good, said) = nginx.test();
        run.test = children_time() - before;
        if !is_good {
            return Err(said);
        }
        let client = Client::of_version(SslVersion::TLS1_3).map_err(|e| e.to_string())?;
        let begun = Instant::now();
        nginx.try_start()?;
        client.handshake(port.addr(), self.names.last().map_or("", String::as_str))?;
        run.first = begun.elapsed();
        let family = Family(nginx.master_pid());
        run.start = family.wait_until_idle()?;
        run.start_memory = family.memory();
        let before = family.master_work();
        nginx.try_reload()?;
        let after = family.wait_until_idle()?;
        run.reload = after - before;
        nginx.try_reload()?;
        family.wait_until_idle()?;
        run.reload_memory = family.memory();
        let before = family.work();
        for name in self.names.iter().take(VISITED) {
            client.handshake(port.addr(), name)?;
        }
        run.handshakes = family.work() - before;
        run.handshakes_memory = family.memory();
        nginx.stop();
        Ok(run)
    }

    /// Gives the path of the file that has a line for each name.
    pub(crate) fn domains_file(&self) -> PathBuf {
        self.state.with_file_name("domains.txt")
    }

    /// Gives a directory with the files that workers can read, which is made if it is not there.
    fn files_for_workers(&self) -> PathBuf {
        let directory = self.state.with_file_name("files");
        if !directory.exists() {
            for name in &self.names {
                let (from, to) = (self.state.join("certs").join(name), directory.join(name));
                fs::create_dir_all(&to).expect("it can be made");
                for file in ["fullchain.pem", "privkey.pem"] {
                    let content = fs::read(from.join(file)).expect("it is there");
                    fs::write(to.join(file), content).expect("it can be written");
                }
            }
        }
        directory
    }

    /// Servers with a certificate each, or one for all, that listen there.
    pub(crate) fn configuration(&self, kind: Kind, listen: &str) -> String {
        let mut text =
            "server_names_hash_max_size 65536; server_names_hash_bucket_size 128;\n".to_owned();
        if kind.is_ours() {
            text.push_str(&format!(
                "acme_dns_state_path {};\nacme_dns_issuer ca {{ directory {DIRECTORY}; \
                 accept_terms_of_service; }}\nacme_dns_provider cloudflare {{ token env:TOKEN; }}\n",
                self.state.display()
            ));
        }
        let one = |text: &str| format!("server {{ listen {listen} ssl; {text} return 200; }}\n");
        let files = |directory: PathBuf, name: &str| {
            let files = directory.join(name);
            let files = files.display();
            format!(
                "ssl_certificate {files}/fullchain.pem; ssl_certificate_key {files}/privkey.pem;"
            )
        };
        match kind {
            Kind::Chosen | Kind::Watched => {
                let domains = self.domains_file();
                fs::write(&domains, self.names.join("\n") + "\n").expect("it can be written");
                let domains = domains.display();
                let watch = if kind == Kind::Watched { " watch" } else { "" };
                return format!(
                    "{text}acme_dns_domains {domains}{watch};\n{}",
                    one("acme_dns sni;")
                );
            }
            Kind::ByVariable => {
                return text + &one(&files(self.files_for_workers(), "$ssl_server_name"));
            }
            Kind::Ours | Kind::Stock => {}
        }
        for name in &self.names {
            let certificate = match kind {
                Kind::Stock => files(self.state.join("certs"), name),
                _ => "acme_dns on;".to_owned(),
            };
            text.push_str(&format!(
                "server {{ listen {listen} ssl; server_name {name}; {certificate} return 200; }}\n"
            ));
        }
        text
    }
}

/// Number of workers, 2 unless `BENCH_WORKERS` is another.
fn workers() -> usize {
    env::var("BENCH_WORKERS").map_or(2, |text| text.parse().expect("BENCH_WORKERS is a number"))
}

/// Gives the processor time of all children that have ended.
fn children_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the program's name, which may hold anything: the numbers from the third on.
    let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = numbers.skip(13).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS)
}

/// A master and its processes.
pub(crate) struct Family(pub(crate) u32);

impl Family {
    fn members(&self) -> Vec<u32> {
        proc::family(self.0)
    }

    fn memory(&self) -> u64 {
        self.members().into_iter().map(proc::proportional_bytes).sum()
    }

    fn master_work(&self) -> Duration {
        cpu_time(self.0).unwrap_or_default()
    }

    pub(crate) fn work(&self) -> Duration {
        self.members().into_iter().filter_map(cpu_time).sum()
    }

    /// Waits until nobody has anything to do; gives the time that those who are there have worked.
    pub(crate) fn wait_until_idle(&self) -> Result<Duration, String> {
        let begun = Instant::now();
        let (mut last, mut quiet) = ((Vec::new(), Duration::ZERO), 0);
        while begun.elapsed() < LIMIT {
            let now = (self.members(), self.work());
            let worked = now.1.saturating_sub(last.1);
            // A timer or two do not count.
            quiet =
                if now.0 == last.0 && worked < Duration::from_millis(1) { quiet + 1 } else { 0 };
            if quiet >= 10 {
                return Ok(now.1);
            }
            last = now;
            thread::sleep(Duration::from_millis(50));
        }
        Err("nginx does not come to rest".to_owned())
    }
}
