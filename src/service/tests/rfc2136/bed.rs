//! The three servers, with one zone and two keys each.

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use servers::bind::Bind;
use servers::knot::Knot;
use servers::ports::Port;
use servers::powerdns::PowerDns;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

pub(crate) use acme_dns_core::challenge::{Candidate, Kept, Mark};
pub(crate) use acme_dns_core::config::{DnsServer, Rfc2136Settings, SecretId, TsigAlgorithm};
pub(crate) use acme_dns_service::dns::rfc2136::{Patience, Rfc2136};
pub(crate) use acme_dns_service::dns::{
    About, DnsProvider, PlacedRecord, ProviderError, TxtRecord, Zone,
};
pub(crate) use secrecy::SecretString;
pub(crate) use servers::tsig::TsigKey;

pub(crate) const ZONE: &str = "example.com";
pub(crate) const NAME: &str = "_acme-challenge.example.com";

/// Patience for UDP that has no answer.
pub(crate) const SHORT: Patience =
    Patience { udp: [Duration::from_millis(200); 3], tcp: Duration::from_secs(30) };

pub(crate) enum Server {
    Bind(Bind),
    Knot { port: Port, _server: Knot },
    PowerDns(PowerDns),
}

impl Server {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bind(_) => "BIND",
            Self::Knot { .. } => "Knot",
            Self::PowerDns(_) => "PowerDNS",
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Self::Bind(bind) => bind.addr(),
            Self::Knot { port, .. } => port.addr(),
            Self::PowerDns(server) => server.addr(),
        }
    }
}

pub(crate) struct Bed {
    pub(crate) server: Server,
    /// The key that may update the zone.
    pub(crate) key: TsigKey,
    /// Another one that the server knows.
    pub(crate) other: TsigKey,
    _dir: tempfile::TempDir,
}

impl Bed {
    /// One of each server; in each the name has two values of somebody else.
    pub(crate) fn all() -> Vec<Self> {
        Self::with_algorithm("hmac-sha256")
    }

    /// One of each server, with keys of another algorithm.
    pub(crate) fn with_algorithm(algorithm: &str) -> Vec<Self> {
        let starts = [start_bind, start_knot, start_powerdns];
        starts.into_iter().map(|start| Self::start(start, algorithm)).collect()
    }

    pub(crate) fn bind() -> Self {
        Self::start(start_bind, "hmac-sha256")
    }

    pub(crate) fn knot() -> Self {
        Self::start(start_knot, "hmac-sha256")
    }

    pub(crate) fn powerdns() -> Self {
        Self::start(start_powerdns, "hmac-sha256")
    }

    fn start(start: fn(&Path, &TsigKey, &TsigKey) -> Server, algorithm: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = TsigKey::new("update.example.com", algorithm);
        let other = TsigKey::new("other.example.com", algorithm);
        let server = start(dir.path(), &key, &other);
        Self { server, key, other, _dir: dir }
    }

    /// A provider with the key that may update the zone.
    pub(crate) fn provider(&self, tcp: bool) -> Rfc2136 {
        self.make(&self.key, tcp)
    }

    pub(crate) fn make(&self, key: &TsigKey, tcp: bool) -> Rfc2136 {
        provider_at(&self.server.addr().to_string(), key, tcp)
    }

    /// The values of [`NAME`].
    pub(crate) fn values(&self) -> Vec<String> {
        self.lookup(NAME)
    }

    /// The TXT values of a name, sorted, the strings of each joined by "|".
    pub(crate) fn lookup(&self, name: &str) -> Vec<String> {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::TXT));
        let answer = ask_over_tcp(self.server.addr(), &message.to_vec().unwrap());
        let answers = Message::from_vec(&answer.unwrap()).unwrap().answers;
        let mut values: Vec<String> = answers.iter().filter_map(|it| strings(&it.data)).collect();
        values.sort();
        values
    }
}

const RECORDS: &str = "ns1 A 127.0.0.1\n_acme-challenge 60 TXT \"somebody else's\"\n\
                       _acme-challenge 60 TXT \"in two\" \" strings\"\n";

fn start_bind(dir: &Path, key: &TsigKey, other: &TsigKey) -> Server {
    Server::Bind(Bind::start(dir, ZONE, RECORDS, &[key], &[other]))
}

fn start_knot(dir: &Path, key: &TsigKey, other: &TsigKey) -> Server {
    let port = Port::reserve();
    let server = Knot::start_with_keys(dir, port.addr(), ZONE, RECORDS, &[key], &[other]);
    Server::Knot { port, _server: server }
}

fn start_powerdns(dir: &Path, key: &TsigKey, other: &TsigKey) -> Server {
    let server = PowerDns::start(dir);
    server.create_zone(ZONE);
    server.set_rrset(NAME, "TXT", &["\"somebody else's\"", "\"in two\" \" strings\""]);
    server.set_update_keys(ZONE, key, &[other]);
    Server::PowerDns(server)
}

pub(crate) fn provider_at(server: &str, key: &TsigKey, tcp: bool) -> Rfc2136 {
    let settings = Rfc2136Settings {
        server: DnsServer::parse(server).unwrap(),
        key_name: key.name.clone(),
        key: SecretId(0),
        algorithm: TsigAlgorithm::find(&key.algorithm).unwrap(),
        tcp,
        ttl: 60,
    };
    let secret = |_| SecretString::from(key.secret.as_str());
    Rfc2136::new("primary", &settings, secret).unwrap()
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn zone() -> Zone {
    zone_named(ZONE)
}

pub(crate) fn zone_named(name: &str) -> Zone {
    Zone { id: name.to_owned(), name: name.to_owned() }
}

pub(crate) fn txt(value: &str) -> TxtRecord {
    TxtRecord { name: NAME.to_owned(), value: value.to_owned() }
}

pub(crate) fn placed(value: &str, id: Option<&str>) -> PlacedRecord {
    PlacedRecord { record: txt(value), zone: zone(), id: id.map(str::to_owned) }
}

fn ask_over_tcp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn strings(data: &RData) -> Option<String> {
    let RData::TXT(txt) = data else { return None };
    let strings = txt.txt_data.iter().map(|part| String::from_utf8_lossy(part));
    Some(strings.collect::<Vec<_>>().join("|"))
}
