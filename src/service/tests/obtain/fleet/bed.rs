//! Hosts with one set of certificates: services in this process, on a real engine.

use crate::support::{Bed, Log};
use acme_dns_core::config::share::ShareReader;
use acme_dns_core::config::{Config, Resources, SecretCheck, SecretId, SecretSource, Share};
use acme_dns_core::id::CertificateId;
use acme_dns_core::material::Material;
use acme_dns_service::engine::{Service, Settings};
use acme_dns_service::event::Event;
use acme_dns_service::host::{Host, NoRoom};
use acme_dns_service::share::{Change, Engine, Patience, open};
use secrecy::SecretString;
use servers::acme_proxy::AcmeStep;
use servers::etcd::{Etcd, EtcdOptions};
use servers::pebble::PebbleOptions;
use servers::process::wait_until;
use servers::redis::Redis;
use servers::tcp_link::TcpLink;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

pub(super) const LIMIT: Duration = Duration::from_secs(150);

/// Short enough for a test to wait for its end; etcd has no shorter ones than two seconds.
const SHORT_LEASE: Duration = Duration::from_secs(3);

pub(super) const KEY: &str = "6wD7ZfBqSRBxsXZUHHYvVTaHRpLxyvqYxJp4QAAh1nU=";

/// The key that follows.
const NEXT_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// Shared memory of a host, and its log.
#[derive(Default)]
pub(super) struct Slots {
    pub(super) log: Log,
    slots: Mutex<BTreeMap<CertificateId, Material>>,
    /// The leaves that it has had of each certificate, and when it had them first.
    had: Mutex<BTreeMap<CertificateId, Vec<(Leaf, Instant)>>>,
}

impl Host for Slots {
    fn tell(&self, event: &Event) {
        self.log.tell(event);
    }

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        self.slots.lock().unwrap().insert(certificate, material.clone());
        let mut had = self.had.lock().unwrap();
        let had = had.entry(certificate).or_default();
        let leaf = leaf_of(material);
        if had.last().map(|(last, _)| last) != leaf.as_ref() {
            had.extend(leaf.map(|leaf| (leaf, Instant::now())));
        }
        Ok(())
    }

    fn published(&self, certificate: CertificateId) -> Option<Material> {
        self.slots.lock().unwrap().get(&certificate).cloned()
    }
}

/// A leaf, in DER.
pub(super) type Leaf = Vec<u8>;

fn leaf_of(material: &Material) -> Option<Leaf> {
    material.pairs.first()?.chain.first().cloned()
}

/// A host: a service with a state path of its own, and links to the engine.
pub(super) struct Member {
    service: Option<Service>,
    pub(super) slots: Arc<Slots>,
    pub(super) state: PathBuf,
    pub(super) links: Vec<TcpLink>,
}

impl Member {
    /// Stops it in the middle of what it does: it gives its leases back.
    pub(super) fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
    }

    /// Ends it in the middle of what it does, and nobody hears of it any more.
    pub(super) fn kill(&mut self) {
        self.links.iter().for_each(TcpLink::cut);
        self.stop();
        self.links.clear();
    }

    /// Tells whether it has the order of a certificate on its disk.
    pub(super) fn leads(&self) -> bool {
        self.entries("orders").iter().any(|file| file.ends_with(".order"))
    }

    /// The leaf that it serves of a certificate.
    pub(super) fn leaf(&self, certificate: CertificateId) -> Option<Leaf> {
        leaf_of(&self.slots.published(certificate)?)
    }

    /// The leaves that it has served of a certificate, and since when.
    pub(super) fn had(&self, certificate: CertificateId) -> Vec<(Leaf, Instant)> {
        self.slots.had.lock().unwrap().get(&certificate).cloned().unwrap_or_default()
    }

    pub(super) fn has(&self, is_it: impl FnMut(&Event) -> bool) -> bool {
        self.slots.log.has(is_it)
    }

    pub(super) fn entries(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.state.join(directory));
        let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Files of the secrets of a block.
const FILES: [&str; 2] = ["key", "next_key"];

/// Resources of a block whose secrets are the encryption keys.
struct Secrets;

impl Resources for Secrets {
    fn warn(&mut self, message: &str) {
        panic!("{message}");
    }

    fn secret(&mut self, source: &SecretSource, _: SecretCheck) -> Result<SecretId, String> {
        let SecretSource::File(file) = source else { panic!("{source:?}") };
        let number = FILES.iter().position(|known| known == file);
        Ok(SecretId(1 + number.expect("one of them")))
    }

    fn mac_key(&mut self, source: &SecretSource) -> Result<SecretId, String> {
        Err(format!("{source:?}"))
    }

    fn private_key(&mut self, path: &str) -> Result<SecretId, String> {
        Err(path.to_owned())
    }

    fn certificates(&mut self, path: &str) -> Result<Vec<u8>, String> {
        Err(path.to_owned())
    }
}

/// The engine of a fleet.
pub(super) enum Server {
    Etcd(Etcd),
    Redis(Redis),
}

impl Server {
    pub(super) fn etcd(&mut self) -> &mut Etcd {
        let Self::Etcd(etcd) = self else { panic!("it is Redis") };
        etcd
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let endpoints = match self {
            Self::Etcd(etcd) => etcd.endpoints(),
            Self::Redis(redis) => vec![redis.endpoint()],
        };
        let address = |endpoint: &String| endpoint.split("//").nth(1)?.parse().ok();
        endpoints.iter().map(|endpoint| address(endpoint).expect("an address")).collect()
    }

    /// Makes the block of a host that reaches it at these addresses.
    fn share(&self, addresses: &[SocketAddr], keys: &[&str]) -> Share {
        let kind =
            if matches!(self, Self::Etcd(_)) { ("etcd", "http") } else { ("redis", "redis") };
        let mut reader = ShareReader::new(kind.0).unwrap();
        let mut set = |name: &str, values: &[&str]| reader.set(name, values, &mut Secrets).unwrap();
        let endpoints: Vec<String> =
            addresses.iter().map(|at| format!("{}://{at}", kind.1)).collect();
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        set("endpoint", &endpoints);
        set("encryption_key_file", keys);
        reader.finish().unwrap()
    }
}

pub(super) struct FleetBed {
    pub(super) server: Server,
    pub(super) bed: Bed,
    pub(super) certificates: usize,
    pub(super) lease: Duration,
    /// Time after which what has not come never comes.
    pub(super) patience: Duration,
    /// The files of the encryption keys that a host joins with; it shares nothing without any.
    pub(super) keys: &'static [&'static str],
}

impl FleetBed {
    /// Starts an etcd of so many members, for so many certificates.
    pub(super) fn start(members: usize, certificates: usize) -> Self {
        let options = EtcdOptions { members, ..EtcdOptions::default() };
        Self::start_on(certificates, |dir| Server::Etcd(Etcd::start(dir, options)))
    }

    pub(super) fn start_on(certificates: usize, start: impl FnOnce(&Path) -> Server) -> Self {
        // Each order is counted at its request.
        let mut bed =
            Bed::start_with(|options| PebbleOptions { nonce_reject_percent: 0, ..options });
        (bed.config.certificates, bed.config.variants) = Default::default();
        for number in 0..certificates {
            let name = format!("h{number}.example.test");
            bed.add(&name, &[&name]);
        }
        bed.secrets = [KEY, NEXT_KEY].map(SecretString::from).into();
        let dir = bed.testbed.dir().join("engine");
        fs::create_dir(&dir).unwrap();
        let server = start(&dir);
        let keys = &["key"];
        Self { server, bed, certificates, lease: SHORT_LEASE, patience: LIMIT, keys }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = CertificateId> + use<> {
        (0..self.certificates).map(CertificateId::new)
    }

    /// Starts a host, with the state path that it had if it was there before.
    pub(super) fn join(&self, number: usize) -> Member {
        self.join_by(number, &self.server.addresses(), Vec::new())
    }

    /// Starts a host that is linked to the engine by what can be cut.
    pub(super) fn join_linked(&self, number: usize) -> Member {
        let links: Vec<_> = self.server.addresses().into_iter().map(TcpLink::start).collect();
        let addresses: Vec<SocketAddr> = links.iter().map(TcpLink::addr).collect();
        self.join_by(number, &addresses, links)
    }

    fn join_by(&self, number: usize, addresses: &[SocketAddr], links: Vec<TcpLink>) -> Member {
        // Twenty hosts on one disk wait for each other as hosts with disks of their own do not.
        let disks = env::var_os("FLEET_DISKS").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let dir = disks.unwrap_or_else(|| self.bed.testbed.dir().to_owned());
        let state = dir.join(format!("host-{number}"));
        fs::create_dir_all(&state).unwrap();
        let share = || self.server.share(addresses, self.keys);
        let share = (!self.keys.is_empty()).then(share);
        let config = Config { state_path: state.clone(), share, ..self.bed.config.clone() };
        let slots = Arc::<Slots>::default();
        let settings =
            Settings { config: Arc::new(config), lease: self.lease, ..self.bed.settings() };
        let service = Some(Service::start(settings, slots.clone()).unwrap());
        Member { service, slots, state, links }
    }

    pub(super) fn orders(&self) -> usize {
        self.bed.proxy.traffic.count(&AcmeStep::NewOrder.requests())
    }

    /// Waits until all of these hosts serve the same of each certificate.
    pub(super) fn wait_until_all_serve(&self, members: &[Member]) -> Vec<Vec<u8>> {
        let served = || {
            let mut all = self.ids().map(|certificate| {
                let first = members.first()?.leaf(certificate)?;
                members
                    .iter()
                    .all(|m| m.leaf(certificate).as_ref() == Some(&first))
                    .then_some(first)
            });
            all.by_ref().collect::<Option<Vec<_>>>()
        };
        wait_until(self.patience, served).unwrap_or_else(|| panic!("{}", logs(members)))
    }

    /// Waits until no TXT record is left, and nothing to clean up on any host or in the engine.
    pub(super) fn wait_until_clean(&self, members: &[Member]) {
        let is_clean = || {
            let records = self.bed.testbed.cloudflare.txt_records();
            let journals: Vec<_> = members.iter().flat_map(|m| m.entries("journal")).collect();
            let shared = self.block_on(async |client| client.load().await.unwrap().changes);
            let is_attempt = |change: &Change| change.path().as_str().starts_with("attempts/");
            let is_over = !shared.iter().any(is_attempt);
            (records.is_empty() && journals.is_empty() && is_over).then_some(())
        };
        let clean = wait_until(self.patience, is_clean);
        assert!(clean.is_some(), "{}", logs(members));
    }

    /// Asks the engine, with the hosts' key.
    pub(super) fn block_on<T>(&self, ask: impl AsyncFnOnce(&dyn Engine) -> T) -> T {
        let share = self.server.share(&self.server.addresses(), self.keys);
        let secret = |id: SecretId| self.bed.secrets[id.0 - 1].clone();
        let client = open(&share, secret, Patience::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, ask(&client))
    }
}

pub(super) fn logs(members: &[Member]) -> String {
    let log = |(number, member): (usize, &Member)| {
        format!("host {number}:\n{}\n", member.slots.log.all().join("\n"))
    };
    members.iter().enumerate().map(log).collect()
}
