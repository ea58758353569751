//! The authoritative servers of a zone, as resolvers know them.
//!
//! Resolvers are asked for NS records and for the addresses of these names only, never for TXT:
//! a resolver that is asked too early remembers that the record is not there.

use super::progress::Server;
use super::query::{resolve, without_dot};
use futures_util::future::{join, join_all};
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::{BTreeMap, HashMap, HashSet};
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

/// Why the servers of a zone are not known: what each resolver answered.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub(super) struct LookupError(String);

/// The servers of one zone.
#[derive(Debug)]
pub(super) struct ServerSet {
    servers: Vec<Server>,
    /// Why some more are not in here.
    unresolved: Vec<LookupError>,
    silent: Mutex<HashSet<SocketAddr>>,
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
    zones: Mutex<HashMap<Name, Slot>>,
}

impl Directory {
    /// Asks `resolvers`, or the system's if there are none; the servers are asked at `port`.
    pub(super) fn new(resolvers: &[SocketAddr], port: u16) -> Self {
        Self { resolvers: resolvers.to_vec(), port, zones: Mutex::default() }
    }

    /// The servers of a zone.
    pub(super) async fn servers(&self, zone: &Name) -> Lookup {
        let slot = self.slot(zone);
        let mut entry = slot.lock().await;
        if let Some((lookup, until)) = entry.as_ref()
            && Instant::now() < *until
        {
            return lookup.clone();
        }
        let (lookup, memory) = match self.look_up(zone).await {
            Ok(set) if set.unresolved.is_empty() => (Ok(Arc::new(set)), MEMORY),
            // Some of the servers are not known: they are looked for again at the next order.
            Ok(set) => (Ok(Arc::new(set)), FAILURE_MEMORY),
            Err(error) => (Err(error), FAILURE_MEMORY),
        };
        *entry = Some((lookup.clone(), Instant::now() + memory));
        lookup
    }

    /// Forgets the servers of a zone.
    pub(super) fn forget(&self, zone: &Name) {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).remove(zone);
    }

    fn slot(&self, zone: &Name) -> Slot {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        zones.entry(zone.clone()).or_default().clone()
    }

    async fn look_up(&self, zone: &Name) -> Result<ServerSet, LookupError> {
        let resolvers = match self.resolvers.as_slice() {
            [] => system_resolvers(),
            configured => configured.to_vec(),
        };
        let records = first_answer(&resolvers, zone, RecordType::NS).await?;
        let names: Vec<Name> = servers_among(records);
        let found = join_all(names.iter().map(|name| addresses(&resolvers, name))).await;
        // Two names with one address are one server.
        let mut servers = BTreeMap::new();
        let mut unresolved = Vec::new();
        for (name, (addresses, failures)) in names.iter().zip(found) {
            for address in addresses {
                if servers.len() < MAX_ADDRESSES {
                    servers.entry(address).or_insert_with(|| without_dot(name));
                }
            }
            unresolved.extend(failures);
        }
        if servers.is_empty() {
            let errors: Vec<String> =
                unresolved.iter().take(LISTED).map(ToString::to_string).collect();
            return Err(LookupError(errors.join(", ")));
        }
        let server =
            |(address, name)| Server { name, address: SocketAddr::new(address, self.port) };
        let servers = servers.into_iter().map(server).collect();
        Ok(ServerSet { servers, unresolved, silent: Mutex::default() })
    }
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
    Err(LookupError(errors.join(", ")))
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
