//! State of one certificate in the schedule.

use super::pace::Stake;
use super::party::{Authority, ProviderIdentity};
use super::pool::Ends;
use super::progress::{Fingerprint, Progress};
use super::renewal::{Reason, Renewal};
use super::tree::{Expiry, Rank};
use super::{Environment, Known, Validity};
use crate::id::{IssuerId, ProviderId, VariantId};
use crate::time::UnixTime;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

/// Later than any time: another attempt has to end first.
pub(super) const AFTER_OTHERS: UnixTime = UnixTime(i64::MAX);

#[derive(Debug)]
pub(super) struct Track {
    pub(super) authorities: Arc<[Authority]>,
    pub(super) provider: ProviderIdentity,
    pub(super) names: Vec<String>,
    pub(super) fingerprint: Fingerprint,
    pub(super) validity: Option<Validity>,
    pub(super) renewal: Renewal,
    pub(super) progress: KeptProgress,
    /// The process before has left an order.
    pub(super) is_under_way: bool,
    /// Renewal that somebody has asked for.
    pub(super) wish: Wish,
    /// There may be a good certificate, which cannot be seen for now.
    pub(super) is_barred: bool,
    /// Set if nobody wants it any more: it is neither obtained nor asked about.
    pub(super) is_withdrawn: bool,
    /// Another host has the turn until then.
    pub(super) postponed: UnixTime,
    /// Time at which the attempt before the last one began or ended.
    pub(super) last_before: UnixTime,
    pub(super) state: AttemptState,
    /// The CA is asked when to renew it.
    pub(super) is_asking: bool,
    /// The number of its list of CAs: certificates with the same list have the same.
    pub(super) kin: usize,
    pub(super) place: WaitingPlace,
    /// Sort key among the questions to CAs.
    pub(super) question: Option<UnixTime>,
    pub(super) due: Option<Due>,
}

/// Progress of a certificate, which takes no room before its first attempt: most of thousands have none.
#[derive(Debug, Default)]
pub(super) struct KeptProgress(Option<Box<Progress>>);

impl From<Progress> for KeptProgress {
    fn from(progress: Progress) -> Self {
        Self((progress != Progress::default()).then(|| Box::new(progress)))
    }
}

impl KeptProgress {
    /// Takes it, and leaves none.
    pub(super) fn take(&mut self) -> Progress {
        self.0.take().map_or_else(Progress::default, |progress| *progress)
    }
}

impl Deref for KeptProgress {
    type Target = Progress;

    fn deref(&self) -> &Progress {
        static NONE: LazyLock<Progress> = LazyLock::new(Progress::default);
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for KeptProgress {
    fn deref_mut(&mut self) -> &mut Progress {
        self.0.get_or_insert_default()
    }
}

/// State of a certificate, as in the picture of the schedule.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum AttemptState {
    #[default]
    Waiting,
    Working,
    Probing,
}

/// Renewal that somebody has asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Wish {
    #[default]
    None,
    /// As soon as possible, whatever has failed before.
    AtOnce,
    /// It was tried, and is tried again at the pace of all others.
    Tried,
}

/// Place in which a certificate waits for its next attempt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum WaitingPlace {
    #[default]
    Nowhere,
    /// Among those that are looked at later.
    Later(UnixTime),
    /// In a line.
    Line(usize),
}

/// Something shared that can fail: what a gate stands before.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum GateSubject {
    Issuer(IssuerId, Environment),
    Provider(ProviderId),
    /// A provider, and the number of the zone among those that had a gate.
    Zone(ProviderId, usize),
}

/// A certificate that is due, and what it needs.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) ends: Ends,
    pub(super) subjects: Vec<GateSubject>,
}

impl Track {
    pub(super) fn new(known: Known, kin: usize, authorities: Arc<[Authority]>) -> Self {
        let Known { validity, renewal, mut progress, .. } = known;
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
            progress: progress.into(),
            is_under_way: known.is_under_way,
            wish: Wish::None,
            is_barred: false,
            is_withdrawn: false,
            postponed: UnixTime::default(),
            last_before: UnixTime::default(),
            state: AttemptState::Waiting,
            is_asking: false,
            kin,
            place: WaitingPlace::Nowhere,
            question: None,
            due: None,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.state == AttemptState::Waiting
    }

    pub(super) fn is_at_once(&self) -> bool {
        self.wish == Wish::AtOnce
    }

    /// Gives the time of the renewal and the reason for it; `None` if there is no certificate.
    pub(super) fn renewal_due(&self) -> Option<(UnixTime, Reason)> {
        let validity = self.validity?;
        if self.wish != Wish::None {
            return Some((UnixTime::default(), Reason::Asked));
        }
        Some(self.renewal.due(validity))
    }

    /// Gives the time at which its CA is asked when to renew it. `None`: it is not asked.
    pub(super) fn question_time(&self, now: UnixTime) -> Option<UnixTime> {
        let is_quiet = self.validity.is_some() && self.is_waiting() && !self.is_asking;
        (is_quiet && !self.is_withdrawn).then(|| self.renewal.poll_time(now))
    }

    /// Tells whether it is to be obtained, by its dates alone.
    pub(super) fn is_due(&self, now: UnixTime) -> bool {
        !self.is_withdrawn && self.renewal_due().is_none_or(|(time, _)| time <= now)
    }

    /// Its current CA and its DNS provider.
    pub(super) fn shares(&self) -> impl Iterator<Item = GateSubject> + use<> {
        let current = self.authority();
        let issuer = self
            .authorities
            .get(current)
            .map(|authority| GateSubject::Issuer(authority.issuer, self.environment(current)));
        issuer.into_iter().chain([GateSubject::Provider(self.provider.id)])
    }

    /// The dates of its certificate by our clock.
    pub(super) fn current(&self) -> Option<Validity> {
        self.validity.map(|validity| validity.shifted(self.renewal.skew))
    }

    /// Gives the time from which it is worked on, if nothing but its own failures stands in the way.
    pub(super) fn own_time(&self, now: UnixTime) -> UnixTime {
        if self.is_withdrawn {
            return AFTER_OTHERS;
        }
        let due = self.renewal_due().map_or(UnixTime::default(), |(time, _)| time);
        if self.is_at_once() || due > now {
            return due.max(self.postponed);
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
        time.max(self.progress.spent.room_from(now, current)).max(self.postponed)
    }

    pub(super) fn issuer(&self, authority: usize) -> IssuerId {
        self.authorities.get(authority).map_or(IssuerId::default(), |authority| authority.issuer)
    }

    /// Finds the one of its CAs that is tried.
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

    /// Tells whether one of its names is in a zone.
    pub(super) fn is_in(&self, zone: &str) -> bool {
        self.names.iter().any(|name| is_in(name, zone))
    }

    /// The order among certificates that are due: what is missing comes first, then what expires
    /// first, and among equals the one that waits for the longest time.
    pub(super) fn rank(&self, variant: VariantId) -> Rank {
        let since = self.renewal_due().map_or(UnixTime::default(), |(time, _)| time);
        (self.end(), since.max(self.progress.next), variant)
    }

    /// The end of what is served, by our clock.
    pub(super) fn end(&self) -> Expiry {
        self.current().map(|validity| validity.not_after)
    }

    /// Gives the times that decide what is at stake.
    pub(super) fn ends(&self) -> Ends {
        Ends { end: self.end(), pressing: self.current().map(Stake::pressing_from) }
    }

    /// Until when it leaves one of its CAs alone, by what was asked for in its own attempts.
    pub(super) fn held_until(&self, authority: usize, now: UnixTime) -> UnixTime {
        let environment = self.environment(authority);
        let Some(authority) = self.authorities.get(authority) else { return now };
        let own = self.progress.holds.iter().filter(|hold| hold.concerns(authority, environment));
        own.map(|hold| hold.heeded_until(now, self.current())).max().unwrap_or_default()
    }

    /// Gives the time from which it may be worked on, if nothing that it shares with others stands in the way.
    pub(super) fn ready_time(&self, now: UnixTime) -> UnixTime {
        let time = self.own_time(now);
        match self.has_choice() {
            true => time,
            false => time.max(self.held_until(self.authority(), now)),
        }
    }

    /// Tells whether another CA can be tried in the place of the current one.
    pub(super) fn has_choice(&self) -> bool {
        self.authorities.len() > 1 && !self.is_at_once()
    }
}

/// Tells whether a name is a zone's or below it.
pub(super) fn is_in(name: &str, zone: &str) -> bool {
    let rest = name.len().checked_sub(zone.len());
    let rest = rest.and_then(|length| Some((name.get(..length)?, name.get(length..)?)));
    rest.is_some_and(|(rest, end)| {
        end.eq_ignore_ascii_case(zone) && (rest.is_empty() || rest.ends_with('.'))
    })
}
