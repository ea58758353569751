//! Clients that never pause, and what each of their handshakes is held to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use openssl::x509::X509;
use testbed::clients::http3::Http3Client;
use testbed::clients::resuming::{ResumingClient, Session};
use testbed::clients::tls::{SslVersion, TlsClient, TlsError};
use testbed::clients::visit::Visit;
use testbed::nginx::generations;

/// The way in which a client connects.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    Tls12,
    Tls13,
    Tls12Id,
    Tls12Ticket,
    Tls13Ticket,
    Http3,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Tls12,
        Self::Tls13,
        Self::Tls12Id,
        Self::Tls12Ticket,
        Self::Tls13Ticket,
        Self::Http3,
    ];

    pub(super) fn resumes(self) -> bool {
        !matches!(self, Self::Tls12 | Self::Tls13)
    }
}

/// A server and the types of keys that it has certificates for.
pub(super) type Server = (&'static str, &'static [&'static str]);

/// Connects once; says whether that must resume a session, and what came of it.
type Connect = Box<dyn FnMut() -> (bool, Result<Visit, TlsError>) + Send>;

/// One client of one server.
struct Client {
    kind: Kind,
    /// The server's index.
    server: usize,
    /// The types of keys that it may be given.
    keys: Vec<&'static str>,
    connect: Connect,
}

/// Handshakes of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    pub(super) full: u64,
    pub(super) resumed: u64,
    /// Those of the resumed ones whose session is from before a swap.
    pub(super) across: u64,
}

/// Results of all clients so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) made: BTreeMap<Kind, Made>,
    pub(super) failed: Vec<String>,
    /// The workers that were seen to serve a generation of a server.
    pub(super) seen: BTreeMap<(usize, u64), BTreeSet<u32>>,
    /// The handshakes of each worker.
    pub(super) workers: BTreeMap<u32, u64>,
}

struct Shared {
    servers: Vec<Server>,
    workers: Vec<u32>,
    /// The newest generation that can be served.
    written: AtomicU64,
    /// Of each server the newest generation that any client has been given.
    newest: Vec<AtomicU64>,
    stop: AtomicBool,
    report: Mutex<Report>,
}

/// The running clients, until this is dropped.
pub(super) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts a thread for each kind of client, which goes round all servers. The first generation
    /// is there already.
    pub(super) fn start(addr: SocketAddr, root: &str, servers: &[Server], workers: &[u32]) -> Self {
        let shared = Arc::new(Shared {
            servers: servers.to_vec(),
            workers: workers.to_vec(),
            written: AtomicU64::new(1),
            newest: servers.iter().map(|_| AtomicU64::new(1)).collect(),
            stop: AtomicBool::new(false),
            report: Mutex::default(),
        });
        let run = |kind: Kind| {
            let shared = Arc::clone(&shared);
            let servers = servers.iter().enumerate();
            let mut clients: Vec<Client> = servers
                .flat_map(|(number, server)| clients(kind, number, server, addr, root))
                .collect();
            thread::spawn(move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    clients.iter_mut().for_each(|client| shared.run(client));
                }
            })
        };
        let threads = Kind::ALL.map(run).into();
        Self { shared, threads }
    }

    /// From now on this generation may be served, too.
    pub(super) fn expect(&self, generation: u64) {
        self.shared.written.store(generation, Ordering::SeqCst);
    }

    /// The servers whose certificate of a generation was not yet seen from each worker.
    pub(super) fn missing(&self, generation: u64) -> Vec<&'static str> {
        let report = lock(&self.shared.report);
        let is_missing = |server: &usize| {
            let seen = report.seen.get(&(*server, generation));
            seen.is_none_or(|workers| workers.len() < self.shared.workers.len())
        };
        let servers = (0..self.shared.servers.len()).filter(is_missing);
        servers.map(|server| self.shared.servers[server].0).collect()
    }

    pub(super) fn has_failed(&self) -> bool {
        !lock(&self.shared.report).failed.is_empty()
    }

    /// Ends the load; a panic of a client is one of the test.
    pub(super) fn stop(mut self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        lock(&self.shared.report).clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, client: &mut Client) {
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let oldest = self.newest[client.server].load(Ordering::SeqCst);
        let (must_resume, visit) = (client.connect)();
        let judged = visit
            .map_err(|error| error.to_string())
            .and_then(|visit| self.judge(client, oldest, must_resume, &visit));
        if let Err(error) = judged {
            let (name, _) = self.servers[client.server];
            let text = format!("{:?}, {name}, at generation {oldest}: {error}", client.kind);
            lock(&self.report).failed.push(text);
        }
    }

    /// Checks that what was sent is of one generation, and that this is not older than what any client has
    /// been given
    /// of this server before this one has begun to connect: a worker looks at shared memory in every
    /// full handshake, so that none lags.
    fn judge(
        &self,
        client: &Client,
        oldest: u64,
        must_resume: bool,
        visit: &Visit,
    ) -> Result<(), String> {
        // That the leaf is for the server's name, signed by the intermediate that has come with it,
        // and that one by the root, has made the client go on.
        let chain: Vec<_> =
            visit.peer.chain.iter().map(|der| generations::generation(der)).collect();
        let generation = match chain.as_slice() {
            [Some(leaf), Some(intermediate)] if leaf == intermediate => *leaf,
            _ => return Err(format!("a chain of the generations {chain:?}")),
        };
        let key = key_type(&visit.peer.leaf.der)?;
        if !client.keys.contains(&key.as_str()) {
            return Err(format!("a key {key} instead of {:?}", client.keys));
        }
        if visit.resumed != must_resume {
            return Err(format!("resumed: {}, and should be: {must_resume}", visit.resumed));
        }
        let worker = visit.answer.body.parse().ok();
        let worker = worker.filter(|pid| visit.answer.status == 200 && self.workers.contains(pid));
        let worker = worker.ok_or_else(|| format!("an answer of {:?}", visit.answer))?;
        let written = self.written.load(Ordering::SeqCst);
        // A session that is resumed has the certificate that it began with.
        let allowed = if visit.resumed { 1..=oldest } else { oldest..=written };
        if !allowed.contains(&generation) {
            return Err(format!("generation {generation} instead of {allowed:?}"));
        }
        let mut report = lock(&self.report);
        *report.workers.entry(worker).or_default() += 1;
        let made = report.made.entry(client.kind).or_default();
        if visit.resumed {
            made.resumed += 1;
            made.across += u64::from(generation < oldest);
        } else {
            made.full += 1;
            report.seen.entry((client.server, generation)).or_default().insert(worker);
            self.newest[client.server].fetch_max(generation, Ordering::SeqCst);
        }
        Ok(())
    }
}

impl Report {
    /// Counts the certificates that were seen to replace one before, in all workers.
    pub(super) fn swaps(&self) -> usize {
        let swapped = |((_, generation), workers): &(&(usize, u64), &BTreeSet<u32>)| {
            *generation > 1 && workers.len() == self.workers.len()
        };
        self.seen.iter().filter(swapped).count()
    }

    pub(super) fn table(&self) -> String {
        let mut text =
            format!("{:<12} {:>8} {:>8} {:>12}\n", "", "full", "resumed", "after a swap");
        let mut all = Made::default();
        for (kind, made) in &self.made {
            all.full += made.full;
            all.resumed += made.resumed;
            all.across += made.across;
            text.push_str(&row(&format!("{kind:?}"), made));
        }
        text.push_str(&row("all", &all));
        let _ = writeln!(text, "failed {}, by worker {:?}", self.failed.len(), self.workers);
        text
    }
}

fn row(name: &str, Made { full, resumed, across }: &Made) -> String {
    format!("{name:<12} {full:>8} {resumed:>8} {across:>12}\n")
}

/// The clients of one kind and one server.
fn clients(
    kind: Kind,
    number: usize,
    (name, keys): &Server,
    addr: SocketAddr,
    root: &str,
) -> Vec<Client> {
    let client = |keys: &[&'static str], connect| Client {
        kind,
        server: number,
        keys: keys.to_vec(),
        connect,
    };
    let full = |version| {
        // A server with two certificates has clients that can verify only one of them.
        let one = |key: &&'static str| {
            let tls = TlsClient::new(addr).sni(name).roots(root).version(version);
            let mut visit = tls.signatures(signatures(key)).visitor().expect("a client");
            client(&[*key], Box::new(move || (false, visit())))
        };
        keys.iter().map(one).collect()
    };
    let resuming = |session| {
        [false, true]
            .map(|keeps| {
                let resuming = ResumingClient::new(addr, name, root, session);
                client(keys, resuming_visits(resuming, keeps))
            })
            .into()
    };
    match kind {
        Kind::Tls12 => full(SslVersion::TLS1_2),
        Kind::Tls13 => full(SslVersion::TLS1_3),
        Kind::Tls12Id => resuming(Session::Tls12Id),
        Kind::Tls12Ticket => resuming(Session::Tls12Ticket),
        Kind::Tls13Ticket => resuming(Session::Tls13Ticket),
        Kind::Http3 => [false, true]
            .map(|keeps| {
                client(keys, http3_visits(Http3Client::new(addr, name, Some(root)), keeps))
            })
            .into(),
    }
}

/// The signature algorithms of a client that can verify no other type of key.
fn signatures(key: &str) -> &'static str {
    match key {
        "ecdsa:256" => "ECDSA+SHA256",
        "ecdsa:384" => "ECDSA+SHA384",
        _ => "RSA-PSS+SHA256:RSA+SHA256",
    }
}

/// One that keeps its sessions goes on with what it began with before the first swap; another one
/// begins anew every other time.
fn resuming_visits(client: ResumingClient, keeps: bool) -> Connect {
    let mut begins = true;
    Box::new(move || {
        if begins {
            client.forget();
        }
        let must_resume = !begins;
        begins = !begins && !keeps;
        (must_resume, client.visit())
    })
}

/// The same over QUIC, where a session may come later than the answer.
fn http3_visits(mut client: Http3Client, keeps: bool) -> Connect {
    let mut begins = true;
    Box::new(move || {
        if begins {
            client.forget();
        }
        let must_resume = client.sessions() > 0;
        begins = !begins && !keeps;
        (must_resume, client.visit())
    })
}

/// The type of a certificate's key, as the configuration has it.
fn key_type(der: &[u8]) -> Result<String, String> {
    let key = X509::from_der(der).and_then(|certificate| certificate.public_key());
    let key = key.map_err(|error| error.to_string())?;
    let kind = if key.rsa().is_ok() { "rsa" } else { "ecdsa" };
    Ok(format!("{kind}:{}", key.bits()))
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}
