//! Several hosts with one set of certificates, on an etcd of three members.

use super::support::{Bed, Log};
use acme_dns_core::config::share::ShareReader;
use acme_dns_core::config::{Config, Resources, SecretCheck, SecretId, SecretSource, Share};
use acme_dns_core::id::CertificateId;
use acme_dns_core::material::Material;
use acme_dns_core::schedule::Progress;
use acme_dns_service::engine::{LEASE, Service, Settings};
use acme_dns_service::event::{Event, FleetEvent};
use acme_dns_service::host::{Host, NoRoom};
use acme_dns_service::share::{Change, Engine, Expected, Patience, Written, open};
use secrecy::SecretString;
use servers::acme_proxy::AcmeStep;
use servers::etcd::{Etcd, EtcdOptions};
use servers::pebble::PebbleOptions;
use servers::process::wait_until;
use servers::redis::Redis;
use servers::traffic::{Action, Fault};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::scope;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

const LIMIT: Duration = Duration::from_secs(150);

/// Short enough for a test to wait for its end; etcd has no shorter ones than two seconds.
const SHORT_LEASE: Duration = Duration::from_secs(3);

const KEY: &str = "6wD7ZfBqSRBxsXZUHHYvVTaHRpLxyvqYxJp4QAAh1nU=";

/// Shared memory of a host, and its log.
#[derive(Default)]
struct Slots {
    log: Log,
    slots: Mutex<BTreeMap<CertificateId, Material>>,
    changed: Mutex<BTreeMap<CertificateId, Instant>>,
}

impl Host for Slots {
    fn tell(&self, event: &Event) {
        self.log.tell(event);
    }

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        self.slots.lock().unwrap().insert(certificate, material.clone());
        self.changed.lock().unwrap().insert(certificate, Instant::now());
        Ok(())
    }

    fn published(&self, certificate: CertificateId) -> Option<Material> {
        self.slots.lock().unwrap().get(&certificate).cloned()
    }
}

/// A host: a service with a state path of its own.
struct Member {
    service: Option<Service>,
    slots: Arc<Slots>,
    state: PathBuf,
}

impl Member {
    /// Ends it in the middle of what it does; it never comes back.
    fn kill(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
    }

    /// The leaf that it serves of a certificate.
    fn leaf(&self, certificate: CertificateId) -> Option<Vec<u8>> {
        let material = self.slots.published(certificate)?;
        Some(material.pairs.first()?.chain.first()?.clone())
    }

    fn has(&self, is_it: impl FnMut(&Event) -> bool) -> bool {
        self.slots.log.has(is_it)
    }

    fn entries(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.state.join(directory));
        let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Resources of a block whose one secret is the encryption key.
struct OneKey;

impl Resources for OneKey {
    fn warn(&mut self, message: &str) {
        panic!("{message}");
    }

    fn secret(&mut self, _: &SecretSource, _: SecretCheck) -> Result<SecretId, String> {
        Ok(SecretId(1))
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
enum Server {
    Etcd(Etcd),
    Redis(Redis),
}

impl Server {
    fn etcd(&mut self) -> &mut Etcd {
        let Self::Etcd(etcd) = self else { panic!("it is Redis") };
        etcd
    }
}

fn share(server: &Server) -> Share {
    let (kind, endpoints) = match server {
        Server::Etcd(etcd) => ("etcd", etcd.endpoints()),
        Server::Redis(redis) => ("redis", vec![redis.endpoint()]),
    };
    let mut reader = ShareReader::new(kind).unwrap();
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    reader.set("endpoint", &endpoints, &mut OneKey).unwrap();
    reader.set("encryption_key_file", &["key"], &mut OneKey).unwrap();
    reader.finish().unwrap()
}

struct FleetBed {
    server: Server,
    bed: Bed,
    certificates: usize,
    lease: Duration,
}

impl FleetBed {
    /// Starts an etcd of so many members, for so many certificates.
    fn start(members: usize, certificates: usize) -> Self {
        let options = EtcdOptions { members, ..EtcdOptions::default() };
        Self::start_on(certificates, |dir| Server::Etcd(Etcd::start(dir, options)))
    }

    fn start_on(certificates: usize, start: impl FnOnce(&Path) -> Server) -> Self {
        // Each order is counted at its request.
        let mut bed =
            Bed::start_with(|options| PebbleOptions { nonce_reject_percent: 0, ..options });
        (bed.config.certificates, bed.config.variants) = Default::default();
        for number in 0..certificates {
            let name = format!("h{number}.example.test");
            bed.add(&name, &[&name]);
        }
        bed.secrets = vec![SecretString::from(KEY)];
        let dir = bed.testbed.dir().join("engine");
        fs::create_dir(&dir).unwrap();
        let server = start(&dir);
        bed.config.share = Some(share(&server));
        Self { server, bed, certificates, lease: SHORT_LEASE }
    }

    fn ids(&self) -> impl Iterator<Item = CertificateId> + use<> {
        (0..self.certificates).map(CertificateId::new)
    }

    fn join(&self, number: usize) -> Member {
        let state = self.bed.testbed.dir().join(format!("host-{number}"));
        fs::create_dir_all(&state).unwrap();
        let config = Config { state_path: state.clone(), ..self.bed.config.clone() };
        let slots = Arc::<Slots>::default();
        let settings =
            Settings { config: Arc::new(config), lease: self.lease, ..self.bed.settings() };
        let service = Service::start(settings, slots.clone()).unwrap();
        Member { service: Some(service), slots, state }
    }

    fn orders(&self) -> usize {
        self.bed.proxy.traffic.count(&AcmeStep::NewOrder.requests())
    }

    /// Waits until all of these hosts serve the same of each certificate.
    fn wait_until_all_serve(&self, members: &[Member]) -> Vec<Vec<u8>> {
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
        wait_until(LIMIT, served).unwrap_or_else(|| panic!("{}", logs(members)))
    }

    /// Waits until no TXT record is left, and nothing to clean up on any host or in the engine.
    fn wait_until_clean(&self, members: &[Member]) {
        let is_clean = || {
            let records = self.bed.testbed.cloudflare.txt_records();
            let journals: Vec<_> = members.iter().flat_map(|m| m.entries("journal")).collect();
            let shared = self.block_on(async |client| client.load().await.unwrap().changes);
            let is_attempt = |change: &Change| change.path().as_str().starts_with("attempts/");
            let is_over = !shared.iter().any(is_attempt);
            (records.is_empty() && journals.is_empty() && is_over).then_some(())
        };
        let clean = wait_until(LIMIT, is_clean);
        assert!(clean.is_some(), "{}", logs(members));
    }

    /// Asks the engine, with the hosts' key.
    fn block_on<T>(&self, ask: impl AsyncFnOnce(&dyn Engine) -> T) -> T {
        let share = self.bed.config.share.as_ref().unwrap();
        let client = open(share, |_| SecretString::from(KEY), Patience::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, ask(&client))
    }
}

fn logs(members: &[Member]) -> String {
    let log = |(number, member): (usize, &Member)| {
        format!("host {number}:\n{}\n", member.slots.log.all().join("\n"))
    };
    members.iter().enumerate().map(log).collect()
}

#[test]
fn each_certificate_is_ordered_once_and_served_by_all() {
    let number = |name: &str, default: usize| {
        env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (hosts, certificates) = (number("FLEET_HOSTS", 3), number("FLEET_CERTIFICATES", 5));
    // Many hosts on one machine may take a while to renew theirs.
    let fleet = FleetBed { lease: LEASE, ..FleetBed::start(3, certificates) };
    let members: Vec<Member> = (0..hosts).map(|number| fleet.join(number)).collect();
    let leaves = fleet.wait_until_all_serve(&members);
    assert_eq!(fleet.orders(), certificates, "{}", logs(&members));
    let accounts = fleet.bed.proxy.traffic.count(&AcmeStep::NewAccount.requests());
    assert_eq!(accounts, 1, "one account for all");
    print_delays(&fleet, &members);
    fleet.wait_until_clean(&members);

    // A host with an empty disk has all of them at once.
    let begun = Instant::now();
    let newcomer = fleet.join(hosts);
    let served = fleet.wait_until_all_serve(std::slice::from_ref(&newcomer));
    assert!(served == leaves, "{}", logs(&members));
    println!("a host with an empty disk serves all after {:?}", begun.elapsed());
    assert_eq!(fleet.orders(), certificates);

    drop((members, newcomer));
    assert_no_secret_in(&fleet);
}

/// Prints the time after which the others serve what one has obtained.
fn print_delays(fleet: &FleetBed, members: &[Member]) {
    let mut delays: Vec<Duration> = Vec::new();
    for certificate in fleet.ids() {
        let changed = |member: &Member| member.slots.changed.lock().unwrap()[&certificate];
        let mut times: Vec<Instant> = members.iter().map(changed).collect();
        times.sort_unstable();
        delays.extend(times[1..].iter().map(|time| *time - times[0]));
    }
    delays.sort_unstable();
    let at = |part: usize| delays[(delays.len() - 1) * part / 100];
    println!("swapped after {:?} (median), {:?} (p99)", at(50), at(99));
}

/// Searches all that the engine has written to its disks.
fn assert_no_secret_in(fleet: &FleetBed) {
    fn visit(path: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => visit(&entry.path(), files),
                false => files.push(entry.path()),
            }
        }
    }
    let mut files = Vec::new();
    visit(&fleet.bed.testbed.dir().join("engine"), &mut files);
    let token = fleet.bed.testbed.token();
    let mut has_records = false;
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let holds = |text: &str| memchr::memmem::find(&bytes, text.as_bytes()).is_some();
        has_records |= holds("acme_dns/records/certificates/h0.example.test~");
        for secret in ["PRIVATE KEY", "BEGIN CERT", "privkey", token, KEY] {
            assert!(!holds(secret), "{} holds {secret}", file.display());
        }
    }
    assert!(has_records, "the right files were searched");
}

#[test]
fn hosts_share_by_redis_as_well() {
    let fleet = FleetBed::start_on(2, |dir| Server::Redis(Redis::start(dir, "")));
    let members = vec![fleet.join(0), fleet.join(1)];
    fleet.wait_until_all_serve(&members);
    assert_eq!(fleet.orders(), 2, "{}", logs(&members));
    fleet.wait_until_clean(&members);
}

#[test]
fn another_host_completes_the_order_of_one_that_dies_at_any_step() {
    let steps =
        [AcmeStep::Authorization, AcmeStep::Challenge, AcmeStep::Finalize, AcmeStep::Certificate];
    scope(|scope| {
        for step in steps {
            scope.spawn(move || die_at(step));
        }
    });
}

fn die_at(step: AcmeStep) {
    let fleet = FleetBed::start(1, 1);
    let hold = fleet.bed.proxy.traffic.hold(step.requests());
    let mut members = vec![fleet.join(0), fleet.join(1)];
    hold.wait(LIMIT);
    let leads = |member: &Member| member.entries("orders").iter().any(|f| f.ends_with(".order"));
    let leader = members.iter().position(leads).expect("one has the order");
    let mut dead = members.remove(leader);
    dead.kill();
    hold.release();
    fleet.wait_until_all_serve(&members);
    assert_eq!(fleet.orders(), 1, "{step:?}: {}", logs(&members));
    fleet.wait_until_clean(&members);
}

#[test]
fn who_loses_its_lease_gives_the_order_up_and_it_is_completed_all_the_same() {
    let mut fleet = FleetBed::start(1, 1);
    let hold = fleet.bed.proxy.traffic.hold(AcmeStep::Challenge.requests());
    let members = vec![fleet.join(0), fleet.join(1)];
    hold.wait(LIMIT);
    fleet.server.etcd().pause(0);
    let is_lost = |event: &Event| matches!(event, Event::Fleet(FleetEvent::TurnLost { .. }));
    let is_told = || members.iter().any(|member| member.has(is_lost)).then_some(());
    assert!(wait_until(LIMIT, is_told).is_some(), "{}", logs(&members));
    fleet.server.etcd().resume(0);
    hold.release();
    fleet.wait_until_all_serve(&members);
    assert_eq!(fleet.orders(), 1, "{}", logs(&members));
    fleet.wait_until_clean(&members);
}

#[test]
fn what_the_ca_refuses_to_one_host_is_not_tried_by_the_others() {
    let fleet = FleetBed::start(1, 1);
    let busy = Action::Problem {
        status: 429,
        kind: "rateLimited".into(),
        detail: "not so fast".into(),
        retry_after: Some(5000),
    };
    fleet.bed.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), busy).always());
    let members = vec![fleet.join(0), fleet.join(1)];
    let progress = |member: &Member| {
        let json = fs::read(member.state.join("orders/h0.example.test.json")).ok()?;
        let progress: Progress = serde_json::from_slice(&json).ok()?;
        (progress.failures == 1).then_some(progress)
    };
    let shared = || members.iter().map(progress).collect::<Option<Vec<_>>>();
    let shared = wait_until(LIMIT, shared).unwrap_or_else(|| panic!("{}", logs(&members)));
    assert_eq!(shared[0].holds, shared[1].holds);
    assert_eq!((shared[0].holds.len(), shared[0].next), (1, shared[1].next));
    assert_eq!(fleet.orders(), 1, "{}", logs(&members));
}

#[test]
fn an_engine_that_is_away_at_the_start_keeps_nobody_from_serving() {
    let mut fleet = FleetBed::start(1, 1);
    let members = vec![fleet.join(0)];
    let leaves = fleet.wait_until_all_serve(&members);
    fleet.wait_until_clean(&members);
    drop(members);
    fleet.server.etcd().stop(0);
    let orders = fleet.orders();
    // The state path of the first host, and an empty one.
    let (old, new) = (fleet.join(0), fleet.join(1));
    let is_away = |event: &Event| matches!(event, Event::Fleet(FleetEvent::Away { .. }));
    let told = wait_until(LIMIT, || (old.has(is_away) && new.has(is_away)).then_some(()));
    assert!(told.is_some(), "{}", logs(&[old, new]));
    assert_eq!(fleet.orders(), orders, "what is missing is waited for");
    let certificate = CertificateId::new(0);
    let on_disk = fs::read(old.state.join("certs/h0.example.test/fullchain.pem"));
    assert!(on_disk.is_ok(), "nothing was removed");
    assert_eq!(new.leaf(certificate), None);
    fleet.server.etcd().start_again(0);
    let members = vec![new];
    assert!(fleet.wait_until_all_serve(&members) == leaves, "{}", logs(&members));
    assert_eq!(fleet.orders(), orders);
}

#[test]
fn a_poisoned_record_is_refused_named_and_replaced() {
    let fleet = FleetBed::start(1, 2);
    let members = vec![fleet.join(0), fleet.join(1)];
    let leaves = fleet.wait_until_all_serve(&members);
    let before: Vec<Change> = fleet.block_on(async |client| {
        let records = client.load().await.unwrap().changes;
        let is_certificate = |change: &Change| change.path().as_str().starts_with("certificates/");
        records.into_iter().filter(is_certificate).collect()
    });
    let [Change::Put(first), Change::Put(second)] = &before[..] else { panic!("{before:?}") };
    let text = String::from_utf8(first.content.to_vec()).unwrap();
    let high = |text: &str| text.replace("\"hasty\":0", "\"hasty\":0,\"number\":99");
    let (of_other, foreign) = (String::from_utf8(second.content.to_vec()).unwrap(), "garbage");
    let rows = [
        ("another's certificate", high(&of_other)),
        ("something else", foreign.to_owned()),
        ("a broken chain", high(&text.replace("BEGIN CERTIFICATE", "BEGIN RUBBISH"))),
    ];
    for (row, poison) in rows {
        let was = fleet.block_on(async |client| {
            let now = client.get(&first.path).await.unwrap().unwrap().revision();
            let expected = Expected::At(now);
            let put = client.put(&first.path, poison.as_bytes(), expected, None).await.unwrap();
            let Written::Done(revision) = put else { panic!("{row}: {put:?}") };
            revision
        });
        let is_replaced = || {
            fleet.block_on(async |client| {
                let found = client.get(&first.path).await.unwrap().unwrap();
                let Change::Put(shared) = found else { return None };
                (shared.revision > was && shared.content.starts_with(b"{\"form\":1")).then_some(())
            })
        };
        assert!(wait_until(LIMIT, is_replaced).is_some(), "{row}: {}", logs(&members));
        let is_same = fleet.wait_until_all_serve(&members) == leaves;
        assert!(is_same, "{row}: {}", logs(&members));
    }
    let refused = |event: &Event| match event {
        Event::Fleet(FleetEvent::RecordRefused { path, is_replaced, .. }) => {
            *is_replaced && path == first.path.as_str()
        }
        _ => false,
    };
    assert!(members.iter().all(|member| member.has(refused)), "{}", logs(&members));
    assert_eq!(fleet.orders(), 2, "no certificate was ordered for it");
}
