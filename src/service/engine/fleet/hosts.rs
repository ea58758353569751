//! Hosts that are alive: each puts a record now and then, so that the limits of an account are divided.
//!
//! A host counts from its first record until it has been silent for a while; one that stops removes its record. Names are
//! in the encrypted part: a path tells a number drawn at random, another one after each start.

use super::Fleet;
use super::record::{HostRecord, encode};
use crate::share::{Change, Expected, Revision, SharePath, Written};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Pause between two signs of life.
const SIGNS: Duration = Duration::from_secs(60);

/// A host that has been silent for so long is not counted any more.
const SILENCE: Duration = Duration::from_secs(150);

/// The record of a host that has been silent for so long is removed by another.
const GONE: Duration = Duration::from_secs(3600);

/// Hosts as this one has heard of them.
#[derive(Default)]
pub(super) struct Hosts {
    /// Number of this host; none if there is no randomness.
    id: Option<String>,
    /// Its own record, and when it was put.
    own: Option<(Revision, Instant)>,
    others: HashMap<String, (Revision, Instant)>,
}

impl Hosts {
    pub(super) fn new(id: Option<String>) -> Self {
        Self { id, ..Self::default() }
    }

    /// Begins anew with what an engine has.
    pub(super) fn clear(&mut self) {
        self.own = None;
        self.others.clear();
    }

    /// Notes a sign of life, or that a host has left.
    pub(super) fn note(&mut self, id: &str, change: &Change) {
        let is_here = !matches!(change, Change::Removed { .. });
        let sign = is_here.then(|| (change.revision(), Instant::now()));
        if self.id.as_deref() == Some(id) {
            self.own = sign;
        } else if let Some(sign) = sign {
            self.others.insert(id.to_owned(), sign);
        } else {
            self.others.remove(id);
        }
    }

    /// Counts the others that are alive.
    fn others(&self) -> usize {
        self.others.values().filter(|(_, heard)| heard.elapsed() < SILENCE).count()
    }
}

impl Fleet {
    /// Counts the other hosts that are alive, as far as this one hears of them, and shows the number.
    pub(in crate::engine) fn count_others(&self) -> usize {
        let others = self.hosts.borrow().others();
        self.health.counted(others);
        others
    }

    /// Gives a sign of life if one is due, and removes what is left of hosts that have gone.
    pub(super) fn tend_hosts(self: &Rc<Self>) {
        let is_due = self.hosts.borrow().own.is_none_or(|(_, put)| put.elapsed() >= SIGNS);
        if is_due {
            let fleet = Rc::clone(self);
            tokio::task::spawn_local(async move { fleet.give_sign().await });
        }
        let gone: Vec<(String, Revision)> = {
            let others = &mut self.hosts.borrow_mut().others;
            others
                .extract_if(|_, (_, heard)| heard.elapsed() >= GONE)
                .map(|(id, (revision, _))| (id, revision))
                .collect()
        };
        for (id, revision) in gone {
            let fleet = Rc::clone(self);
            tokio::task::spawn_local(async move {
                // Another host may have done it.
                let _gone = fleet.engine.remove(&path(&id), revision, None).await;
            });
        }
    }

    async fn give_sign(&self) {
        let (id, expected) = {
            let mut hosts = self.hosts.borrow_mut();
            let Some(id) = hosts.id.clone() else { return };
            let expected = hosts.own.map_or(Expected::Absent, |(own, _)| Expected::At(own));
            // The next one is due later, whatever comes of this one.
            hosts.own = hosts.own.map(|(own, _)| (own, Instant::now()));
            (id, expected)
        };
        let Ok(content) = encode(&HostRecord { host: self.host.clone() }) else { return };
        let put = self.engine.put(&path(&id), &content, expected, None).await;
        self.hosts.borrow_mut().own = match put {
            Ok(Written::Done(revision)) => Some((revision, Instant::now())),
            // Somebody has removed it: the next sign is a new record.
            Ok(Written::Lost | Written::Fenced) => None,
            // The link notices an engine that is away, and loads anew.
            Err(_) => return,
        };
    }

    /// Removes the record of this host.
    pub(super) async fn sign_off(&self) {
        let (id, own) = {
            let hosts = self.hosts.borrow();
            (hosts.id.clone(), hosts.own)
        };
        if let (Some(id), Some((revision, _))) = (id, own) {
            // It stays for an hour otherwise.
            let _removed = self.engine.remove(&path(&id), revision, None).await;
        }
    }
}

fn path(id: &str) -> SharePath {
    SharePath::new(&format!("hosts/{id}"))
}
