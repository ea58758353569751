//! Figures of many hosts: orders, the time until all serve what one has obtained, and what the engine has on its disks.

use super::bed::{FleetBed, KEY, Member, Server, logs};
use acme_dns_service::engine::LEASE;
use servers::acme_proxy::AcmeStep;
use servers::redis::Redis;
use servers::traffic::Logged;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Patience with many hosts on one machine.
const LONG: Duration = Duration::from_secs(1200);

/// Requests that Cloudflare accepts of an account in a span of time.
const REQUESTS: usize = 1200;
const SPAN: Duration = Duration::from_secs(300);

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn each_certificate_is_ordered_once_and_served_by_all() {
    let (hosts, certificates) = (number("FLEET_HOSTS", 3), number("FLEET_CERTIFICATES", 5));
    let bed = match env::var("FLEET_ENGINE").unwrap_or_default().as_str() {
        "redis" => FleetBed::start_on(certificates, |dir| Server::Redis(Redis::start(dir, ""))),
        _ => FleetBed::start(3, certificates),
    };
    // Many hosts on one machine may take a while to renew theirs.
    let fleet = FleetBed { lease: LEASE, patience: LONG, ..bed };
    let cloudflare = &fleet.bed.testbed.cloudflare;
    cloudflare.set_rate_limit(REQUESTS, SPAN);
    let members: Vec<Member> = (0..hosts).map(|number| fleet.join(number)).collect();
    let leaves = fleet.wait_until_all_serve(&members);
    assert_eq!(fleet.orders(), certificates, "{}", logs(&members));
    let accounts = fleet.bed.proxy.traffic.count(&AcmeStep::NewAccount.requests());
    assert_eq!(accounts, 1, "one account for all");
    print_delays(&fleet, &members);
    fleet.wait_until_clean(&members);
    print_requests(&fleet);

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
        let changed = |member: &Member| member.had(certificate)[0].1;
        let mut times: Vec<Instant> = members.iter().map(changed).collect();
        times.sort_unstable();
        delays.extend(times[1..].iter().map(|time| *time - times[0]));
    }
    delays.sort_unstable();
    let at = |part: usize| delays[(delays.len() - 1) * part / 100];
    println!("swapped after {:?} (median), {:?} (p99)", at(50), at(99));
}

/// Prints the number of requests to CA and provider, of which none was one too many.
fn print_requests(fleet: &FleetBed) {
    let ca = fleet.bed.proxy.traffic.log();
    let provider = fleet.bed.testbed.cloudflare.traffic.log();
    let is_refused = |logged: &&Logged| logged.status == Some(429);
    let refused = ca.iter().chain(&provider).filter(is_refused).count();
    println!(
        "{} requests to the CA, {} to the provider, {refused} refused as too many",
        ca.len(),
        provider.len()
    );
    assert_eq!(refused, 0);
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
        let bytes = without_zeros_behind(&bytes);
        let holds = |text: &str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        has_records |= holds("certificates/h0.example.test~");
        for secret in ["PRIVATE KEY", "BEGIN CERT", "privkey", token, KEY] {
            assert!(!holds(secret), "{} holds {secret}", file.display());
        }
    }
    assert!(has_records, "the right files were searched");
}

/// Gives the part of a file that was written: etcd takes 64 MB for each at once.
fn without_zeros_behind(bytes: &[u8]) -> &[u8] {
    const BLOCK: [u8; 4096] = [0; 4096];
    let zeros = bytes.rchunks(BLOCK.len()).take_while(|block| **block == BLOCK[..block.len()]);
    &bytes[..bytes.len() - zeros.map(<[u8]>::len).sum::<usize>()]
}
