//! Memory and descriptors of nginx's processes over time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::measurements::proc;

/// Role of a process.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Role {
    Master,
    Worker,
    Helper,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Master, Self::Worker, Self::Helper];
}

/// One process at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    role: Role,
    pid: u32,
    /// Since the process was first seen.
    age: Duration,
    bytes: u64,
    descriptors: u64,
}

#[derive(Debug)]
pub(super) struct Samples {
    master: u32,
    born: BTreeMap<u32, Duration>,
    all: Vec<Sample>,
}

/// Medians of several samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) bytes: u64,
    pub(super) descriptors: u64,
}

impl Samples {
    pub(super) fn new(master: u32) -> Self {
        Self { master, born: BTreeMap::new(), all: Vec::new() }
    }

    /// Looks at all processes, but not at those that are leaving.
    pub(super) fn take(&mut self, at: Duration) {
        let mut found = BTreeMap::from([(self.master, Role::Master)]);
        for pid in proc::family(self.master) {
            match proc::title(pid).as_str() {
                "nginx: worker process" => found.insert(pid, Role::Worker),
                "nginx: acme dns process" => found.insert(pid, Role::Helper),
                _ => None,
            };
        }
        for (pid, role) in found {
            let descriptors = proc::open_descriptors(pid) as u64;
            let age = at.saturating_sub(*self.born.entry(pid).or_insert(at));
            let bytes = proc::resident_bytes(pid);
            let sample = Sample { at, role, pid, age, bytes, descriptors };
            // It may have ended meanwhile.
            if sample.bytes > 0 {
                self.all.push(sample);
            }
        }
    }

    /// The medians of a role in a time.
    pub(super) fn figures(&self, role: Role, from: Duration, to: Duration) -> Option<Figures> {
        self.medians(|sample| sample.role == role && from <= sample.at && sample.at < to)
    }

    /// The medians of a role at an age.
    pub(super) fn figures_at_age(
        &self,
        role: Role,
        from: Duration,
        to: Duration,
    ) -> Option<Figures> {
        self.medians(|sample| sample.role == role && from <= sample.age && sample.age < to)
    }

    fn medians(&self, chosen: impl Fn(&&Sample) -> bool) -> Option<Figures> {
        let samples: Vec<&Sample> = self.all.iter().filter(chosen).collect();
        let bytes = median(samples.iter().map(|sample| sample.bytes))?;
        let descriptors = median(samples.iter().map(|sample| sample.descriptors))?;
        Some(Figures { bytes, descriptors })
    }

    /// Counts the processes of a role in a time.
    pub(super) fn processes(&self, role: Role, from: Duration, to: Duration) -> usize {
        let within = |sample: &&Sample| sample.role == role && from <= sample.at && sample.at < to;
        let pids = self.all.iter().filter(within).map(|sample| sample.pid);
        pids.collect::<BTreeSet<u32>>().len()
    }
}

fn median(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
