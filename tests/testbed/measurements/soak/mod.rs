//! A soak: an nginx with many short-lived certificates, clients that shake hands all the time, and
//! whatever can go wrong.
//!
//! The time has four quarters. In the first and the third anything may happen: processes are killed,
//! nginx is reloaded, its configuration is edited, its clock jumps, the CA, the DNS provider's API and the
//! DNS server fail. The second and the
//! fourth begin with a reload and have outages only, so that processes live long enough to show what
//! they lose: what is compared there are processes of the same age that had the same work.
//!
//! An outage is no longer than what a certificate survives that is about to be renewed when it
//! begins, and the next one comes when all certificates have recovered.

mod events;
mod load;
pub mod many;
mod processes;
mod random;
mod report;
mod stage;

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use self::events::Events;
use self::load::Load;
use self::processes::Samples;
use self::report::Watch;
use self::stage::Stage;

/// Plan of a soak.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its duration, without the first certificates and the wait for a clean end.
    pub duration: Duration,
    /// The number of certificates.
    pub certificates: usize,
    /// The validity of each.
    pub validity: Duration,
    /// The workers of nginx.
    pub workers: usize,
    /// The threads that shake hands.
    pub clients: usize,
    /// The seed of the random events.
    pub seed: u64,
    /// The time between two rows of figures.
    pub row: Duration,
}

impl Plan {
    /// The one of `make soak`.
    #[must_use]
    pub fn long(duration: Duration, seed: u64) -> Self {
        Self {
            duration,
            certificates: 50,
            validity: Duration::from_secs(120),
            workers: 2,
            clients: 4,
            seed,
            row: (duration / 30).max(Duration::from_secs(10)),
        }
    }

    /// The one of `make test`: everything is shorter, as far as the pauses of the module allow.
    #[must_use]
    pub fn short(seed: u64) -> Self {
        Self {
            duration: Duration::from_secs(60),
            certificates: 8,
            validity: Duration::from_secs(48),
            clients: 2,
            row: Duration::from_secs(8),
            ..Self::long(Duration::from_secs(60), seed)
        }
    }

    /// The number of the quarter, from 0, at a time after the start.
    fn quarter(&self, elapsed: Duration) -> usize {
        (elapsed.as_secs_f64() / self.duration.as_secs_f64() * 4.0).floor() as usize
    }
}

/// Verdict on a soak.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The figures.
    pub table: String,
    /// Complaints about what was not as it must be.
    pub complaints: Vec<String>,
}

/// Runs a soak; `say` gets a line of figures from time to time.
///
/// # Panics
/// If a server does not come up, or nginx does not give its first certificates.
#[must_use]
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> Verdict {
    let mut stage = Stage::start(plan);
    say(&format!(
        "{} certificates of {} s, {} workers, {} clients, seed {}",
        plan.certificates,
        plan.validity.as_secs(),
        plan.workers,
        plan.clients,
        plan.seed,
    ));
    stage.wait_for_certificates();
    let load = Load::start(&stage.clients(), plan.clients);
    let samples = Mutex::new(Samples::new(stage.nginx.master_pid()));
    let events = Mutex::new(Events::default());
    let start = Instant::now();
    let watch = Watch { plan, load: &load, samples: &samples, events: &events, start };
    thread::scope(|scope| {
        let watching = scope.spawn(|| watch.run(say));
        events::run(plan, &mut stage, &load, &events, start);
        watching.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
    });
    // Certificates go on being renewed and clients go on shaking hands until all is clean.
    let left = stage.wait_until_clean(plan.validity * 2);
    watch.verdict(&load.report(), left, stage.alerts())
}
