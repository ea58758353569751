//! Faults at each step of an order: it is completed, once, and nothing is left of it.

use super::bed::{FleetBed, LIMIT, Member, Server, logs};
use acme_dns_core::id::CertificateId;
use acme_dns_service::engine::LEASE;
use acme_dns_service::event::{Event, FleetEvent};
use servers::acme_proxy::AcmeStep;
use servers::etcd::{Etcd, EtcdOptions};
use servers::process::wait_until;
use servers::tcp_link::TcpLink;
use std::env;
use std::fmt;
use std::sync::Mutex;
use std::thread::{Builder, scope};
use std::time::{Duration, Instant};

/// The size at which etcd is full in a test of that.
const QUOTA: u32 = 2_000_000;

/// Time that an answer of a slow engine takes, in each direction.
const SLOWNESS: Duration = Duration::from_secs(1);

/// Cells that are tried at once.
const AT_ONCE: usize = 5;

const CERTIFICATE: CertificateId = CertificateId::new(0);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    /// The engine is killed, and started again after the lease.
    EngineKilled,
    /// One of its three members is killed, the one that the hosts ask.
    MemberLost,
    /// The host with the lease is cut off from the engine.
    Partition,
    /// Each answer takes two seconds.
    Slow,
    /// Its disk is full.
    Full,
    /// It has forgotten all tokens.
    TokensEnded,
    /// It has forgotten the changes that a watch has missed.
    Compacted,
    /// The host with the lease stands still for longer than that lasts.
    HostPaused,
    /// The host with the lease dies.
    HostKilled,
}

impl Trouble {
    const ALL: [Self; 9] = [
        Self::EngineKilled,
        Self::MemberLost,
        Self::Partition,
        Self::Slow,
        Self::Full,
        Self::TokensEnded,
        Self::Compacted,
        Self::HostPaused,
        Self::HostKilled,
    ];
}

/// Step of an order at which it goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    BeforeLease,
    OrderMade,
    TxtCreated,
    BeforeFinalize,
    BeforeCommit,
}

impl Step {
    const ALL: [Self; 5] = [
        Self::BeforeLease,
        Self::OrderMade,
        Self::TxtCreated,
        Self::BeforeFinalize,
        Self::BeforeCommit,
    ];

    /// The request at which an order stands then.
    fn request(self) -> AcmeStep {
        match self {
            // The account comes before the lease.
            Self::BeforeLease => AcmeStep::NewAccount,
            Self::OrderMade => AcmeStep::Authorization,
            Self::TxtCreated => AcmeStep::Challenge,
            Self::BeforeFinalize => AcmeStep::Finalize,
            Self::BeforeCommit => AcmeStep::Certificate,
        }
    }
}

/// Cell of the matrix, with what came of it.
struct Cell {
    trouble: Trouble,
    step: Step,
    orders: usize,
    txt: usize,
    took: Duration,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trouble, step, orders, txt, took } = self;
        let (trouble, step) = (format!("{trouble:?}"), format!("{step:?}"));
        write!(f, "{trouble:<14} {step:<14} {orders:>6}  {txt:>8}  {:>6.1} s", took.as_secs_f64())
    }
}

/// One step for each trouble, as quickly as possible; all steps of all with `FLEET_FAULTS=all`, and of one with its name.
#[test]
fn an_order_survives_what_goes_wrong_at_any_step() {
    let which = env::var("FLEET_FAULTS").unwrap_or_default();
    let steps = |number: usize, trouble: Trouble| match which.as_str() {
        "" => vec![Step::ALL[1 + number % 4]],
        name if name == "all" || name == format!("{trouble:?}") => Step::ALL.to_vec(),
        _ => Vec::new(),
    };
    let all = Trouble::ALL.into_iter().enumerate();
    let cells: Vec<_> = all
        .flat_map(|(number, trouble)| {
            steps(number, trouble).into_iter().map(move |step| (trouble, step))
        })
        .collect();
    assert!(!cells.is_empty(), "FLEET_FAULTS={which}: no such fault");
    let rest = Mutex::new(cells.into_iter());
    println!("{:<14} {:<14} orders  TXT left  done after", "fault", "step");
    scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((trouble, step)) = { rest.lock().unwrap().next() } {
                    // A panic tells the name of its thread.
                    let name = Builder::new().name(format!("{trouble:?} {step:?}"));
                    let cell = name.spawn_scoped(scope, move || try_cell(trouble, step)).unwrap();
                    println!("{}", cell.join().expect("the cell has told what is wrong"));
                }
            });
        }
    });
}

#[test]
fn a_certificate_that_the_engine_had_no_room_for_is_not_ordered_again() {
    let mut fleet = start(Trouble::Full);
    let hold = fleet.bed.proxy.traffic.hold(AcmeStep::Certificate.requests());
    let first = fleet.join_linked(0);
    hold.wait(LIMIT);
    fleet.server.etcd().fill();
    hold.release();
    let leaf = wait_until(LIMIT, || first.leaf(CERTIFICATE)).expect("it is obtained");
    let is_refused = |event: &Event| matches!(event, Event::Fleet(FleetEvent::Refused { .. }));
    let told = wait_until(LIMIT, || first.has(is_refused).then_some(()));
    assert!(told.is_some(), "{}", first.slots.log.all().join("\n"));
    // It is gone for good with the only disk that has it.
    drop(first);
    fleet.server.etcd().make_room();
    let others = [fleet.join_linked(1)];
    assert_eq!(fleet.wait_until_all_serve(&others), [leaf], "{}", logs(&others));
    fleet.wait_until_clean(&others);
    assert_eq!(fleet.orders(), 1, "{}", logs(&others));
}

fn start(trouble: Trouble) -> FleetBed {
    let members = if trouble == Trouble::MemberLost { 3 } else { 1 };
    let quota = (trouble == Trouble::Full).then_some(QUOTA);
    let options = EtcdOptions { members, quota, ..EtcdOptions::default() };
    let mut fleet = FleetBed::start_on(1, |dir| Server::Etcd(Etcd::start(dir, options)));
    if trouble == Trouble::TokensEnded {
        fleet.enable_authentication();
    }
    if trouble == Trouble::Slow {
        fleet.lease = LEASE;
    }
    fleet
}

fn try_cell(trouble: Trouble, step: Step) -> Cell {
    let mut fleet = start(trouble);
    let hold = fleet.bed.proxy.traffic.hold(step.request().requests());
    let mut members = vec![fleet.join_linked(0), fleet.join_linked(1)];
    hold.wait(LIMIT);
    let begun = Instant::now();
    // Whoever makes the account has no order yet: then it is the first.
    let leader = members.iter().position(Member::leads).unwrap_or_default();
    if trouble == Trouble::HostPaused {
        pause(&members[leader], || {
            hold.release();
            let other = &members[1 - leader];
            wait_until(LIMIT, || other.leaf(CERTIFICATE)).is_some() || step == Step::BeforeLease
        });
    } else {
        begin(trouble, &mut fleet, &mut members, leader);
        hold.release();
        end((trouble, step), &mut fleet, &members, leader);
    }
    fleet.wait_until_all_serve(&members);
    fleet.wait_until_clean(&members);
    for member in &members {
        let mut had: Vec<_> = member.had(CERTIFICATE).into_iter().map(|(leaf, _)| leaf).collect();
        let times = had.len();
        had.sort_unstable();
        had.dedup();
        assert_eq!(had.len(), times, "an older one came back: {}", logs(&members));
    }
    let (orders, txt) = (fleet.orders(), fleet.bed.testbed.cloudflare.txt_records().len());
    assert_eq!((orders, txt), (1, 0), "{}", logs(&members));
    Cell { trouble, step, orders, txt, took: begun.elapsed() }
}

/// Has a host stand still until something has happened.
fn pause(member: &Member, until: impl FnOnce() -> bool) {
    let paused = member.pause();
    let has_happened = until();
    drop(paused);
    assert!(has_happened, "{}", member.slots.log.all().join("\n"));
}

fn begin(trouble: Trouble, fleet: &mut FleetBed, members: &mut Vec<Member>, leader: usize) {
    match trouble {
        Trouble::EngineKilled | Trouble::MemberLost => fleet.server.etcd().stop(0),
        Trouble::Partition => members[leader].links.iter().for_each(TcpLink::cut),
        Trouble::Slow => {
            let links = members.iter().flat_map(|member| &member.links);
            links.for_each(|link| link.open(SLOWNESS));
        }
        Trouble::Full => fleet.server.etcd().fill(),
        Trouble::TokensEnded => fleet.server.etcd().end_tokens(),
        Trouble::Compacted => {
            // No host hears of a change.
            members.iter().flat_map(|member| &member.links).for_each(TcpLink::cut);
            fleet.server.etcd().control(&["put", "acme_dns/records/certificates/of-others", "x"]);
            fleet.server.etcd().compact();
        }
        Trouble::HostKilled => members.remove(leader).kill(),
        Trouble::HostPaused => unreachable!("it is another kind"),
    }
    // Where the lease cannot be renewed, its holder gives the order up.
    if let (Trouble::EngineKilled | Trouble::Partition, Some(member)) =
        (trouble, members.get(leader))
        && member.leads()
    {
        let is_lost = |event: &Event| matches!(event, Event::Fleet(FleetEvent::TurnLost { .. }));
        let is_told = wait_until(LIMIT, || member.has(is_lost).then_some(()));
        assert!(is_told.is_some(), "{}", logs(members));
    }
}

fn end((trouble, step): (Trouble, Step), fleet: &mut FleetBed, members: &[Member], leader: usize) {
    let open = |links: &[TcpLink]| links.iter().for_each(|link| link.open(Duration::ZERO));
    match trouble {
        Trouble::EngineKilled => fleet.server.etcd().start_again(0),
        // The other host completes the order before this one is back.
        Trouble::Partition => {
            let other = wait_until(LIMIT, || members[1 - leader].leaf(CERTIFICATE));
            assert!(other.is_some(), "{}", logs(members));
            open(&members[leader].links);
        }
        Trouble::Full => {
            // What has begun is completed, and nothing begins.
            let is_told = |event: &Event| matches!(event, Event::Fleet(FleetEvent::Refused { .. }));
            let told = || members.iter().any(|member| member.has(is_told)).then_some(());
            assert!(wait_until(LIMIT, told).is_some(), "{}", logs(members));
            if step != Step::BeforeLease {
                let done = wait_until(LIMIT, || members[leader].leaf(CERTIFICATE));
                assert!(done.is_some(), "{}", logs(members));
            }
            fleet.server.etcd().make_room();
        }
        Trouble::Compacted => members.iter().for_each(|member| {
            member.links.iter().for_each(TcpLink::break_all);
            open(&member.links);
        }),
        Trouble::MemberLost
        | Trouble::Slow
        | Trouble::TokensEnded
        | Trouble::HostKilled
        | Trouble::HostPaused => {}
    }
}
