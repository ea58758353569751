//! The servers that a propagation check asks.

use acme_dns_core::config::Propagation;
use acme_dns_service::propagation::Checker;
use servers::knot::Knot;
use servers::powerdns::PowerDns;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const ZONE: &str = "example.test";
pub(crate) const NAME: &str = "_acme-challenge.example.test";

/// Longer than any test takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// PowerDNS with the zone, which has the name servers `ns1` (127.0.0.1) and those that are added.
pub(crate) struct Bed {
    pub(crate) dns: PowerDns,
    pub(crate) dir: TempDir,
}

impl Bed {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let dns = PowerDns::start(&dir.path().join("pdns"));
        dns.create_zone(ZONE);
        Self { dns, dir }
    }

    /// With a second server `ns2` at 127.0.0.2.
    pub(crate) fn with_second() -> Self {
        let bed = Self::start();
        bed.dns.set_rrset(ZONE, "NS", &["ns1.example.test.", "ns2.example.test."]);
        bed.dns.set_rrset("ns2.example.test", "A", &["127.0.0.2"]);
        bed
    }

    /// With a second server at 127.0.0.2, which is the provider's: `a.ns.test`.
    pub(crate) fn with_provider() -> Self {
        let bed = Self::start();
        bed.dns.create_zone("ns.test");
        bed.dns.set_rrset("a.ns.test", "A", &["127.0.0.2"]);
        bed
    }

    pub(crate) fn second(&self) -> SocketAddr {
        ([127, 0, 0, 2], self.dns.addr().port()).into()
    }

    /// The second server.
    pub(crate) fn knot(&self, zone: &str, records: &str) -> Knot {
        Knot::start(&self.dir.path().join("knot"), self.second(), zone, records)
    }

    pub(crate) fn settings(&self, timeout: Duration) -> Propagation {
        self.settings_at(timeout, self.dns.addr().port())
    }

    /// The servers of zones are asked at another port.
    pub(crate) fn settings_at(&self, timeout: Duration, port: u16) -> Propagation {
        let (interval, resolvers) = (Duration::from_millis(200), vec![self.dns.addr()]);
        Propagation::Check { timeout, interval, resolvers, port }
    }

    pub(crate) fn checker(&self) -> Checker {
        Checker::new(&self.settings(LONG))
    }

    /// Puts TXT values up at PowerDNS.
    pub(crate) fn put(&self, name: &str, values: &[&str]) {
        let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
        self.dns.set_rrset(name, "TXT", &quoted);
    }

    pub(crate) fn text(&self, text: &str) -> String {
        text.replace("PORT", &self.dns.addr().port().to_string())
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}
