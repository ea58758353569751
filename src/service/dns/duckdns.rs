//! DuckDNS (<https://www.duckdns.org/spec.jsp>).
//!
//! A domain has one TXT record, which all names below it have, too. It is set and cleared by one GET request with
//! the token in its query, and cannot be read.

use super::request::{Advice, retrying, send};
use super::spacing::Spacing;
use super::{
    About, DnsProvider, PlacedRecord, ProviderError, Redactor, Refusal, RefusalReason, Rule,
    SparedRecord, TxtRecord, ValueLimit, Zone, by_rule,
};
use crate::http::{Clients, HttpError};
use crate::resolver::Resolver;
use acme_dns_core::config::{DuckDnsSettings as Settings, SecretId};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use url::Url;

/// The longest answer, in bytes: it is `OK` or `KO`.
const MAX_ANSWER: usize = 64 << 10;

/// The zone that all domains are in, with the dot in front of it.
const ZONE: &str = ".duckdns.org";

/// The time to live of the record: so long may a CA's resolver remember the value before.
const SPACING: Duration = Duration::from_secs(60);

const ADVICE: Advice = Advice { credentials: "check \"token_file\" or \"token\"", url: "api" };

/// The client of one `acme_dns_provider` block.
pub struct DuckDns {
    name: String,
    http: reqwest::Client,
    update: Url,
    token: SecretString,
    redactor: Redactor,
    spacing: Spacing,
    /// The value that was last set for each domain.
    values: RefCell<HashMap<String, String>>,
}

impl fmt::Debug for DuckDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuckDns").field("name", &self.name).finish_non_exhaustive()
    }
}

impl DuckDns {
    /// Makes a client; `name` is the one of the block.
    ///
    /// # Errors
    /// The TLS library refuses the trusted certificates.
    pub fn new(
        name: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
        clients: &Clients,
    ) -> Result<Self, HttpError> {
        let invalid_url = || HttpError::Url(settings.api.clone());
        let mut update = Url::parse(&settings.api).map_err(|_| invalid_url())?;
        update.path_segments_mut().map_err(|()| invalid_url())?.pop_if_empty().push("update");
        let token = secret(settings.token);
        Ok(Self {
            name: name.to_owned(),
            http: clients.get(settings.trusted_certificate.as_deref())?,
            update,
            redactor: Redactor::new([token.clone()]),
            token,
            spacing: Spacing::new(SPACING),
            values: RefCell::default(),
        })
    }

    /// Changes the least time between two values of a domain.
    #[must_use]
    pub fn with_spacing(mut self, spacing: Duration) -> Self {
        self.spacing = Spacing::new(spacing);
        self
    }

    /// Sets or clears the record of a domain.
    async fn update(
        &self,
        domain: &str,
        (key, value): (&str, &str),
        action: &str,
    ) -> Result<(), ProviderError> {
        let mut url = self.update.clone();
        url.query_pairs_mut()
            .append_pair("domains", domain)
            .append_pair("token", self.token.expose_secret())
            .append_pair(key, value);
        let updated = retrying(async || {
            let request = self.http.get(url.clone());
            let answer = send(request, MAX_ANSWER, &self.redactor, action).await?;
            if !answer.status.is_success() {
                let words = answer.words("error", &self.redactor);
                return Err(answer.error(words, &ADVICE, action));
            }
            match answer.body.trim_ascii() {
                b"OK" => Ok(()),
                b"KO" => Err(refused(domain, action)),
                _ => {
                    let detail = "it is neither \"OK\" nor \"KO\", check \"api\"";
                    Err(ProviderError::unexpected(action, detail))
                }
            }
        });
        let updated = updated.await;
        self.spacing.note(domain);
        updated
    }

    async fn set(&self, domain: &str, record: &TxtRecord) -> Result<(), ProviderError> {
        let TxtRecord { name, value } = record;
        let action = format!("provider \"{}\" cannot create TXT record \"{name}\"", self.name);
        self.spacing.wait(domain).await;
        let set = self.update(domain, ("txt", value), &action).await;
        if !set.as_ref().is_err_and(ProviderError::is_definite) {
            self.values.borrow_mut().insert(domain.to_owned(), value.clone());
        }
        set
    }

    /// Clears the record of a domain, unless it is known to have another value by now.
    async fn clear(&self, domain: &str, record: &TxtRecord) -> Result<(), ProviderError> {
        let is_other = |value: &String| *value != record.value;
        if self.values.borrow().get(domain).is_some_and(is_other) {
            return Ok(());
        }
        let name = &record.name;
        let action = format!("provider \"{}\" cannot remove TXT record \"{name}\"", self.name);
        self.update(domain, ("clear", "true"), &action).await
    }
}

#[async_trait(?Send)]
impl DnsProvider for DuckDns {
    async fn zone_of(&self, name: &str, _: &Resolver) -> Result<Zone, ProviderError> {
        self.zone_named(name).await
    }

    async fn zone_named(&self, name: &str) -> Result<Zone, ProviderError> {
        let domain = domain_of(name).ok_or_else(|| ProviderError::NoZone {
            action: format!("provider \"{}\" cannot find the domain of \"{name}\"", self.name),
            detail: "it is not below a domain of duckdns.org".to_owned(),
            advice: "use the provider that has its zone".to_owned(),
            about: About::Name,
        })?;
        Ok(Zone { name: format!("{domain}{ZONE}"), id: domain })
    }

    /// Gives `None`: the zone is duckdns.org, which holds those of all accounts.
    fn name_servers(&self, _: &Zone) -> Option<Vec<String>> {
        None
    }

    /// Its one value is pushed out by the next challenge.
    fn can_hold(&self, _: &TxtRecord) -> bool {
        false
    }

    fn value_limit(&self, name: &str) -> Option<ValueLimit> {
        Some(ValueLimit { record_set: format!("{}{ZONE}", domain_of(name)?), values: 1 })
    }

    async fn create(
        &self,
        zone: &Zone,
        records: &[TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        for (number, record) in records.iter().enumerate() {
            self.set(&zone.id, record).await.map_err(|error| error.after(number))?;
        }
        Ok(records.iter().map(|record| record.value.clone()).collect())
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let (removable, spared) = by_rule(placed, rule);
        let mut removed = Ok(());
        for PlacedRecord { record, .. } in removable {
            // The zone may come from a file. What is in no domain was never created.
            let Some(domain) = domain_of(&record.name) else { continue };
            // What can be removed is, whatever happens to the rest.
            removed = removed.and(self.clear(&domain, record).await);
        }
        removed.map(|()| spared)
    }
}

fn refused(domain: &str, action: &str) -> ProviderError {
    let reason = RefusalReason { code: 0, text: "KO".to_owned() };
    ProviderError::Unauthorized {
        action: action.to_owned(),
        refusal: Refusal { status: 200, reasons: vec![reason] },
        advice: format!("check that \"{domain}\" is a domain of the account whose token it is"),
        about: About::Zone(format!("{domain}{ZONE}").into()),
    }
}

/// Gives the domain that holds a name: the label in front of duckdns.org.
fn domain_of(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let domain = name.strip_suffix(ZONE)?.rsplit('.').next()?;
    (!domain.is_empty() && !domain.starts_with('_')).then(|| domain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::domain_of;

    #[test]
    fn a_domain_is_the_label_in_front_of_the_zone() {
        for (name, domain) in [
            ("_acme-challenge.y.duckdns.org", Some("y")),
            ("_acme-challenge.x.Y.DuckDNS.org", Some("y")),
            ("y.duckdns.org", Some("y")),
            ("_acme-challenge.duckdns.org", None),
            ("duckdns.org", None),
            ("_acme-challenge.example.org", None),
            ("_acme-challenge.yduckdns.org", None),
            (".duckdns.org", None),
        ] {
            assert_eq!(domain_of(name).as_deref(), domain, "{name}");
        }
    }
}
