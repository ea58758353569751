//! Which zone holds a name.

use super::client::{Call, Kind, Permission, unexpected};
use super::{Cloudflare, id, text};
use crate::dns::{About, ProviderError, Zone};
use acme_dns_core::text::excerpt;
use futures_util::future::join_all;
use http::Method;
use serde_json::Value;
use std::rc::Rc;

/// The longest status of a zone that is shown, in characters.
const MAX_STATUS: usize = 40;

/// The longest name of a zone (RFC 1035 section 2.3.4), in octets.
const MAX_NAME: usize = 253;

/// How a lookup ended, for all that wait for it: a provider that is down is not asked again by
/// each order in turn.
pub(super) type Found = Result<Lookup, ProviderError>;

/// What there is of a name.
#[derive(Clone, Debug)]
pub(super) enum Lookup {
    Nothing,
    /// A zone whose name servers the world does not ask, with its status.
    Inactive(String),
    Active(Zone),
    /// The zone of the configuration, which the token may not read: the domain that all of its
    /// records are in, if it has any.
    Unreadable(Option<String>),
}

impl Cloudflare {
    /// Finds the zone that holds a name: the one of the configuration, or the longest that there is.
    pub(super) async fn find_zone_of(&self, name: &str) -> Result<Zone, ProviderError> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(id) = &self.zone_id {
            return self.configured_zone(id, &name).await;
        }
        let action = self.action(format_args!("find the zone of \"{name}\""));
        let candidates = candidates(&name);
        // All at once: one round trip instead of one for each label.
        let lookups = candidates.iter().map(|c| self.lookup(c, self.find_zone(c)));
        let mut inactive = None;
        for (candidate, found) in candidates.iter().zip(join_all(lookups).await) {
            match found? {
                Lookup::Active(zone) => return Ok(zone),
                Lookup::Inactive(status) if inactive.is_none() => {
                    inactive = Some(format!("zone \"{candidate}\" is {status}, not active"));
                }
                Lookup::Inactive(_) | Lookup::Nothing | Lookup::Unreadable(_) => {}
            }
        }
        Err(self.no_zone(action, &candidates, inactive))
    }

    /// What is known of a zone: looked up once, and kept while it is in use.
    async fn lookup(&self, key: &str, find: impl Future<Output = Found>) -> Found {
        let cell = self.zones.borrow_mut().entry(key.to_owned()).or_default().clone();
        let found = cell.get_or_init(|| find).await.clone();
        // A zone that is not there yet may be there at the next try.
        if !matches!(found, Ok(Lookup::Active(_) | Lookup::Unreadable(_))) {
            self.zones.borrow_mut().retain(|_, known| !Rc::ptr_eq(known, &cell));
        }
        found
    }

    /// Forgets a zone that is not there any more.
    pub(super) fn forget(&self, zone: &Zone) {
        let is = |found: &Found| matches!(found, Ok(Lookup::Active(known)) if known.id == zone.id);
        self.zones.borrow_mut().retain(|key, cell| *key != zone.id && !cell.get().is_some_and(is));
    }

    /// Asks for the zones of exactly this name; several accounts can have one.
    async fn find_zone(&self, candidate: &str) -> Found {
        let action = &self.action(format_args!("look for zone \"{candidate}\""));
        let call = Call {
            method: Method::GET,
            path: &["zones"],
            query: &[("name", candidate), ("per_page", "50")],
            body: None,
            permission: Permission::ReadZones,
            zone: candidate,
            action,
        };
        let mut found = Lookup::Nothing;
        for item in self.api.list(&call).await? {
            if !text(&item, "name").eq_ignore_ascii_case(candidate) {
                continue;
            }
            match text(&item, "status") {
                "active" | "" => return Ok(Lookup::Active(zone(&item, action)?)),
                status => found = Lookup::Inactive(excerpt(status, MAX_STATUS)),
            }
        }
        Ok(found)
    }

    /// Asks for the name of the zone of the configuration. A token that may edit its records but
    /// not read the zone itself is enough: the names of its records then tell the zone's, almost.
    async fn read_zone(&self, id: &str) -> Found {
        let action = &self.action(format_args!("read the zone of zone_id \"{id}\""));
        let call = Call {
            method: Method::GET,
            path: &["zones", id],
            query: &[],
            body: None,
            permission: Permission::ReadZones,
            zone: id,
            action,
        };
        match self.api.call(&call).await {
            Ok(reply) => Ok(Lookup::Active(zone(&reply.result, action)?)),
            Err(ProviderError::Unauthorized { refusal, .. }) if refusal.status == 403 => {
                self.read_records(id).await
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for records of the zone of the configuration; one page tells enough.
    async fn read_records(&self, id: &str) -> Found {
        let action = &self.action(format_args!("list the records of zone_id \"{id}\""));
        let call = Call {
            method: Method::GET,
            path: &["zones", id, "dns_records"],
            query: &[("per_page", "500")],
            body: None,
            permission: Permission::EditRecords,
            zone: id,
            action,
        };
        let result = self.api.call(&call).await?.result;
        let names = result.as_array().into_iter().flatten().map(|item| text(item, "name"));
        let names = names.map(str::to_ascii_lowercase);
        Ok(Lookup::Unreadable(names.reduce(|domain, name| common(&domain, &name).to_owned())))
    }

    async fn configured_zone(&self, id: &str, name: &str) -> Result<Zone, ProviderError> {
        let action = self.action(format_args!("use zone_id \"{id}\" for \"{name}\""));
        let (zone, detail) = match self.lookup(id, self.read_zone(id)).await? {
            Lookup::Active(zone) => {
                let detail = format!("it is the zone \"{}\"", zone.name);
                (holds(&zone.name, name).then_some(zone), detail)
            }
            Lookup::Unreadable(domain) => {
                let base = base(name);
                let shared = domain.as_deref().map_or(base, |domain| common(domain, base));
                let zone = Zone { id: id.to_owned(), name: shared.to_owned() };
                let detail = format!("its records are in \"{}\"", domain.unwrap_or_default());
                (zone.name.contains('.').then_some(zone), detail)
            }
            Lookup::Nothing | Lookup::Inactive(_) => (None, "it is no zone".to_owned()),
        };
        let advice = || "remove \"zone_id\", or use another provider for this name".to_owned();
        let about = About::Name;
        zone.ok_or_else(|| ProviderError::NoZone { action, detail, advice: advice(), about })
    }

    fn no_zone(
        &self,
        action: String,
        candidates: &[&str],
        inactive: Option<String>,
    ) -> ProviderError {
        if let Some(detail) = inactive {
            let advice = "set the domain's name servers at its registrar to Cloudflare's, or set \
                          \"zone_id\" to use it as it is"
                .to_owned();
            return ProviderError::NoZone { action, detail, advice, about: About::Name };
        }
        let names: Vec<_> = candidates.iter().map(|name| format!("\"{name}\"")).collect();
        let noun = match self.api.kind() {
            Kind::Token => "token",
            Kind::Key => "key",
        };
        ProviderError::NoZone {
            action,
            detail: format!("there is no zone {} that the {noun} may see", names.join(", ")),
            advice: match self.api.kind() {
                Kind::Token => {
                    "add the domain to the account, or give the token the permissions \
                     Zone/DNS/Edit and Zone/Zone/Read for it, or set \"zone_id\""
                }
                Kind::Key => "add the domain to the account, or use one that has it",
            }
            .to_owned(),
            about: About::Name,
        }
    }
}

/// The names that a zone of `name` can have, the longest first; never a public suffix of one label.
fn candidates(name: &str) -> Vec<&str> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
    starts.filter_map(|start| name.get(start..)).filter(|rest| rest.contains('.')).collect()
}

pub(super) fn holds(zone: &str, name: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The domain that a name with `_` labels in front speaks about.
fn base(name: &str) -> &str {
    match name.split_once('.') {
        Some((label, rest)) if label.starts_with('_') => base(rest),
        _ => name,
    }
}

/// The longest domain that two names are in; empty if there is none.
pub(super) fn common<'a>(a: &'a str, b: &str) -> &'a str {
    let mut labels = a.rsplit('.').zip(b.rsplit('.')).take_while(|(a, b)| a == b).peekable();
    let length = match labels.peek() {
        Some(_) => labels.map(|(label, _)| label.len() + 1).sum::<usize>() - 1,
        None => 0,
    };
    a.get(a.len() - length..).unwrap_or_default()
}

pub(super) fn zone(value: &Value, action: &str) -> Result<Zone, ProviderError> {
    match text(value, "name") {
        "" => Err(unexpected(action, "the zone has no \"name\"")),
        name if name.len() > MAX_NAME => Err(unexpected(action, "the zone's \"name\" is too long")),
        name => Ok(Zone { id: id(value, action)?, name: name.to_ascii_lowercase() }),
    }
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
