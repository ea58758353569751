//! A CA with its directory and our account.

use super::error::{AcmeError, Step};
use super::log::Log;
use super::shared::Shared;
use super::transport::Transport;
use crate::http::{Clients, HttpError};
use crate::store::{self, Store, StoreError};
use acme_dns_core::config;
use acme_dns_core::level::Level;
use bytes::Bytes;
use instant_acme::{Account, Key, NewAccount};
use reqwest::Client;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use url::Url;

/// How long a directory is taken for current.
const DIRECTORY_LIFETIME: Duration = Duration::from_secs(3600);

/// A CA of the configuration.
pub(super) struct Issuer {
    config: config::Issuer,
    client: Client,
    store: Store,
    log: Log,
    directory: Shared<Rc<Directory>, AcmeError>,
    account: Shared<Rc<store::Account>, AcmeError>,
    /// An account that was created and could not be kept yet.
    unsaved: RefCell<Option<Rc<store::Account>>>,
}

/// What is used of a directory (RFC 8555 section 7.1.1).
pub(super) struct Directory {
    /// The URLs in JSON, as instant-acme reads them.
    urls: Bytes,
    profiles: Vec<String>,
    external_account_required: bool,
    fetched: Instant,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct DirectoryUrls {
    new_nonce: String,
    new_account: String,
    new_order: String,
}

#[derive(Deserialize)]
struct DirectoryJson {
    #[serde(flatten)]
    urls: DirectoryUrls,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    profiles: Map<String, Value>,
    external_account_required: bool,
}

/// Our account, for one order.
pub(super) struct Session {
    pub(super) account: Account,
    pub(super) transport: Transport,
    pub(super) directory: Rc<Directory>,
}

impl Directory {
    pub(super) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let DirectoryJson { urls, meta } = serde_json::from_slice(body)?;
        Ok(Self {
            urls: serde_json::to_vec(&urls)?.into(),
            profiles: meta.profiles.into_iter().map(|(name, _)| name).collect(),
            external_account_required: meta.external_account_required,
            fetched: Instant::now(),
        })
    }

    /// The names of the profiles that the CA lists (draft-ietf-acme-profiles).
    pub(super) fn profiles(&self) -> &[String] {
        &self.profiles
    }
}

impl Issuer {
    pub(super) fn new(
        config: &config::Issuer,
        store: Store,
        clients: &Clients,
        log: &Log,
    ) -> Result<Self, HttpError> {
        Ok(Self {
            config: config.clone(),
            client: clients.get(config.trusted_certificate.as_deref())?,
            store,
            log: log.about("issuer", &config.name),
            directory: Shared::new(),
            account: Shared::new(),
            unsaved: RefCell::new(None),
        })
    }

    pub(super) fn config(&self) -> &config::Issuer {
        &self.config
    }

    /// The directory and the account, created if there is none, with a transport of its own.
    pub(super) async fn session(&self) -> Result<Session, AcmeError> {
        let directory = self.directory().await?;
        let account =
            self.account.get(|_| true, async || self.make_account(&directory).await).await?;
        self.open_session(directory, &account).await
    }

    async fn open_session(
        &self,
        directory: Rc<Directory>,
        account: &store::Account,
    ) -> Result<Session, AcmeError> {
        let transport = Transport::new(self.client.clone(), directory.urls.clone());
        let key = PrivatePkcs8KeyDer::from(account.key.as_slice());
        let (id, url) = (account.url.clone(), self.config.directory.clone());
        let builder = Account::builder_with_http(Box::new(transport.clone()));
        // This makes no request: the transport answers for the directory.
        match builder.from_parts(id, key, url).await {
            Ok(account) => Ok(Session { account, transport, directory }),
            Err(error) => Err(self.failed(Step::Directory, error.to_string())),
        }
    }

    /// Forgets the directory, after a failure that a moved resource may have caused.
    pub(super) async fn forget_directory(&self) {
        self.directory.lock().await.take();
    }

    /// Forgets an account that the CA does not know, unless another has done so.
    pub(super) async fn forget_account(&self, url: &str) -> Result<(), AcmeError> {
        let mut account = self.account.lock().await;
        if account.as_ref().is_some_and(|account| account.url == url) {
            self.set_aside("the CA does not know the account any more")?;
            *account = None;
        }
        Ok(())
    }

    async fn directory(&self) -> Result<Rc<Directory>, AcmeError> {
        let current = |directory: &Rc<Directory>| directory.fetched.elapsed() < DIRECTORY_LIFETIME;
        self.directory
            .get(current, async || {
                let transport = Transport::new(self.client.clone(), Bytes::new());
                let read = async || {
                    let body = transport.get(&self.config.directory).await?;
                    Ok(Directory::parse(&body)?)
                };
                transport.call(Step::Directory, &self.log, read).await.map(Rc::new)
            })
            .await
    }

    async fn make_account(
        &self,
        directory: &Rc<Directory>,
    ) -> Result<Rc<store::Account>, AcmeError> {
        if let Some(account) = self.load_account()? {
            return Ok(Rc::new(self.update_contacts(directory, account).await));
        }
        let unsaved = self.unsaved.borrow().clone();
        let account = match unsaved {
            Some(account) => account,
            None => Rc::new(self.create_account(directory).await?),
        };
        // A disk that is full for a while does not make us create an account at every attempt.
        self.unsaved.replace(Some(Rc::clone(&account)));
        self.store.save_account(&self.config.name, &account).map_err(kept)?;
        self.unsaved.replace(None);
        Ok(account)
    }

    /// The account on disk, if it can be used here; one that cannot is put aside.
    fn load_account(&self) -> Result<Option<store::Account>, AcmeError> {
        let account = match self.store.load_account(&self.config.name) {
            Ok(Some(account)) => account,
            Ok(None) => return Ok(None),
            Err(error @ StoreError::Io { .. }) => return Err(kept(error)),
            Err(error) => return self.set_aside(&error.to_string()).map(|()| None),
        };
        if account.directory != self.config.directory {
            let why = format!("it belongs to \"{}\"", account.directory);
            return self.set_aside(&why).map(|()| None);
        }
        if Key::from_pkcs8_der(PrivatePkcs8KeyDer::from(account.key.as_slice())).is_err() {
            return self.set_aside("its key is not an ECDSA key on P-256").map(|()| None);
        }
        Ok(Some(account))
    }

    async fn create_account(&self, directory: &Rc<Directory>) -> Result<store::Account, AcmeError> {
        if directory.external_account_required {
            return Err(AcmeError::ExternalAccountRequired { host: self.host() });
        }
        let transport = Transport::new(self.client.clone(), directory.urls.clone());
        let contact: Vec<&str> = self.config.contacts.iter().map(String::as_str).collect();
        let (account, credentials) = transport
            .call(Step::NewAccount, &self.log, async || {
                // The configuration does not load without `accept_terms_of_service`.
                let account = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let builder = Account::builder_with_http(Box::new(transport.clone()));
                builder.create(&account, self.config.directory.clone(), None).await
            })
            .await?;
        self.log.write(Level::Notice, format_args!("account created at {}", account.id()));
        Ok(store::Account {
            url: account.id().to_owned(),
            directory: self.config.directory.clone(),
            contacts: self.config.contacts.clone(),
            key: credentials.private_key().secret_pkcs8_der().to_vec().into(),
        })
    }

    /// Tells the CA when the contacts of the configuration are others than those it has. Orders
    /// do not depend on it, so a failure is only a warning.
    async fn update_contacts(
        &self,
        directory: &Rc<Directory>,
        mut account: store::Account,
    ) -> store::Account {
        if account.contacts == self.config.contacts {
            return account;
        }
        match self.send_contacts(directory, &account).await {
            Ok(()) => {
                account.contacts.clone_from(&self.config.contacts);
                self.log.write(Level::Notice, format_args!("contacts of the account updated"));
                if let Err(error) = self.store.save_account(&self.config.name, &account) {
                    self.log.warn(format_args!("{error}"));
                }
            }
            Err(error) => self.log.warn(format_args!("{error}; contacts stay as they were")),
        }
        account
    }

    async fn send_contacts(
        &self,
        directory: &Rc<Directory>,
        account: &store::Account,
    ) -> Result<(), AcmeError> {
        let session = self.open_session(Rc::clone(directory), account).await?;
        let contacts: Vec<&str> = self.config.contacts.iter().map(String::as_str).collect();
        let update = async || session.account.update_contacts(&contacts).await;
        session.transport.call(Step::UpdateAccount, &self.log, update).await
    }

    fn set_aside(&self, why: &str) -> Result<(), AcmeError> {
        let aside = self.store.set_account_aside(&self.config.name).map_err(kept)?;
        self.log.warn(format_args!(
            "account moved to \"{}\", a new one will be created: {why}",
            aside.display()
        ));
        Ok(())
    }

    fn failed(&self, step: Step, reason: String) -> AcmeError {
        AcmeError::Failed { step, host: self.host(), reason, retry_after: None }
    }

    fn host(&self) -> String {
        let url = Url::parse(&self.config.directory).ok();
        url.map(|url| url.authority().to_owned()).unwrap_or_default()
    }
}

fn kept(error: StoreError) -> AcmeError {
    AcmeError::Store(Rc::new(error))
}

#[cfg(test)]
mod tests {
    use super::Directory;

    #[test]
    fn a_directory_is_reduced_to_what_is_used() {
        let directory = Directory::parse(
            br#"{"newNonce":"n","newAccount":"a","newOrder":"o","keyChange":null,"x":{},
                "meta":{"profiles":{"classic":"d","short":{"odd":1}},"website":"w"}}"#,
        )
        .unwrap();
        assert_eq!(directory.profiles(), ["classic", "short"]);
        assert_eq!(&directory.urls[..], br#"{"newNonce":"n","newAccount":"a","newOrder":"o"}"#);
        assert!(!directory.external_account_required);
        assert!(Directory::parse(br#"{"newNonce":"n"}"#).is_err());
        assert!(Directory::parse(b"<html>").is_err());
    }
}
