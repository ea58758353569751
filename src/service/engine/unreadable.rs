//! Certificates that are on disk and cannot be read.
//!
//! What this user may not read, or a disk does not give for a moment, is no reason to order: it may be a good
//! certificate, and a volume with wrong owners would cost an order at each start. It is said what to
//! do, and the files are looked at again every few seconds, so that nothing else has to be done once
//! they can be read. A disk that fails for longer is another matter: what it holds is lost.

use super::work::{Served, Work, now, random};
use crate::store::{Facts, Store, StoreError, Stored};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Renewal, Validity};
use acme_dns_core::text::list;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long something else than permissions may keep a certificate from being read.
const PATIENCE: Duration = Duration::from_secs(600);

/// So many are looked at in a round: a look takes microseconds, unless a disk hangs.
const ROUND: usize = 64;

/// The certificates that cannot be read, the one that was looked at longest ago first.
#[derive(Default)]
pub(super) struct Unreadable {
    entries: VecDeque<(usize, Instant)>,
    /// Why the first of them cannot be read, until that is told.
    why: Option<StoreError>,
}

impl Unreadable {
    /// Notes that a variant cannot be read.
    pub(super) fn note(&mut self, entry: usize, why: StoreError) {
        self.entries.push_back((entry, Instant::now()));
        self.why.get_or_insert(why);
    }
}

/// Whether a certificate that cannot be read may be a good one, for all that is known.
pub(super) fn may_be_good(error: &StoreError) -> bool {
    !error.is_about_content()
}

impl Work {
    /// Has nothing ordered in the place of what cannot be read, unless something else does for it, and says so
    /// in one line.
    pub(super) fn bar_unreadable(&mut self, validities: impl Fn(usize) -> Option<Validity>) {
        self.unreadable.entries.retain(|(entry, _)| validities(*entry).is_none());
        let entries: Vec<usize> = self.unreadable.entries.iter().map(|(entry, _)| *entry).collect();
        if let Some(schedule) = self.schedule() {
            entries.iter().for_each(|entry| schedule.bar(*entry));
        }
        let Some(why) = self.unreadable.why.take() else { return };
        let config = Arc::clone(&self.config);
        let names = entries.iter().filter_map(|entry| config.variants.get(*entry));
        let names: Vec<&str> = names.map(|variant| variant.name.as_str()).collect();
        match names.as_slice() {
            [] => {}
            [name] => self.log(
                Level::Error,
                format_args!(
                    "certificate \"{name}\" on disk cannot be read, nothing is ordered in its place: {why}; \
                     \"actions/renew-{name}\" orders a new one"
                ),
            ),
            names => self.log(
                Level::Error,
                format_args!(
                    "{} certificates on disk cannot be read, nothing is ordered in their place: {why}; \
                     they are {}",
                    names.len(),
                    list(names)
                ),
            ),
        }
    }

    /// Looks whether what could not be read can be now.
    pub(super) fn look_at_unreadable(&mut self) {
        let Some(store) = self.store() else { return };
        for _ in 0..self.unreadable.entries.len().min(ROUND) {
            let Some((entry, since)) = self.unreadable.entries.pop_front() else { return };
            let Some(name) = self.config.variants.get(entry).map(|v| v.name.clone()) else {
                return;
            };
            // It was obtained meanwhile, as somebody has asked for it.
            if self.planned().is_some_and(|schedule| schedule.renewal(entry).is_some()) {
                continue;
            }
            match store.load_certificate(&name) {
                Err(error)
                    if error.is_denied() || may_be_good(&error) && since.elapsed() < PATIENCE =>
                {
                    self.unreadable.entries.push_back((entry, since));
                }
                Ok(Some(stored)) => self.serve_found(&store, entry, &name, stored),
                read => {
                    let why = read.err().map_or_else(|| "it is gone".to_owned(), |e| e.to_string());
                    self.log(
                        Level::Error,
                        format_args!(
                            "certificate \"{name}\" on disk cannot be used, a new one will be obtained: \
                             {why}"
                        ),
                    );
                    self.unbar(entry, None);
                }
            }
        }
    }

    fn unbar(&mut self, entry: usize, found: Option<(Validity, Renewal)>) {
        if let Some(schedule) = self.schedule() {
            schedule.unbar(entry, found, now(), random());
        }
    }

    /// Serves a certificate that can be read at last.
    fn serve_found(&mut self, store: &Store, entry: usize, name: &str, stored: Stored) {
        let config = Arc::clone(&self.config);
        let Some((variant, certificate)) = config.variant(entry) else { return };
        let Stored { material, facts, .. } = stored;
        let issuer = self.issuer_of(facts.directory.as_deref());
        let pair = material.pairs.into_iter().next();
        self.serve(entry, Served { pair, issuer, stands_in: false });
        self.begin_staple(entry);
        self.publish(variant.certificate);
        let Facts { validity, .. } = facts;
        let is_wanted = facts.traits().difference(&config, variant, certificate).is_none();
        let renewal = store.load_renewal(name).ok().flatten().unwrap_or_default();
        self.unbar(entry, is_wanted.then_some((validity, renewal)));
        let until = validity.not_after;
        self.log(
            Level::Notice,
            format_args!(
                "certificate \"{name}\" can be read again and is served, valid until {until}"
            ),
        );
    }
}
