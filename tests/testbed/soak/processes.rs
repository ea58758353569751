//! Memory and descriptors of nginx's processes over time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::proc;

/// What a process is.
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
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) role: Role,
    pub(super) pid: u32,
    pub(super) bytes: u64,
    pub(super) descriptors: u64,
}

#[derive(Debug)]
pub(super) struct Samples {
    master: u32,
    pub(super) all: Vec<Sample>,
}

/// Medians of several samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) bytes: u64,
    pub(super) descriptors: u64,
}

impl Samples {
    pub(super) fn new(master: u32) -> Self {
        Self { master, all: Vec::new() }
    }

    /// Looks at all processes, but not at those that are leaving.
    pub(super) fn take(&mut self, at: Duration) {
        let mut found = BTreeMap::from([(self.master, Role::Master)]);
        for pid in proc::children(self.master) {
            match proc::title(pid).as_str() {
                "nginx: worker process" => found.insert(pid, Role::Worker),
                "nginx: acme dns process" => found.insert(pid, Role::Helper),
                _ => None,
            };
        }
        for (pid, role) in found {
            let descriptors = proc::open_descriptors(pid) as u64;
            let sample = Sample { at, role, pid, bytes: proc::resident_bytes(pid), descriptors };
            // It may have ended meanwhile.
            if sample.bytes > 0 {
                self.all.push(sample);
            }
        }
    }

    /// The medians of a role in a time.
    pub(super) fn figures(&self, role: Role, from: Duration, to: Duration) -> Option<Figures> {
        let within = |sample: &&Sample| sample.role == role && from <= sample.at && sample.at < to;
        let samples: Vec<&Sample> = self.all.iter().filter(within).collect();
        let bytes = median(samples.iter().map(|sample| sample.bytes))?;
        let descriptors = median(samples.iter().map(|sample| sample.descriptors))?;
        Some(Figures { bytes, descriptors })
    }

    /// How many processes of a role there were in a time.
    pub(super) fn processes(&self, role: Role, from: Duration, to: Duration) -> usize {
        let within = |sample: &&Sample| sample.role == role && from <= sample.at && sample.at < to;
        let pids = self.all.iter().filter(within).map(|sample| sample.pid);
        pids.collect::<std::collections::BTreeSet<u32>>().len()
    }
}

fn median(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
