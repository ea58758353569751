//! The routes of challenges that this process has found, and the names that it may clean up after them.

use super::ObtainerState;
use super::error::ObtainError;
use super::teller::Teller;
use crate::dns::{About, DnsProvider, ProviderError, Route, Zone, follow};
use crate::event::VisibilityEvent;
use crate::random::random_hex;
use acme_dns_core::challenge::{NameStanding, domain_of, sibling_name};
use acme_dns_core::config::Certificate;
use futures_util::stream::{self, StreamExt};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Age up to which a route is remembered.
const MEMORY: Duration = Duration::from_secs(300);

/// The same where nobody could tell: long enough for one order, which does not wait for the same silence
/// again and again.
const UNKNOWN_MEMORY: Duration = Duration::from_secs(60);

/// So many routes are looked for at a time.
const AT_ONCE: usize = 8;

/// The number of random bytes in the name beside a challenge's.
const SUFFIX: usize = 4;

/// Routes that have been found.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// The routes of challenges and the times until which they hold, by the challenges' names.
    known: RefCell<HashMap<String, (Route, Instant)>>,
    /// The challenges that are or were aliases of a name, by that name in lower case.
    targets: RefCell<HashMap<String, HashSet<String>>>,
}

impl ObtainerState {
    /// Finds the name that the record of a challenge goes to, by the challenge's own name.
    ///
    /// # Errors
    /// Aliases lead nowhere.
    pub(super) async fn route(
        &self,
        challenge: &str,
        teller: &Teller,
    ) -> Result<Route, ObtainError> {
        if let Some((route, until)) = self.routes.known.borrow().get(challenge)
            && Instant::now() < *until
        {
            return Ok(route.clone());
        }
        // Without randomness the name is still one that nobody has.
        let sibling = sibling_name(challenge, &random_hex::<SUFFIX>().unwrap_or_default());
        // Where nobody can tell, a name is taken for none.
        let unknown = RefCell::new(None);
        let alias = async |name: &str| match self.checker.alias(&self.resolver, name).await {
            Ok(target) => target,
            Err(error) => {
                *unknown.borrow_mut() = Some((name.to_owned(), error.to_string()));
                None
            }
        };
        let route = follow(challenge, &sibling, alias).await?;
        if route.is_delegated() {
            self.note_target(challenge, route.target());
            let target = route.target().to_owned();
            let challenge = challenge.to_owned();
            teller.visibility(VisibilityEvent::Delegated { challenge, target });
        }
        let memory = match unknown.into_inner() {
            Some((name, why)) => {
                teller.visibility(VisibilityEvent::AliasUnknown { name, why });
                UNKNOWN_MEMORY
            }
            None => MEMORY,
        };
        let entry = (route.clone(), Instant::now() + memory);
        self.routes.known.borrow_mut().insert(challenge.to_owned(), entry);
        Ok(route)
    }

    /// Looks for the routes of challenges, several at a time, so that [`Self::route`] knows them.
    pub(super) async fn find_routes(&self, challenges: &[String], teller: &Teller) {
        let routes = stream::iter(challenges).map(|challenge| self.route(challenge, teller));
        // Whoever needs one of them hears of its error.
        routes.buffer_unordered(AT_ONCE).for_each(async |_| {}).await;
    }

    /// Forgets the routes of domains, which may be the reason of a failure.
    pub(super) fn forget_routes<'a>(&self, bases: impl Iterator<Item = &'a str>) {
        let bases: HashSet<&str> = bases.collect();
        let is_other =
            |challenge: &String| !domain_of(challenge).is_some_and(|d| bases.contains(d));
        self.routes.known.borrow_mut().retain(|challenge, _| is_other(challenge));
    }

    /// Remembers that the name of a challenge is or was an alias of another.
    pub(super) fn note_target(&self, challenge: &str, target: &str) {
        let mut targets = self.routes.targets.borrow_mut();
        let challenges = targets.entry(target.to_ascii_lowercase()).or_default();
        challenges.insert(challenge.to_ascii_lowercase());
    }

    /// Gives the standing of a name, in lower case, among those of challenge records.
    pub(super) fn standing(&self, name: &str) -> NameStanding {
        let targets = self.routes.targets.borrow();
        let is_ours = |challenge: &str| {
            domain_of(challenge).is_some_and(|d| self.domains.borrow().contains(d))
        };
        match targets.get(name) {
            _ if is_ours(name) => NameStanding::Configured,
            Some(of) if of.iter().any(|challenge| is_ours(challenge)) => NameStanding::Configured,
            Some(_) => NameStanding::Delegated,
            None => NameStanding::Unknown,
        }
    }

    /// Names the provider of a certificate.
    pub(super) fn own_provider(&self, certificate: &Certificate) -> Result<&str, ObtainError> {
        let provider = self.config.providers.get(certificate.provider);
        provider.map(|provider| provider.name.as_str()).ok_or(ObtainError::NoSuchCertificate)
    }

    /// Names the provider that is to have a record of a certificate. `challenge` is the name of its
    /// challenge where that is an alias.
    pub(super) fn provider_for(
        &self,
        certificate: &Certificate,
        name: &str,
        challenge: Option<&str>,
    ) -> Result<&str, ObtainError> {
        let provider = self.config.provider_of(certificate, name);
        let provider = provider.and_then(|provider| self.config.providers.get(provider));
        provider.map(|provider| provider.name.as_str()).ok_or_else(|| match challenge {
            None => ObtainError::NoProvider {
                name: name.to_owned(),
                why: String::new(),
                what_to_do: "add its zone to those of a provider",
            },
            Some(challenge) => ObtainError::NoProvider {
                name: name.to_owned(),
                why: format!(", of which \"{challenge}\" is an alias"),
                what_to_do: "add the zone of that name to those of a provider, or remove the alias",
            },
        })
    }

    /// Makes the error of an order out of that of a provider. `own` is the provider of its certificate.
    pub(super) fn provider_error(own: &str, provider: &str, error: ProviderError) -> ObtainError {
        match provider == own {
            true => ObtainError::Provider(error),
            false => ObtainError::OtherProvider(error),
        }
    }

    /// Finds the zone of a name: the one of the provider's block, else the one that the provider or the DNS
    /// names.
    async fn own_zone_of(
        &self,
        provider: &str,
        client: &dyn DnsProvider,
        name: &str,
    ) -> Result<Zone, ProviderError> {
        let config = self.config.providers.values().find(|config| config.name == provider);
        let Some(given) = config.and_then(|config| config.zone_of(name)) else {
            return client.zone_of(name, &self.resolver).await;
        };
        let zone = client.zone_named(given).await?;
        match zone.name.eq_ignore_ascii_case(given) {
            true => Ok(zone),
            false => Err(ProviderError::NoZone {
                action: format!("provider \"{provider}\" cannot use zone \"{given}\""),
                detail: format!("of the zones that it can see, \"{}\" holds that name", zone.name),
                advice: "correct \"zone\" in its block, or give the credentials access to it"
                    .to_owned(),
                about: About::Name,
            }),
        }
    }

    /// Finds the zone of a record. `own` is the provider of the certificate, `challenge` the name of the
    /// record's challenge where that is an alias.
    pub(super) async fn zone_of(
        &self,
        (own, provider): (&str, &str),
        name: &str,
        challenge: Option<&str>,
    ) -> Result<Zone, ObtainError> {
        let found = self.own_zone_of(provider, self.provider(provider)?, name).await;
        let found = found.map_err(|error| match (error, challenge) {
            (ProviderError::NoZone { action, detail, about, .. }, Some(challenge)) => {
                let advice = format!(
                    "\"{challenge}\" is an alias of \"{name}\": give the credentials access to the \
                     zone of that name, or remove the alias"
                );
                ProviderError::NoZone { action, detail, advice, about }
            }
            (error, _) => error,
        });
        found.map_err(|error| Self::provider_error(own, provider, error))
    }
}
