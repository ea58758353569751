//! A service without nginx, for tests.

use super::clock;
use super::listener::Listener;
use super::main_loop::Running;
use super::site::Site;
use super::startup::Waiting;
use super::{LEASE, Settings};
use crate::event::Event;
use crate::host::{Host, NoRoom};
use crate::import::Imports;
use crate::store::Store;
use crate::store::testing::DIRECTORY;
use acme_dns_core::config::{
    CloudflareCredentials, CloudflareSettings, Config, Issuer, Provider, ProviderKind, Reload,
    SecretId,
};
use acme_dns_core::id::{CertificateId, Table, VariantId};
use acme_dns_core::key::KeyType;
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_core::schedule::Loading;
use acme_dns_core::status::Plan;
use secrecy::SecretString;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Error of a reload that was refused.
pub(super) const REFUSED: &str = "NGINX cannot be reloaded from here (a reason)";

/// Host that keeps what it is told.
#[derive(Default)]
pub(super) struct Recorder {
    events: Mutex<Vec<Event>>,
    published: Mutex<HashMap<CertificateId, Material>>,
    reloads: AtomicUsize,
    refuses_reloads: AtomicBool,
    plans: Mutex<HashMap<VariantId, Plan>>,
    requests: Mutex<Vec<CertificateId>>,
}

impl Recorder {
    /// Forgets what was published.
    pub(super) fn forget(&self) {
        self.published.lock().unwrap().clear();
    }

    pub(super) fn reloads(&self) -> usize {
        self.reloads.load(Ordering::Relaxed)
    }

    pub(super) fn refuse_reloads(&self) {
        self.refuses_reloads.store(true, Ordering::Relaxed);
    }

    /// Asks for the renewal of a certificate, as a worker does.
    pub(super) fn ask(&self, certificate: CertificateId) {
        self.requests.lock().unwrap().push(certificate);
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(super) fn at(&self, level: Level) -> Vec<Event> {
        self.events().into_iter().filter(|event| event.level() == level).collect()
    }
}

impl Host for Recorder {
    fn tell(&self, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        self.published.lock().unwrap().insert(certificate, material.clone());
        Ok(())
    }

    fn published(&self, certificate: CertificateId) -> Option<Material> {
        self.published.lock().unwrap().get(&certificate).cloned()
    }

    fn show_plan(&self, variant: VariantId, plan: &Plan) {
        self.plans.lock().unwrap().insert(variant, plan.clone());
    }

    fn shown_plan(&self, variant: VariantId) -> Option<Plan> {
        self.plans.lock().unwrap().get(&variant).cloned()
    }

    fn hears_requests(&self) -> bool {
        true
    }

    fn take_requests(&self, most: usize) -> Vec<CertificateId> {
        let mut requests = self.requests.lock().unwrap();
        let taken = requests.len().min(most);
        requests.drain(..taken).collect()
    }

    fn reload(&self) -> Result<(), String> {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        match self.refuses_reloads.load(Ordering::Relaxed) {
            true => Err(REFUSED.to_owned()),
            false => Ok(()),
        }
    }
}

/// The first certificate of [`settings`].
pub(super) const CERTIFICATE: CertificateId = CertificateId::new(0);
/// The first variant of that.
pub(super) const VARIANT: VariantId = VariantId::new(0);

/// Settings for certificates with these names and types of keys; each is called as its first name.
pub(super) fn settings(path: &Path, certificates: &[(&[&str], &[KeyType])]) -> Settings {
    let mut config = Config {
        issuers: Table::from(vec![Issuer::with_directory("ca", DIRECTORY)]),
        providers: Table::from(vec![Provider {
            zones: Vec::new(),
            zone: None,
            name: "dns".to_owned(),
            kind: ProviderKind::Cloudflare(CloudflareSettings {
                credentials: CloudflareCredentials::Token(SecretId(0)),
                zone_id: None,
                ttl: 60,
                api: "https://dns.example/".to_owned(),
                requests: None,
                trusted_certificate: None,
            }),
            secrets: vec![SecretId(0)],
        }]),
        reload: Reload::Off,
        ..Config::with_state_path(path)
    };
    for (names, keys) in certificates {
        config.add_certificate(names[0], names, keys);
    }
    Settings {
        config: Arc::new(config),
        secrets: vec![SecretString::from("a token")],
        loading: Loading::default(),
        facts: Arc::default(),
        imports: Imports::default(),
        certs_group: None,
        watch: None,
        lease: LEASE,
        is_news: true,
        has_bad_pack: false,
        is_restart: false,
        unpacked: 0,
    }
}

/// Opens the state path of such a service.
pub(super) fn site_of(
    path: &Path,
    host: Arc<Recorder>,
    certificates: &[(&[&str], &[KeyType])],
) -> Rc<Site> {
    let Settings { config, .. } = settings(path, certificates);
    Rc::new(Site { config, store: Store::open(path).unwrap(), host })
}

/// Starts such a service, up to its loop.
pub(super) async fn start(
    path: &Path,
    host: &Arc<Recorder>,
    certificates: &[(&[&str], &[KeyType])],
) -> Running {
    let host: Arc<dyn Host> = host.clone();
    let listener = Arc::new(Listener::new(host, clock::now));
    let waiting = Waiting::open(settings(path, certificates), listener).await;
    let mut waiting = waiting.unwrap_or_else(|error| panic!("{error}"));
    let lock = waiting.take_lock().await;
    Running::new(waiting.load().await, lock)
}
