//! Records of dns-persist-01: which one a name needs, whether it is there, and who can write it.
//!
//! ```text
//! look at the servers -> there: nothing to do
//!                     \-> missing -> a provider can hold it: it is written, and stays
//!                                 \-> nobody can: it is told, and looked for again
//! ```
//!
//! What a record has to say, and whether one does, is pure: [`acme_dns_core::persist`].

use super::ObtainerState;
use super::error::{NeededRecord, ObtainError};
use super::issuer::Session;
use super::now;
use super::teller::Teller;
use crate::dns::{ProviderError, Route, TxtRecord, Zone, on_account_of};
use crate::event::PersistEvent;
use acme_dns_core::config::Certificate;
use acme_dns_core::persist::{
    ANY_DOMAIN, Challenge, Good, Look, Terms, Wanted, end_of, hash_input, hashed_account,
    record_name, zone_line,
};
use openssl::sha::sha256;
use std::time::{Duration, Instant};

/// Time after which a record that is missing is told again.
const REMINDER: Duration = Duration::from_secs(3600);

/// A record of dns-persist-01, and what is to be done about it.
pub(super) struct PersistRecord {
    /// Its name.
    name: String,
    /// The value that it should have.
    value: String,
    /// The record that is there, if it will do.
    good: Option<Good>,
    pub(super) step: PersistStep,
}

/// Next step with a record.
pub(super) enum PersistStep {
    /// Nothing: it is there.
    Keep,
    /// Nothing, although it ends soon, or is of an earlier key: nobody here can write it.
    KeepStale,
    /// It is to be written.
    Write(PersistWrite),
    /// Nobody here can write it.
    Wait(NeededRecord),
}

/// A record that is to be written.
pub(super) struct PersistWrite {
    pub(super) provider: String,
    pub(super) zone: Zone,
    pub(super) record: TxtRecord,
    /// The values that it takes the place of.
    pub(super) replaced: Vec<String>,
    /// Set unless one of them will do for now.
    pub(super) is_urgent: bool,
}

/// The account that records name, as far as they are made of it.
pub(super) struct PersistAccount<'a> {
    /// Its URL.
    pub(super) url: &'a str,
    /// The thumbprint of its key (RFC 7638).
    pub(super) thumbprint: &'a str,
    /// Those of the keys that it had before.
    pub(super) former: Vec<&'a str>,
}

impl PersistAccount<'_> {
    /// Gives what a record has to say that proves a name, which is given without `*.`, but for wildcards. Without a
    /// challenge: as far as the CA's directory says it.
    pub(super) fn wanted(
        &self,
        terms: &Terms,
        base: &str,
        challenge: Option<&Challenge>,
    ) -> Option<Wanted> {
        let issuers = challenge.map_or(terms.issuers(), |challenge| &challenge.issuers);
        if issuers.is_empty() {
            return None;
        }
        let (mut accounts, mut former) = (Vec::new(), Vec::new());
        match terms.hash_prefix() {
            None => {
                let of_challenge = challenge.and_then(|challenge| challenge.account.as_deref());
                accounts.push(of_challenge.unwrap_or(self.url).to_owned());
            }
            Some(prefix) => {
                let hashed = |domain: &str, thumbprint: &str| {
                    hashed_account(prefix, &sha256(&hash_input(domain, thumbprint, self.url)))
                };
                accounts.extend([base, ANY_DOMAIN].map(|domain| hashed(domain, self.thumbprint)));
                for thumbprint in &self.former {
                    former.extend([base, ANY_DOMAIN].map(|domain| hashed(domain, thumbprint)));
                }
            }
        }
        Some(Wanted { issuers: issuers.to_vec(), accounts, former, wildcard: false })
    }
}

impl Session {
    /// Gives what a record has to say that proves a name to this CA, as [`PersistAccount::wanted`].
    pub(super) fn persistent(&self, base: &str, challenge: Option<&Challenge>) -> Option<Wanted> {
        let account = PersistAccount {
            url: self.account.id(),
            thumbprint: &self.thumbprint,
            former: self.former_thumbprints().collect(),
        };
        account.wanted(self.directory.persist(), base, challenge)
    }
}

impl ObtainerState {
    /// Looks for a record, and decides what is to be done, where records are written for the time `span`.
    /// `wanted` says nothing of wildcards yet.
    ///
    /// # Errors
    /// Aliases lead nowhere, or the provider that should write it does not work.
    pub(super) async fn persist_record(
        &self,
        certificate: &Certificate,
        (base, wanted): (&str, Wanted),
        span: Option<Duration>,
        teller: &Teller,
    ) -> Result<PersistRecord, ObtainError> {
        let wanted = Wanted { wildcard: self.has_wildcard(certificate, base), ..wanted };
        let route = self.route(&record_name(base), teller).await?;
        let name = route.target().to_owned();
        let (at, look) = (now(), self.look(&name, &wanted).await);
        let found = look.as_ref().ok();
        let good = found.and_then(|look| look.good);
        let is_stale = good.is_some_and(|good| good.is_former || good.ends_soon(span, at));
        let first = || wanted.issuers.first().cloned().unwrap_or_default();
        let issuer = found.map_or_else(first, |look| look.issuer.clone());
        let value = wanted.value(&issuer, span.map(|span| end_of(span, at)));
        let record = TxtRecord { name: name.clone(), value: value.clone() };
        let writer = match good {
            Some(_) if !is_stale => None,
            // It will do for now, whatever the provider says.
            Some(_) => self.writer(certificate, &route, &record).await.unwrap_or_default(),
            None => self.writer(certificate, &route, &record).await?,
        };
        let step = if good.is_some() && !is_stale {
            PersistStep::Keep
        } else if let Some((provider, zone)) = writer {
            let replaced = found.map(|look| look.own.clone()).unwrap_or_default();
            let replaced = replaced.into_iter().filter(|other| *other != value).collect();
            let is_urgent = good.is_none();
            PersistStep::Write(PersistWrite { provider, zone, record, replaced, is_urgent })
        } else if good.is_some() {
            PersistStep::KeepStale
        } else {
            let why = look.map_or_else(Some, |look| look.fault);
            PersistStep::Wait(NeededRecord { name: name.clone(), value: value.clone(), why })
        };
        Ok(PersistRecord { name, value, good, step })
    }

    /// Looks at all servers of its zone for a record; the reason why none of them answers.
    async fn look(&self, name: &str, wanted: &Wanted) -> Result<Look, String> {
        let servers = self.checker.values(&self.resolver, name).await?;
        let at = now();
        let look = |values: &Vec<String>| wanted.look(values.iter().map(String::as_str), at);
        let joined = servers.iter().map(look).reduce(Look::joined);
        joined.ok_or_else(|| "no server has answered".to_owned())
    }

    /// Finds the provider that can write a record, and its zone there. `None`: nobody can.
    async fn writer(
        &self,
        certificate: &Certificate,
        route: &Route,
        record: &TxtRecord,
    ) -> Result<Option<(String, Zone)>, ObtainError> {
        let challenge = route.is_delegated().then(|| route.challenge());
        let Ok(name) = self.provider_for(certificate, &record.name, challenge) else {
            return Ok(None);
        };
        if !self.provider_named(name).is_some_and(|provider| provider.can_hold(record)) {
            return Ok(None);
        }
        let own = self.own_provider(certificate).unwrap_or_default();
        let found = self.zone_of((own, name), &record.name, challenge);
        match on_account_of(&certificate.name, found).await {
            Ok(zone) => Ok(Some((name.to_owned(), zone))),
            Err(
                ObtainError::Provider(ProviderError::NoZone { .. })
                | ObtainError::OtherProvider(ProviderError::NoZone { .. }),
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells whether a wildcard of a name is among those that one of the same CAs certifies: one record serves
    /// all certificates.
    fn has_wildcard(&self, certificate: &Certificate, base: &str) -> bool {
        self.wildcards.borrow_mut().have(&self.config, certificate, base)
    }

    /// Tells that records are missing: once an hour each, and the other times where nobody sees it.
    pub(super) fn tell_needed(&self, records: &[NeededRecord], teller: &Teller) {
        for record in records {
            let NeededRecord { name, value, why } = record;
            let (is_due, line) = (self.is_due(record), zone_line(name, value));
            if is_due {
                self.needed.borrow_mut().insert(name.clone(), Instant::now());
            }
            teller.persist(PersistEvent::Needed { line, why: why.clone(), is_due });
        }
    }

    /// Tells whether the next line about a record is due.
    pub(super) fn is_due(&self, record: &NeededRecord) -> bool {
        let needed = self.needed.borrow();
        needed.get(&record.name).is_none_or(|told| told.elapsed() >= REMINDER)
    }
}

impl PersistRecord {
    /// Tells what is remarkable of a record that is there.
    pub(super) fn tell(&self, state: &ObtainerState, teller: &Teller) {
        let Some(good) = self.good else { return };
        if state.needed.borrow_mut().remove(&self.name).is_some() {
            teller.persist(PersistEvent::Found { name: self.name.clone() });
        }
        if let (PersistStep::KeepStale, Some(until)) = (&self.step, good.until) {
            let line = zone_line(&self.name, &self.value);
            teller.persist(PersistEvent::EndsSoon { until, line });
        }
    }
}
