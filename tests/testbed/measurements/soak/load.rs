//! The clients.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openssl::ssl::SslContext;

use crate::clients::tls::{PeerChain, TlsClient, TlsError};

/// Between two handshakes of a thread.
const PAUSE: Duration = Duration::from_millis(10);

/// A handshake that failed.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) certificate: usize,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// The server's side went away, rather than that something was wrong with what it said.
    pub(super) closed: bool,
    pub(super) error: String,
}

/// Sightings of one certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) made: u64,
    pub(super) serials: BTreeSet<String>,
    /// The end of the one that was served last, Unix seconds.
    not_after: i64,
    /// The least time that one had left when it was served, seconds.
    pub(super) least: Option<i64>,
}

/// Sightings of all clients.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) certificates: Vec<Seen>,
    pub(super) failed: Vec<Failed>,
}

impl Report {
    pub(super) fn made(&self) -> u64 {
        self.certificates.iter().map(|seen| seen.made).sum()
    }

    /// For each certificate how often it was renewed.
    pub(super) fn renewals(&self) -> Vec<usize> {
        self.certificates.iter().map(|seen| seen.serials.len().saturating_sub(1)).collect()
    }

    /// The least time that a certificate had left when it was served, seconds.
    pub(super) fn least(&self) -> i64 {
        self.certificates.iter().filter_map(|seen| seen.least).min().unwrap_or_default()
    }

    fn add(&mut self, certificate: usize, began: Instant, result: Result<PeerChain, TlsError>) {
        match result {
            Err(error) => self.failed.push(Failed {
                certificate,
                began,
                ended: Instant::now(),
                closed: matches!(error, TlsError::Closed(_)),
                error: error.to_string(),
            }),
            Ok(peer) => {
                let seen = &mut self.certificates[certificate];
                let left = peer.leaf.not_after - unix_now();
                seen.made += 1;
                seen.serials.insert(peer.leaf.serial);
                seen.not_after = peer.leaf.not_after;
                seen.least = Some(seen.least.map_or(left, |least| least.min(left)));
            }
        }
    }
}

/// The running clients, until this is dropped.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    report: Arc<Mutex<Report>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts threads that go round all names of all certificates.
    pub(super) fn start(clients: &[Vec<TlsClient>], threads: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let certificates = vec![Seen::default(); clients.len()];
        let report = Arc::new(Mutex::new(Report { certificates, failed: Vec::new() }));
        let turns: Vec<(usize, TlsClient, SslContext)> = clients
            .iter()
            .enumerate()
            .flat_map(|(number, clients)| clients.iter().map(move |client| (number, client)))
            .map(|(number, client)| {
                let context = client.context().unwrap_or_else(|e| panic!("no client: {e}"));
                (number, client.clone(), context)
            })
            .collect();
        let run = |thread: usize| {
            let (stop, report, mut turns) = (stop.clone(), report.clone(), turns.clone());
            let offset = thread * turns.len() / threads;
            turns.rotate_left(offset);
            thread::spawn(move || {
                for (number, client, context) in turns.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let began = Instant::now();
                    let result = client.handshake_with(context);
                    lock(&report).add(*number, began, result);
                    thread::sleep(PAUSE);
                }
            })
        };
        let threads = (0..threads).map(run).collect();
        Self { stop, report, threads }
    }

    pub(super) fn report(&self) -> Report {
        lock(&self.report).clone()
    }

    /// Returns the time that every certificate is still valid, as far as was seen.
    pub(super) fn time_left(&self) -> Duration {
        let report = lock(&self.report);
        let ends = report.certificates.iter().map(|seen| seen.not_after);
        let left = ends.min().unwrap_or_default() - unix_now();
        Duration::from_secs(left.try_into().unwrap_or_default())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().try_into().unwrap_or(i64::MAX)
}
