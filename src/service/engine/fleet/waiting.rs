//! Certificates that wait for a lease which another host has, until the watch tells that it has ended.

use acme_dns_core::id::VariantId;
use std::collections::{BTreeSet, HashMap};

/// Certificates by the name of the lease that they wait for.
#[derive(Default)]
pub(super) struct Waiting(HashMap<String, BTreeSet<VariantId>>);

impl Waiting {
    /// Notes that a certificate waits. Before the lease is asked for: it may end before the answer has come.
    pub(super) fn begin(&mut self, lease: &str, variant: VariantId) {
        self.0.entry(lease.to_owned()).or_default().insert(variant);
    }

    /// Ends the wait of a certificate.
    pub(super) fn end(&mut self, lease: &str, variant: VariantId) {
        if let Some(waiting) = self.0.get_mut(lease) {
            waiting.remove(&variant);
            if waiting.is_empty() {
                self.0.remove(lease);
            }
        }
    }

    /// Ends the wait for a lease; gives those that waited for it.
    pub(super) fn end_all(&mut self, lease: &str) -> BTreeSet<VariantId> {
        self.0.remove(lease).unwrap_or_default()
    }

    /// Tells whether a certificate still waits for a lease.
    pub(super) fn has(&self, lease: &str, variant: VariantId) -> bool {
        self.0.get(lease).is_some_and(|waiting| waiting.contains(&variant))
    }
}
