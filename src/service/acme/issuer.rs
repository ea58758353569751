//! A CA of the configuration: its directory, and what is done with our account there.
//!
//! A CA may have a staging environment, with a directory and an account of its own: a [`AcmeServer`]
//! each. How an account is made is in `account`, how its key is changed in `key_change`.

use super::directory::Directory;
use super::error::AcmeError;
use super::jws::{AccountKey, ExternalAccountBinding, Requests};
use super::observer::Observer;
use super::renewal_info::RenewalAnswer;
use super::single_flight::SingleFlight;
use super::step::Step;
use super::teller::Teller;
use super::transport::Transport;
use crate::event::{OrderEvent, Subject};
use crate::http::{Clients, HttpError};
use crate::store::{self, PendingOrder, Store};
use crate::x509::reason;
use acme_dns_core::config::{self, ChallengeMethod, SecretId};
use acme_dns_core::id::IssuerId;
use acme_dns_core::schedule::Environment;
use acme_dns_core::url::CaUrls;
use bytes::Bytes;
use http::HeaderMap;
use instant_acme::{Account, CertificateIdentifier};
use reqwest::Client;
use rustls_pki_types::PrivatePkcs8KeyDer;
use secrecy::{ExposeSecret, SecretString};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// Another difference of the clocks than this, in seconds, is told again.
const CLOCK_DRIFT: u64 = 300;

/// A CA of the configuration.
pub(super) struct IssuerClient {
    config: config::Issuer,
    production: AcmeServer,
    staging: Option<AcmeServer>,
    /// Seconds that our clock was ahead, as last told.
    clock: Cell<i64>,
    /// Set if it has asked for the proof of a name.
    has_challenged: Cell<bool>,
}

/// An ACME server with our account there.
pub(super) struct AcmeServer {
    pub(super) issuer: String,
    /// The URL of the directory.
    pub(super) directory_url: String,
    /// The directory of its account's files.
    pub(super) files: String,
    pub(super) contacts: Vec<String>,
    methods: Vec<ChallengeMethod>,
    pub(super) account_key: Option<SecretString>,
    /// Key identifier and MAC key.
    pub(super) external_account: Option<(String, SecretString)>,
    pub(super) store: Store,
    pub(super) teller: Teller,
    pub(super) account: SingleFlight<Rc<OurAccount>, AcmeError>,
    /// The account's key is not changed while a session lasts.
    pub(super) sessions: Arc<RwLock<()>>,
    observer: Observer,
    client: Client,
    urls: CaUrls,
    directory: SingleFlight<Rc<Directory>, AcmeError>,
}

/// An account as it is on disk, and its key.
pub(super) struct OurAccount {
    pub(super) kept: store::Account,
    pub(super) key: AccountKey,
}

/// Our account, for one order. While it lasts, the account's key stays what it is: who holds one
/// does not wait for another.
pub(super) struct Session {
    pub(super) account: Account,
    pub(super) transport: Transport,
    pub(super) directory: Rc<Directory>,
    /// The methods by which names are proven, the preferred ones first.
    pub(super) methods: Vec<ChallengeMethod>,
    /// The thumbprint of the account's key (RFC 7638), a part of every proof.
    pub(super) thumbprint: String,
    directory_url: String,
    ours: Rc<OurAccount>,
    _key_stays: OwnedRwLockReadGuard<()>,
}

impl Session {
    /// Tells whether a kept order can be one of this account at this CA.
    pub(super) fn may_have_placed(&self, order: &PendingOrder) -> bool {
        self.account.id() == order.account
            && self.directory_url == order.directory
            && self.transport.urls().is_of_ca(&order.url, self.directory.new_order())
    }

    /// Reads a resource that instant-acme does not, such as an alternate chain.
    pub(super) async fn post_as_get(
        &self,
        step: Step,
        url: &str,
        teller: &Teller,
    ) -> Result<(HeaderMap, Bytes), AcmeError> {
        self.requests(teller).post_as_get(step, &self.ours.kept.url, url).await
    }

    /// Gives the thumbprints of the keys that the account had before.
    pub(super) fn former_thumbprints(&self) -> impl Iterator<Item = &str> {
        let store::Account { former_keys, taken_from, .. } = &self.ours.kept;
        former_keys.iter().chain(taken_from).map(String::as_str)
    }

    fn requests<'a>(&'a self, teller: &'a Teller) -> Requests<'a> {
        let Self { transport, directory, ours, .. } = self;
        Requests { transport, directory, key: &ours.key, teller }
    }
}

impl IssuerClient {
    pub(super) fn new(
        (id, config): (IssuerId, &config::Issuer),
        store: &Store,
        clients: &Clients,
        secret: impl Fn(SecretId) -> SecretString,
        teller: &Teller,
    ) -> Result<Self, HttpError> {
        let name = &config.name;
        let client = clients.get(config.trusted_certificate.as_deref())?;
        let external_account = config.external_account.as_ref();
        let server = |directory_url: &str, files: String, teller: Teller| AcmeServer {
            issuer: name.clone(),
            directory_url: directory_url.to_owned(),
            files,
            contacts: config.contacts.clone(),
            methods: config.challenges.clone(),
            account_key: config.account_key.map(&secret),
            external_account: None,
            store: store.clone(),
            observer: teller.observer(Some(id)),
            teller,
            account: SingleFlight::new(),
            sessions: Arc::default(),
            client: client.clone(),
            urls: CaUrls::of(directory_url),
            directory: SingleFlight::new(),
        };
        let mut production =
            server(&config.directory, name.clone(), teller.about(Subject::Issuer(name.clone())));
        // A CA that binds accounts does so in its staging environment in another way, if at all.
        production.external_account =
            external_account.map(|bound| (bound.key_id.clone(), secret(bound.mac_key)));
        let staging = config.staging.as_deref().map(|url| {
            let mut staging = server(
                url,
                format!("{name}/staging"),
                teller.about(Subject::Staging(name.clone())),
            );
            // A record for that account would stay for nothing.
            staging.methods.retain(|method| *method != ChallengeMethod::DnsPersist01);
            staging
        });
        Ok(Self {
            config: config.clone(),
            production,
            staging,
            clock: Cell::new(0),
            has_challenged: Cell::new(false),
        })
    }

    /// Tells whether there is an account, or the key of one.
    pub(super) fn has_account(&self) -> bool {
        let AcmeServer { store, files, .. } = &self.production;
        store::has_account(store.path(), files)
    }

    /// Tells whether orders may be ready without a proof: those of customers are at some CAs, and then no DNS
    /// provider has to work.
    pub(super) fn may_trust_us(&self) -> bool {
        self.config.external_account.is_some() && !self.has_challenged.get()
    }

    /// Notes that it has asked for the proof of a name.
    pub(super) fn note_challenge(&self) {
        self.has_challenged.set(true);
    }

    /// Tells that our clock differs from the CA's by so many seconds: once, and again when it differs by
    /// another amount.
    pub(super) fn note_clock(&self, ahead: i64) {
        let told = self.clock.replace(ahead);
        if ahead == 0 || told.abs_diff(ahead) <= CLOCK_DRIFT {
            return;
        }
        let (seconds, is_ahead) = (ahead.unsigned_abs(), ahead > 0);
        self.production.teller.order(OrderEvent::ClockSkew { seconds, is_ahead });
    }

    pub(super) fn config(&self) -> &config::Issuer {
        &self.config
    }

    /// Gives the methods by which names are proven, the preferred ones first.
    pub(super) fn methods(&self, environment: Environment) -> Vec<ChallengeMethod> {
        self.server(environment).map(|server| server.methods.clone()).unwrap_or_default()
    }

    fn server(&self, environment: Environment) -> Result<&AcmeServer, AcmeError> {
        match environment {
            Environment::Production => Ok(&self.production),
            Environment::Staging => self
                .staging
                .as_ref()
                .ok_or_else(|| AcmeError::NoStaging { issuer: self.config.name.clone() }),
        }
    }

    /// Gives the directory and the account, created if there is none, with a transport of its own.
    pub(super) async fn session(&self, environment: Environment) -> Result<Session, AcmeError> {
        self.server(environment)?.session().await
    }

    /// Gives the names by which the CA is known in CAA records, and the URL of our account, if there is one.
    pub(super) async fn caa_party(
        &self,
        environment: Environment,
    ) -> Result<(Vec<String>, Option<String>), AcmeError> {
        let server = self.server(environment)?;
        let directory = server.directory().await?;
        let account = server.store.load_account(&server.files).ok().flatten();
        let account = account.filter(|account| account.directory == server.directory_url);
        Ok((directory.identities().to_vec(), account.map(|account| account.url)))
    }

    /// Forgets the directory, after a failure that a moved resource may have caused.
    pub(super) async fn forget_directory(&self, environment: Environment) {
        if let Ok(server) = self.server(environment) {
            server.directory.lock().await.take();
        }
    }

    /// Forgets the account, because the disk has another one.
    pub(super) async fn forget_account(&self) {
        self.production.account.lock().await.take();
    }

    /// Looks into a refusal of an order that may be about the account with this URL. `true`: the
    /// account is of no use any more and was set aside, the next session has another.
    pub(super) async fn replace_account(
        &self,
        environment: Environment,
        url: &str,
        refusal: &AcmeError,
    ) -> Result<bool, AcmeError> {
        self.server(environment)?.replace_account(url, refusal).await
    }

    /// Replaces the key of the account; see `key_change`.
    pub(super) async fn change_key(&self, environment: Environment) -> Result<(), AcmeError> {
        self.server(environment)?.change_key().await
    }

    /// Revokes a certificate (DER) of the account, for one of the reasons of RFC 5280 section 5.3.1.
    /// One that is revoked already is fine.
    pub(super) async fn revoke(
        &self,
        certificate: &[u8],
        reason: Option<u8>,
    ) -> Result<(), AcmeError> {
        let session = self.session(Environment::Production).await?;
        let url = session.directory.revoke_cert();
        let url = url.ok_or_else(|| self.production.unsupported(Step::Revoke))?;
        let requests = session.requests(&self.production.teller);
        requests.revoke(url, &session.ours.kept.url, certificate, reason).await
    }

    /// Asks when a certificate should be renewed; `None`: the CA does not say such a thing. It
    /// needs no account.
    pub(super) async fn renewal_info(
        &self,
        certificate: &CertificateIdentifier<'_>,
    ) -> Result<Option<RenewalAnswer>, AcmeError> {
        let server = &self.production;
        let directory = server.directory().await?;
        let Some(base) = directory.renewal_info() else { return Ok(None) };
        let url = format!("{}/{certificate}", base.trim_end_matches('/'));
        let transport = server.transport(&directory);
        let read = async || transport.get(&url).await;
        let body = transport.call(Step::RenewalInfo, &server.teller, read).await?;
        Ok(Some(RenewalAnswer { body, retry_after: transport.last().retry_after }))
    }
}

impl AcmeServer {
    async fn session(&self) -> Result<Session, AcmeError> {
        let key_stays = Arc::clone(&self.sessions).read_owned().await;
        let directory = self.directory().await?;
        let ours = self.account.get(|_| true, async || self.make_account(&directory).await).await?;
        let transport = self.transport(&directory);
        let account = self.open(&transport, &ours.kept).await?;
        Ok(Session {
            account,
            transport,
            directory,
            methods: self.methods.clone(),
            thumbprint: ours.key.thumbprint().map_err(|error| self.bad_key(reason(&error)))?,
            directory_url: self.directory_url.clone(),
            ours,
            _key_stays: key_stays,
        })
    }

    /// Gives instant-acme the account.
    pub(super) async fn open(
        &self,
        transport: &Transport,
        account: &store::Account,
    ) -> Result<Account, AcmeError> {
        let key = PrivatePkcs8KeyDer::from(account.key.as_slice());
        let builder = Account::builder_with_http(Box::new(transport.clone()));
        // This makes no request: the transport answers for the directory.
        let opened = builder.from_parts(account.url.clone(), key, self.directory_url.clone()).await;
        opened.map_err(|error| AcmeError::Failed {
            step: Step::Directory,
            url: self.directory_url.clone(),
            status: None,
            reason: error.to_string(),
            retry_after: None,
        })
    }

    pub(super) async fn directory(&self) -> Result<Rc<Directory>, AcmeError> {
        let current = |directory: &Rc<Directory>| directory.is_current();
        self.directory
            .get(current, async || {
                let transport = self.transport_with(Bytes::new());
                let read = async || {
                    let body = transport.get(&self.directory_url).await?;
                    Ok(Directory::parse(&body, &self.directory_url)?)
                };
                let directory = transport.call(Step::Directory, &self.teller, read).await;
                directory
                    .map(Rc::new)
                    .map_err(|error| error.with_setting("directory", &self.issuer))
            })
            .await
    }

    pub(super) fn transport(&self, directory: &Directory) -> Transport {
        self.transport_with(directory.json())
    }

    fn transport_with(&self, directory: Bytes) -> Transport {
        let (client, urls) = (self.client.clone(), self.urls.clone());
        Transport::new(client, urls, directory).observed(self.observer.clone())
    }

    /// Reads the MAC key, only where it is needed: a mistake in it must not stop an account that
    /// is there.
    pub(super) fn binding(&self) -> Result<Option<ExternalAccountBinding>, AcmeError> {
        let Some((key_id, mac_key)) = &self.external_account else { return Ok(None) };
        let binding = ExternalAccountBinding::new(key_id, mac_key.expose_secret());
        binding.map(Some).ok_or_else(|| AcmeError::MacKey { issuer: self.issuer.clone() })
    }

    pub(super) fn unsupported(&self, step: Step) -> AcmeError {
        AcmeError::Unsupported { step, url: self.directory_url.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Environment, IssuerClient};
    use crate::acme::error::AcmeError;
    use crate::acme::problem::Problem;
    use crate::acme::step::Step;
    use crate::acme::teller::Teller;
    use crate::event::Event;
    use crate::host::{Host, NoRoom};
    use crate::http::Clients;
    use crate::store::Store;
    use acme_dns_core::config;
    use acme_dns_core::id::{CertificateId, IssuerId};
    use acme_dns_core::material::Material;
    use instant_acme::{Identifier, NewOrder};
    use secrecy::SecretString;
    use servers::Testbed;
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    const ENVIRONMENT: Environment = Environment::Production;

    struct Silent;

    impl Host for Silent {
        fn tell(&self, _: &Event) {}

        fn publish(&self, _: CertificateId, _: &Material) -> Result<(), NoRoom> {
            Ok(())
        }
    }

    fn issuer(directory: String, ca: &Path, state: &Path) -> (IssuerClient, Teller) {
        let config = config::Issuer {
            name: "pebble".into(),
            directory,
            staging: None,
            contacts: Vec::new(),
            trusted_certificate: Some(fs::read(ca).unwrap()),
            profile: None,
            account_key: None,
            external_account: None,
            preferred_chain: None,
            challenges: vec![config::ChallengeMethod::Dns01],
            persist: None,
        };
        let (store, teller) = (Store::open(state).unwrap(), Teller::new(Arc::new(Silent)));
        let secret = |_| SecretString::from("");
        let issuer = IssuerClient::new(
            (IssuerId::default(), &config),
            &store,
            &Clients::default(),
            secret,
            &teller,
        )
        .unwrap();
        (issuer, teller)
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn a_resource_is_read_that_instant_acme_does_not_read() {
        let bed = Testbed::start_with(|o| servers::pebble::PebbleOptions {
            nonce_reject_percent: 50,
            ..o
        });
        let pebble = &bed.pebble;
        let state = bed.dir().join("state");
        let (issuer, teller) = issuer(pebble.directory_url(), pebble.ca_file(), &state);
        run(async {
            let session = issuer.session(ENVIRONMENT).await.unwrap();
            let names = [Identifier::Dns("www.example.test".into())];
            let place = async || session.account.new_order(&NewOrder::new(&names)).await;
            let order = session.transport.call(Step::NewOrder, &teller, place).await.unwrap();
            let read = session.post_as_get(Step::Order, order.url(), &teller).await;
            let (headers, body) = read.unwrap();
            assert_eq!(headers["content-type"], "application/json; charset=utf-8");
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["identifiers"][0]["value"], "www.example.test");
            let other = format!("{}x", order.url());
            let error =
                session.post_as_get(Step::AlternateChain, &other, &teller).await.unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("downloading an alternate chain "), "{text}");
        });
    }

    #[test]
    fn an_account_that_was_deactivated_is_made_anew() {
        let bed = Testbed::start();
        let state = bed.dir().join("state");
        let (issuer, _) = issuer(bed.pebble.directory_url(), bed.pebble.ca_file(), &state);
        run(async {
            let session = issuer.session(ENVIRONMENT).await.unwrap();
            let url = session.account.id().to_owned();
            let refusal = AcmeError::Refused {
                step: Step::NewOrder,
                url: "https://ca.example/order".into(),
                status: Some(403),
                problem: Problem { kind: "unauthorized".into(), ..Problem::default() },
                retry_after: None,
            };
            let replaced = issuer.replace_account(ENVIRONMENT, &url, &refusal).await;
            assert!(!replaced.unwrap(), "the account is good");
            session.account.clone().deactivate().await.unwrap();
            drop(session);
            assert!(issuer.replace_account(ENVIRONMENT, &url, &refusal).await.unwrap());
            let session = issuer.session(ENVIRONMENT).await.unwrap();
            assert_ne!(session.account.id(), url);
        });
    }
}
