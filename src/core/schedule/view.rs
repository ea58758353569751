//! View of the schedule from outside.

use super::{Environment, track::Track};
use super::{HeldParty, Schedule};
use crate::id::{IssuerId, VariantId};
use crate::time::UnixTime;

/// Attempts for a certificate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Set if an attempt is under way.
    pub is_working: bool,
    /// Set if it is due, whether or not it may be tried.
    pub is_due: bool,
    /// Number of attempts in a row that have failed.
    pub failures: u32,
    /// Time at which the certificate that is there was obtained, if that is known.
    pub issued: Option<UnixTime>,
}

impl Schedule {
    /// Gives the standing of a certificate.
    pub fn standing(&self, variant: VariantId) -> Standing {
        let standing = |track: &Track| Standing {
            is_working: !track.is_waiting(),
            is_due: track.is_due(self.now),
            failures: track.progress.failures,
            issued: Some(track.renewal.issued).filter(|time| *time != UnixTime::default()),
        };
        self.tracks.get(variant).map(standing).unwrap_or_default()
    }

    /// Gives the time until which an issuer wants to be left alone by all certificates.
    pub fn asked_pause(&self, issuer: IssuerId) -> Option<UnixTime> {
        let hold = self.held.get(&HeldParty::Issuer(issuer, Environment::Production))?;
        hold.is_on(self.now).then_some(hold.until)
    }
}
