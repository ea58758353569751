//! A soak with many names: one server with `acme_dns sni`, a watched domains file whose lines change all the time, and
//! clients that ask for each name in turn.
//!
//! As in the other soak, the first and the third quarter have kills and reloads, and the second and the fourth begin
//! with a reload and have none: their processes are compared.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openssl::ssl::SslContext;
use rustix::process::Signal;
use servers::acme_proxy::AcmeProxy;
use servers::bed::{Testbed, ZONE, issuer};
use servers::ports::Port;
use servers::process::wait_until;

use super::Verdict;
use super::events::Killed;
use super::processes::{Role, Samples};
use super::random::Random;
use super::report::{text, was_of_a_killed_worker};
use crate::clients::tls::{PeerChain, TlsClient, TlsError};
use crate::measurements::proc;
use crate::nginx::Nginx;
use crate::nginx::build::NginxBuild;

/// Between two changes of the file, between two blows to nginx, and between two rows of figures.
const CHANGE: Duration = Duration::from_secs(6);
const BLOW: Duration = Duration::from_secs(20);
const ROW: Duration = Duration::from_secs(30);

/// Limit for a process that follows another one.
const LIMIT: Duration = Duration::from_secs(20);

/// Limit for the first certificate of each name, on a busy machine.
const FIRST: Duration = Duration::from_secs(1);

/// The stand-in has no limit of requests, and the module is to have none.
const REQUESTS: &str = "requests=1000000/5m";

/// Between two handshakes of a client.
const PAUSE: Duration = Duration::from_millis(5);

/// Seconds for which a certificate without a line may be found beyond its end: the service that hides it may have been killed.
/// So long may one whose line has come back be the one that has ended: it is served until there is a new one.
const GRACE: i64 = 10;

const WORKERS: usize = 2;
const CLIENTS: usize = 3;

/// Plan of a soak with many names.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its duration, without the first certificates.
    pub duration: Duration,
    /// The lines of the file.
    pub names: usize,
    /// The validity of each certificate.
    pub validity: Duration,
    /// Lines that change in a minute.
    pub changes: usize,
    /// The seed of the random events.
    pub seed: u64,
}

/// Name that has a line, or had one.
#[derive(Clone, Debug, Default)]
struct Named {
    has_line: bool,
    /// Time at which its line came; none if it has been there from the beginning.
    came: Option<Instant>,
    /// Set once a certificate of the CA was seen, since it has its line.
    is_served: bool,
}

impl Named {
    /// Tells whether its certificate may have ended, with so many seconds left.
    fn may_have_ended(&self, left: i64) -> bool {
        let is_new = |came: Instant| came.elapsed() < Duration::from_secs(GRACE.unsigned_abs());
        match self.has_line {
            true => self.came.is_some_and(is_new),
            false => left >= -GRACE,
        }
    }
}

/// Sightings of all clients.
#[derive(Debug, Default)]
struct Seen {
    names: Vec<Named>,
    handshakes: u64,
    /// Handshakes that met the self-signed certificate of a name that has none yet, or any more.
    stand_ins: u64,
    /// Handshakes that met an expired certificate whose line had just come back.
    expired: u64,
    resets: Vec<(Instant, Instant, String)>,
    serials: BTreeSet<String>,
    killed: Vec<Killed>,
    wrong: Vec<String>,
    least: Option<i64>,
}

struct Stage {
    nginx: Nginx,
    _bed: Testbed,
    _proxy: AcmeProxy,
    port: Port,
    file: PathBuf,
    seen: Mutex<Seen>,
}

/// Runs a soak; `say` gets a line of figures from time to time.
///
/// # Panics
/// If a server does not come up, or nginx does not give its first certificates.
#[must_use]
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> Verdict {
    let mut stage = Stage::start(plan);
    let begun = Instant::now();
    stage.wait_for_certificates(plan);
    say(&format!("{} names after {} s, seed {}", plan.names, begun.elapsed().as_secs(), plan.seed));
    let mut samples = Samples::new(stage.nginx.master_pid());
    let is_over = AtomicBool::new(false);
    let mut changes = Changes::of(plan);
    let (seen, addr) = (&stage.seen, stage.port.addr());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let is_over = &is_over;
            scope.spawn(move || visit(seen, addr, client, is_over));
        }
        let end = End(&is_over);
        changes.run(plan, &mut stage.nginx, (&stage.file, seen), |at, is_row| {
            samples.take(at);
            if is_row {
                say(&row(at, seen, &samples));
            }
        });
        drop(end);
    });
    verdict(plan, &stage, &samples)
}

/// End of the clients, also where a step fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Stage {
    fn start(plan: &Plan) -> Self {
        let bed = Testbed::start_with(|options| options.shortlived(plan.validity));
        let mut nginx = Nginx::new(NginxBuild::get());
        // A tenth of the names has no line at first.
        let count = plan.names + plan.names / 10 + 1;
        let names =
            (0..count).map(|number| Named { has_line: number < plan.names, ..Named::default() });
        let seen = Seen { names: names.collect(), ..Seen::default() };
        let file = nginx.dir().join("customers.txt");
        write(&file, &seen.names);
        let port = Port::reserve();
        let profile = "profile shortlived require;";
        // Pebble itself would lock itself up sooner or later.
        let proxy = bed.acme_proxy();
        let (url, ca) = (proxy.directory_url(), proxy.ca_file());
        let provider = bed.provider().replacen("cloudflare", &format!("cloudflare {REQUESTS}"), 1);
        nginx.workers(WORKERS).log_level("notice").http(format!(
            "{}{provider}{}acme_dns_domains {} watch;\nserver {{ listen {} ssl reuseport; server_name _; \
             acme_dns sni; return 200; }}\n",
            issuer("pebble", &url, ca, profile),
            bed.propagation(),
            file.display(),
            port.addr(),
        ));
        nginx.start();
        Self { nginx, _bed: bed, _proxy: proxy, port, file, seen: Mutex::new(seen) }
    }

    fn wait_for_certificates(&self, plan: &Plan) {
        let limit = Duration::from_secs(60) + FIRST * u32::try_from(plan.names).unwrap_or(u32::MAX);
        let visitor = Visitor::of(self.port.addr());
        for number in 0..plan.names {
            let served = wait_until(limit, || {
                visitor.ask(&self.seen, number);
                lock(&self.seen).names[number].is_served.then_some(())
            });
            assert!(served.is_some(), "no certificate for {}:\n{}", name(number), self.nginx.log());
        }
    }
}

fn name(number: usize) -> String {
    format!("n{number}.{ZONE}")
}

/// Writes the file as a careful program does.
fn write(file: &PathBuf, names: &[Named]) {
    let lines = names.iter().enumerate().filter(|(_, it)| it.has_line);
    let text: String = lines.map(|(number, _)| name(number) + "\n").collect();
    let new = file.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::set_permissions(&new, Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&new, file))
        .unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
}

/// Asks for each name in turn.
fn visit(seen: &Mutex<Seen>, addr: SocketAddr, client: usize, is_over: &AtomicBool) {
    let count = lock(seen).names.len();
    let visitor = Visitor::of(addr);
    for number in (client * count / CLIENTS..count).chain((0..count).cycle()) {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        visitor.ask(seen, number);
        thread::sleep(PAUSE);
    }
}

/// Client with settings that are made once: they take longer than a handshake.
struct Visitor {
    addr: SocketAddr,
    context: SslContext,
}

impl Visitor {
    fn of(addr: SocketAddr) -> Self {
        let context = TlsClient::new(addr).context();
        Self { addr, context: context.unwrap_or_else(|e| panic!("no TLS client: {e}")) }
    }

    fn ask(&self, seen: &Mutex<Seen>, number: usize) {
        let (name, before) = (name(number), lock(seen).names[number].clone());
        let began = Instant::now();
        let answer = TlsClient::new(self.addr).sni(&name).handshake_with(&self.context);
        lock(seen).note(number, &name, &before, began, answer);
    }
}

impl Seen {
    fn note(
        &mut self,
        number: usize,
        name: &str,
        before: &Named,
        began: Instant,
        answer: Result<PeerChain, TlsError>,
    ) {
        self.handshakes += 1;
        let peer = match answer {
            Ok(peer) => peer,
            Err(error @ TlsError::Closed(_)) => {
                return self.resets.push((began, Instant::now(), error.to_string()));
            }
            Err(error) => return self.wrong.push(format!("{name}: {error}")),
        };
        if !peer.leaf.sans.iter().any(|san| san == name) && !peer.leaf.sans.is_empty() {
            return self.wrong.push(format!("{name} was given {:?}", peer.leaf.sans));
        }
        let is_issued = peer.leaf.issuer.contains("Pebble");
        let left = peer.leaf.not_after - unix_now();
        match is_issued {
            // It has ended, or has not come yet. What had its line all the time and was served is served on.
            false if before.has_line && before.is_served && self.names[number].has_line => {
                self.wrong.push(format!("{name} has no certificate any more"));
            }
            false => self.stand_ins += 1,
            true if left <= 0 && !before.may_have_ended(left) => {
                self.wrong.push(format!("{name} has expired by {} s", -left))
            }
            true if left <= 0 => self.expired += 1,
            true => {
                self.serials.insert(peer.leaf.serial);
                let named = &mut self.names[number];
                // One that is on its way out is not renewed.
                if named.has_line && before.has_line {
                    named.is_served = true;
                    self.least = Some(self.least.map_or(left, |least| least.min(left)));
                }
            }
        }
    }
}

/// Changes of the file, and blows to the processes.
struct Changes {
    random: Random,
    /// Names without a line, the longest first: what comes back may have ended.
    out: VecDeque<usize>,
    at_once: usize,
}

impl Changes {
    fn of(plan: &Plan) -> Self {
        let out = (plan.names..plan.names + plan.names / 10 + 1).collect();
        let rate = plan.changes as f64 * CHANGE.as_secs_f64() / 60.0;
        // Each goes and another comes.
        let at_once = ((rate / 2.0).round() as usize).max(1);
        Self { random: Random::new(plan.seed), out, at_once }
    }

    fn run(
        &mut self,
        plan: &Plan,
        nginx: &mut Nginx,
        (file, seen): (&PathBuf, &Mutex<Seen>),
        mut look: impl FnMut(Duration, bool),
    ) {
        let begun = Instant::now();
        let mut next = [Duration::ZERO; 3];
        let mut quarter = 0;
        while begun.elapsed() < plan.duration {
            let now = begun.elapsed();
            let mut is_time = |which: usize, pause| {
                let is_time = now >= next[which];
                if is_time {
                    next[which] = now + pause;
                }
                is_time
            };
            let of = (now.as_secs_f64() / plan.duration.as_secs_f64() * 4.0) as usize;
            if is_time(0, CHANGE) {
                self.change(file, seen);
            }
            if of != quarter && of % 2 == 1 {
                nginx.reload();
            } else if is_time(1, BLOW) && of.is_multiple_of(2) {
                self.strike(nginx, seen);
            }
            quarter = of;
            look(now, is_time(2, ROW));
            thread::sleep(Duration::from_secs(1));
        }
    }

    fn change(&mut self, file: &PathBuf, seen: &Mutex<Seen>) {
        let mut seen = lock(seen);
        for _ in 0..self.at_once {
            let Some(coming) = self.out.pop_front() else { return };
            let going = loop {
                let number = self.random.below(seen.names.len());
                if seen.names[number].has_line {
                    break number;
                }
            };
            seen.names[going].has_line = false;
            let came = Some(Instant::now());
            seen.names[coming] = Named { has_line: true, came, is_served: false };
            self.out.push_back(going);
        }
        write(file, &seen.names);
    }

    fn strike(&mut self, nginx: &mut Nginx, seen: &Mutex<Seen>) {
        match self.random.below(3) {
            0 => nginx.reload(),
            1 => {
                let helper = nginx.wait_for_helper();
                proc::kill(helper, Signal::KILL);
                let next = || proc::services(nginx.master_pid()).last().copied();
                let next = wait_until(LIMIT, || next().filter(|pid| *pid != helper));
                assert!(next.is_some(), "no helper after {helper}:\n{}", nginx.log());
            }
            _ => {
                let workers = nginx.worker_pids();
                let Some(worker) = workers.get(self.random.below(workers.len())) else { return };
                let sent = Instant::now();
                proc::kill(*worker, Signal::KILL);
                let gone = wait_until(LIMIT, || (!proc::is_alive(*worker)).then(Instant::now));
                let gone = gone.unwrap_or_else(|| panic!("worker {worker} lives"));
                lock(seen).killed.push(Killed { sent, gone });
            }
        }
    }
}

fn row(at: Duration, seen: &Mutex<Seen>, samples: &Samples) -> String {
    let seen = lock(seen);
    let figures = Role::ALL.map(|role| {
        let figures = samples.figures(role, at.saturating_sub(ROW), at);
        figures.map_or("-".to_owned(), text)
    });
    format!(
        "{:>5}s {:>8} handshakes, {} wrong, {} resets, {} self-signed, {} certificates, least {} s; {}",
        at.as_secs(),
        seen.handshakes,
        seen.wrong.len(),
        seen.resets.len(),
        seen.stand_ins,
        seen.serials.len(),
        seen.least.unwrap_or_default(),
        figures.join(", "),
    )
}

fn verdict(plan: &Plan, stage: &Stage, samples: &Samples) -> Verdict {
    let seen = lock(&stage.seen);
    let mut verdict = Verdict { table: String::new(), complaints: seen.wrong.clone() };
    let is_excused = |(began, ended, _): &&(Instant, Instant, String)| {
        seen.killed.iter().any(|killed| was_of_a_killed_worker(killed, *began, *ended))
    };
    let (resets, failed): (Vec<_>, Vec<_>) = seen.resets.iter().partition(is_excused);
    verdict.complaints.extend(failed.iter().map(|(.., error)| error.clone()));
    for (what, number) in [
        ("handshakes", seen.handshakes),
        ("of them wrong or failed", verdict.complaints.len() as u64),
        ("reset when their worker was killed", resets.len() as u64),
        ("self-signed before the first certificate", seen.stand_ins),
        ("expired, the line had just come back", seen.expired),
        ("certificates seen", seen.serials.len() as u64),
        ("least time that one had left, seconds", seen.least.unwrap_or_default().unsigned_abs()),
    ] {
        verdict.row(what, &number.to_string());
    }
    let part = |quarter: u32| {
        let length = plan.duration / 4;
        (length * quarter + length / 4, length * (quarter + 1))
    };
    for role in Role::ALL {
        let figures = |(from, to)| samples.figures(role, from, to).unwrap_or_default();
        verdict.compare(role, "second and last quarter", figures(part(1)), figures(part(3)));
    }
    let alerts = super::report::alerts(&stage.nginx.log());
    verdict.row("alerts in the log", &alerts.len().to_string());
    verdict.complaints.extend(alerts);
    verdict
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().try_into().unwrap_or(i64::MAX)
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
