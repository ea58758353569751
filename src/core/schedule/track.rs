//! State of one certificate in the schedule.

use super::party::{Authority, Provider};
use super::progress::{Fingerprint, Progress};
use super::renewal::{Reason, Renewal};
use super::{Environment, Known, Validity};
use crate::time::UnixTime;

/// Later than any time: another attempt has to end first.
pub(super) const AFTER_OTHERS: UnixTime = UnixTime(i64::MAX);

#[derive(Debug)]
pub(super) struct Track {
    pub(super) authorities: Vec<Authority>,
    pub(super) provider: Provider,
    pub(super) names: Vec<String>,
    pub(super) fingerprint: Fingerprint,
    pub(super) validity: Option<Validity>,
    pub(super) renewal: Renewal,
    pub(super) progress: Progress,
    /// The process before has left an order.
    pub(super) is_under_way: bool,
    /// Somebody wants it to be renewed.
    pub(super) asked: bool,
    /// Somebody wants an attempt now, whatever has failed before.
    pub(super) at_once: bool,
    /// There may be a good certificate, which cannot be seen for now.
    pub(super) is_barred: bool,
    pub(super) working: bool,
    pub(super) polling: bool,
}

impl Track {
    pub(super) fn new(known: Known) -> Self {
        let Known { validity, renewal, mut progress, authorities, .. } = known;
        let is_tried = |authority: &Authority| Some(&authority.name) == progress.authority.as_ref();
        if progress.authority.is_some() && !authorities.iter().any(is_tried) {
            progress = progress.switched(None);
        }
        Self {
            authorities,
            provider: known.provider,
            names: known.names,
            fingerprint: known.fingerprint,
            validity,
            renewal,
            progress,
            is_under_way: known.is_under_way,
            asked: false,
            at_once: false,
            is_barred: false,
            working: false,
            polling: false,
        }
    }

    /// When to renew, and why; `None` if there is no certificate.
    pub(super) fn due(&self) -> Option<(UnixTime, Reason)> {
        let validity = self.validity?;
        if self.asked {
            return Some((UnixTime::default(), Reason::Asked));
        }
        Some(self.renewal.due(validity))
    }

    /// The dates of its certificate by our clock.
    pub(super) fn current(&self) -> Option<Validity> {
        self.validity.map(|validity| validity.shifted(self.renewal.skew))
    }

    /// When it is worked on, if nothing but its own failures stands in the way.
    pub(super) fn own_time(&self, now: UnixTime) -> UnixTime {
        let due = self.due().map_or(UnixTime::default(), |(time, _)| time);
        if self.at_once || due > now {
            return due;
        }
        if self.is_barred {
            return AFTER_OTHERS;
        }
        let mut time = due.max(self.progress.earliest(now));
        let current = self.current();
        if let Some(forced) = current.map(Validity::forced)
            && self.progress.last.max(self.renewal.issued) < forced
        {
            time = time.min(forced);
        }
        time.max(self.progress.spent.room_from(now, current))
    }

    pub(super) fn issuer(&self, authority: usize) -> usize {
        self.authorities.get(authority).map_or(0, |authority| authority.issuer)
    }

    /// Which of its CAs is tried.
    pub(super) fn authority(&self) -> usize {
        self.progress.position(&self.authorities)
    }

    /// The environment in which a CA is tried; one that the certificate switches to, in production.
    pub(super) fn environment(&self, authority: usize) -> Environment {
        if authority == self.authority() {
            self.progress.environment()
        } else {
            Environment::Production
        }
    }

    /// Whether one of its names is in a zone.
    pub(super) fn is_in(&self, zone: &str) -> bool {
        self.names.iter().any(|name| {
            let rest = name.len().checked_sub(zone.len());
            let rest = rest.and_then(|length| Some((name.get(..length)?, name.get(length..)?)));
            rest.is_some_and(|(rest, end)| {
                end.eq_ignore_ascii_case(zone) && (rest.is_empty() || rest.ends_with('.'))
            })
        })
    }

    /// What comes first among certificates that are due: what is missing or has expired.
    pub(super) fn urgency(&self) -> UnixTime {
        self.current().map_or(UnixTime::default(), |validity| validity.not_after)
    }
}
