//! The testbed with a configuration for PowerDNS's own API, and doctors for it.

use acme_dns_core::config::{
    CloudflareCredentials, CloudflareSettings, Config, Issuer, PowerDnsSettings, Propagation,
    Provider, ProviderKind, SecretId,
};
use acme_dns_core::findings::{Finding, Report, Request, Severity};
use acme_dns_core::id::{CertificateId, IssuerId, ProviderId, Table};
use acme_dns_core::key::KeyType;
use acme_dns_core::material::Material;
use acme_dns_service::doctor::{LIMIT, Settings, check};
use acme_dns_service::event::Event;
use acme_dns_service::host::{Host, NoRoom};
use secrecy::SecretString;
use servers::Testbed;
use servers::powerdns::API_KEY;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ZONE: &str = "example.test";
pub(crate) const NAME: &str = "_acme-challenge.example.test";
pub(crate) const ISSUER: IssuerId = IssuerId::new(0);
pub(crate) const PROVIDER: ProviderId = ProviderId::new(0);

pub(crate) struct Silent;

impl Host for Silent {
    fn tell(&self, _: &Event) {}

    fn publish(&self, _: CertificateId, _: &Material) -> Result<(), NoRoom> {
        Ok(())
    }
}

pub(crate) struct Bed {
    pub(crate) testbed: Testbed,
    pub(crate) config: Config,
    pub(crate) secrets: Vec<SecretString>,
    /// The time that the check of a certificate may take.
    pub(crate) limit: Duration,
}

impl Bed {
    /// One certificate, for the zone and its wildcard.
    pub(crate) fn start() -> Self {
        let testbed = Testbed::start();
        let pebble = &testbed.pebble;
        let kind = ProviderKind::PowerDns(PowerDnsSettings {
            api: testbed.dns.api_url(),
            api_key: SecretId(0),
            server_id: "localhost".into(),
            ttl: 60,
            trusted_certificate: None,
        });
        let mut config = Config {
            issuers: Table::from(vec![Issuer {
                trusted_certificate: Some(fs::read(pebble.ca_file()).unwrap()),
                ..Issuer::with_directory("pebble", pebble.directory_url())
            }]),
            providers: Table::from(vec![provider("pdns", kind)]),
            ..Config::with_state_path(testbed.dir().join("state"))
        };
        config.add_certificate(ZONE, &[ZONE, "*.example.test"], &[KeyType::EcdsaP256]);
        let secrets =
            vec![SecretString::from(API_KEY), SecretString::from(testbed.token().to_owned())];
        let mut bed = Self { testbed, config, secrets, limit: LIMIT };
        let dns = bed.testbed.dns.addr();
        bed.ask(dns, dns.port());
        bed
    }

    /// The same with the stand-in of Cloudflare's API.
    pub(crate) fn with_cloudflare() -> Self {
        let mut bed = Self::start();
        bed.config.providers[PROVIDER].kind = ProviderKind::Cloudflare(CloudflareSettings {
            credentials: CloudflareCredentials::Token(SecretId(1)),
            zone_id: None,
            ttl: 60,
            api: bed.testbed.cloudflare.api_url(),
            requests: None,
            trusted_certificate: None,
        });
        bed
    }

    /// Has a resolver asked, and the servers of zones at a port.
    pub(crate) fn ask(&mut self, resolver: SocketAddr, port: u16) {
        self.config.propagation = Propagation::Check {
            timeout: Duration::from_secs(3),
            interval: Duration::from_millis(100),
            resolvers: vec![resolver],
            port,
        };
    }

    pub(crate) fn report(&self, request: &str) -> Result<Report, String> {
        let settings = Settings {
            config: Arc::new(self.config.clone()),
            secrets: self.secrets.clone(),
            user: "nobody".into(),
            shared_user: Some("www-data".into()),
            host: Arc::new(Silent),
            limit: self.limit,
        };
        check(settings, &Request::parse(request).unwrap())
    }

    /// Gives what is not good.
    pub(crate) fn findings(&self, request: &str) -> Vec<Finding> {
        let findings = self.report(request).unwrap().findings;
        findings.into_iter().filter(|f| f.severity > Severity::Ok || !f.id.is_empty()).collect()
    }

    /// Expects one finding, with its exact words.
    pub(crate) fn expect_words(&self, request: &str, id: &str, observed: &str, remedy: &str) {
        let findings = self.findings(request);
        let is_it = |f: &&Finding| (f.id, &*f.observed, &*f.remedy) == (id, observed, remedy);
        assert!(findings.iter().any(|finding| is_it(&finding)), "{observed}: {findings:#?}");
    }

    /// Expects one finding, with its exact words before and behind a number of seconds, which is a little more or less.
    pub(crate) fn expect_seconds(
        &self,
        request: &str,
        id: &str,
        (before, behind): (&str, &str),
        seconds: u64,
        remedy: &str,
    ) {
        let findings = self.findings(request);
        let number = |finding: &Finding| -> Option<u64> {
            finding.observed.strip_prefix(before)?.strip_suffix(behind)?.parse().ok()
        };
        let is_it = |finding: &&Finding| {
            (finding.id, &*finding.remedy) == (id, remedy)
                && number(finding).is_some_and(|number| number.abs_diff(seconds) < 30)
        };
        assert!(findings.iter().any(|f| is_it(&f)), "{before}{seconds}{behind}: {findings:#?}");
    }

    /// Expects one finding, with a part of its words.
    pub(crate) fn expect(&self, row: &str, request: &str, id: &str, words: &str) {
        let findings = self.findings(request);
        let is_it = |finding: &&Finding| finding.id == id && finding.observed.contains(words);
        assert!(findings.iter().any(|finding| is_it(&finding)), "{row}: {findings:#?}");
    }
}

pub(crate) fn provider(name: &str, kind: ProviderKind) -> Provider {
    let secrets = vec![SecretId(0)];
    Provider { name: name.into(), zones: Vec::new(), zone: None, kind, secrets }
}
