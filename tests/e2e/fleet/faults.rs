//! Faults at each step of an order that two hosts share: it is completed, once, nothing is left of it, and no handshake
//! with what they serve already fails.

use std::env;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::{Builder, scope};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use servers::Testbed;
use servers::acme_proxy::{AcmeProxy, AcmeStep};
use servers::bed::{issuer, write_secret};
use servers::etcd::{Etcd, EtcdOptions, USER};
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::process::wait_until;
use servers::tcp_link::TcpLink;
use testbed::clients::tls::{LoadClient, LoadReport, TlsClient};
use testbed::measurements::proc;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use super::{AHEAD, KEY, clock_is};

/// Longer than an order takes that waits for the end of a lease, twice, and asks a slow engine.
const LIMIT: Duration = Duration::from_secs(150);

/// The certificate that is there before anything goes wrong, and the one that is ordered meanwhile.
const BYSTANDER: &str = "bystander.example.test";
const NAME: &str = "new.example.test";

/// Between two handshakes.
const PAUSE: Duration = Duration::from_millis(20);

/// The size at which etcd is full in a test of that.
const QUOTA: u32 = 2_000_000;

/// Time that an answer of a slow engine takes, in each direction.
const SLOWNESS: Duration = Duration::from_secs(1);

/// Cells that are tried at once.
const AT_ONCE: usize = 5;

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
    /// The service of the host with the lease stands still for longer than that lasts.
    HostPaused,
    /// The host with the lease dies.
    HostKilled,
    /// The clock of one host is ten minutes ahead, all the time.
    ClockAhead,
}

impl Trouble {
    const ALL: [Self; 10] = [
        Self::EngineKilled,
        Self::MemberLost,
        Self::Partition,
        Self::Slow,
        Self::Full,
        Self::TokensEnded,
        Self::Compacted,
        Self::HostPaused,
        Self::HostKilled,
        Self::ClockAhead,
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
    handshakes: u64,
    failed: usize,
    took: Duration,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trouble, step, orders, txt, handshakes, failed, took } = self;
        let (trouble, step) = (format!("{trouble:?}"), format!("{step:?}"));
        let took = took.as_secs_f64();
        write!(
            f,
            "{trouble:<14} {step:<14} {orders:>6}  {txt:>8}  {handshakes:>10}  {failed:>6}  {took:>6.1} s"
        )
    }
}

/// One step for each trouble; all steps of all with `FLEET_FAULTS=all`, and of one with its name.
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
    tell(format_args!(
        "{:<14} {:<14} orders  TXT left  handshakes  failed  done after",
        "fault", "step"
    ));
    scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((trouble, step)) = { rest.lock().expect("no panic").next() } {
                    // A panic tells the name of its thread.
                    let name = Builder::new().name(format!("{trouble:?} {step:?}"));
                    let cell = name.spawn_scoped(scope, move || try_cell(trouble, step));
                    let cell = cell.expect("a thread").join();
                    tell(format_args!("{}", cell.expect("the cell has told what is wrong")));
                }
            });
        }
    });
}

/// Writes a line of the table, which is wanted when the test passes, too.
fn tell(line: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn try_cell(trouble: Trouble, step: Step) -> Cell {
    let mut stage = Stage::start(trouble);
    let bystander = stage.visit(BYSTANDER);
    let hold = stage.proxy.traffic.hold(step.request().requests());
    fs::write(&stage.lines, format!("{NAME}\n")).expect("it can be written");
    let news = stage.visit(NAME);
    hold.wait(LIMIT);
    let begun = Instant::now();
    // Whoever makes the account has no order yet: then it is the first.
    let leader = stage.hosts.iter().position(Host::leads).unwrap_or_default();
    let visits: Vec<_> = bystander.into_iter().zip(news).collect();
    let visits = begin((trouble, step), &mut stage, leader, visits);
    hold.release();
    end((trouble, step), &mut stage, leader);
    stage.wait_until_all_serve();
    stage.wait_until_clean();
    let took = begun.elapsed();
    let mut report = LoadReport::default();
    for (bystander, news) in visits {
        stage.assert_no_way_back(&news.stop());
        let LoadReport { made, failed, .. } = bystander.stop();
        report.made += made;
        report.failed.extend(failed);
    }
    let (orders, txt) = (stage.orders(), stage.bed.cloudflare.txt_records().len());
    assert_eq!((orders, txt), (1, 0), "{}", stage.logs());
    assert_eq!(report.failed, [], "{}", stage.logs());
    assert!(report.made > 0, "somebody has visited");
    let (handshakes, failed) = (report.made, report.failed.len());
    Cell { trouble, step, orders, txt, handshakes, failed, took }
}

/// Visitors of a host, who ask for the bystander, and for what is new.
type Visits = (LoadClient, LoadClient);

/// Begins the trouble; gives the visits of the hosts that are there afterwards.
fn begin(
    (trouble, step): (Trouble, Step),
    stage: &mut Stage,
    leader: usize,
    mut visits: Vec<Visits>,
) -> Vec<Visits> {
    let links = |stage: &Stage, change: &dyn Fn(&TcpLink)| {
        stage.hosts.iter().flat_map(|host| &host.links).for_each(change);
    };
    match trouble {
        Trouble::EngineKilled | Trouble::MemberLost => stage.etcd.stop(0),
        Trouble::Partition => stage.hosts[leader].links.iter().for_each(TcpLink::cut),
        Trouble::Slow => links(stage, &|link| link.open(SLOWNESS)),
        Trouble::Full => stage.etcd.fill(),
        Trouble::TokensEnded => stage.etcd.end_tokens(),
        Trouble::Compacted => {
            // No host hears of a change.
            links(stage, &TcpLink::cut);
            stage.etcd.control(&["put", "acme_dns/records/certificates/of-others", "x"]);
            stage.etcd.compact();
        }
        Trouble::HostKilled => {
            drop(visits.remove(leader));
            stage.hosts.remove(leader).nginx.stop_hard();
        }
        Trouble::HostPaused => stage.hosts[leader].signal(Signal::STOP),
        Trouble::ClockAhead => {}
    }
    // Where the lease cannot be renewed, its holder gives the order up.
    if matches!(trouble, Trouble::EngineKilled | Trouble::Partition) && step != Step::BeforeLease {
        stage.wait_for_log(leader, "the lease has ended while it was ordered");
    }
    visits
}

fn end((trouble, step): (Trouble, Step), stage: &mut Stage, leader: usize) {
    let open = |links: &[TcpLink]| links.iter().for_each(|link| link.open(Duration::ZERO));
    match trouble {
        Trouble::EngineKilled => stage.etcd.start_again(0),
        // The other host completes the order before this one is back.
        Trouble::Partition => {
            stage.wait_until_serves(1 - leader);
            open(&stage.hosts[leader].links);
        }
        Trouble::Full => {
            // What has begun is completed, and nothing begins.
            let is_told = |host: &Host| host.nginx.log().contains("space exceeded").then_some(());
            let told = wait_until(LIMIT, || stage.hosts.iter().find_map(is_told));
            assert!(told.is_some(), "{}", stage.logs());
            if step != Step::BeforeLease {
                stage.wait_until_serves(leader);
            }
            stage.etcd.make_room();
        }
        Trouble::Compacted => stage.hosts.iter().for_each(|host| {
            host.links.iter().for_each(TcpLink::break_all);
            open(&host.links);
        }),
        Trouble::HostPaused => {
            if step != Step::BeforeLease {
                stage.wait_until_serves(1 - leader);
            }
            stage.hosts[leader].signal(Signal::CONT);
        }
        Trouble::MemberLost
        | Trouble::Slow
        | Trouble::TokensEnded
        | Trouble::HostKilled
        | Trouble::ClockAhead => {}
    }
}

/// A host, with its links to the engine.
struct Host {
    nginx: Nginx,
    port: Port,
    links: Vec<TcpLink>,
}

impl Host {
    /// Tells whether it has an order on its disk.
    fn leads(&self) -> bool {
        let entries = fs::read_dir(self.nginx.dir().join("acme_dns/orders")).into_iter().flatten();
        let mut names = entries.flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy() == format!("{NAME}.order"))
    }

    fn signal(&self, signal: Signal) {
        proc::kill(self.nginx.wait_for_helper(), signal);
    }
}

/// Two hosts with their engine, that serve the bystander. Fields are dropped in their order.
struct Stage {
    hosts: Vec<Host>,
    etcd: Etcd,
    /// Stands between the hosts and Pebble, but for the bystander.
    proxy: AcmeProxy,
    bed: Testbed,
    /// The domains file of all hosts.
    lines: PathBuf,
}

impl Stage {
    fn start(trouble: Trouble) -> Self {
        // Each order is counted at its request.
        let bed =
            Testbed::start_with(|options| PebbleOptions { nonce_reject_percent: 0, ..options });
        let members = if trouble == Trouble::MemberLost { 3 } else { 1 };
        let quota = (trouble == Trouble::Full).then_some(QUOTA);
        let options = EtcdOptions { members, quota, ..EtcdOptions::default() };
        let mut etcd = Etcd::start(&bed.dir().join("etcd"), options);
        let mut user = String::new();
        if trouble == Trouble::TokensEnded {
            etcd.enable_authentication("acme_dns/");
            let password = bed.dir().join("password");
            write_secret(&password, USER.1);
            user = format!("username {}; password_file {};", USER.0, password.display());
        }
        let lines = bed.dir().join("customers.txt");
        fs::write(&lines, "").expect("it can be written");
        fs::set_permissions(&lines, fs::Permissions::from_mode(0o644)).expect("a mode");
        let mut stage = Self { hosts: Vec::new(), etcd, proxy: bed.acme_proxy(), bed, lines };
        for _ in 0..2 {
            let host = stage.host(&user);
            stage.hosts.push(host);
        }
        if trouble == Trouble::ClockAhead {
            for (name, value) in clock_is(AHEAD) {
                stage.hosts[1].nginx.env(name, value);
            }
        }
        stage.hosts.iter_mut().for_each(|host| host.nginx.start());
        stage.wait_until_agreed(BYSTANDER);
        stage.wait_until_clean();
        stage
    }

    fn host(&self, user: &str) -> Host {
        let key = self.bed.dir().join("share_key");
        write_secret(&key, KEY);
        let address = |endpoint: String| {
            let at = endpoint.split("//").nth(1).and_then(|at| at.parse().ok());
            TcpLink::start(at.expect("an address"))
        };
        let links: Vec<_> = self.etcd.endpoints().into_iter().map(address).collect();
        let endpoints: Vec<_> =
            links.iter().map(|link| format!("http://{}", link.addr())).collect();
        let (pebble, proxy) = (&self.bed.pebble, &self.proxy);
        let (mut nginx, port) = (Nginx::new(NginxBuild::get()), Port::reserve());
        nginx.log_level("notice").http(format!(
            "{}{}{}{}
             acme_dns_share etcd {{ endpoint {}; encryption_key_file {}; {user} }}
             acme_dns_domains {} watch issuer=proxied;
             server {{ listen {at} ssl; server_name _; acme_dns sni; return 200; }}
             server {{ listen {at} ssl; server_name {BYSTANDER}; acme_dns on issuer=direct; return 200; }}",
            issuer("direct", &pebble.directory_url(), pebble.ca_file(), ""),
            issuer("proxied", &proxy.directory_url(), proxy.ca_file(), ""),
            self.bed.provider(),
            self.bed.propagation(),
            endpoints.join(" "),
            key.display(),
            self.lines.display(),
            at = port.addr(),
        ));
        Host { nginx, port, links }
    }

    fn client(&self, host: &Host, name: &str) -> TlsClient {
        TlsClient::new(host.port.addr()).sni(name).roots(&self.bed.pebble.root_pem(0))
    }

    /// Begins to visit each host.
    fn visit(&self, name: &str) -> Vec<LoadClient> {
        let visit = |host| LoadClient::start(&self.client(host, name), 1, PAUSE);
        self.hosts.iter().map(visit).collect()
    }

    /// Gives the serial number of the issued certificate that a host serves.
    fn serial(&self, host: &Host, name: &str) -> Option<String> {
        self.client(host, name).handshake().ok().map(|peer| peer.leaf.serial)
    }

    fn wait_until_serves(&self, host: usize) {
        let serves = || self.serial(&self.hosts[host], NAME);
        assert!(wait_until(LIMIT, serves).is_some(), "{}", self.logs());
    }

    fn wait_until_all_serve(&self) {
        self.wait_until_agreed(NAME);
    }

    /// Waits until all hosts serve the same.
    fn wait_until_agreed(&self, name: &str) {
        let agreed = || {
            let serials = self.hosts.iter().map(|host| self.serial(host, name));
            let serials = serials.collect::<Option<Vec<_>>>()?;
            serials.iter().all(|serial| *serial == serials[0]).then_some(())
        };
        assert!(wait_until(LIMIT, agreed).is_some(), "{name}: {}", self.logs());
    }

    /// Waits until no TXT record is left, and nothing to clean up on any host.
    fn wait_until_clean(&self) {
        let is_empty = |host: &Host, directory: &str| {
            let entries = fs::read_dir(host.nginx.dir().join("acme_dns").join(directory));
            entries.is_ok_and(|mut entries| entries.next().is_none())
        };
        let is_clean = || {
            let is_over = |host: &Host| is_empty(host, "orders") && is_empty(host, "journal");
            let has_no_txt = self.bed.cloudflare.txt_records().is_empty();
            (has_no_txt && self.hosts.iter().all(is_over)).then_some(())
        };
        assert!(wait_until(LIMIT, is_clean).is_some(), "{}", self.logs());
    }

    fn wait_for_log(&self, host: usize, text: &str) {
        let is_told = || self.hosts[host].nginx.log().contains(text).then_some(());
        assert!(wait_until(LIMIT, is_told).is_some(), "{text}: {}", self.logs());
    }

    /// Checks that no certificate was followed by one before it.
    fn assert_no_way_back(&self, report: &LoadReport) {
        let is_in_order = report.serials.windows(2).all(|pair| pair[0].last <= pair[1].first);
        assert!(is_in_order, "{:#?}\n{}", report.serials, self.logs());
    }

    fn orders(&self) -> usize {
        self.proxy.traffic.count(&AcmeStep::NewOrder.requests())
    }

    fn logs(&self) -> String {
        let log =
            |(number, host): (usize, &Host)| format!("host {number}:\n{}\n", host.nginx.log());
        self.hosts.iter().enumerate().map(log).collect()
    }
}
