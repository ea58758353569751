//! The zone that holds a name, among those that the credentials may see.
//!
//! All zones that the credentials may see are asked for at once, where they are not too many, and kept
//! for a time: one request then does for every certificate. Where they are too many, or the
//! credentials may not list them, zones are asked for by name, the parents first.

use super::answer::blames_credentials;
use super::client::{ApiCall, CredentialKind, Permission};
use super::{Cloudflare, id, name_of, text};
use crate::dns::{About, ProviderError, Zone};
use acme_dns_core::text::{excerpt, list};
use http::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// The longest status of a zone that is shown, in characters.
const MAX_STATUS: usize = 40;

/// The longest name of a zone (RFC 1035 section 2.3.4), in octets.
const MAX_NAME: usize = 253;

/// The most name servers of a zone that are kept.
const MAX_SERVERS: usize = 16;

/// Zones of a page, and so many pages are read to know all zones.
const PER_PAGE: &str = "50";
const MAX_PAGES: u64 = 20;

/// Outcome of a look-up, for all that wait for it: a provider that is down is not asked again by
/// each order in turn.
pub(super) type ZoneLookup = Result<ZoneAnswer, ProviderError>;

/// A look-up under way, or its answer with the time of it.
pub(super) type ZoneCell = Rc<OnceCell<(ZoneLookup, Instant)>>;

/// Question about zones.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum ZoneQuery {
    /// All zones.
    All,
    /// The zone of this name.
    Name(String),
    /// The zones of this name and below.
    Below(String),
    /// The zone of the configuration.
    Id(String),
}

/// Answer about zones.
#[derive(Clone, Debug)]
pub(super) enum ZoneAnswer {
    /// Zones by their names.
    Zones(Rc<BTreeMap<String, ZoneState>>),
    /// More zones than are worth reading.
    TooMany,
    /// The question itself was refused, which says nothing about others.
    Refused(ProviderError),
    /// The zone of the configuration.
    Configured(Zone),
    /// The zone of the configuration, which the token may not read: the domain that all of its
    /// records are in, if it has any.
    Unreadable(Option<String>),
}

/// A zone of a listing.
#[derive(Clone, Debug)]
pub(super) enum ZoneState {
    Active(Zone),
    /// One whose name servers the world does not ask, with its status.
    Inactive(String),
}

/// State of the search for a name's zone.
#[derive(Debug, Default)]
struct ZoneSearch {
    zone: Option<Zone>,
    /// The longest zone that cannot be used, and its status.
    inactive: Option<(String, String)>,
    refused: Option<ProviderError>,
}

impl ZoneSearch {
    /// Takes note of the zones that hold a name; longer ones are better.
    fn note(&mut self, zones: &BTreeMap<String, ZoneState>, candidates: &[&str]) {
        for candidate in candidates.iter().rev() {
            match zones.get(*candidate) {
                Some(ZoneState::Active(zone)) => self.zone = Some(zone.clone()),
                Some(ZoneState::Inactive(status)) => {
                    self.inactive = Some(((*candidate).to_owned(), status.clone()));
                }
                None => {}
            }
        }
    }
}

impl Cloudflare {
    /// Finds the zone that holds a name: the one of the configuration, or the longest that there is.
    ///
    /// # Errors
    /// As of [`crate::dns::DnsProvider::zone_of`].
    pub async fn listed_zone_of(&self, name: &str) -> Result<Zone, ProviderError> {
        let name = acme_dns_core::name::a_labels(name);
        if let Some(id) = &self.zone_id {
            return self.configured_zone(id, &name).await;
        }
        let candidates = candidates(&name);
        let mut search = self.search(&candidates, self.api.timing.keep).await?;
        if search.zone.is_none() {
            // A zone that was not there some minutes ago may be there by now.
            search = self.search(&candidates, self.api.timing.keep_nothing).await?;
        }
        search.zone.take().ok_or_else(|| self.no_zone(&name, &candidates, search))
    }

    /// Looks for the zone of a name in answers that are not older than `age`, or in new ones.
    async fn search(
        &self,
        candidates: &[&str],
        age: Duration,
    ) -> Result<ZoneSearch, ProviderError> {
        let mut search = ZoneSearch::default();
        let can_list = match self.lookup(ZoneQuery::All, age, self.list_zones()).await? {
            ZoneAnswer::Zones(zones) => {
                search.note(&zones, candidates);
                return Ok(search);
            }
            ZoneAnswer::Refused(error) => {
                search.refused = Some(error);
                false
            }
            _ => true,
        };
        for candidate in candidates.iter().rev() {
            let key = ZoneQuery::Name((*candidate).to_owned());
            match self.lookup(key, age, self.named_zone(candidate)).await? {
                ZoneAnswer::Zones(zones) => search.note(&zones, candidates),
                ZoneAnswer::Refused(error) => search.refused = Some(error),
                _ => {}
            }
            let Some(parent) = search.zone.clone() else { continue };
            // Its children are asked for together; who may not list has none.
            if can_list {
                let key = ZoneQuery::Below(parent.name.clone());
                let below = self.lookup(key, age, self.zones_below(&parent.name)).await?;
                if let ZoneAnswer::Zones(zones) = below {
                    search.note(&zones, candidates);
                }
            }
            break;
        }
        Ok(search)
    }

    /// Gives an answer that is asked for once by all who need it, and kept.
    async fn lookup(
        &self,
        key: ZoneQuery,
        age: Duration,
        find: impl Future<Output = ZoneLookup>,
    ) -> ZoneLookup {
        let cell = {
            let mut zones = self.zones.borrow_mut();
            let cell = zones.entry(key).or_default();
            if cell.get().is_some_and(|(_, at)| at.elapsed() > age) {
                *cell = Rc::default();
            }
            Rc::clone(cell)
        };
        let (found, _) = cell.get_or_init(async || (find.await, Instant::now())).await.clone();
        if found.is_err() {
            self.zones.borrow_mut().retain(|_, known| !Rc::ptr_eq(known, &cell));
        }
        found
    }

    /// Forgets a zone that is not there any more, and what else was seen with it.
    pub(super) fn forget(&self, zone: &Zone) {
        let has = |found: &ZoneLookup| match found {
            Ok(ZoneAnswer::Zones(zones)) => zones
                .values()
                .any(|seen| matches!(seen, ZoneState::Active(known) if known.id == zone.id)),
            Ok(ZoneAnswer::Configured(known)) => known.id == zone.id,
            _ => false,
        };
        let id = ZoneQuery::Id(zone.id.clone());
        let mut zones = self.zones.borrow_mut();
        zones.retain(|key, cell| *key != id && !cell.get().is_some_and(|(found, _)| has(found)));
    }

    /// Asks for all zones, unless they are too many.
    async fn list_zones(&self) -> ZoneLookup {
        let action = &self.action("list the zones");
        self.zones(&[("per_page", PER_PAGE)], "", action, MAX_PAGES).await
    }

    /// Asks for the zones of exactly this name; several accounts can have one.
    async fn named_zone(&self, name: &str) -> ZoneLookup {
        let action = &self.action(format_args!("look for zone \"{name}\""));
        self.zones(&[("name", name), ("per_page", PER_PAGE)], name, action, u64::MAX).await
    }

    /// Asks for a zone and those below it. Only an answer that has the zone itself counts: where the
    /// filter is not understood, there is none.
    async fn zones_below(&self, name: &str) -> ZoneLookup {
        let action = &self.action(format_args!("look for zones below \"{name}\""));
        let filter = format!("contains:{name}");
        let query = [("name", filter.as_str()), ("per_page", PER_PAGE)];
        match self.zones(&query, name, action, MAX_PAGES).await? {
            ZoneAnswer::Zones(zones) if !zones.contains_key(name) => Ok(ZoneAnswer::TooMany),
            found => Ok(found),
        }
    }

    async fn zones(
        &self,
        query: &[(&str, &str)],
        zone: &str,
        action: &str,
        most_pages: u64,
    ) -> ZoneLookup {
        let call = ApiCall {
            method: Method::GET,
            path: &["zones"],
            query,
            body: None,
            permission: Permission::ReadZones,
            zone,
            action,
        };
        let items = match self.api.list(&call, most_pages).await {
            Ok(Some(items)) => items,
            Ok(None) => return Ok(ZoneAnswer::TooMany),
            Err(error) if is_refusal_of_question(&error) => return Ok(ZoneAnswer::Refused(error)),
            Err(error) => return Err(error),
        };
        let mut zones = BTreeMap::new();
        for item in items {
            let seen = match text(&item, "status") {
                "active" | "" => match self.zone(&item, action) {
                    Ok(zone) => ZoneState::Active(zone),
                    Err(error) if name_of(&item) == zone => return Err(error),
                    Err(_) => continue,
                },
                status => ZoneState::Inactive(excerpt(status, MAX_STATUS)),
            };
            let is_better = matches!(seen, ZoneState::Active(_));
            let entry = zones.entry(name_of(&item));
            entry
                .and_modify(|old| {
                    if is_better {
                        *old = seen.clone()
                    }
                })
                .or_insert(seen);
        }
        Ok(ZoneAnswer::Zones(Rc::new(zones)))
    }

    /// Asks for the name of the zone of the configuration. A token that may edit its records but
    /// not read the zone itself is enough: the names of its records then tell the zone's, almost.
    async fn read_zone(&self, id: &str) -> ZoneLookup {
        let action = &self.action(format_args!("read the zone of zone_id \"{id}\""));
        let call = ApiCall {
            method: Method::GET,
            path: &["zones", id],
            query: &[],
            body: None,
            permission: Permission::ReadZones,
            zone: id,
            action,
        };
        match self.api.call(&call).await {
            Ok(reply) => Ok(ZoneAnswer::Configured(self.zone(&reply.result, action)?)),
            Err(ProviderError::Unauthorized { refusal, .. }) if refusal.status == 403 => {
                self.read_records(id).await
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for records of the zone of the configuration; one page tells enough.
    async fn read_records(&self, id: &str) -> ZoneLookup {
        let action = &self.action(format_args!("list the records of zone_id \"{id}\""));
        let call = ApiCall {
            method: Method::GET,
            path: &["zones", id, "dns_records"],
            query: &[("per_page", "500")],
            body: None,
            permission: Permission::EditRecords,
            zone: id,
            action,
        };
        let result = self.api.call(&call).await?.result;
        let names = result.as_array().into_iter().flatten().map(name_of);
        Ok(ZoneAnswer::Unreadable(names.reduce(|domain, name| common(&domain, &name).to_owned())))
    }

    async fn configured_zone(&self, id: &str, name: &str) -> Result<Zone, ProviderError> {
        let action = self.action(format_args!("use zone_id \"{id}\" for \"{name}\""));
        let key = ZoneQuery::Id(id.to_owned());
        let (zone, detail) = match self.lookup(key, Duration::MAX, self.read_zone(id)).await? {
            ZoneAnswer::Configured(zone) => {
                let detail = format!("it is the zone \"{}\"", zone.name);
                (holds(&zone.name, name).then_some(zone), detail)
            }
            ZoneAnswer::Unreadable(domain) => {
                let base = base(name);
                let shared = domain.as_deref().map_or(base, |domain| common(domain, base));
                let zone = Zone { id: id.to_owned(), name: shared.to_owned() };
                let detail = format!("its records are in \"{}\"", domain.unwrap_or_default());
                (zone.name.contains('.').then_some(zone), detail)
            }
            _ => (None, "it is no zone".to_owned()),
        };
        let advice = || "remove \"zone_id\", or use another provider for this name".to_owned();
        let about = About::Name;
        zone.ok_or_else(|| ProviderError::NoZone { action, detail, advice: advice(), about })
    }

    fn no_zone(&self, name: &str, candidates: &[&str], search: ZoneSearch) -> ProviderError {
        let action = self.action(format_args!("find the zone of \"{name}\""));
        let about = About::Name;
        if let Some((zone, status)) = search.inactive {
            let detail = format!("zone \"{zone}\" is {status}, not active");
            let advice = "set the domain's name servers at its registrar to Cloudflare's, or set \
                          \"zone_id\" to use it as it is"
                .to_owned();
            return ProviderError::NoZone { action, detail, advice, about };
        }
        if let Some(error) = search.refused {
            return error.of(action);
        }
        let names: Vec<_> = candidates.iter().map(|name| format!("\"{name}\"")).collect();
        let noun = match self.api.kind() {
            CredentialKind::Token => "token",
            CredentialKind::Key => "key",
        };
        ProviderError::NoZone {
            action,
            detail: format!("there is no zone {} that the {noun} may see", list(&names)),
            advice: match self.api.kind() {
                CredentialKind::Token => {
                    "add the domain to the account, or give the token the permissions \
                     Zone/DNS/Edit and Zone/Zone/Read for it, or set \"zone_id\""
                }
                CredentialKind::Key => "add the domain to the account, or use one that has it",
            }
            .to_owned(),
            about,
        }
    }

    /// Reads a zone of an answer, and notes its name servers.
    fn zone(&self, value: &Value, action: &str) -> Result<Zone, ProviderError> {
        let zone = zone(value, action)?;
        self.name_servers.borrow_mut().insert(zone.id.clone(), name_servers(value));
        Ok(zone)
    }
}

pub(super) fn zone(value: &Value, action: &str) -> Result<Zone, ProviderError> {
    match name_of(value) {
        name if name.is_empty() => {
            Err(ProviderError::unexpected(action, "the zone has no \"name\""))
        }
        name if name.len() > MAX_NAME => {
            Err(ProviderError::unexpected(action, "the zone's \"name\" is too long"))
        }
        name => Ok(Zone { id: id(value, action)?, name }),
    }
}

/// Gives the servers of a zone that the provider serves itself.
fn name_servers(zone: &Value) -> Vec<String> {
    if !matches!(text(zone, "type"), "full" | "") {
        return Vec::new();
    }
    let of = |key| zone.get(key).and_then(Value::as_array).into_iter().flatten();
    let names = of("name_servers").chain(of("vanity_name_servers")).filter_map(Value::as_str);
    names.map(acme_dns_core::name::a_labels).take(MAX_SERVERS).collect()
}

/// Tells whether other questions with the same credentials may be answered. What says that the credentials
/// are none is not about the question.
fn is_refusal_of_question(error: &ProviderError) -> bool {
    match error {
        ProviderError::Unauthorized { refusal, .. } => !blames_credentials(refusal),
        ProviderError::Refused { about, .. } => *about != About::Provider,
        _ => false,
    }
}

/// Gives the names that a zone of `name` can have, the longest first; never a public suffix of one label.
fn candidates(name: &str) -> Vec<&str> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
    starts.filter_map(|start| name.get(start..)).filter(|rest| rest.contains('.')).collect()
}

pub(super) fn holds(zone: &str, name: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Gives the domain that a name with `_` labels in front speaks about.
fn base(name: &str) -> &str {
    match name.split_once('.') {
        Some((label, rest)) if label.starts_with('_') => base(rest),
        _ => name,
    }
}

/// Gives the longest domain that two names are in; empty if there is none.
pub(super) fn common<'a>(a: &'a str, b: &str) -> &'a str {
    let mut labels = a.rsplit('.').zip(b.rsplit('.')).take_while(|(a, b)| a == b).peekable();
    let length = match labels.peek() {
        Some(_) => labels.map(|(label, _)| label.len() + 1).sum::<usize>() - 1,
        None => 0,
    };
    a.get(a.len() - length..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{base, candidates, common, holds};

    #[test]
    fn a_zone_is_guessed_from_its_records() {
        for (a, b, expected) in [
            ("example.com", "www.example.com", "example.com"),
            ("www.example.com", "api.example.com", "example.com"),
            ("www.example.com", "www.example.com", "www.example.com"),
            ("badexample.com", "example.com", "com"),
            ("example.com", "example.org", ""),
        ] {
            assert_eq!(common(a, b), expected, "{a} {b}");
        }
        assert_eq!(base("_x._acme-challenge.www.example.com"), "www.example.com");
    }

    #[test]
    fn zones_are_looked_for_from_the_name_upwards() {
        for (name, expected) in [
            (
                "_acme-challenge.www.example.co.uk",
                &[
                    "_acme-challenge.www.example.co.uk",
                    "www.example.co.uk",
                    "example.co.uk",
                    "co.uk",
                ][..],
            ),
            ("example.com", &["example.com"]),
            ("com", &[]),
        ] {
            assert_eq!(candidates(name), expected, "{name}");
        }
    }

    #[test]
    fn a_zone_holds_itself_and_what_is_below() {
        for (zone, name, expected) in [
            ("example.com", "example.com", true),
            ("example.com", "_acme-challenge.example.com", true),
            ("example.com", "badexample.com", false),
            ("www.example.com", "example.com", false),
        ] {
            assert_eq!(holds(zone, name), expected, "{zone} {name}");
        }
    }
}
