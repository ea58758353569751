//! Waiting until TXT records are visible to the CA.
//!
//! Every authoritative server of the zone is asked, over each of its addresses, until all have the
//! records; [`progress`] has the rule. Recursive resolvers only say which servers these are
//! ([`servers`]); they are never asked for the records, because they would remember for the zone's
//! negative time to live that a record is not there. Each server is asked anew on its own, so that
//! a slow one does not keep the others waiting: first at once, then after 0.1 s, 0.2 s and so on up
//! to the configured interval.

mod progress;
mod servers;
mod view;

use crate::event::VisibilityEvent;
use crate::resolver::query::{QueryError, TxtAnswer, ask_txt, without_dot};
use crate::resolver::{ResolveError, Resolver};
use acme_dns_core::config::Propagation;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use hickory_proto::rr::Name;
pub(crate) use progress::NameServer;
use progress::{Standings, WantedValues};
pub(crate) use servers::NameServerError;
use servers::{NameServerCache, ServerSet, ZoneQuestion};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The first pause between two questions to a server.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// So many names are asked of a server at a time; some servers limit the rate of answers.
const NAMES_AT_ONCE: usize = 8;

/// Longest search for the reason of missing records.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// Wait for records where nobody can be asked: as with `acme_dns_propagation off`.
const BLIND_DELAY: Duration = Duration::from_secs(60);

/// A zone, and what its provider says of its servers.
#[derive(Clone, Copy, Debug)]
pub struct ZoneServers<'a> {
    /// The zone's name without a final dot.
    pub zone: &'a str,
    /// The names of the servers that the provider has for it, if it says so; `None` if it does not
    /// say where the zone begins either, and `zone` may be a domain below it.
    pub servers: Option<&'a [String]>,
}

/// Asks the authoritative servers of zones for TXT records. One value serves all orders, which may
/// wait at the same time.
#[derive(Debug)]
pub struct Checker {
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Check { timeout: Duration, interval: Duration, blind_delay: Duration, cache: NameServerCache },
    Off { delay: Duration },
}

/// An error that ends a wait for records.
#[derive(Debug, Error)]
pub enum PropagationError {
    /// A name cannot be asked for.
    #[error("invalid name \"{0}\" of a zone or a TXT record")]
    InvalidName(String),
    /// Which servers the zone has is not known.
    #[error(
        "cannot find the servers of zone \"{zone}\" within {timeout:?}: {reason}; set \"resolvers\" \
         in \"acme_dns_propagation\" directive to resolvers that know the zone, or use \
         \"acme_dns_propagation off\""
    )]
    NoServers {
        /// The zone.
        zone: String,
        /// Length of the wait.
        timeout: Duration,
        /// Answer of each resolver.
        reason: String,
    },
    /// The CA will ask others than the provider's servers.
    #[error(
        "zone \"{zone}\" is delegated to {delegated}, but the provider has it on {provider}: a CA asks \
         the former; set the domain's name servers at its registrar to the provider's, or use the \
         account or provider that serves the zone; if this machine sees another zone than the \
         internet, set \"resolvers\" in \"acme_dns_propagation\" directive"
    )]
    Moved {
        /// The zone.
        zone: String,
        /// The servers as this machine's resolvers know them.
        delegated: String,
        /// The servers that the provider names.
        provider: String,
    },
    /// No server of the zone gives an answer.
    #[error(
        "no server of zone \"{zone}\" has answered for \"{record}\" within {timeout:?}: {servers}; \
         let this machine reach them by UDP and TCP, or use \"acme_dns_propagation off\""
    )]
    Unreachable {
        /// The zone.
        zone: String,
        /// The first of the records.
        record: String,
        /// Length of the wait.
        timeout: Duration,
        /// The servers, each with its failure.
        servers: String,
    },
    /// Some servers lack some of the records.
    #[error(
        "not all servers of zone \"{zone}\" have the TXT records within {timeout:?}: {servers}; \
         {}raise \"timeout\" in \"acme_dns_propagation\" directive, set \"resolvers\" there if this \
         machine's see another zone than the internet, or use \"acme_dns_propagation off\"",
        .difference.as_ref().map_or_else(String::new, |difference| format!("{difference}; "))
    )]
    Missing {
        /// The zone.
        zone: String,
        /// Length of the wait.
        timeout: Duration,
        /// The servers, each with what it lacks.
        servers: String,
        /// Servers as this machine's resolvers and as the delegation name them, if these differ.
        difference: Option<String>,
    },
}

/// Answers of one server that was asked for several names.
struct ServerReply {
    server: usize,
    answers: Vec<(usize, TxtAnswer)>,
    failure: Option<QueryError>,
}

impl Checker {
    /// Makes a checker with the settings of `acme_dns_propagation`. Nothing is contacted yet.
    #[must_use]
    pub fn new(settings: &Propagation) -> Self {
        let mode = match settings {
            Propagation::Off { delay } => Mode::Off { delay: *delay },
            Propagation::Check { timeout, interval, port, .. } => Mode::Check {
                timeout: *timeout,
                interval: *interval,
                blind_delay: BLIND_DELAY,
                cache: NameServerCache::new(Resolver::of(settings), *port),
            },
        };
        Self { mode }
    }

    /// Changes how long records are waited for where somebody else answers in the servers' place.
    #[must_use]
    pub fn with_blind_delay(mut self, delay: Duration) -> Self {
        if let Mode::Check { blind_delay, .. } = &mut self.mode {
            *blind_delay = delay;
        }
        self
    }

    /// Finds the name that a name is an alias of (CNAME), in lower case and without a final dot; `None` if
    /// it is none. The servers of its zone are asked, and the resolver where none of them answers or
    /// the check is off.
    ///
    /// # Errors
    /// The resolver does not answer either.
    pub async fn alias(
        &self,
        resolver: &Resolver,
        name: &str,
    ) -> Result<Option<String>, ResolveError> {
        let Ok(asked) = parse_name(name) else { return Ok(None) };
        let known = match &self.mode {
            Mode::Check { cache, .. } => sleepless(cache.alias(&asked)).await,
            Mode::Off { .. } => None,
        };
        let target = match known {
            Some(target) => target,
            None => resolver.alias(&asked).await?,
        };
        Ok(target.map(|target| without_dot(&target.to_lowercase())))
    }

    /// Tells whether servers are asked at all.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self.mode, Mode::Check { .. })
    }

    /// Finds the servers of a zone, as a wait for records does, with their addresses; `None` if the check is
    /// off, or the zone has no name.
    pub(crate) async fn servers(
        &self,
        asked: ZoneServers<'_>,
    ) -> Option<Result<Vec<NameServer>, NameServerError>> {
        let Mode::Check { cache, .. } = &self.mode else { return None };
        let servers = cache.servers(&question(asked).ok()?).await;
        Some(servers.map(|set| set.servers().to_vec()))
    }

    /// Compares what the resolvers and the zone above say of a zone's servers; `None` if they say the same,
    /// or that cannot be found out.
    pub(crate) async fn difference(&self, zone: &str) -> Option<String> {
        let Mode::Check { cache, .. } = &self.mode else { return None };
        let asked = ZoneServers { zone, servers: Some(&[]) };
        sleepless(cache.difference(&question(asked).ok()?)).await
    }

    /// Asks the servers of its zone for the values of a name's TXT records, or the resolver where the check is
    /// off. Gives what each of them has that answers, at least one.
    ///
    /// # Errors
    /// None of them answers, or they are not known; the reason.
    pub async fn values(
        &self,
        resolver: &Resolver,
        name: &str,
    ) -> Result<Vec<Vec<String>>, String> {
        let name = parse_name(name).map_err(|error| error.to_string())?;
        match &self.mode {
            Mode::Check { cache, .. } => cache.values(&name).await,
            Mode::Off { .. } => match resolver.txt(&name).await {
                Ok(values) => Ok(vec![values]),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// Waits until every authoritative server of `zone` serves all of `records`: pairs of a name
    /// without a final dot and a value. Other values at the same name do not matter.
    ///
    /// # Errors
    /// Some servers do not have them in time, or the zone's servers cannot be found.
    pub async fn wait(
        &self,
        zone: &str,
        records: &[(String, String)],
        tell: &dyn Fn(VisibilityEvent),
    ) -> Result<(), PropagationError> {
        self.wait_for(ZoneServers { zone, servers: Some(&[]) }, records, tell).await
    }

    /// Waits as [`Checker::wait`] where the provider names the zone's servers: these are asked, and those of
    /// the delegation. Waits for the delegation, too, if that names none of them.
    ///
    /// # Errors
    /// As of [`Checker::wait`], or the zone is delegated to others.
    pub async fn wait_for(
        &self,
        asked: ZoneServers<'_>,
        records: &[(String, String)],
        tell: &dyn Fn(VisibilityEvent),
    ) -> Result<(), PropagationError> {
        let zone = asked.zone;
        match &self.mode {
            Mode::Off { delay } => {
                tell(VisibilityEvent::Unchecked { zone: zone.to_owned(), delay: *delay });
                sleep(*delay).await;
                Ok(())
            }
            Mode::Check { timeout, interval, blind_delay, cache } => {
                let (timeout, interval, blind_delay) = (*timeout, *interval, *blind_delay);
                let wait = ZoneWait { zone, timeout, interval, blind_delay, cache, tell };
                wait.run(asked.servers, records).await
            }
        }
    }
}

/// Makes the question for the servers of a zone.
fn question(asked: ZoneServers<'_>) -> Result<ZoneQuestion, PropagationError> {
    // A name of the provider's that is none is nobody's to ask.
    let named = |names: &[String]| {
        names.iter().filter_map(|name| parse_name(&name.to_lowercase()).ok()).collect()
    };
    Ok(ZoneQuestion { zone: parse_name(asked.zone)?, provider: asked.servers.map(named) })
}

/// Outcome of asking all servers.
enum CheckOutcome {
    /// All have the records.
    Everywhere,
    /// Somebody else answers in their place.
    Intercepted,
}

/// One wait for the records of one zone.
struct ZoneWait<'a> {
    zone: &'a str,
    timeout: Duration,
    interval: Duration,
    blind_delay: Duration,
    cache: &'a NameServerCache,
    tell: &'a dyn Fn(VisibilityEvent),
}

impl ZoneWait<'_> {
    async fn run(
        &self,
        provider: Option<&[String]>,
        records: &[(String, String)],
    ) -> Result<(), PropagationError> {
        let deadline = Instant::now() + self.timeout;
        let question = question(ZoneServers { zone: self.zone, servers: provider })?;
        let wanted = group(records);
        let names: Vec<Name> =
            wanted.iter().map(|wanted| parse_name(&wanted.name)).collect::<Result<_, _>>()?;
        let Some(record) = wanted.first().map(|wanted| wanted.name.clone()) else { return Ok(()) };
        let set = self.find_servers(&question, deadline).await?;
        let servers = set.servers().iter().cloned();
        let mut progress = Standings::new(wanted, servers, |server| set.is_silent(server));
        let visible = timeout_at(deadline, self.ask_all(&names, &set, &mut progress)).await;
        match visible {
            Ok(CheckOutcome::Everywhere) => {
                self.note_ignored(&set, &progress);
                return Ok(());
            }
            Ok(CheckOutcome::Intercepted) => {
                self.wait_blindly(&progress).await;
                return Ok(());
            }
            Err(_) => {}
        }
        // The set may be wrong by now.
        self.cache.forget(&question);
        let (zone, timeout, servers) = (self.zone.to_owned(), self.timeout, progress.describe());
        Err(if progress.is_silent() {
            PropagationError::Unreachable { zone, record, timeout, servers }
        } else {
            let difference = sleepless(self.cache.difference(&question)).await;
            PropagationError::Missing { zone, timeout, servers, difference }
        })
    }

    /// Waits as if the check was off: what answers in the servers' place has nothing to say.
    async fn wait_blindly(&self, progress: &Standings) {
        let (zone, delay) = (self.zone.to_owned(), self.blind_delay);
        let servers = progress.describe();
        (self.tell)(VisibilityEvent::Intercepted { zone, servers, delay });
        sleep(delay).await;
    }

    /// Looks the servers up, again and again if need be.
    async fn find_servers(
        &self,
        question: &ZoneQuestion,
        deadline: Instant,
    ) -> Result<Arc<ServerSet>, PropagationError> {
        let mut last: Option<NameServerError> = None;
        let found = timeout_at(deadline, async {
            let mut pause = FIRST_PAUSE.min(self.interval);
            loop {
                let error = match self.cache.servers(question).await {
                    Ok(set) => return set,
                    Err(error) => error,
                };
                (self.tell)(self.no_servers_yet(&error, last.is_none()));
                last = Some(error);
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(self.interval);
            }
        })
        .await;
        if let Ok(set) = &found {
            let (zone, servers) = (self.zone.to_owned(), set.to_string());
            (self.tell)(VisibilityEvent::Servers { zone, servers });
            if let Some(note) = set.take_note() {
                (self.tell)(VisibilityEvent::Remarkable { note });
            }
        }
        let (zone, timeout) = (self.zone.to_owned(), self.timeout);
        found.map_err(|_| match last {
            Some(NameServerError::Moved { delegated, provider }) => {
                PropagationError::Moved { zone, delegated, provider }
            }
            last => {
                let reason = last.map_or_else(|| "no answer yet".to_owned(), |e| e.to_string());
                PropagationError::NoServers { zone, timeout, reason }
            }
        })
    }

    fn no_servers_yet(&self, error: &NameServerError, is_first: bool) -> VisibilityEvent {
        let (zone, why) = (self.zone.to_owned(), error.to_string());
        match error {
            NameServerError::Moved { .. } => {
                VisibilityEvent::Elsewhere { zone, why, timeout: self.timeout, is_first }
            }
            NameServerError::NotFound(_) | NameServerError::NoAddress(_) => {
                VisibilityEvent::NoServers { zone, why, is_first }
            }
        }
    }

    /// Asks every server until the records are visible, or nobody turns out to be asked at all.
    async fn ask_all(
        &self,
        names: &[Name],
        set: &ServerSet,
        progress: &mut Standings,
    ) -> CheckOutcome {
        let question = |progress: &Standings, server, pause| {
            let (place, open) = progress.open(server);
            ask_server(names, server, place.address, open, pause)
        };
        let mut pauses = vec![FIRST_PAUSE; progress.len()];
        let mut told = false;
        let mut questions: FuturesUnordered<_> =
            (0..progress.len()).map(|server| question(progress, server, Duration::ZERO)).collect();
        while let Some(asked) = questions.next().await {
            let server = asked.server;
            self.handle(asked, set, progress);
            if progress.is_done() {
                return CheckOutcome::Everywhere;
            }
            if progress.is_intercepted() {
                return CheckOutcome::Intercepted;
            }
            if !progress.has_all(server) {
                let pause = pauses[server].min(self.interval);
                pauses[server] = pause.saturating_mul(2);
                // It takes longer than most: time to say what the order waits for.
                if pause == self.interval && !told {
                    told = true;
                    let (zone, timeout) = (self.zone.to_owned(), self.timeout);
                    let lacks = progress.describe_server(server).unwrap_or_default();
                    (self.tell)(VisibilityEvent::StillWaiting { zone, timeout, lacks });
                }
                questions.push(question(progress, server, pause));
            }
        }
        CheckOutcome::Everywhere
    }

    /// Notes what a server said.
    fn handle(&self, asked: ServerReply, set: &ServerSet, progress: &mut Standings) {
        let server = asked.server;
        let answered = !asked.answers.is_empty();
        for (name, answer) in asked.answers {
            progress.handle_answer(server, name, answer);
        }
        if let Some(failure) = asked.failure {
            progress.handle_failure(server, failure);
        }
        let (place, _) = progress.open(server);
        if answered {
            set.set_silent(place, false);
        }
        let zone = self.zone.to_owned();
        (self.tell)(match progress.describe_server(server) {
            None => VisibilityEvent::Shown { server: place.to_string(), zone },
            Some(lacks) => VisibilityEvent::Lacking { zone, lacks },
        });
    }

    /// Tells which servers were ignored, and remembers that they are down.
    fn note_ignored(&self, set: &ServerSet, progress: &Standings) {
        for (server, failure) in progress.ignored() {
            // Without a route it fails at once again; and the next configuration may have one.
            let (is_new, why) = match failure {
                Some(error @ QueryError::NoRoute(_)) => (false, error.to_string()),
                Some(error) => (true, error.to_string()),
                None => (false, "it did not answer the last time".to_owned()),
            };
            if is_new {
                set.set_silent(server, true);
            }
            let (server, zone) = (server.to_string(), self.zone.to_owned());
            (self.tell)(VisibilityEvent::Ignored { server, zone, why, is_new });
        }
    }
}

/// Waits some seconds for what is worth no more.
async fn sleepless<T>(work: impl Future<Output = Option<T>>) -> Option<T> {
    timeout(LAST_LOOK, work).await.ok().flatten()
}

/// Asks one server for several names after a pause, and stops at the first failure.
async fn ask_server(
    names: &[Name],
    server: usize,
    address: SocketAddr,
    open: Vec<usize>,
    pause: Duration,
) -> ServerReply {
    sleep(pause).await;
    let mut asked = ServerReply { server, answers: Vec::new(), failure: None };
    let mut answers = stream::iter(open)
        .map(|index| async move { (index, ask_txt(address, &names[index]).await) })
        .buffered(NAMES_AT_ONCE);
    while let Some((index, answer)) = answers.next().await {
        match answer {
            Ok(answer) => asked.answers.push((index, answer)),
            Err(failure) => {
                asked.failure = Some(failure);
                break;
            }
        }
    }
    asked
}

/// Groups the values by name.
fn group(records: &[(String, String)]) -> Vec<WantedValues> {
    let mut wanted: Vec<WantedValues> = Vec::new();
    for (name, value) in records {
        match wanted.iter_mut().find(|wanted| wanted.name.eq_ignore_ascii_case(name)) {
            Some(wanted) => wanted.values.push(value.clone()),
            None => wanted.push(WantedValues { name: name.clone(), values: vec![value.clone()] }),
        }
    }
    wanted
}

fn parse_name(text: &str) -> Result<Name, PropagationError> {
    let invalid = |_| PropagationError::InvalidName(text.to_owned());
    let mut name = Name::from_ascii(text).map_err(invalid)?;
    name.set_fqdn(true);
    Ok(name)
}
