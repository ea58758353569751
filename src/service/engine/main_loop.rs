//! The one loop that sleeps.
//!
//! It begins what is due, waits for a report or for the next time at which something is due, and hands reports
//! to the part that they are for. What each part does is not here.

use super::actions::Actions;
use super::clock::{LONGEST_SLEEP, now, random, sleep_by_the_clock};
use super::commit::Commit;
use super::data::DataWatch;
use super::failing::{Failed, Failures};
use super::fleet::news::FleetNews;
use super::fleet::{Fleet, FleetWitness, Parts};
use super::keeper::{InMemory, Keeper, Look, WATCH_INTERVAL};
use super::outcome::{IssuanceOrigin, Outcome, RenewalTiming, Report};
use super::packing::Packing;
use super::reloading::Reloading;
use super::requests::{Answerers, Requests};
use super::secrets::Secrets;
use super::served::Served;
use super::site::Site;
use super::stapling::Stapling;
use super::startup::Loaded;
use super::status::Status;
use super::tasks::{self, Obtaining, Sharing};
use super::unreadable::{Recovery, Unreadable};
use super::unsaved::Unsaved;
use super::watching::{Growing, Watching};
use crate::acme::Obtainer;
use crate::dns;
use crate::doctor::Doctor;
use crate::event::{CertificateEvent, Event, ProcessEvent};
use crate::http::{Clients, HttpError};
use crate::mark::Mark;
use crate::ocsp::OcspError;
use crate::program::Programs;
use crate::propagation::Checker;
use crate::share::{self, Patience, SetupError};
use crate::store::{Lock, programs_path};
use acme_dns_core::config::SecretId;
use acme_dns_core::id::VariantId;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Attempt, Reason, Schedule, Task};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// A process that has worked for so long is not one of those that are started again and again.
const SETTLED: Duration = Duration::from_secs(3600);

/// Service that works: it holds the lock, and has loaded what is in the state path.
pub(super) struct Running {
    begun: Instant,
    site: Rc<Site>,
    secrets: Secrets,
    pub(super) schedule: Schedule,
    served: Served,
    stapling: Stapling,
    actions: Actions,
    requests: Requests,
    failures: Failures,
    pub(super) keeper: Keeper,
    pub(super) unsaved: Unsaved,
    unreadable: Unreadable,
    reloading: Reloading,
    data: DataWatch,
    watching: Watching,
    packing: Packing,
    status: Status,
    /// Time of a lease, and the hosts that certificates are shared with once the loop runs.
    lease: Duration,
    fleet: Option<Rc<Fleet>>,
    /// Wakes the removal of TXT records.
    cleaning: Rc<Notify>,
    report: Report,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

/// Clients that are set up once there is something to do.
struct Tools {
    obtainer: Rc<Obtainer>,
    clients: Clients,
}

impl Running {
    pub(super) fn new(loaded: Loaded, lock: Lock) -> Self {
        let site = loaded.site;
        Self {
            begun: loaded.begun,
            secrets: loaded.secrets,
            schedule: loaded.schedule,
            served: loaded.served,
            stapling: loaded.stapling,
            actions: loaded.actions,
            requests: Requests::new(Rc::clone(&site)),
            failures: Failures::new(Rc::clone(&site)),
            keeper: Keeper::new(Rc::clone(&site), lock),
            unsaved: loaded.unsaved,
            unreadable: loaded.unreadable,
            reloading: loaded.reloading,
            data: loaded.data,
            watching: loaded.watching,
            packing: loaded.packing,
            status: loaded.status,
            lease: loaded.lease,
            fleet: None,
            cleaning: Rc::new(Notify::new()),
            report: loaded.report,
            outcomes: loaded.outcomes,
            site,
        }
    }

    /// Works until another process has the lock.
    pub(super) async fn run(&mut self) {
        let ready = match self.join() {
            Ok(()) => {
                self.idle().await;
                self.tools().map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let tools = match ready {
            Ok(tools) => tools,
            Err(why) => {
                self.site.tell(&Event::Process(ProcessEvent::Unfit { why }));
                return std::future::pending().await;
            }
        };
        let clean = tasks::clean(Rc::clone(&tools.obtainer), Rc::clone(&self.cleaning));
        tokio::task::spawn_local(clean);
        while self.has_lock() {
            self.look_at_requests();
            self.look_at_domains();
            self.share_limits(&tools);
            self.begin_due(&tools);
            self.failures.tell_untold();
            self.stapling.tend(&mut self.served, &tools.clients, &self.report);
            let doctor = || {
                let secret = |id: SecretId| self.secrets.get(id);
                Doctor::new(Arc::clone(&self.site.config), secret, Arc::clone(&self.site.host))
            };
            self.actions.begin_ready(&tools.obtainer, doctor);
            let pause = self.pause();
            tokio::select! {
                Some(outcome) = self.outcomes.recv() => {
                    self.handle(outcome);
                    self.cleaning.notify_one();
                }
                () = sleep_by_the_clock(pause) => {}
            }
        }
    }

    /// Joins the hosts that certificates are shared with, if the configuration says so.
    fn join(&mut self) -> Result<(), SetupError> {
        let Some(share) = &self.site.config.share else { return Ok(()) };
        let engine = share::open(share, |id| self.secrets.get(id), Patience::default())?;
        let engine = Rc::new(engine);
        self.fleet = Some(Fleet::join(&self.site, engine, self.lease, self.report.clone()));
        Ok(())
    }

    /// Waits until there is something to do. Before that no HTTP client is set up, which costs as much
    /// as a hundred handshakes: after a start with good certificates the machine is the workers'.
    async fn idle(&mut self) {
        let store = self.site.store.clone();
        let is_clean = || {
            let journal = store.journal_all().is_ok_and(|entries| entries.is_empty());
            journal && store.orders_all().is_ok_and(|orders| orders.is_empty())
        };
        while self.fleet.is_none() && self.actions.is_empty() && is_clean() {
            let pause = self.pause();
            if pause.is_zero() {
                return;
            }
            sleep_by_the_clock(pause).await;
            if !self.has_lock() {
                return;
            }
            self.look_at_requests();
            self.look_at_domains();
        }
    }

    /// Takes what has changed in watched domains files.
    fn look_at_domains(&mut self) {
        let Self { watching, schedule, served, stapling, unsaved, unreadable, status, .. } = self;
        watching.look(&mut Growing { schedule, served, stapling, unsaved, unreadable, status });
    }

    /// Takes what the status page has asked for.
    fn look_at_requests(&mut self) {
        let Self { requests, schedule, actions, status, .. } = self;
        requests.look(&mut Answerers { schedule, actions, status });
    }

    /// Looks after the state path and what lies in it, if it is time to; tells whether it is still ours.
    pub(super) fn has_lock(&mut self) -> bool {
        let Self { served, unsaved, stapling, schedule, fleet, cleaning, .. } = self;
        match self.keeper.look(InMemory { served, unsaved }) {
            Look::Lost => return false,
            Look::Early | Look::Amiss => {}
            Look::InPlace => {
                self.unreadable.look(Recovery { schedule, served, stapling });
                self.data.look(schedule.has_failures(), self.watching.wanting_room());
                self.status.count_records();
                self.packing.look();
                if let Some(fleet) = fleet {
                    fleet.tidy(&Parts { schedule, served, cleaning });
                }
            }
        }
        true
    }

    fn tools(&self) -> Result<Tools, HttpError> {
        let clients = Clients::default();
        let config = &self.site.config;
        let secret = |id: SecretId| self.secrets.get(id);
        let host = Arc::clone(&self.site.host);
        let homes = programs_path(&config.state_path);
        let programs = Programs::new(homes, move |command| host.prepare_program(command));
        let programs = programs.with_providers_program(config.providers_program.as_deref());
        let site = Rc::clone(&self.site);
        let tell = move |event| site.host.tell(&Event::Provider(event));
        let providers =
            dns::providers(&config.providers, secret, &clients, &Rc::new(programs), tell)?;
        let providers = dns::counted(&config.providers, providers, &self.site.host);
        let checker = Checker::new(&config.propagation);
        let (store, host) = (self.site.store.clone(), Arc::clone(&self.site.host));
        let config = Arc::clone(config);
        let obtainer = Obtainer::new(config, providers, store, checker, &clients, secret, host)?;
        let obtainer = FleetWitness::watch(obtainer, self.fleet.as_ref());
        Ok(Tools { obtainer: Rc::new(obtainer), clients })
    }

    /// Divides the limits of the accounts at CAs and DNS providers among the hosts that are alive.
    fn share_limits(&mut self, tools: &Tools) {
        if let Some(fleet) = &self.fleet {
            let others = fleet.count_others();
            self.schedule.share_limits(others, now());
            tools.obtainer.share_limits(others);
        }
    }

    /// Begins what is due, as far as there is room.
    fn begin_due(&mut self, tools: &Tools) {
        let now = now();
        while let Some(action) = self.schedule.poll(now) {
            match action {
                Task::Obtain(due) => self.obtain(*due, tools),
                Task::AskRenewalInfo { variant } => {
                    let issuer = self.served.get(variant).and_then(|served| served.issuer);
                    let of = self.served.leaf(variant).zip(issuer);
                    let obtainer = Rc::clone(&tools.obtainer);
                    tasks::ask_renewal_info(variant, of, obtainer, &self.report);
                }
            }
        }
    }

    fn obtain(&mut self, due: Attempt, tools: &Tools) {
        self.unsaved.give_up(due.variant);
        self.status.begin(&self.schedule, due.variant);
        let fleet = self.fleet.as_ref().filter(|fleet| fleet.shares(due.variant));
        let sharing = fleet.map(|fleet| {
            let renewal = self.schedule.renewal(due.variant);
            let validity = self.schedule.held(due.variant).map(|(validity, _)| validity);
            let is_asked = matches!(renewal, Some((_, Reason::Asked)));
            let known = fleet.known(due.variant, validity, is_asked);
            Sharing { fleet: Rc::clone(fleet), known }
        });
        let obtaining = Obtaining {
            site: Rc::clone(&self.site),
            mark: Mark::new(&*self.site.host),
            key: self.actions.key_for(due.variant),
            due,
            obtainer: Rc::clone(&tools.obtainer),
            is_settled: self.begun.elapsed() >= SETTLED,
            sharing,
        };
        obtaining.spawn(self.report.clone());
    }

    fn pause(&self) -> Duration {
        let next = self.schedule.poll_timeout();
        let next = next.into_iter().chain(self.stapling.poll_timeout()).min();
        let next = next.map_or(LONGEST_SLEEP, |next| next.since(now()).min(LONGEST_SLEEP));
        let next = next.min(self.actions.pause()).min(self.failures.pause());
        next.min(self.requests.pause()).min(self.watching.pause()).min(WATCH_INTERVAL)
    }

    fn handle(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Issued(issuance) => {
                let (variant, issuer) = (issuance.variant, issuance.issuer);
                let is_ours = matches!(issuance.origin, IssuanceOrigin::Ca);
                let follows = self.fleet.as_ref().map(|fleet| fleet.number(variant));
                let renewal = self.commit(follows).issued(*issuance);
                self.packing.note_saved();
                self.status.issued(&self.schedule, (variant, issuer));
                match &self.fleet {
                    Some(fleet) if is_ours => fleet.issued(variant, renewal),
                    Some(fleet) => fleet.adopted(variant),
                    None => {}
                }
            }
            Outcome::Postponed { variant, wait } => {
                let until = self.fleet.as_ref().map(|fleet| fleet.end_of_wait(variant, &wait));
                self.schedule.postpone(variant, until.unwrap_or(wait.until), now());
                self.status.show(&self.schedule, variant);
                let news = wait.news.into_iter().collect();
                self.handle(Outcome::Fleet(FleetNews::Changed(news)));
            }
            Outcome::Fleet(news) => {
                let Self { schedule, served, cleaning, .. } = self;
                if let Some(fleet) = &self.fleet {
                    fleet.handle(news, Parts { schedule, served, cleaning });
                }
            }
            Outcome::Marked(mark, outcome) => mark.on_lines(|| self.handle(*outcome)),
            Outcome::Saved { variant } => {
                self.commit(None).saved(variant);
                self.packing.note_saved();
            }
            Outcome::Probed { variant } => self.handle_probed(variant),
            Outcome::Failed { variant, issuer, environment, failure, error } => {
                let failed = Failed { variant, issuer, environment };
                self.failures.handle(&mut self.schedule, failed, &failure, &error);
                self.status.failed(&self.schedule, failed, failure.kind, error.to_string());
                if let Some(fleet) = &self.fleet {
                    fleet.failed(variant, self.schedule.progress(variant).cloned());
                }
            }
            Outcome::RenewalInfo { variant, leaf, answer } => {
                // It may have been replaced while the CA was asked.
                if leaf.is_none() || leaf == self.served.leaf(variant) {
                    self.handle_renewal_info(variant, answer);
                }
            }
            Outcome::Stapling { variant, leaf, host, answer } => {
                let is_revoked = matches!(answer, Err(OcspError::Revoked(_)));
                let current = self.served.chain(variant).and_then(|chain| chain.first());
                let is_known = (is_revoked || answer.is_ok()) && current == Some(&leaf);
                self.stapling.handle(&mut self.served, variant, (&leaf, host), answer);
                if is_known {
                    self.status.note_revocation(&self.schedule, variant, is_revoked);
                }
            }
            Outcome::Action { name, result } => self.actions.handle(&name, result),
        }
        self.keeper.note_accounts();
    }

    fn commit(&mut self, follows: Option<u64>) -> Commit<'_> {
        Commit {
            site: &self.site,
            schedule: &mut self.schedule,
            served: &mut self.served,
            stapling: &mut self.stapling,
            unsaved: &mut self.unsaved,
            actions: &mut self.actions,
            reloading: &self.reloading,
            follows,
        }
    }

    fn handle_probed(&mut self, variant: VariantId) {
        let (site, name) = (&self.site, self.site.name(variant));
        let progress = self.schedule.handle_probed(variant, now());
        if let Err(error) = site.store.save_progress(name, &progress) {
            site.tell_failure(Level::Error, &error);
        }
        site.tell_life(variant, CertificateEvent::Probed);
        self.status.probed(&self.schedule, variant);
        if let Some(fleet) = &self.fleet {
            fleet.failed(variant, None);
        }
    }

    fn handle_renewal_info(&mut self, variant: VariantId, answer: RenewalTiming) {
        let (site, name, schedule) = (&self.site, self.site.name(variant), &mut self.schedule);
        let before = schedule.renewal(variant);
        let renewal = schedule.handle_renewal_info(variant, now(), &answer.info, random());
        let after = schedule.renewal(variant);
        if let Err(error) = site.store.save_renewal(name, &renewal) {
            site.tell_failure(Level::Warn, &error);
        }
        if let Some(why) = answer.error {
            site.tell_life(variant, CertificateEvent::RenewalInfoFailed { why });
        }
        if let Some((at, reason)) = after.filter(|_| after != before) {
            let explanation = answer.explanation;
            site.tell_life(variant, CertificateEvent::Planned { at, reason, explanation });
            self.status.show(&self.schedule, variant);
            let Self { schedule, served, cleaning, .. } = self;
            if let Some(fleet) = &self.fleet {
                fleet.share_renewal(variant, &Parts { schedule, served, cleaning });
            }
        }
    }

    /// Leaves the hosts that certificates are shared with, when no attempt is under way any more.
    pub(super) async fn leave(&self) {
        if let Some(fleet) = &self.fleet {
            fleet.leave().await;
        }
    }

    /// Ends the service, when nothing is written any more; returns the lock, unless another process has it.
    pub(super) fn end(mut self) -> Option<Lock> {
        let Self { requests, schedule, actions, status, .. } = &mut self;
        requests.take(&mut Answerers { schedule, actions, status });
        self.save_interrupted();
        self.rescue();
        (!self.keeper.has_lost()).then(|| self.keeper.into_lock())
    }

    /// Writes back what the state path has lost since the last look.
    pub(super) fn rescue(&self) {
        self.keeper.rescue_at_end(InMemory { served: &self.served, unsaved: &self.unsaved });
    }

    /// Saves that what is under way was given up in good order, so that it begins again at once. An
    /// order whose file is gone has ended with a certificate on disk: only its report is missing.
    fn save_interrupted(&self) {
        let store = &self.site.store;
        for (variant, progress) in self.schedule.interrupted() {
            let name = self.site.name(variant);
            if !store.has_progress(name) {
                continue;
            }
            if let Err(error) = store.save_progress(name, &progress) {
                self.site.tell_failure(Level::Error, &error);
            }
        }
    }
}
