//! Failed attempts: what is kept and said of them.

use super::work::{Work, now, random};
use crate::acme::ObtainError;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Environment, Extent, Failure, Remedy, Scope, Setback};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So many failures of single certificates are told in a span of time; of the others, how many there are.
const TOLD: usize = 10;
const SPAN: Duration = Duration::from_secs(60);

/// What was said of failures of single certificates lately.
#[derive(Debug, Default)]
pub(super) struct Volume {
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
    pub(super) fn pause(&self) -> Duration {
        self.since.map_or(Duration::MAX, |since| SPAN.saturating_sub(since.elapsed()))
    }

    /// Takes what was not told, when the span is over.
    fn take(&mut self) -> Option<Self> {
        self.since.filter(|since| since.elapsed() >= SPAN)?;
        Some(std::mem::take(self)).filter(|volume| volume.untold > 0)
    }
}

/// What has failed with whom.
struct Party<'a> {
    entry: usize,
    /// The issuer's name.
    issuer: &'a str,
    environment: Environment,
}

impl Work {
    /// Keeps what a failed attempt for a variant was, with which issuer and where, and says what happens
    /// next: that stands before the reason, as nginx cuts long lines.
    pub(super) fn handle_failure(
        &mut self,
        (entry, issuer, environment): (usize, usize, Environment),
        failure: &Failure,
        error: &ObtainError,
    ) {
        let config = Arc::clone(&self.config);
        let Some((variant, _)) = config.variant(entry) else { return };
        let name = &variant.name;
        let Some(store) = self.store() else { return };
        let Some(schedule) = self.schedule() else { return };
        let setback = schedule.handle_failed(entry, now(), failure, random());
        let next = schedule.next_attempt(entry);
        let remedy = schedule.remedy(entry);
        let Setback { progress, extent, level } = setback;
        if let Err(error) = store.save_progress(name, &progress) {
            self.log(Level::Error, format_args!("{error}"));
        }
        let issuer = config.issuers.get(issuer).map_or("", |issuer| issuer.name.as_str());
        let (at, next, then) = next.unwrap_or((progress.next, 0, environment));
        let next = config.issuers.get(next).map_or("", |issuer| issuer.name.as_str());
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
        let party = Party { entry, issuer, environment };
        let (what, wait, attempts) = match extent {
            Extent::Shared { waiting, attempts } if waiting > 1 => {
                let wait = format!(": {waiting} certificates wait");
                (self.shared_subject(&party, &failure.scope), wait, attempts)
            }
            _ => (self.own_subject(&party), String::new(), progress.failures),
        };
        if extent == Extent::Known {
            return self.log(level, format_args!("certificate \"{name}\" waits, too: {error}"));
        }
        let reason = error.to_string();
        // What has failed is not named twice.
        let reason = reason.strip_prefix(&format!("{what} ")).unwrap_or(&reason);
        let line = format_args!(
            "{what}{wait}, attempt {attempts}, next attempt at {at}{with}{sooner}: {reason}"
        );
        match extent {
            Extent::Own => self.log_own(level, line),
            Extent::Shared { .. } | Extent::Known => self.log(level, line),
        }
    }

    /// Tells of one certificate among many.
    fn log_own(&mut self, level: Level, line: fmt::Arguments<'_>) {
        self.tell_untold();
        let level = self.volume.admit(level, Instant::now());
        self.log(level, line);
    }

    /// Says how many failures were not told one by one, when it is time to.
    pub(super) fn tell_untold(&mut self) {
        let Some(Volume { untold, is_error, .. }) = self.volume.take() else { return };
        let level = if is_error { Level::Error } else { Level::Warn };
        self.log(
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
        let Party { entry, issuer, environment } = party;
        let provider = self.config.variant(*entry).map(|(_, certificate)| certificate.provider);
        let provider = provider.and_then(|provider| self.config.providers.get(provider));
        let provider = provider.map_or("", |provider| provider.name.as_str());
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
        let Party { entry, issuer, environment } = party;
        let Some((variant, certificate)) = self.config.variant(*entry) else {
            return String::new();
        };
        let from = match (environment, certificate.issuers.len()) {
            (Environment::Staging, _) => {
                format!(" in a test with the staging environment of \"{issuer}\"")
            }
            (Environment::Production, 1) => String::new(),
            (Environment::Production, _) => format!(" from \"{issuer}\""),
        };
        format!("certificate \"{}\" was not obtained{from}", variant.name)
    }

    /// Says which certificates still wait although a person has loaded the configuration anew.
    pub(super) fn tell_standing(&mut self) {
        let variants = 0..self.config.variants.len();
        let Some(schedule) = self.schedule() else { return };
        let waiting = variants.filter_map(|entry| Some((schedule.stands_until(entry)?, entry)));
        let waiting: Vec<_> = waiting.collect();
        let Some((until, first)) = waiting.iter().min() else { return };
        let name = self.config.variants.get(*first).map_or("", |variant| variant.name.as_str());
        let what = match waiting.len() {
            1 => format!("certificate \"{name}\" waits until {until}"),
            more => format!("{more} certificates wait, \"{name}\" until {until}"),
        };
        self.log(
            Level::Warn,
            format_args!(
                "{what}: attempts have failed too often, and the configuration is the same; \
                 \"actions/renew-NAME\" tries at once"
            ),
        );
    }
}
