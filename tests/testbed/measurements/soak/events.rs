//! Events that go wrong, and their times.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::{Action, Fault, Hold, Match, Traffic};

use crate::measurements::proc;

use super::Plan;
use super::load::Load;
use super::random::Random;
use super::stage::Stage;

/// Longer than the end of a killed process and the start of the next one take.
const LIMIT: Duration = Duration::from_secs(20);

/// The longest pause of the module after a first failure.
const RETRY: Duration = Duration::from_millis(12_500);

/// The shortest one. An outage that is shorter meets no attempt twice.
const SHORTEST_RETRY: Duration = Duration::from_secs(10);

/// Longest time that the module waits for the answer to a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// Limit for certificates that are due together. So much of a renewal's time no outage takes.
const ISSUE: Duration = Duration::from_secs(10);

/// Delay that certificates may have when something new happens: others may be obtained before them.
const LATE: Duration = Duration::from_secs(8);

/// Age that a helper may reach where none is killed. It makes no more requests of Cloudflare in five
/// minutes than that allows a user, which 50 certificates of two minutes come near.
const FRESH: Duration = Duration::from_secs(210);

/// Blows to nginx's processes between an outage and the next event.
const DISTURBANCES: u32 = 3;

/// The longest that a server is silent.
const SILENCE: Duration = Duration::from_secs(15);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Event {
    KillHelper,
    KillWorker,
    Reload,
    /// Servers get other names, or the same ones in another way.
    Edit,
    Clock(Jump),
    Outage(Server, How),
}

/// The clock of all of nginx's processes is wrong for a while.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Jump {
    Ahead,
    Behind,
}

/// Whose outage it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Server {
    Ca,
    Provider,
    Dns,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum How {
    /// Its port is closed.
    Stopped,
    /// It answers 500.
    Errors,
    /// It answers 429.
    Throttles,
    /// It answers late.
    Silent,
    /// It never answers what it was asked meanwhile.
    Swallows,
}

/// Times that a clock is wrong, in seconds. Each is short against the life of a certificate, which is not
/// renewed in time by a clock that stays behind.
const WRONG: (u64, u64) = (2, 6);

/// Seconds that a clock is ahead: some certificates are due then, or all have expired.
const AHEAD: (u64, u64) = (20, 200);

/// Seconds that it is behind: the newest certificates are not valid yet.
const BEHIND: (u64, u64) = (5, 60);

const PROCESSES: [Event; 6] = [
    Event::KillHelper,
    Event::KillWorker,
    Event::Reload,
    Event::Edit,
    Event::Clock(Jump::Ahead),
    Event::Clock(Jump::Behind),
];

const OUTAGES: [Event; 11] = [
    Event::Outage(Server::Ca, How::Stopped),
    Event::Outage(Server::Ca, How::Errors),
    Event::Outage(Server::Ca, How::Throttles),
    Event::Outage(Server::Ca, How::Silent),
    Event::Outage(Server::Ca, How::Swallows),
    Event::Outage(Server::Provider, How::Stopped),
    Event::Outage(Server::Provider, How::Errors),
    Event::Outage(Server::Provider, How::Throttles),
    Event::Outage(Server::Provider, How::Silent),
    Event::Outage(Server::Provider, How::Swallows),
    Event::Outage(Server::Dns, How::Silent),
];

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, how) = match self {
            Self::KillHelper => return f.write_str("helper killed"),
            Self::KillWorker => return f.write_str("worker killed"),
            Self::Reload => return f.write_str("reload"),
            Self::Edit => return f.write_str("configuration edited"),
            Self::Clock(Jump::Ahead) => return f.write_str("clock ahead"),
            Self::Clock(Jump::Behind) => return f.write_str("clock behind"),
            Self::Outage(server, how) => (server, how),
        };
        let server = match server {
            Server::Ca => "CA",
            Server::Provider => "provider's API",
            Server::Dns => "DNS server",
        };
        let how = match how {
            How::Stopped => "stopped",
            How::Errors => "answers 500",
            How::Throttles => "answers 429",
            How::Silent => "answers late",
            How::Swallows => "answers never",
        };
        write!(f, "{server} {how}")
    }
}

impl How {
    /// Returns the longest time of such an outage if a certificate that is about to be renewed can bear to be
    /// late by `bearable`, and by how much it can make it late. `None`: not at all.
    fn longest(self, bearable: Duration) -> Option<(Duration, Duration)> {
        let (longest, delay) = match self {
            Self::Stopped | Self::Errors | Self::Throttles => {
                (SHORTEST_RETRY - Duration::from_secs(1), RETRY)
            }
            // An attempt may fail at its end.
            Self::Silent => (bearable.saturating_sub(RETRY).min(SILENCE), RETRY),
            Self::Swallows => (Duration::from_secs(3), PATIENCE + RETRY),
        };
        (delay < bearable && !longest.is_zero()).then_some((longest, delay))
    }
}

/// A time in which a worker was killed: from the signal until it was gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Killed {
    pub(super) sent: Instant,
    pub(super) gone: Instant,
}

/// Record of what has happened so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    pub(super) happened: Vec<(Instant, Event)>,
    pub(super) killed: Vec<Killed>,
    /// The number of orders that were placed.
    pub(super) orders: usize,
}

/// Lets things happen until the time is over.
pub(super) fn run(
    plan: &Plan,
    stage: &mut Stage,
    load: &Load,
    events: &Mutex<Events>,
    start: Instant,
) {
    let random = Random::new(plan.seed);
    Run { plan, stage, load, events, start, random, fresh: start, processes: Vec::new() }.all();
}

struct Run<'a> {
    plan: &'a Plan,
    stage: &'a mut Stage,
    load: &'a Load,
    events: &'a Mutex<Events>,
    start: Instant,
    random: Random,
    /// The moment of nginx's last reload.
    fresh: Instant,
    /// Events that have not yet had their turn in the current round of [`PROCESSES`].
    processes: Vec<Event>,
}

impl Run<'_> {
    fn all(&mut self) {
        let mut quarter = 0;
        // What has not yet had its turn in the current round, of each kind of quarter.
        let mut rounds = [Vec::new(), Vec::new()];
        while !self.is_over() {
            let now = self.plan.quarter(self.start.elapsed());
            let quiet = now % 2;
            // All processes of a quiet quarter begin with it, and all become as old.
            if quiet == 1 && (now != quarter || self.fresh.elapsed() >= FRESH) {
                self.strike(Event::Reload);
            }
            quarter = now;
            let round = &mut rounds[quiet];
            if round.is_empty() {
                *round = self.round(quiet == 1);
            }
            if let Some(event) = round.pop() {
                self.strike(event);
            }
        }
    }

    /// The order in which everything comes once; the end comes first.
    fn round(&mut self, quiet: bool) -> Vec<Event> {
        let mut outages = OUTAGES.to_vec();
        self.random.shuffle(&mut outages);
        if quiet {
            return outages;
        }
        let mut round = Vec::new();
        for outage in outages {
            // Processes at every other turn.
            round.extend([outage, self.any_process()]);
        }
        round
    }

    /// Each comes as often as the others.
    fn any_process(&mut self) -> Event {
        if self.processes.is_empty() {
            self.processes = PROCESSES.to_vec();
            self.random.shuffle(&mut self.processes);
        }
        self.processes.pop().unwrap_or(Event::Reload)
    }

    fn is_over(&self) -> bool {
        self.start.elapsed() >= self.plan.duration
    }

    fn is_storm(&self) -> bool {
        !self.is_over() && self.plan.quarter(self.start.elapsed()).is_multiple_of(2)
    }

    fn note(&self, change: impl FnOnce(&mut Events)) {
        change(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets something happen, and waits until all certificates have survived it.
    fn strike(&mut self, event: Event) {
        let settle = match event {
            Event::Outage(server, how) => {
                // It begins to be renewed when half of its time is over.
                let bearable = (self.plan.validity / 2).saturating_sub(ISSUE);
                let Some((longest, delay)) = how.longest(bearable) else { return };
                let shortest = Duration::from_secs(1).min(longest);
                let time = self.random.between(shortest, longest);
                self.note(|events| events.happened.push((Instant::now(), event)));
                self.outage(server, how, time);
                delay
            }
            _ => {
                self.process(event);
                Duration::ZERO
            }
        };
        self.tidy();
        if !settle.is_zero() && self.is_storm() {
            // More happens while the module recovers.
            for _ in 0..DISTURBANCES {
                self.pause(settle / (DISTURBANCES + 1));
                let event = self.any_process();
                self.process(event);
            }
            self.pause(settle / (DISTURBANCES + 1));
        } else {
            self.pause(settle);
        }
        let pause = self.random.between(Duration::from_secs(1), Duration::from_secs(3));
        self.pause(pause);
        let calm = (self.plan.validity / 2).saturating_sub(LATE);
        wait_until(self.plan.validity, || {
            (self.is_over() || self.load.time_left() >= calm).then_some(())
        });
    }

    /// Counts the orders and empties the logs of the requests, which would grow for ever.
    fn tidy(&self) {
        let traffic = &self.stage.proxy.traffic;
        let orders = traffic.count(&AcmeStep::NewOrder.requests());
        self.note(|events| events.orders += orders);
        traffic.clear_log();
        self.stage.bed.cloudflare.traffic.clear_log();
    }

    /// Sleeps, but not beyond the end.
    fn pause(&self, time: Duration) {
        thread::sleep(time.min(self.plan.duration.saturating_sub(self.start.elapsed())));
    }

    /// Something happens to nginx's own processes.
    fn process(&mut self, event: Event) {
        self.note(|events| events.happened.push((Instant::now(), event)));
        match event {
            Event::KillHelper => self.kill_helper(),
            Event::KillWorker => self.kill_worker(),
            Event::Clock(jump) => self.jump(jump),
            Event::Edit => {
                self.stage.edit(&mut self.random);
                self.fresh = Instant::now();
            }
            Event::Reload | Event::Outage(..) => {
                self.stage.nginx.reload();
                self.fresh = Instant::now();
            }
        }
    }

    fn jump(&mut self, jump: Jump) {
        let mut seconds =
            |(from, to)| self.random.between(Duration::from_secs(from), Duration::from_secs(to));
        let (wrong, ahead, behind) = (seconds(WRONG), seconds(AHEAD), seconds(BEHIND));
        self.stage.set_clock(match jump {
            Jump::Ahead => ahead.as_secs().cast_signed(),
            Jump::Behind => -behind.as_secs().cast_signed(),
        });
        self.pause(wrong);
        self.stage.set_clock(0);
    }

    fn kill_helper(&self) {
        let helper = wait_until(LIMIT, || self.stage.helper());
        let helper = helper.unwrap_or_else(|| panic!("no helper:\n{}", self.stage.nginx.log()));
        proc::kill(helper, Signal::KILL);
        let next = wait_until(LIMIT, || self.stage.helper().filter(|pid| *pid != helper));
        assert!(next.is_some(), "no helper after {helper}:\n{}", self.stage.nginx.log());
    }

    fn kill_worker(&mut self) {
        let workers = self.stage.nginx.worker_pids();
        let Some(worker) = workers.get(self.random.below(workers.len())).copied() else { return };
        let sent = Instant::now();
        proc::kill(worker, Signal::KILL);
        let gone = wait_until(LIMIT, || (!proc::is_alive(worker)).then(Instant::now));
        let gone = gone.unwrap_or_else(|| panic!("worker {worker} lives"));
        self.note(|events| events.killed.push(Killed { sent, gone }));
        let complete = wait_until(LIMIT, || {
            (self.stage.nginx.worker_pids().len() >= self.stage.workers).then_some(())
        });
        assert!(complete.is_some(), "no worker after {worker}:\n{}", self.stage.nginx.log());
    }

    fn outage(&mut self, server: Server, how: How, time: Duration) {
        let hold = self.begin(server, how);
        if self.is_storm() && self.random.below(2) == 0 {
            // A process may end in the midst of it.
            self.pause(time / 2);
            let event = self.any_process();
            self.process(event);
            self.pause(time / 2);
        } else {
            self.pause(time);
        }
        drop(hold);
        self.end(server, how);
    }

    fn begin(&mut self, server: Server, how: How) -> Option<Hold> {
        let always = |action| Fault::new(Match::any(), action).always();
        let status = |status, retry_after| always(Action::Status { status, retry_after });
        match (server, how) {
            (Server::Dns, _) => self.stage.bed.dns.pause(),
            (Server::Ca, How::Stopped) => self.stage.proxy.stop(),
            (Server::Provider, How::Stopped) => self.stage.bed.cloudflare.stop(),
            (_, How::Silent) => return Some(self.traffic(server).hold(Match::any())),
            (_, How::Errors) => self.traffic(server).inject(status(500, None)),
            (_, How::Throttles) => self.traffic(server).inject(status(429, Some(1))),
            (_, How::Swallows) => self.traffic(server).inject(always(Action::Hang)),
        }
        None
    }

    fn end(&mut self, server: Server, how: How) {
        match (server, how) {
            (Server::Dns, _) => self.stage.bed.dns.resume(),
            (Server::Ca, How::Stopped) => self.stage.proxy.restart(),
            (Server::Provider, How::Stopped) => self.stage.bed.cloudflare.restart(),
            _ => self.traffic(server).clear_faults(),
        }
    }

    fn traffic(&self, server: Server) -> &Traffic {
        match server {
            Server::Ca => &self.stage.proxy.traffic,
            Server::Provider | Server::Dns => &self.stage.bed.cloudflare.traffic,
        }
    }
}
