//! The doctor: checks of all that certificates depend on, one finding for each thing that is wrong
//! ([`acme_dns_core::findings`] has the words).
//!
//! ```text
//! issuers (issuer.rs, clock.rs) -> the engine of several hosts (share.rs) -> each certificate (certificate.rs), within a time (time_limit.rs):
//!      its names: aliases, providers, zones (route.rs)
//!   -> each zone once: its servers one by one (authority.rs), a test record (record.rs)
//!   -> dns-persist-01 (persist.rs), CAA (caa.rs) -> report
//! ```
//!
//! Nothing here takes a lock, writes to the state path or places an order. Questions have time limits of their
//! own, and what servers say is text. Before an order the service makes those of the checks that cost little
//! ([`order`]).

mod authority;
mod caa;
mod certificate;
mod clock;
mod issuer;
pub(crate) mod order;
mod persist;
mod provider;
mod record;
mod route;
mod share;
mod time_limit;
mod zone;

use crate::acme::Inspection;
use crate::dns::{self, DnsProvider};
use crate::event::Event;
use crate::host::Host;
use crate::http::{Clients, HttpError};
use crate::program::Programs;
use crate::propagation::Checker;
use crate::random::random_hex;
use crate::resolver::Resolver;
use acme_dns_core::config::{Certificate, Config, Propagation, SecretId};
use acme_dns_core::findings::{Finding, Report, Request, rows};
use acme_dns_core::id::{IssuerId, ProviderId, Table};
use certificate::{Round, Zones};
use futures_util::stream::{self, StreamExt};
use secrecy::SecretString;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::LocalSet;

/// So many certificates, and so many zones of each, are looked at at the same time.
const AT_ONCE: usize = 4;

/// Time that the check of a certificate may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Longest wait for a test record, whatever the configuration allows an order.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Parts that a check is made with.
pub struct Settings {
    /// The configuration.
    pub config: Arc<Config>,
    /// The secrets that the configuration refers to.
    pub secrets: Vec<SecretString>,
    /// The name of the user that makes the check, for the heading.
    pub user: String,
    /// The name of the workers' user, if that can read what the service can.
    pub shared_user: Option<String>,
    /// Process around it, which prepares programs.
    pub host: Arc<dyn Host>,
    /// The time that the check of a certificate may take.
    pub limit: Duration,
}

/// Makes a check, in a runtime of its own.
///
/// # Errors
/// It cannot begin: the certificate is not configured, or the system gives no runtime.
pub fn check(settings: Settings, request: &Request) -> Result<Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let Settings { config, secrets, user, shared_user, host, limit } = settings;
    let secret = |id: SecretId| secrets.get(id.0).cloned().unwrap_or_default();
    let report = LocalSet::new().block_on(&runtime, async {
        let mut doctor = Doctor::new(config, secret, host).map_err(|error| error.to_string())?;
        (doctor.shared_user, doctor.limit) = (shared_user, limit);
        doctor.run(request, &user).await
    });
    runtime.shutdown_background();
    report
}

/// A check of certificates of one configuration.
pub struct Doctor {
    config: Arc<Config>,
    providers: Table<ProviderId, Box<dyn DnsProvider>>,
    checker: Checker,
    resolver: Resolver,
    /// The engine that certificates are shared on.
    engine: Option<share::Opened>,
    clients: Clients,
    host: Arc<dyn Host>,
    /// Directory of the home directories of programs.
    homes: PathBuf,
    /// Time that the check of a certificate may take.
    limit: Duration,
    /// Name of the workers' user, if that can read what the service can.
    shared_user: Option<String>,
}

impl Drop for Doctor {
    fn drop(&mut self) {
        // It is there only if a program was run.
        let _was_not_there = fs::remove_dir(&self.homes);
    }
}

impl Doctor {
    /// Makes a doctor; nothing is contacted yet.
    ///
    /// # Errors
    /// Trusted certificates or credentials cannot be used.
    pub fn new(
        config: Arc<Config>,
        secret: impl Fn(SecretId) -> SecretString,
        host: Arc<dyn Host>,
    ) -> Result<Self, HttpError> {
        let clients = Clients::default();
        // Not those of the state path: a service may be at work there. What is below the directory of all users
        // must have a name that nobody has taken.
        let name = format!("acme-dns-check-{}", random_hex::<16>().unwrap_or_default());
        let homes = std::env::temp_dir().join(name);
        let preparing = Arc::clone(&host);
        let programs = Programs::new(homes.clone(), move |command| {
            preparing.prepare_program(command);
        });
        let programs = programs.with_providers_program(config.providers_program.as_deref());
        let telling = Arc::clone(&host);
        let tell = move |event| telling.tell(&Event::Provider(event));
        let engine = share::client(&config, &secret);
        let providers =
            dns::providers(&config.providers, secret, &clients, &Rc::new(programs), tell)?;
        let (checker, resolver) =
            (Checker::new(&patient(&config.propagation)), Resolver::of(&config.propagation));
        let (limit, shared_user) = (LIMIT, None);
        Ok(Self {
            config,
            providers,
            checker,
            resolver,
            engine,
            clients,
            host,
            homes,
            limit,
            shared_user,
        })
    }

    /// Makes the check.
    ///
    /// # Errors
    /// The certificate is not configured.
    pub async fn run(&self, request: &Request, user: &str) -> Result<Report, String> {
        let certificates = self.choose(request)?;
        let issuers: BTreeSet<IssuerId> =
            certificates.iter().flat_map(|certificate| certificate.issuers.clone()).collect();
        let inspections = stream::iter(&issuers)
            .map(async |id| (*id, self.inspect(*id).await))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let (mut findings, mut inspected) = (Vec::new(), HashMap::new());
        for (id, (of_issuer, inspection)) in inspections {
            findings.extend(of_issuer);
            inspected.extend(inspection.map(|inspection| (id, inspection)));
        }
        findings.extend(self.check_share(request.writes).await);
        findings.extend(route::invented(&self.resolver).await.map(|f| f.about("resolvers")));
        findings.extend(self.check_certificates(&certificates, &inspected, request.writes).await);
        let heading = heading(&certificates, issuers.len(), user);
        Ok(Report { heading, findings })
    }

    /// Finds the certificates that are asked for.
    fn choose(&self, request: &Request) -> Result<Vec<&Certificate>, String> {
        let is_asked_for = |certificate: &&Certificate| match &request.certificate {
            None => true,
            Some(name) => {
                certificate.name == *name || certificate.names.iter().any(|n| n.as_str() == name)
            }
        };
        let chosen: Vec<_> = self.config.certificates.values().filter(is_asked_for).collect();
        match &request.certificate {
            Some(name) if chosen.is_empty() => Err(format!(
                "ACME_DNS_CHECK asks for \"{name}\", no certificate of the configuration has that name"
            )),
            _ => Ok(chosen),
        }
    }

    /// Checks certificates, some at the same time; the findings are in their order.
    async fn check_certificates(
        &self,
        certificates: &[&Certificate],
        inspected: &HashMap<IssuerId, Inspection>,
        writes: bool,
    ) -> Vec<Finding> {
        let round = Round { inspected, writes, zones: Zones::default() };
        let checked = stream::iter(certificates)
            .map(|certificate| self.check_certificate(certificate, &round))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        checked.into_iter().flatten().collect()
    }

    /// Asks whether CAA lets the CAs of a certificate issue.
    async fn check_caa(
        &self,
        certificate: &Certificate,
        inspected: &HashMap<IssuerId, Inspection>,
    ) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for id in &certificate.issuers {
            let (Some(issuer), Some(inspection)) =
                (self.config.issuers.get(*id), inspected.get(id))
            else {
                continue;
            };
            let question = caa::Question {
                identities: &inspection.identities,
                account: inspection.account.as_ref().map(|account| account.url.as_str()),
                method: issuer.challenges.first().map_or("", |method| method.name()),
            };
            let caa = caa::Caa::ask(&self.resolver, &certificate.names).await;
            findings.extend(caa.findings(&question, &certificate.names));
            if let Some(failure) = caa.failure() {
                findings.push(match caa_refused(&self.checker, &self.resolver, failure).await {
                    Some(finding) => finding,
                    None => rows::D12_DOWN.finding(&[("words", &failure.words)]),
                });
            }
        }
        findings.dedup();
        findings
    }
}

/// Finds out whether the servers of a zone are the reason that nobody can say what the CAA records of a name are.
async fn caa_refused(
    checker: &Checker,
    resolver: &Resolver,
    failure: &caa::Failure,
) -> Option<Finding> {
    let zone = resolver.zone_cut(&failure.base).await.ok()?;
    let servers = checker.servers(zone::asked(&zone)).await?.ok()?;
    authority::refuses_caa(&servers, &zone, &failure.name).await
}

/// Waits no longer for a test record than people wait.
fn patient(settings: &Propagation) -> Propagation {
    let mut settings = settings.clone();
    if let Propagation::Check { timeout, .. } = &mut settings {
        *timeout = LONGEST_WAIT.min(*timeout);
    }
    settings
}

fn heading(certificates: &[&Certificate], issuers: usize, user: &str) -> String {
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    };
    let providers: BTreeSet<ProviderId> = certificates.iter().map(|c| c.provider).collect();
    format!(
        "acme_dns check of {}, {}, {} (as user \"{user}\")",
        count(certificates.len(), "certificate"),
        count(issuers, "issuer"),
        count(providers.len(), "provider")
    )
}
