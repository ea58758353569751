//! The checks before an order: those that cost little and find what would cost a part of the CA's limits.

use super::authority;
use super::caa::{Caa, Question};
use super::zone::{bogus, missing};
use crate::propagation::{Checker, NameServerError, ZoneServers};
use crate::resolver::Resolver;
use crate::resolver::probe::dns_name;
use acme_dns_core::findings::{Finding, Severity};
use acme_dns_core::name::Name;
use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// Longest delay of an order; what is not known by then does not stop it.
const LIMIT: Duration = Duration::from_secs(5);

/// So many zones are looked at at a time.
const AT_ONCE: usize = 8;

/// Rows that stop an order.
const STOPPING: [&str; 12] =
    ["A01", "A02", "A03", "A04", "A05", "A06", "D01", "D02", "D06", "D07", "D15", "D17"];

/// An order that is about to be placed.
pub(crate) struct Plan<'a> {
    /// The names of the certificate.
    pub(crate) names: &'a [Name],
    /// The zones of its records, each with the servers that its provider names, as far as it says so.
    pub(crate) zones: &'a BTreeMap<String, Option<Vec<String>>>,
    /// Names by which the CA is known in CAA records.
    pub(crate) identities: &'a [String],
    /// Our account, if there is one.
    pub(crate) account: Option<&'a str>,
    /// The method by which names are proven, as CAA records name it.
    pub(crate) method: &'static str,
}

/// Finds what stops an order. Where propagation is not checked, this host is not thought to see what the CA sees;
/// what nobody can say, the order finds out.
pub(crate) async fn check(
    checker: &Checker,
    resolver: &Resolver,
    plan: &Plan<'_>,
) -> Option<Finding> {
    if !checker.is_on() {
        return None;
    }
    let looking = async {
        let zones = stream::iter(plan.zones).map(|(zone, named)| {
            let servers = ZoneServers { zone, servers: named.as_deref() };
            check_zone(checker, resolver, servers)
        });
        let zones = zones.buffer_unordered(AT_ONCE).collect::<Vec<_>>();
        let (zones, caa) = join(zones, check_caa(checker, resolver, plan)).await;
        zones.into_iter().flatten().chain(caa).find(stops)
    };
    timeout(LIMIT, looking).await.ok()?
}

/// Tells whether a finding stops an order.
fn stops(finding: &Finding) -> bool {
    finding.severity == Severity::Fail && STOPPING.contains(&finding.id)
}

async fn check_zone(
    checker: &Checker,
    resolver: &Resolver,
    asked: ZoneServers<'_>,
) -> Vec<Finding> {
    let of_servers = async {
        match checker.servers(asked).await {
            // Where the provider does not say where the zone begins, it is not looked for.
            Some(Ok(_)) if asked.servers.is_none() => Vec::new(),
            Some(Ok(servers)) => {
                let lame = async { authority::lame(&servers, &dns_name(asked.zone)?).await };
                lame.await.into_iter().collect()
            }
            // The delegation may be on its way: that is waited for.
            None | Some(Err(NameServerError::Moved { .. })) => Vec::new(),
            Some(Err(_)) => missing(resolver, asked.zone).await,
        }
    };
    let (mut findings, bogus) = join(of_servers, bogus(resolver, asked.zone)).await;
    findings.extend(bogus);
    findings
}

async fn check_caa(checker: &Checker, resolver: &Resolver, plan: &Plan<'_>) -> Vec<Finding> {
    if plan.identities.is_empty() {
        return Vec::new();
    }
    let caa = Caa::ask(resolver, plan.names).await;
    let question =
        Question { identities: plan.identities, account: plan.account, method: plan.method };
    let mut findings = caa.findings(&question, plan.names);
    if let Some(failure) = caa.failure() {
        findings.extend(super::caa_refused(checker, resolver, failure).await);
    }
    findings
}
