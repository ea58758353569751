//! The authoritative servers of a zone: found through the resolvers, compared with those that the
//! provider names, and remembered for some minutes.

use super::progress::NameServer;
use super::view::{ComparedViews, ServerGroup, compare, list};
use crate::resolver::query::{TxtAnswer, ask_alias, ask_referral, ask_soa, ask_txt, without_dot};
use crate::resolver::{ResolveError, Resolver};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

/// Age up to which the servers of a zone are remembered.
const MEMORY: Duration = Duration::from_secs(300);

/// The same for a failure: orders that have waited for the same lookup share it.
const FAILURE_MEMORY: Duration = Duration::from_millis(50);

/// So many failed lookups of addresses are told: a line of nginx's log holds 2048 octets.
const LISTED: usize = 4;

/// So many servers of a zone are asked, and so many addresses of all of them: the largest zones have
/// 13 servers, and the CA asks no more.
const MAX_NAMES: usize = 32;
const MAX_ADDRESSES: usize = 64;

/// A zone whose servers are not known.
#[derive(Clone, Debug, Error)]
pub(crate) enum NameServerError {
    /// The resolvers have no answer.
    #[error(transparent)]
    NotFound(#[from] ResolveError),
    /// No server has an address.
    #[error("{0}")]
    NoAddress(String),
    /// The zone is delegated to others than the provider's: the CA will not ask these.
    #[error(
        "it is delegated to {delegated}, and not to the servers that the provider has for it, \
         {provider}"
    )]
    Moved {
        /// The servers as this host's resolvers know them.
        delegated: String,
        /// The servers that the provider names.
        provider: String,
    },
}

/// A zone whose servers are looked for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct ZoneQuestion {
    /// The zone.
    pub zone: Name,
    /// The servers that the provider names; `None` if it does not say where the zone begins: its name
    /// may then be that of a domain below it.
    pub provider: Option<Vec<Name>>,
}

/// The servers of one zone.
#[derive(Debug)]
pub(super) struct ServerSet {
    servers: Vec<NameServer>,
    /// Errors of those that are not in here.
    unresolved: Vec<ResolveError>,
    silent: Mutex<HashSet<SocketAddr>>,
    /// A line about it, to be told once.
    note: Mutex<Option<String>>,
}

impl fmt::Display for ServerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        parts.extend(self.unresolved.iter().map(|error| format!("not found: {error}")));
        f.write_str(&parts.join(", "))
    }
}

impl ServerSet {
    /// Gives all addresses of all servers.
    pub(super) fn servers(&self) -> &[NameServer] {
        &self.servers
    }

    /// Takes the line about how it was found; the first caller gets it.
    pub(super) fn take_note(&self) -> Option<String> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells whether a server was last found to be down.
    pub(super) fn is_silent(&self, server: &NameServer) -> bool {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&server.address)
    }

    /// Remembers whether a server is down, as long as the set is remembered.
    pub(super) fn set_silent(&self, server: &NameServer, silent: bool) {
        let mut set = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if silent {
            set.insert(server.address);
        } else {
            set.remove(&server.address);
        }
    }
}

type ServerLookup = Result<Arc<ServerSet>, NameServerError>;

/// The last lookup of a zone and until when it holds; locked while one is under way.
type LookupSlot = Arc<tokio::sync::Mutex<Option<(ServerLookup, Instant)>>>;

/// Finds the servers of zones and remembers them for some minutes.
#[derive(Debug)]
pub(super) struct NameServerCache {
    resolver: Resolver,
    port: u16,
    zones: Mutex<HashMap<ZoneQuestion, LookupSlot>>,
}

impl NameServerCache {
    /// Makes a cache of servers that are asked at `port`.
    pub(super) fn new(resolver: Resolver, port: u16) -> Self {
        Self { resolver, port, zones: Mutex::default() }
    }

    /// Gives the servers of a zone.
    pub(super) async fn servers(&self, question: &ZoneQuestion) -> ServerLookup {
        let slot = self.slot(question);
        let mut entry = slot.lock().await;
        if let Some((lookup, until)) = entry.as_ref()
            && Instant::now() < *until
        {
            return lookup.clone();
        }
        let (lookup, memory) = match self.look_up(question).await {
            Ok(set) if set.unresolved.is_empty() => (Ok(Arc::new(set)), MEMORY),
            // Some of the servers are not known: they are looked for again at the next order.
            Ok(set) => (Ok(Arc::new(set)), FAILURE_MEMORY),
            Err(error) => (Err(error), FAILURE_MEMORY),
        };
        *entry = Some((lookup.clone(), Instant::now() + memory));
        lookup
    }

    /// Asks the servers of its zone for the name that a name is an alias of. Gives the first answer; `None`
    /// if there is none.
    pub(super) async fn alias(&self, name: &Name) -> Option<Option<Name>> {
        let zone = self.resolver.zone_of(name).await.ok()??;
        let set = self.servers(&ZoneQuestion { zone, provider: Some(Vec::new()) }).await.ok()?;
        let servers = set.servers().iter().filter(|server| !set.is_silent(server));
        let mut answers: FuturesUnordered<_> =
            servers.map(|server| ask_alias(server.address, name, false)).collect();
        while let Some(answer) = answers.next().await {
            if let Ok(target) = answer {
                return Some(target);
            }
        }
        None
    }

    /// Asks all servers of its zone for the values of a name's TXT records. Gives what each of them has that
    /// answers, at least one.
    pub(super) async fn values(&self, name: &Name) -> Result<Vec<Vec<String>>, String> {
        let zone = self.resolver.zone_of(name).await.map_err(|error| error.to_string())?;
        let zone = zone.ok_or("no resolver names a zone that holds it")?;
        let question = ZoneQuestion { zone, provider: Some(Vec::new()) };
        let set = self.servers(&question).await.map_err(|error| error.to_string())?;
        let answers =
            join_all(set.servers().iter().map(|server| ask_txt(server.address, name))).await;
        let (mut values, mut failures) = (Vec::new(), Vec::new());
        for (server, answer) in set.servers().iter().zip(answers) {
            match answer {
                Ok(TxtAnswer::Values(found)) => values.push(found),
                Ok(TxtAnswer::NoName | TxtAnswer::Alias(_)) => values.push(Vec::new()),
                Err(error) => failures.push(format!("{server}: {error}")),
            }
        }
        match values.is_empty() {
            true => Err(failures.into_iter().take(LISTED).collect::<Vec<_>>().join(", ")),
            false => Ok(values),
        }
    }

    /// Forgets the servers of a zone.
    pub(super) fn forget(&self, question: &ZoneQuestion) {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).remove(question);
    }

    fn slot(&self, question: &ZoneQuestion) -> LookupSlot {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        zones.entry(question.clone()).or_default().clone()
    }

    async fn look_up(&self, question: &ZoneQuestion) -> Result<ServerSet, NameServerError> {
        let named = question.provider.as_deref().unwrap_or_default();
        let provider = self.locate(named.to_vec()).await;
        let host = self.delegated(question).await;
        if provider.addresses.is_empty() {
            return self.set(host?, None);
        }
        let zone = without_dot(&question.zone);
        match host.as_ref().map(|host| compare(&provider, host)) {
            Ok(ComparedViews::Both(group)) => self.set(group, None),
            Ok(ComparedViews::Apart(others)) if self.speaks(&question.zone, &others).await => {
                let (delegated, provider) = (others.list(), provider.list());
                Err(NameServerError::Moved { delegated, provider })
            }
            Ok(ComparedViews::Apart(others)) => {
                let (seen, asked) = (others.list(), provider.list());
                let note = format!(
                    "this machine's resolvers name other servers of zone \"{zone}\" than the provider: \
                     {seen}; these have private addresses or do not answer for the zone, so those \
                     that the provider names are asked, {asked}"
                );
                self.set(provider, Some(note))
            }
            Err(error) => {
                let asked = provider.list();
                let note = format!(
                    "this machine's resolvers do not know the servers of zone \"{zone}\", those that \
                     the provider names are asked, {asked}: {error}"
                );
                self.set(provider, Some(note))
            }
        }
    }

    /// Tells whether one of the servers is one of the zone's.
    async fn speaks(&self, zone: &Name, servers: &ServerGroup) -> bool {
        let ask = |address: &IpAddr| ask_soa(SocketAddr::new(*address, self.port), zone, false);
        let answers = join_all(servers.addresses.keys().take(MAX_NAMES).map(ask)).await;
        answers.into_iter().any(|answer| {
            matches!(answer, Ok((Some(apex), is_authoritative)) if is_authoritative && apex == *zone)
        })
    }

    fn set(&self, group: ServerGroup, note: Option<String>) -> Result<ServerSet, NameServerError> {
        let ServerGroup { addresses, unresolved, .. } = group;
        if addresses.is_empty() {
            let errors: Vec<String> =
                unresolved.iter().take(LISTED).map(ToString::to_string).collect();
            return Err(NameServerError::NoAddress(errors.join(", ")));
        }
        let server = |(address, name)| NameServer {
            name: without_dot(&name),
            address: SocketAddr::new(address, self.port),
        };
        let servers = addresses.into_iter().take(MAX_ADDRESSES).map(server).collect();
        Ok(ServerSet { servers, unresolved, silent: Mutex::default(), note: Mutex::new(note) })
    }

    /// Compares what the resolvers and the zone above say of a zone's servers. Where that differs, this
    /// machine does not see the zone as the CA does. Nothing if it does, or that cannot be found out.
    pub(super) async fn difference(&self, question: &ZoneQuestion) -> Option<String> {
        let resolver = &self.resolver;
        let host = servers_among(resolver.records(&question.zone, RecordType::NS).await.ok()?);
        let parent = resolver.zone_of(&question.zone.base_name()).await.ok()??;
        let names = servers_among(resolver.records(&parent, RecordType::NS).await.ok()?);
        let above = self.locate(names.into_iter().take(LISTED).collect()).await;
        let ask =
            |address: &IpAddr| ask_referral(SocketAddr::new(*address, self.port), &question.zone);
        let answers = join_all(above.addresses.keys().take(LISTED).map(ask)).await;
        let delegated = answers.into_iter().flatten().map(servers_among);
        let delegated = delegated.into_iter().find(|names| !names.is_empty())?;
        let differs = host.iter().any(|name| !delegated.contains(name));
        differs.then(|| {
            format!(
                "this machine's resolvers name {}, the delegation names {}",
                list(&host),
                list(&delegated)
            )
        })
    }

    /// Finds the servers of a zone as resolvers know them. Of a domain in a zone it is looked for where
    /// that begins.
    async fn delegated(&self, question: &ZoneQuestion) -> Result<ServerGroup, NameServerError> {
        let found = self.resolver.records(&question.zone, RecordType::NS).await;
        let records = match found {
            Err(error) if question.provider.is_none() => {
                match self.resolver.zone_of(&question.zone).await {
                    // Nobody has his records in a zone of one label.
                    Ok(Some(zone)) if zone.num_labels() > 1 => {
                        self.resolver.records(&zone, RecordType::NS).await?
                    }
                    _ => return Err(error.into()),
                }
            }
            found => found?,
        };
        Ok(self.locate(servers_among(records)).await)
    }

    /// Looks up the addresses of servers.
    async fn locate(&self, names: Vec<Name>) -> ServerGroup {
        let found = join_all(names.iter().map(|name| self.resolver.addresses(name))).await;
        let mut group = ServerGroup::default();
        for (name, (addresses, failures)) in names.iter().zip(found) {
            for address in addresses {
                if group.addresses.len() < MAX_ADDRESSES {
                    group.addresses.entry(address).or_insert_with(|| name.clone());
                }
            }
            group.unresolved.extend(failures);
        }
        group.names = names;
        group
    }
}

/// Takes the names of servers from records, each once; of too many the first.
fn servers_among(records: Vec<RData>) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    for data in records {
        if let RData::NS(name) = data
            && names.len() < MAX_NAMES
            && !names.contains(&name.0)
        {
            names.push(name.0);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::NS;

    #[test]
    fn a_zone_has_a_bounded_number_of_servers() {
        let server = |number: usize| {
            let name = Name::from_ascii(format!("ns{number}.example.")).expect("a name");
            RData::NS(NS(name))
        };
        assert_eq!(servers_among(vec![server(1), server(2), server(1)]).len(), 2);
        assert_eq!(servers_among((0..4000).map(server).collect()).len(), MAX_NAMES);
    }
}
