//! Failed attempts: what is kept and said of them.

use super::work::{Work, now, random};
use crate::acme::ObtainError;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Environment, Extent, Failure, Remedy, Scope, Setback};
use std::sync::Arc;

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
            Remedy::Reload => " or at a reload".to_owned(),
            Remedy::Request => format!(", sooner only by \"actions/renew-{name}\""),
            Remedy::None => ", not sooner, as was asked for".to_owned(),
        };
        let party = Party { entry, issuer, environment };
        let (what, attempts) = match extent {
            Extent::Shared { waiting, attempts } if waiting > 1 => {
                let what = self.shared_subject(&party, &failure.scope);
                (format!("{what}: {waiting} certificates wait"), attempts)
            }
            _ => (self.own_subject(&party), progress.failures),
        };
        if extent == Extent::Known {
            return self.log(level, format_args!("certificate \"{name}\" waits, too: {error}"));
        }
        self.log(
            level,
            format_args!("{what}, attempt {attempts}, next attempt at {at}{with}{sooner}: {error}"),
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
