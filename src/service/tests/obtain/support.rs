//! A configuration for the testbed, and what the service logs.

use acme_dns_core::config::{
    CloudflareCredentials, CloudflareSettings, Config, Issuer, Profile, Propagation, Provider,
    ProviderKind, SecretId,
};
use acme_dns_core::id::{CertificateId, IssuerId, ProviderId, Table, VariantId};
use acme_dns_core::key::KeyType;
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_core::name::Name;
use acme_dns_core::schedule::Loading;
use acme_dns_service::acme::{Issued, KeyChoice, ObtainError, Obtainer};
use acme_dns_service::dns::{self, DnsProvider};
use acme_dns_service::engine::{LEASE, Saved, Settings, save_issued};
use acme_dns_service::event::Event;
use acme_dns_service::host::{Host, NoRoom};
use acme_dns_service::http::Clients;
use acme_dns_service::import::Imports;
use acme_dns_service::program::Programs;
use acme_dns_service::propagation::Checker;
use acme_dns_service::store::Store;
use secrecy::SecretString;
use servers::Testbed;
use servers::acme_proxy::AcmeProxy;
use servers::pebble::PebbleOptions;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::LocalSet;

/// Longer than anything that does not wait for a fault takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<Event>>);

impl Host for Log {
    fn tell(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }

    fn publish(&self, _: CertificateId, _: &Material) -> Result<(), NoRoom> {
        Ok(())
    }
}

impl Log {
    /// Gives the events of a level.
    pub(crate) fn events(&self, level: Level) -> Vec<Event> {
        self.0.lock().unwrap().iter().filter(|event| event.level() == level).cloned().collect()
    }

    /// Says whether an event has been told.
    pub(crate) fn has(&self, is_it: impl FnMut(&Event) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(is_it)
    }

    /// Gives the lines of the log, each with its level.
    pub(crate) fn with_levels(&self) -> Vec<(Level, String)> {
        let line = |event: &Event| (event.level(), format!("acme_dns: {event}"));
        self.0.lock().unwrap().iter().map(line).collect()
    }

    /// Gives the lines of the log.
    pub(crate) fn all(&self) -> Vec<String> {
        self.with_levels().into_iter().map(|(_, line)| line).collect()
    }
}

/// The certificate that a bed begins with.
pub(crate) const CERTIFICATE: CertificateId = CertificateId::new(0);
/// Its variant.
pub(crate) const VARIANT: VariantId = VariantId::new(0);
/// The issuer of a bed.
pub(crate) const ISSUER: IssuerId = IssuerId::new(0);

/// An obtainer whose certificates are saved, as the engine does it.
pub(crate) struct Saving {
    obtainer: Obtainer,
    store: Store,
    config: Arc<Config>,
}

impl Deref for Saving {
    type Target = Obtainer;

    fn deref(&self) -> &Obtainer {
        &self.obtainer
    }
}

impl Saving {
    pub(crate) async fn obtain(
        &self,
        variant: VariantId,
        issuer: IssuerId,
        key: KeyChoice,
    ) -> Result<Issued, ObtainError> {
        let issued = self.obtainer.obtain(variant, issuer, key).await?;
        let saved = save_issued(&self.store, &self.config.variants[variant].name, &issued.pem);
        assert!(matches!(saved, Saved::Completely), "{saved:?}");
        Ok(issued)
    }
}

/// The testbed with a proxy in front of Pebble, and a configuration for both.
pub(crate) struct Bed {
    pub(crate) proxy: AcmeProxy,
    pub(crate) testbed: Testbed,
    pub(crate) config: Config,
    /// Secrets that the configuration refers to from 1 on; 0 is the token of the provider.
    pub(crate) secrets: Vec<SecretString>,
    pub(crate) log: Arc<Log>,
}

pub(crate) fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::parse(name).unwrap()).collect()
}

impl Bed {
    pub(crate) fn start() -> Self {
        Self::start_with(|options| options)
    }

    pub(crate) fn start_with(change: impl FnOnce(PebbleOptions) -> PebbleOptions) -> Self {
        let testbed = Testbed::start_with(change);
        let proxy = testbed.acme_proxy();
        let dns = testbed.dns.addr();
        let config = Config {
            issuers: Table::from(vec![Issuer {
                contacts: vec!["mailto:admin@example.test".into()],
                trusted_certificate: Some(fs::read(proxy.ca_file()).unwrap()),
                ..Issuer::with_directory("pebble", proxy.directory_url())
            }]),
            providers: Table::from(vec![Provider {
                name: "cloudflare".into(),
                zones: Vec::new(),
                zone: None,
                kind: ProviderKind::Cloudflare(CloudflareSettings {
                    credentials: CloudflareCredentials::Token(SecretId(0)),
                    zone_id: None,
                    ttl: 60,
                    api: testbed.cloudflare.api_url(),
                    requests: None,
                    trusted_certificate: None,
                }),
                secrets: vec![SecretId(0)],
            }]),
            propagation: Propagation::Check {
                timeout: Duration::from_secs(20),
                interval: Duration::from_millis(100),
                resolvers: vec![dns],
                port: dns.port(),
            },
            ..Config::with_state_path(testbed.dir().join("state"))
        };
        let mut bed = Self { proxy, testbed, config, secrets: Vec::new(), log: Arc::default() };
        bed.add("example.test", &["example.test", "*.example.test"]);
        bed
    }

    pub(crate) fn add(&mut self, name: &str, held: &[&str]) {
        self.config.add_certificate(name, held, &[KeyType::EcdsaP256]);
    }

    pub(crate) fn set_profile(&mut self, name: &str, required: bool) {
        self.config.issuers[ISSUER].profile = Some(Profile { name: name.into(), required });
    }

    /// Returns what a service starts with.
    pub(crate) fn settings(&self) -> Settings {
        let token = SecretString::from(self.testbed.token().to_owned());
        Settings {
            config: Arc::new(self.config.clone()),
            secrets: [&[token], self.secrets.as_slice()].concat(),
            loading: Loading::default(),
            facts: Arc::default(),
            imports: Imports::default(),
            certs_group: None,
            watch: None,
            lease: LEASE,
            is_news: true,
            is_restart: false,
            has_bad_pack: false,
            unpacked: 0,
        }
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.config.state_path).unwrap()
    }

    pub(crate) fn state(&self) -> &Path {
        &self.config.state_path
    }

    /// A service that was started anew: it knows only what is on disk.
    pub(crate) fn obtainer(&self) -> Saving {
        let secret = |id: SecretId| self.secret(id);
        let clients = Clients::default();
        let programs = Rc::new(Programs::new(PathBuf::new(), |_| {}));
        let providers = dns::providers(&self.config.providers, secret, &clients, &programs, |_| {});
        self.obtainer_with(providers.unwrap())
    }

    /// The same, with other providers.
    pub(crate) fn obtainer_with(
        &self,
        providers: Table<ProviderId, Box<dyn DnsProvider>>,
    ) -> Saving {
        let secret = |id: SecretId| self.secret(id);
        let checker = Checker::new(&self.config.propagation);
        let config = Arc::new(self.config.clone());
        let log: Arc<dyn Host> = self.log.clone();
        let (store, clients) = (self.store(), Clients::default());
        let obtainer = Obtainer::new(
            Arc::clone(&config),
            providers,
            store.clone(),
            checker,
            &clients,
            secret,
            log,
        );
        Saving { obtainer: obtainer.unwrap(), store, config }
    }

    fn secret(&self, id: SecretId) -> SecretString {
        match id.0 {
            0 => SecretString::from(self.testbed.token().to_owned()),
            other => self.secrets[other - 1].clone(),
        }
    }

    /// Obtains the first certificate, in a service of its own.
    pub(crate) fn obtain(&self) -> Result<Issued, ObtainError> {
        self.run(async |obtainer| obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await)
    }

    pub(crate) fn obtain_error(&self) -> ObtainError {
        self.obtain().expect_err("the certificate should not be obtained")
    }

    /// Lets a service of its own work, and waits for the end of what goes on behind it.
    pub(crate) fn run<T>(&self, work: impl AsyncFnOnce(&Saving) -> T) -> T {
        self.run_in(&self.obtainer(), work)
    }

    /// The same, with other providers.
    pub(crate) fn run_with<T>(
        &self,
        providers: Table<ProviderId, Box<dyn DnsProvider>>,
        work: impl AsyncFnOnce(&Saving) -> T,
    ) -> T {
        self.run_in(&self.obtainer_with(providers), work)
    }

    /// The same, with an obtainer that other work has had.
    pub(crate) fn run_in<T>(&self, obtainer: &Saving, work: impl AsyncFnOnce(&Saving) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tasks = LocalSet::new();
        let work = async { tokio::time::timeout(PATIENCE, work(obtainer)).await };
        let done = tasks.block_on(&runtime, work);
        let rest = async { tokio::time::timeout(PATIENCE, tasks).await };
        assert!(runtime.block_on(rest).is_ok(), "the removal of TXT records does not end");
        done.unwrap_or_else(|_| panic!("not done in time: {:#?}", self.proxy.traffic.summary()))
    }

    /// Neither a TXT record nor a journal entry is left.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.testbed.cloudflare.txt_records(), []);
        assert_eq!(self.journal(), [""; 0]);
    }

    pub(crate) fn journal(&self) -> Vec<String> {
        self.entries("journal")
    }

    pub(crate) fn entries(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.state().join(directory)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
