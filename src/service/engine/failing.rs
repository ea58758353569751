//! Failed attempts: what is saved and told of them, and when it becomes too much to tell.

use super::clock::{now, random};
use super::site::Site;
use crate::acme::ObtainError;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Environment, Extent, Failure, Remedy, Schedule, Scope, Setback};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// So many failures of single certificates are told in a span of time; of the others, how many there are.
const TOLD: usize = 10;
const SPAN: Duration = Duration::from_secs(60);

/// What was said of failures of single certificates lately.
#[derive(Debug, Default)]
struct Volume {
    since: Option<Instant>,
    told: usize,
    /// How many were told at level info only, and how loud the loudest of them was.
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

    /// How long the number of untold failures is waited for.
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
    pub(super) variant: usize,
    pub(super) issuer: usize,
    pub(super) environment: Environment,
}

/// Certificate and issuer of an attempt, as lines name them.
struct Party<'a> {
    variant: usize,
    /// The issuer's name.
    issuer: &'a str,
    environment: Environment,
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

    /// Saves the progress after a failed attempt, and tells what happens next: that stands before the reason,
    /// as nginx cuts long lines.
    pub(super) fn handle(
        &mut self,
        schedule: &mut Schedule,
        Failed { variant, issuer, environment }: Failed,
        failure: &Failure,
        error: &ObtainError,
    ) {
        let site = Rc::clone(&self.site);
        let name = site.name(variant);
        let setback = schedule.handle_failed(variant, now(), failure, random());
        let next = schedule.next_attempt(variant);
        let remedy = schedule.remedy(variant);
        let Setback { progress, extent, level } = setback;
        if let Err(error) = site.store.save_progress(name, &progress) {
            site.log(Level::Error, format_args!("{error}"));
        }
        let issuer = site.issuer(issuer).name.as_str();
        let (at, next, then) = next
            .map_or((progress.next, issuer, environment), |(at, next, then)| {
                (at, site.issuer(next).name.as_str(), then)
            });
        let with = match then {
            Environment::Staging => format!(" with the staging environment of \"{next}\""),
            Environment::Production if next == issuer => String::new(),
            Environment::Production => format!(" with \"{next}\""),
        };
        let sooner = match remedy {
            Remedy::Reload => ", or at once after a reload".to_owned(),
            Remedy::Request => format!(", sooner only by \"actions/renew-{name}\""),
            Remedy::None => ", not sooner, as was asked for".to_owned(),
        };
        let party = Party { variant, issuer, environment };
        let (what, wait, attempts) = match extent {
            Extent::Shared { waiting, attempts } if waiting > 1 => {
                let wait = format!(": {waiting} certificates wait");
                (self.shared_subject(&party, &failure.scope), wait, attempts)
            }
            _ => (self.own_subject(&party), String::new(), progress.failures),
        };
        if extent == Extent::Known {
            return site.log(level, format_args!("certificate \"{name}\" waits, too: {error}"));
        }
        let reason = error.to_string();
        // What has failed is not named twice.
        let reason = reason.strip_prefix(&format!("{what} ")).unwrap_or(&reason);
        let line = format_args!(
            "{what}{wait}, attempt {attempts}, next attempt at {at}{with}{sooner}: {reason}"
        );
        match extent {
            Extent::Own => self.log_own(level, line),
            Extent::Shared { .. } | Extent::Known => site.log(level, line),
        }
    }

    /// Tells of one certificate among many.
    fn log_own(&mut self, level: Level, line: fmt::Arguments<'_>) {
        self.tell_untold();
        let level = self.volume.admit(level, Instant::now());
        self.site.log(level, line);
    }

    /// Says how many failures were not told one by one, when it is time to.
    pub(super) fn tell_untold(&mut self) {
        let Some(Volume { untold, is_error, .. }) = self.volume.take() else { return };
        let level = if is_error { Level::Error } else { Level::Warn };
        self.site.log(
            level,
            format_args!(
                "{untold} more certificates were not obtained within {} s and will be tried again: level \
                 \"info\" of the error log has them one by one",
                SPAN.as_secs()
            ),
        );
    }

    /// What all certificates wait for.
    fn shared_subject(&self, party: &Party<'_>, scope: &Scope) -> String {
        let Party { variant, issuer, environment } = party;
        let (_, certificate) = self.site.variant(*variant);
        let provider = &self.site.config.providers[certificate.provider].name;
        match (scope, environment) {
            (Scope::Issuer, Environment::Production) => format!("issuer \"{issuer}\""),
            (Scope::Issuer, Environment::Staging) => format!("staging of issuer \"{issuer}\""),
            (Scope::Zone(zone) | Scope::Room(zone), _) => {
                format!("zone \"{zone}\" of provider \"{provider}\"")
            }
            _ => format!("provider \"{provider}\""),
        }
    }

    /// Which certificate was not obtained, and from whom.
    fn own_subject(&self, party: &Party<'_>) -> String {
        let Party { variant, issuer, environment } = party;
        let (_, certificate) = self.site.variant(*variant);
        let from = match (environment, certificate.issuers.len()) {
            (Environment::Staging, _) => {
                format!(" in a test with the staging environment of \"{issuer}\"")
            }
            (Environment::Production, 1) => String::new(),
            (Environment::Production, _) => format!(" from \"{issuer}\""),
        };
        format!("certificate \"{}\" was not obtained{from}", self.site.name(*variant))
    }
}

/// Tells which certificates still wait although a person has loaded the configuration anew.
pub(super) fn tell_standing(site: &Site, schedule: &Schedule) {
    let waiting = site.variants().filter_map(|variant| {
        let until = schedule.stands_until(variant)?;
        Some((until, variant))
    });
    let waiting: Vec<_> = waiting.collect();
    let Some((until, first)) = waiting.iter().min() else { return };
    let name = site.name(*first);
    let what = match waiting.len() {
        1 => format!("certificate \"{name}\" waits until {until}"),
        more => format!("{more} certificates wait, \"{name}\" until {until}"),
    };
    site.log(
        Level::Warn,
        format_args!(
            "{what}: attempts have failed too often, and the configuration is the same; \
             \"actions/renew-NAME\" tries at once"
        ),
    );
}
