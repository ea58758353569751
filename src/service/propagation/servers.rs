//! The authoritative servers of a zone, as resolvers know them.
//!
//! Resolvers are asked for NS records and for the addresses of these names only, never for TXT:
//! a resolver that is asked too early remembers that the record is not there.

use super::progress::Server;
use super::query::{ask_referral, ask_soa, resolve, without_dot};
use super::view::{Choice, Group, compare, list};
use futures_util::future::{join, join_all};
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, fs};
use thiserror::Error;
use tokio::time::Instant;

/// How long the servers of a zone are remembered.
const MEMORY: Duration = Duration::from_secs(300);

/// How long a failure is: orders that have waited for the same lookup share it.
const FAILURE_MEMORY: Duration = Duration::from_millis(50);

/// The configuration of the system's resolver, see resolv.conf(5).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// So many failed lookups of addresses are told: a line of nginx's log holds 2048 octets.
const LISTED: usize = 4;

/// So many servers of a zone are asked, and so many addresses of all of them: the largest zones have
/// 13 servers, and the CA asks no more.
const MAX_NAMES: usize = 32;
const MAX_ADDRESSES: usize = 64;

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// Why the servers of a zone are not known.
#[derive(Clone, Debug, Error)]
pub(super) enum LookupError {
    /// What each resolver answered.
    #[error("{0}")]
    NotFound(String),
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

/// What is known of a zone before its servers are looked for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Question {
    /// The zone.
    pub zone: Name,
    /// The servers that the provider names; `None` if it does not say where the zone begins: its name
    /// may then be that of a domain below it.
    pub provider: Option<Vec<Name>>,
}

/// The servers of one zone.
#[derive(Debug)]
pub(super) struct ServerSet {
    servers: Vec<Server>,
    /// Why some more are not in here.
    unresolved: Vec<LookupError>,
    silent: Mutex<HashSet<SocketAddr>>,
    /// What is to be said of it, once.
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
    /// All addresses of all servers.
    pub(super) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// What is to be said of how it was found, for who asks first.
    pub(super) fn take_note(&self) -> Option<String> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether a server was last found to be down.
    pub(super) fn is_silent(&self, server: &Server) -> bool {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&server.address)
    }

    /// Remembers whether a server is down, as long as the set is remembered.
    pub(super) fn set_silent(&self, server: &Server, silent: bool) {
        let mut set = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if silent {
            set.insert(server.address);
        } else {
            set.remove(&server.address);
        }
    }
}

type Lookup = Result<Arc<ServerSet>, LookupError>;

/// The last lookup of a zone and until when it holds; locked while one is under way.
type Slot = Arc<tokio::sync::Mutex<Option<(Lookup, Instant)>>>;

/// Finds the servers of zones and remembers them for some minutes.
#[derive(Debug)]
pub(super) struct Directory {
    resolvers: Vec<SocketAddr>,
    port: u16,
    zones: Mutex<HashMap<Question, Slot>>,
}

impl Directory {
    /// Asks `resolvers`, or the system's if there are none; the servers are asked at `port`.
    pub(super) fn new(resolvers: &[SocketAddr], port: u16) -> Self {
        Self { resolvers: resolvers.to_vec(), port, zones: Mutex::default() }
    }

    /// The servers of a zone.
    pub(super) async fn servers(&self, question: &Question) -> Lookup {
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

    /// Forgets the servers of a zone.
    pub(super) fn forget(&self, question: &Question) {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).remove(question);
    }

    fn slot(&self, question: &Question) -> Slot {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        zones.entry(question.clone()).or_default().clone()
    }

    fn resolvers(&self) -> Vec<SocketAddr> {
        match self.resolvers.as_slice() {
            [] => system_resolvers(),
            configured => configured.to_vec(),
        }
    }

    async fn look_up(&self, question: &Question) -> Result<ServerSet, LookupError> {
        let resolvers = self.resolvers();
        let named = question.provider.as_deref().unwrap_or_default();
        let provider = locate(&resolvers, named.to_vec()).await;
        let host = delegated(&resolvers, question).await;
        if provider.addresses.is_empty() {
            return self.set(host?, None);
        }
        let zone = without_dot(&question.zone);
        match host.as_ref().map(|host| compare(&provider, host)) {
            Ok(Choice::Both(group)) => self.set(group, None),
            Ok(Choice::Apart(others)) if self.speaks(&question.zone, &others).await => {
                let (delegated, provider) = (others.list(), provider.list());
                Err(LookupError::Moved { delegated, provider })
            }
            Ok(Choice::Apart(others)) => {
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

    /// Whether one of the servers is one of the zone's.
    async fn speaks(&self, zone: &Name, servers: &Group) -> bool {
        let ask = |address: &IpAddr| ask_soa(SocketAddr::new(*address, self.port), zone, false);
        let answers = join_all(servers.addresses.keys().take(MAX_NAMES).map(ask)).await;
        answers.into_iter().any(|answer| {
            matches!(answer, Ok((Some(apex), is_authoritative)) if is_authoritative && apex == *zone)
        })
    }

    fn set(&self, group: Group, note: Option<String>) -> Result<ServerSet, LookupError> {
        let Group { addresses, unresolved, .. } = group;
        if addresses.is_empty() {
            let errors: Vec<String> =
                unresolved.iter().take(LISTED).map(ToString::to_string).collect();
            return Err(LookupError::NotFound(errors.join(", ")));
        }
        let server = |(address, name)| Server {
            name: without_dot(&name),
            address: SocketAddr::new(address, self.port),
        };
        let servers = addresses.into_iter().take(MAX_ADDRESSES).map(server).collect();
        Ok(ServerSet { servers, unresolved, silent: Mutex::default(), note: Mutex::new(note) })
    }

    /// What the resolvers and the zone above say of a zone's servers, where that differs: then this
    /// machine does not see the zone as the CA does. Nothing if it does, or that cannot be found out.
    pub(super) async fn difference(&self, question: &Question) -> Option<String> {
        let resolvers = self.resolvers();
        let host =
            servers_among(first_answer(&resolvers, &question.zone, RecordType::NS).await.ok()?);
        let parent = cut(&resolvers, &question.zone.base_name()).await?;
        let names = servers_among(first_answer(&resolvers, &parent, RecordType::NS).await.ok()?);
        let above = locate(&resolvers, names.into_iter().take(LISTED).collect()).await;
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
}

/// The servers of a zone as resolvers know them. Of a domain in a zone it is looked for where that
/// begins.
async fn delegated(resolvers: &[SocketAddr], question: &Question) -> Result<Group, LookupError> {
    let found = first_answer(resolvers, &question.zone, RecordType::NS).await;
    let records = match found {
        Err(error) if question.provider.is_none() => match cut(resolvers, &question.zone).await {
            // Nobody has his records in a zone of one label.
            Some(zone) if zone.num_labels() > 1 => {
                first_answer(resolvers, &zone, RecordType::NS).await?
            }
            _ => return Err(error),
        },
        found => found?,
    };
    Ok(locate(resolvers, servers_among(records)).await)
}

/// Where the zone begins that holds a name, by its SOA record.
async fn cut(resolvers: &[SocketAddr], name: &Name) -> Option<Name> {
    for resolver in resolvers {
        if let Ok((Some(zone), _)) = ask_soa(*resolver, name, true).await {
            return Some(zone);
        }
    }
    None
}

/// Looks up the addresses of servers.
async fn locate(resolvers: &[SocketAddr], names: Vec<Name>) -> Group {
    let found = join_all(names.iter().map(|name| addresses(resolvers, name))).await;
    let mut group = Group::default();
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

/// The names of servers, each once. Of too many the first are taken.
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

/// The addresses of a server, and what prevents that these are all.
async fn addresses(resolvers: &[SocketAddr], name: &Name) -> (Vec<IpAddr>, Vec<LookupError>) {
    let (v4, v6) = join(
        first_answer(resolvers, name, RecordType::A),
        first_answer(resolvers, name, RecordType::AAAA),
    )
    .await;
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for answer in [v4, v6] {
        match answer {
            Ok(records) => found.extend(records.iter().filter_map(RData::ip_addr)),
            Err(error) => errors.push(error),
        }
    }
    // A name with addresses of one family only is not an error.
    if !found.is_empty() {
        errors.clear();
    }
    (found, errors)
}

/// The records of the first resolver that has some.
async fn first_answer(
    resolvers: &[SocketAddr],
    name: &Name,
    kind: RecordType,
) -> Result<Vec<RData>, LookupError> {
    let mut errors = Vec::new();
    for resolver in resolvers {
        let error = match resolve(*resolver, name, kind).await {
            Ok(records) if !records.is_empty() => {
                return Ok(records.into_iter().map(|record| record.data).collect());
            }
            Ok(_) => format!("no {kind} record of \"{}\"", without_dot(name)),
            Err(failure) => format!("{kind} of \"{}\": {failure}", without_dot(name)),
        };
        errors.push(format!("resolver {resolver}: {error}"));
    }
    Err(LookupError::NotFound(errors.join(", ")))
}

/// The resolvers of the system, read at each lookup because they change with the network.
fn system_resolvers() -> Vec<SocketAddr> {
    read_resolv_conf(&fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

/// The lines `nameserver`, and the local machine where there are none, as resolv.conf(5) has it.
/// Addresses with a zone, such as `fe80::1%eth0`, are left out.
pub(super) fn read_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        Some(SocketAddr::new(address.parse().ok()?, DNS_PORT))
    };
    let found: Vec<SocketAddr> = text.lines().filter_map(address).collect();
    if found.is_empty() { vec![(Ipv4Addr::LOCALHOST, DNS_PORT).into()] } else { found }
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

    #[test]
    fn reads_the_resolvers_of_the_system() {
        let rows = [
            ("", vec!["127.0.0.1:53"]),
            ("# nameserver 192.0.2.1\nsearch example.test\n", vec!["127.0.0.1:53"]),
            ("nameserver 192.0.2.1\n", vec!["192.0.2.1:53"]),
            (
                "options edns0\nnameserver\t192.0.2.1 \nnameserver 2001:db8::1\n",
                vec!["192.0.2.1:53", "[2001:db8::1]:53"],
            ),
            ("nameserver fe80::1%eth0\nnameserver 192.0.2.1", vec!["192.0.2.1:53"]),
            ("nameserver\nnameservers 192.0.2.1\nnameserver x", vec!["127.0.0.1:53"]),
        ];
        for (text, expected) in rows {
            let found: Vec<String> =
                read_resolv_conf(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
