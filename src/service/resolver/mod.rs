//! Questions to DNS: zone cuts, records and addresses as recursive resolvers see them, and single
//! questions to any server ([`query`]).
//!
//! Resolvers are never asked for the TXT records of a challenge: a resolver that is asked too early
//! remembers that the record is not there. Whether records are visible is found out in
//! [`crate::propagation`], at the authoritative servers.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod probe;
pub(crate) mod query;
mod system;

use acme_dns_core::config::Propagation;
use futures_util::future::join;
use hickory_proto::rr::{Name, RData, RecordType};
use query::{ask_alias, ask_soa, resolve, resolve_txt, without_dot};
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// The labels of the shortest zone that anybody has records in: not the root, nor a top-level domain.
const LEAST_LABELS: u8 = 2;

/// The recursive resolvers of the configuration, or the system's.
#[derive(Clone, Debug)]
pub struct Resolver {
    configured: Vec<SocketAddr>,
}

/// A question that no resolver has answered: what each of them said instead.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct ResolveError(String);

/// A name whose zone is not known.
#[derive(Clone, Debug, Error)]
pub enum ZoneCutError {
    /// No zone holds it but a top-level domain or the root.
    #[error("{0}")]
    NoZone(String),
    /// The resolvers cannot say.
    #[error(transparent)]
    Unresolved(#[from] ResolveError),
}

impl Resolver {
    /// Makes a resolver that asks these servers, or the system's if there are none.
    #[must_use]
    pub fn new(resolvers: &[SocketAddr]) -> Self {
        Self { configured: resolvers.to_vec() }
    }

    /// Makes the resolver of `acme_dns_propagation`.
    #[must_use]
    pub fn of(settings: &Propagation) -> Self {
        match settings {
            Propagation::Check { resolvers, .. } => Self::new(resolvers),
            Propagation::Off { .. } => Self::new(&[]),
        }
    }

    /// Gives the addresses of the resolvers.
    pub(crate) fn servers(&self) -> Vec<SocketAddr> {
        match self.configured.as_slice() {
            [] => system::resolvers(),
            configured => configured.to_vec(),
        }
    }

    /// Finds the zone that holds a name, by SOA records. Gives its name in lower case, without a final
    /// dot.
    ///
    /// # Errors
    /// There is none, or the resolvers cannot say.
    pub async fn zone_cut(&self, name: &str) -> Result<String, ZoneCutError> {
        let mut asked = Name::from_ascii(name)
            .map_err(|_| ZoneCutError::NoZone(format!("\"{name}\" is not a domain name")))?;
        asked.set_fqdn(true);
        match self.zone_of(&asked).await? {
            Some(zone) if zone.num_labels() >= LEAST_LABELS => {
                Ok(without_dot(&zone.to_lowercase()))
            }
            Some(zone) => {
                let zone = without_dot(&zone);
                Err(ZoneCutError::NoZone(format!(
                    "there is no zone below \"{zone}\" that holds it"
                )))
            }
            None => Err(ZoneCutError::NoZone("no resolver names a zone that holds it".to_owned())),
        }
    }

    /// Finds the zone that holds a name; `None` if no answer names one. A name whose answer says nothing
    /// of its zone, such as an alias, is in the zone of the name above it: a zone cannot begin there.
    pub(crate) async fn zone_of(&self, name: &Name) -> Result<Option<Name>, ResolveError> {
        let mut name = name.clone();
        while !name.is_root() {
            if let Some(zone) = self.soa(&name).await? {
                return Ok(Some(zone));
            }
            name = name.base_name();
        }
        Ok(None)
    }

    /// Asks for the zone of a name until one resolver names it; `None` if none does, but some answer.
    async fn soa(&self, name: &Name) -> Result<Option<Name>, ResolveError> {
        let mut errors = Vec::new();
        let mut has_answer = false;
        for resolver in self.servers() {
            match ask_soa(resolver, name, true).await {
                Ok((Some(zone), _)) => return Ok(Some(zone)),
                Ok((None, _)) => has_answer = true,
                Err(error) => {
                    errors.push(format!(
                        "resolver {resolver}: SOA of \"{}\": {error}",
                        without_dot(name)
                    ));
                }
            }
        }
        if has_answer { Ok(None) } else { Err(ResolveError(errors.join(", "))) }
    }

    /// Asks for the name that a name is an alias of, until one resolver answers; `None` if it is none.
    pub(crate) async fn alias(&self, name: &Name) -> Result<Option<Name>, ResolveError> {
        let mut errors = Vec::new();
        for resolver in self.servers() {
            match ask_alias(resolver, name, true).await {
                Ok(target) => return Ok(target),
                Err(error) => errors.push(format!(
                    "resolver {resolver}: CNAME of \"{}\": {error}",
                    without_dot(name)
                )),
            }
        }
        Err(ResolveError(errors.join(", ")))
    }

    /// Asks for the values of the TXT records of a name until one resolver answers.
    pub(crate) async fn txt(&self, name: &Name) -> Result<Vec<String>, ResolveError> {
        let mut errors = Vec::new();
        for resolver in self.servers() {
            match resolve_txt(resolver, name).await {
                Ok(values) => return Ok(values),
                Err(error) => errors.push(format!(
                    "resolver {resolver}: TXT of \"{}\": {error}",
                    without_dot(name)
                )),
            }
        }
        Err(ResolveError(errors.join(", ")))
    }

    /// Asks for records of a name until one resolver has some.
    pub(crate) async fn records(
        &self,
        name: &Name,
        kind: RecordType,
    ) -> Result<Vec<RData>, ResolveError> {
        let mut errors = Vec::new();
        for resolver in self.servers() {
            let error = match resolve(resolver, name, kind).await {
                Ok(records) if !records.is_empty() => {
                    return Ok(records.into_iter().map(|record| record.data).collect());
                }
                Ok(_) => format!("no {kind} record of \"{}\"", without_dot(name)),
                Err(error) => format!("{kind} of \"{}\": {error}", without_dot(name)),
            };
            errors.push(format!("resolver {resolver}: {error}"));
        }
        Err(ResolveError(errors.join(", ")))
    }

    /// Looks up the addresses of a host, and gives the errors if there are none.
    pub(crate) async fn addresses(&self, host: &Name) -> (Vec<IpAddr>, Vec<ResolveError>) {
        let (v4, v6) =
            join(self.records(host, RecordType::A), self.records(host, RecordType::AAAA)).await;
        let mut found = Vec::new();
        let mut errors = Vec::new();
        for answer in [v4, v6] {
            match answer {
                Ok(records) => found.extend(records.iter().filter_map(RData::ip_addr)),
                Err(error) => errors.push(error),
            }
        }
        // A host with addresses of one family only is not an error.
        if !found.is_empty() {
            errors.clear();
        }
        (found, errors)
    }
}
