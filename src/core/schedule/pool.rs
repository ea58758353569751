//! Certificates that are due and need the same thing: their number, and what is at stake.

use super::pace::Stake;
use super::tree::Expiry;
use crate::id::VariantId;
use crate::time::UnixTime;
use std::collections::BTreeSet;

/// Certificates that are due and wait with each other when what they need fails.
#[derive(Debug, Default)]
pub(super) struct DuePool {
    by_end: BTreeSet<(Expiry, VariantId)>,
    /// Sorted by when the rest of the lifetime begins in which a renewal presses.
    by_pressing: BTreeSet<(Expiry, VariantId)>,
}

/// The two times of a certificate that decide what is at stake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The end of the certificate that is served.
    pub(super) end: Expiry,
    /// Time from which its renewal presses.
    pub(super) pressing: Expiry,
}

impl DuePool {
    pub(super) fn insert(&mut self, variant: VariantId, ends: Ends) {
        self.by_end.insert((ends.end, variant));
        self.by_pressing.insert((ends.pressing, variant));
    }

    pub(super) fn remove(&mut self, variant: VariantId, ends: Ends) {
        self.by_end.remove(&(ends.end, variant));
        self.by_pressing.remove(&(ends.pressing, variant));
    }

    /// The number of certificates, and the highest stake among them.
    pub(super) fn waiting(&self, now: UnixTime) -> (usize, Stake) {
        let is_unserved = |(end, _): &(Expiry, VariantId)| end.is_none_or(|end| end <= now);
        let presses = |(time, _): &(Expiry, VariantId)| time.is_none_or(|time| time < now);
        let stake = if self.by_end.first().is_some_and(is_unserved) {
            Stake::Unserved
        } else if self.by_pressing.first().is_some_and(presses) {
            Stake::Pressing
        } else {
            Stake::Calm
        };
        (self.by_end.len(), stake)
    }
}
