//! The figures, and what they must be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::events::{Event, Events, Killed};
use super::load::{Failed, Load, Report};
use super::processes::{Figures, Role, Samples};
use super::stage::Left;
use super::{Plan, Verdict};

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_secs(1);

/// Part of a quarter in which processes warm up before it counts.
const WARM_UP: f64 = 1.0 / 4.0;

/// Returns the tolerance for the memory of a process between the second and the last quarter: so much of
/// it, and so many bytes besides. A helper that had nothing to do yet has no HTTP client, which takes
/// 5 MiB.
const fn memory(role: Role) -> (f64, u64) {
    match role {
        Role::Master | Role::Worker => (0.10, 1 << 20),
        Role::Helper => (0.10, 8 << 20),
    }
}

/// Returns the tolerance for its descriptors. A helper keeps connections for the next order.
const fn descriptors(role: Role) -> u64 {
    match role {
        Role::Master => 2,
        Role::Worker => 4,
        Role::Helper => 24,
    }
}

/// Two ages, in seconds, between which a process must not grow. It is warm at the first.
const AGES: [(u64, u64); 2] = [(70, 130), (140, 200)];

/// Time after the end of a killed worker in which a connection that it had accepted may fail.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Looks at everything while it runs.
pub(super) struct Watch<'a> {
    pub(super) plan: &'a Plan,
    pub(super) load: &'a Load,
    pub(super) samples: &'a Mutex<Samples>,
    pub(super) events: &'a Mutex<Events>,
    pub(super) start: Instant,
}

impl Watch<'_> {
    /// Takes samples and says a row of figures from time to time.
    pub(super) fn run(&self, say: &dyn Fn(&str)) {
        say(&format!(
            "{:>6} {:>10} {:>6} {:>6} {:>8} {:>6}  {:>14} {:>14} {:>14}  {}",
            "time",
            "handshakes",
            "failed",
            "resets",
            "renewals",
            "least",
            "master",
            "worker",
            "helper",
            "events"
        ));
        let mut said = Duration::ZERO;
        while self.start.elapsed() < self.plan.duration {
            thread::sleep(LOOK);
            let now = self.start.elapsed();
            lock(self.samples).take(now);
            if now >= said + self.plan.row {
                say(&self.row(said, now));
                said += self.plan.row;
            }
        }
    }

    fn row(&self, from: Duration, to: Duration) -> String {
        let report = self.load.report();
        let events = lock(self.events).clone();
        let (resets, failed) = sort(&report.failed, &events);
        let mut row = format!(
            "{:>5}s {:>10} {:>6} {:>6} {:>8} {:>5}s ",
            to.as_secs(),
            report.made(),
            failed.len(),
            resets,
            report.renewals().iter().sum::<usize>(),
            report.least(),
        );
        let samples = lock(self.samples);
        for role in Role::ALL {
            let figures = samples.figures(role, from, to).map_or("-".to_owned(), text);
            let _ = write!(row, " {figures:>14}");
        }
        let _ = write!(row, "  {}", events.happened.len());
        row
    }

    /// The table of the whole, and what is wrong in it.
    pub(super) fn verdict(&self, seen: &Report, left: Left, alerts: Vec<String>) -> Verdict {
        let events = lock(self.events).clone();
        let mut verdict = Verdict { table: String::new(), complaints: Vec::new() };
        handshakes(&mut verdict, seen, &events, self.start);
        let Left { journal, orders, records } = left;
        verdict.row(
            "left at the end",
            &format!(
                "{records} TXT records, {} files in journal, {} in orders",
                journal.len(),
                orders.len()
            ),
        );
        if records + journal.len() + orders.len() > 0 {
            verdict.complain(format!("left: {records} TXT records, {journal:?}, {orders:?}"));
        }
        verdict.row("alerts in the log", &alerts.len().to_string());
        verdict.complaints.extend(alerts);
        self.memory(&mut verdict);
        let mut happened: BTreeMap<Event, usize> = BTreeMap::new();
        for (_, event) in &events.happened {
            *happened.entry(*event).or_default() += 1;
        }
        for (event, times) in happened {
            verdict.row(&event.to_string(), &times.to_string());
        }
        verdict
    }

    fn memory(&self, verdict: &mut Verdict) {
        let samples = lock(self.samples);
        for role in Role::ALL {
            let [second, last] = [1, 3].map(|quarter| self.part(quarter, WARM_UP, 1.0));
            let figures = |(from, to)| samples.figures(role, from, to).unwrap_or_default();
            let (before, after) = (figures(second), figures(last));
            verdict.compare(role, "second and last quarter", before, after);
            let number = |(from, to)| samples.processes(role, from, to);
            let of = format!("{role:?}, processes in them");
            verdict.row(&of, &format!("{} and {}", number(second), number(last)));
            // What is lost with each handshake or renewal shows with the age.
            let [early, late] = AGES.map(|(from, to)| {
                let seconds = Duration::from_secs;
                samples.figures_at_age(role, seconds(from), seconds(to))
            });
            if let (Some(early), Some(late)) = (early, late) {
                let ((from, _), (_, to)) = (AGES[0], AGES[1]);
                verdict.compare(role, &format!("from {from} to {to} s old"), early, late);
            }
        }
    }

    /// A part of a quarter.
    fn part(&self, quarter: u32, from: f64, to: f64) -> (Duration, Duration) {
        let length = self.plan.duration / 4;
        let begin = length * quarter;
        (begin + length.mul_f64(from), begin + length.mul_f64(to))
    }
}

impl Verdict {
    pub(super) fn row(&mut self, what: &str, value: &str) {
        let _ = writeln!(self.table, "{what:<36} {value}");
    }

    fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// A row for what must be the same.
    pub(super) fn compare(&mut self, role: Role, when: &str, before: Figures, after: Figures) {
        let what = &format!("{role:?}, {when}");
        let open = before.descriptors + descriptors(role);
        let (part, more) = memory(role);
        let most = before.bytes + (before.bytes as f64 * part) as u64 + more;
        self.row(
            what,
            &format!(
                "{} -> {} (at most {}, {} descriptors)",
                text(before),
                text(after),
                mib(most),
                open
            ),
        );
        if after.bytes > most || after.descriptors > open {
            self.complain(format!("{what}: from {} to {}", text(before), text(after)));
        }
    }
}

fn handshakes(verdict: &mut Verdict, seen: &Report, events: &Events, start: Instant) {
    let (resets, failed) = sort(&seen.failed, events);
    let of_each = seen.certificates.iter().map(|seen| seen.made);
    verdict.row(
        "handshakes made",
        &format!(
            "{}, of each certificate at least {}",
            seen.made(),
            of_each.min().unwrap_or_default()
        ),
    );
    verdict.row("handshakes failed", &failed.len().to_string());
    verdict.row(
        "reset when their worker was killed",
        &format!("{resets} at {} kills", events.killed.len()),
    );
    for failed in failed {
        let Failed { certificate, error, began, .. } = failed;
        let at = began.saturating_duration_since(start).as_secs();
        let before = events.happened.iter().rfind(|(time, _)| time <= began);
        let before = before.map_or("the start".to_owned(), |(_, event)| event.to_string());
        let what = format!("handshake with certificate {certificate} after {at} s");
        verdict.complain(format!("{what}, last was \"{before}\": {error}"));
    }
    let renewals = seen.renewals();
    let least = renewals.iter().min().copied().unwrap_or_default();
    verdict.row(
        "renewals",
        &format!(
            "{}, of each certificate {least} to {}, with {} orders",
            renewals.iter().sum::<usize>(),
            renewals.iter().max().copied().unwrap_or_default(),
            events.orders
        ),
    );
    if least == 0 {
        verdict.complain(format!("not all certificates were renewed: {renewals:?}"));
    }
    verdict.row("least time that one had left", &format!("{} s", seen.least()));
}

/// The number of those whose worker was killed, and the others.
fn sort<'a>(failed: &'a [Failed], events: &Events) -> (usize, Vec<&'a Failed>) {
    let with_its_worker = |failed: &&Failed| {
        let overlaps = |killed: &Killed| was_of_a_killed_worker(killed, failed.began, failed.ended);
        failed.closed && events.killed.iter().any(overlaps)
    };
    let (resets, failed): (Vec<&Failed>, Vec<&Failed>) = failed.iter().partition(with_its_worker);
    (resets.len(), failed)
}

/// Tells whether a connection that lasted from one moment to another may have been that of a killed worker.
pub(super) fn was_of_a_killed_worker(killed: &Killed, began: Instant, ended: Instant) -> bool {
    began <= killed.gone && killed.sent <= ended && ended <= killed.gone + AFTERMATH
}

/// Lines of the log that no kill explains: processes that ended on their own, what they left open, panics.
pub(super) fn alerts(log: &str) -> Vec<String> {
    let bad = |line: &&str| {
        let level = ["[emerg]", "[alert]", "[crit]"].iter().any(|level| line.contains(level));
        (level || line.contains("the service ended")) && !line.contains("exited on signal 9")
    };
    log.lines().filter(bad).map(str::to_owned).collect()
}

pub(super) fn text(figures: Figures) -> String {
    format!("{} {:>3} fd", mib(figures.bytes), figures.descriptors)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_a_killed_worker_had_is_excused() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let events =
            Events { killed: vec![Killed { sent: at(1000), gone: at(1010) }], ..Events::default() };
        for (began, ended, closed, excused) in [
            (990, 1005, true, true),
            (1005, 1500, true, true),
            (990, 1005, false, false),
            (900, 999, true, false),
            (1011, 1012, true, false),
            (990, 2011, true, false),
        ] {
            let failed = Failed {
                certificate: 0,
                began: at(began),
                ended: at(ended),
                closed,
                error: String::new(),
            };
            let failed = [failed];
            let (resets, others) = sort(&failed, &events);
            let expected = if excused { (1, 0) } else { (0, 1) };
            assert_eq!((resets, others.len()), expected, "{began} {ended} {closed}");
        }
    }

    #[test]
    fn what_grows_is_a_complaint() {
        let mib = |mib: u64| mib << 20;
        for (after, complaints) in
            [((10, 15), 0), ((12, 15), 0), ((13, 15), 1), ((5, 19), 0), ((5, 20), 1)]
        {
            let figures = |(bytes, descriptors)| Figures { bytes: mib(bytes), descriptors };
            let mut verdict = Verdict { table: String::new(), complaints: Vec::new() };
            verdict.compare(Role::Worker, "then", figures((10, 15)), figures(after));
            assert_eq!(verdict.complaints.len(), complaints, "{after:?}");
        }
    }
}
