//! Failed attempts: what is saved and told of them, and when it becomes too much to tell.

use super::clock::{now, random};
use super::site::Site;
use crate::acme::ObtainError;
use crate::event::{Ca, CertificateEvent, CertificatesEvent, Culprit, Event, NextAttempt, Sooner};
use acme_dns_core::id::{IssuerId, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Environment, Extent, Failure, Remedy, Schedule, Scope};
use acme_dns_core::time::UnixTime;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Number of failures of single certificates that are told in a span of time; the others are counted.
const TOLD: usize = 10;
const SPAN: Duration = Duration::from_secs(60);

/// Failures of single certificates that were told lately.
#[derive(Debug, Default)]
struct Volume {
    since: Option<Instant>,
    told: usize,
    /// Number of those told at level info only, and whether one of them was an error.
    untold: usize,
    is_error: bool,
}

impl Volume {
    /// The level of another line: its own, as far as there is room.
    fn admit(&mut self, level: Level, now: Instant) -> Level {
        self.since.get_or_insert(now);
        if self.told < TOLD {
            self.told += 1;
            return level;
        }
        self.untold += 1;
        self.is_error |= level == Level::Error;
        Level::Info
    }

    /// Returns the time after which the number of untold failures is told.
    fn pause(&self) -> Duration {
        self.since.map_or(Duration::MAX, |since| SPAN.saturating_sub(since.elapsed()))
    }

    /// Takes what was not told, when the span is over.
    fn take(&mut self) -> Option<Self> {
        self.since.filter(|since| since.elapsed() >= SPAN)?;
        Some(std::mem::take(self)).filter(|volume| volume.untold > 0)
    }
}

/// Attempt that has failed.
#[derive(Clone, Copy)]
pub(super) struct Failed {
    pub(super) variant: VariantId,
    pub(super) issuer: IssuerId,
    pub(super) environment: Environment,
}

/// Failures, and what was told of them lately.
pub(super) struct Failures {
    site: Rc<Site>,
    volume: Volume,
}

impl Failures {
    pub(super) fn new(site: Rc<Site>) -> Self {
        Self { site, volume: Volume::default() }
    }

    /// Returns the time for which there is nothing to tell.
    pub(super) fn pause(&self) -> Duration {
        self.volume.pause()
    }

    /// Saves the progress after a failed attempt, and tells what happens next.
    pub(super) fn handle(
        &mut self,
        schedule: &mut Schedule,
        failed: Failed,
        failure: &Failure,
        error: &ObtainError,
    ) {
        let setback = schedule.handle_failed(failed.variant, now(), failure, random());
        let saved =
            self.site.store.save_progress(self.site.name(failed.variant), &setback.progress);
        if let Err(error) = saved {
            self.site.tell_failure(Level::Error, &error);
        }
        let (level, why) = (setback.level, error.to_string());
        if setback.extent == Extent::Known {
            self.site.tell_life(failed.variant, CertificateEvent::WaitsAsWell { why, level });
            return;
        }
        let next = self.next_attempt(schedule, failed, setback.progress.next);
        if let Extent::Shared { waiting, attempts } = setback.extent
            && waiting > 1
        {
            let culprit = self.culprit(failed, &failure.scope);
            let event = CertificatesEvent::Failed { culprit, waiting, attempts, next, why, level };
            return self.site.tell(&Event::Certificates(event));
        }
        let level = if setback.extent == Extent::Own { self.admit(level) } else { level };
        let (from, attempts) = (self.from(failed), setback.progress.failures);
        let event = CertificateEvent::Failed { from, attempts, next, why, level };
        self.site.tell_life(failed.variant, event);
    }

    /// Returns the level at which one certificate among many is told.
    fn admit(&mut self, level: Level) -> Level {
        self.tell_untold();
        self.volume.admit(level, Instant::now())
    }

    /// Tells how many failures were not told one by one, when it is time to.
    pub(super) fn tell_untold(&mut self) {
        if let Some(Volume { untold, is_error, .. }) = self.volume.take() {
            let level = if is_error { Level::Error } else { Level::Warn };
            let event = CertificatesEvent::Untold { number: untold, span: SPAN, level };
            self.site.tell(&Event::Certificates(event));
        }
    }

    /// Returns the attempt that follows; `at` is its time, unless the schedule has another.
    fn next_attempt(&self, schedule: &Schedule, failed: Failed, at: UnixTime) -> NextAttempt {
        let Failed { variant, issuer, environment } = failed;
        let next = schedule.next_attempt(variant);
        let (at, next, then) = next.unwrap_or((at, issuer, environment));
        let is_same = then == Environment::Production && next == issuer;
        let sooner = match schedule.remedy(variant) {
            Remedy::Reload => Sooner::Reload,
            Remedy::Request => Sooner::Request(self.site.name(variant).to_owned()),
            Remedy::None => Sooner::Never,
        };
        NextAttempt { at, with: (!is_same).then(|| self.ca(next, then)), sooner }
    }

    fn ca(&self, issuer: IssuerId, environment: Environment) -> Ca {
        let name = self.site.issuer(issuer).name.clone();
        match environment {
            Environment::Production => Ca::Production(name),
            Environment::Staging => Ca::Staging(name),
        }
    }

    /// Finds what all certificates wait for.
    fn culprit(&self, failed: Failed, scope: &Scope) -> Culprit {
        let (_, certificate) = self.site.variant(failed.variant);
        let provider = self.site.provider_name(certificate.provider);
        match scope {
            Scope::Issuer => Culprit::Ca(self.ca(failed.issuer, failed.environment)),
            Scope::Zone(zone) | Scope::Room(zone) => Culprit::Zone(zone.clone(), provider),
            _ => Culprit::Provider(provider),
        }
    }

    /// Returns the CA that was asked, where it does not go without saying.
    fn from(&self, failed: Failed) -> Option<Ca> {
        let (_, certificate) = self.site.variant(failed.variant);
        let is_usual = failed.environment == Environment::Production;
        let is_only = certificate.issuers.len() == 1;
        (!is_usual || !is_only).then(|| self.ca(failed.issuer, failed.environment))
    }
}

/// Tells which certificates still wait although a person has loaded the configuration anew.
pub(super) fn tell_standing(site: &Site, schedule: &Schedule) {
    let waiting = site.variants().filter_map(|variant| {
        let until = schedule.stands_until(variant)?;
        Some((until, variant))
    });
    let waiting: Vec<_> = waiting.collect();
    if let Some((until, first)) = waiting.iter().min() {
        let (number, first) = (waiting.len(), site.name(*first).to_owned());
        let event = CertificatesEvent::Standing { number, first, until: *until };
        site.tell(&Event::Certificates(event));
    }
}
