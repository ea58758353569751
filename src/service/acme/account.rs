//! Our account at a CA (RFC 8555 section 7.3): found, made, updated, and made anew.
//!
//! The key is on disk before the CA is asked for an account, so that neither a lost answer nor a
//! crash loses one: it is found by its key the next time. A key of the configuration is kept in the
//! state path like any other: it is of the same user and mode, and what is there says to which key
//! the URL and the contacts belong. If the two differ, the configured one wins.

use super::directory::Directory;
use super::error::AcmeError;
use super::foreign_key::GivenKey;
use super::issuer::{AcmeServer, OurAccount};
use super::jws::{AccountKey, AccountLookup, Requests};
use super::transport::Transport;
use crate::event::AccountEvent;
use crate::store::{self, StoreError};
use crate::x509::reason;
use acme_dns_core::level::Level;
use instant_acme::Key;
use rustls_pki_types::PrivatePkcs8KeyDer;
use secrecy::ExposeSecret;
use std::rc::Rc;

impl AcmeServer {
    /// Loads the account from disk, finds it at the CA, or makes a new one.
    pub(super) async fn make_account(
        &self,
        directory: &Rc<Directory>,
    ) -> Result<Rc<OurAccount>, AcmeError> {
        let mut ours = match self.load_account()? {
            Some(ours) => self.finish_key_change(directory, ours).await?,
            None => None,
        };
        if ours.is_none() {
            ours = Some(self.new_account(directory).await?);
        }
        let Some(mut ours) = ours else { return Err(self.bad_key("there is none".to_owned())) };
        self.update_contacts(directory, &mut ours).await;
        Ok(Rc::new(ours))
    }

    /// Loads the account on disk, if it can be used here; sets it aside if it cannot.
    fn load_account(&self) -> Result<Option<OurAccount>, AcmeError> {
        let kept = match self.store.load_account(&self.files) {
            Ok(Some(account)) => account,
            Ok(None) => return Ok(None),
            Err(error @ (StoreError::Io { .. } | StoreError::Foreign { .. })) => {
                return Err(kept(error));
            }
            Err(error) => return self.set_aside(&error.to_string()).map(|()| None),
        };
        if kept.directory != self.directory_url {
            let why = format!("it belongs to \"{}\"", kept.directory);
            return self.set_aside(&why).map(|()| None);
        }
        let is_usable = Key::from_pkcs8_der(PrivatePkcs8KeyDer::from(kept.key.as_slice())).is_ok();
        let key = AccountKey::from_pkcs8(&kept.key).ok().filter(|_| is_usable);
        let Some(key) = key else {
            return self.set_aside("its key is not an ECDSA key on P-256").map(|()| None);
        };
        if !self.is_of_configured_key(&kept, &key)? {
            return self.set_aside("\"account_key\" is another key than its").map(|()| None);
        }
        Ok(Some(OurAccount { kept, key }))
    }

    /// Tells whether an account has the key of the configuration, or was taken over from it.
    fn is_of_configured_key(
        &self,
        account: &store::Account,
        key: &AccountKey,
    ) -> Result<bool, AcmeError> {
        match self.configured_key()? {
            None => Ok(true),
            Some(GivenKey::Ours(configured)) => Ok(configured == *key),
            Some(GivenKey::Foreign(configured)) => {
                let of = configured.thumbprint().map_err(|error| self.bad_key(reason(&error)))?;
                Ok(account.taken_from == Some(of))
            }
        }
    }

    fn configured_key(&self) -> Result<Option<GivenKey>, AcmeError> {
        let text = self.account_key.as_ref();
        let key = text.map(|text| GivenKey::from_text(text.expose_secret()));
        key.transpose().map_err(|reason| self.bad_key(reason))
    }

    /// Gives the key whose account was asked for, without the answer having been kept.
    fn kept_key(&self) -> Result<Option<GivenKey>, AcmeError> {
        let why = match self.store.load_account_key(&self.files) {
            Ok(None) => return Ok(None),
            Ok(Some(der)) => match GivenKey::from_pkcs8(&der) {
                Ok(key) => return Ok(Some(key)),
                Err(reason) => reason,
            },
            Err(error @ (StoreError::Io { .. } | StoreError::Foreign { .. })) => {
                return Err(kept(error));
            }
            Err(error) => error.to_string(),
        };
        self.set_aside(&why).map(|()| None)
    }

    async fn new_account(&self, directory: &Rc<Directory>) -> Result<OurAccount, AcmeError> {
        let known = match self.configured_key()? {
            Some(key) => Some(key),
            None => self.kept_key()?,
        };
        let transport = self.transport(directory);
        let ours = match known {
            None => None,
            Some(GivenKey::Ours(key)) => Some(key),
            Some(GivenKey::Foreign(key)) => match self.take_over(directory, &key).await? {
                Some(account) => return Ok(account),
                None => None,
            },
        };
        if let Some(key) = ours {
            let requests =
                Requests { transport: &transport, directory, key: &key, teller: &self.teller };
            match requests.find_account().await {
                Ok(AccountLookup::Valid(url)) => {
                    self.teller.account(AccountEvent::Found { url: url.clone() });
                    // Its contacts are not known, so those of the configuration are sent.
                    return self.keep(&key, url, Vec::new(), None);
                }
                Ok(AccountLookup::Deactivated) => {
                    self.set_aside_deactivated("of \"account_key\"")?
                }
                Err(error) if !error.is_permanent() => return Err(error),
                // A CA that does not like the question may still answer the demand: it gives the
                // account that is there, or says what is wrong.
                Ok(AccountLookup::Unknown) | Err(_) => {
                    return self.create_account(&transport, directory, key).await;
                }
            }
        }
        let key = AccountKey::generate().map_err(|reason| self.bad_key(reason))?;
        self.create_account(&transport, directory, key).await
    }

    async fn create_account(
        &self,
        transport: &Transport,
        directory: &Directory,
        key: AccountKey,
    ) -> Result<OurAccount, AcmeError> {
        let binding = self.binding()?;
        if directory.external_account_required() && binding.is_none() {
            let issuer = self.issuer.clone();
            return Err(AcmeError::ExternalAccountRequired {
                url: self.directory_url.clone(),
                issuer,
            });
        }
        let der = key.pkcs8().map_err(|reason| self.bad_key(reason))?;
        self.store.save_account_key(&self.files, &der).map_err(kept)?;
        let requests = Requests { transport, directory, key: &key, teller: &self.teller };
        let url = requests.create_account(&self.contacts, binding.as_ref()).await?;
        self.teller.account(AccountEvent::Created { url: url.clone() });
        self.keep(&key, url, self.contacts.clone(), None)
    }

    /// Keeps an account; `taken_from` is the key of another type that it had before.
    pub(super) fn keep(
        &self,
        key: &AccountKey,
        url: String,
        contacts: Vec<String>,
        taken_from: Option<String>,
    ) -> Result<OurAccount, AcmeError> {
        let der = key.pkcs8().map_err(|reason| self.bad_key(reason))?;
        let directory = self.directory_url.clone();
        let former_keys = Vec::new();
        let key = der.clone();
        let account = store::Account { url, directory, contacts, taken_from, former_keys, key };
        self.store.save_account(&self.files, &account).map_err(kept)?;
        let key = AccountKey::from_pkcs8(&der).map_err(|reason| self.bad_key(reason))?;
        Ok(OurAccount { kept: account, key })
    }

    /// Tells the CA when the contacts of the configuration are others than those it has. Orders
    /// do not depend on it, so a failure is only a warning.
    async fn update_contacts(&self, directory: &Directory, ours: &mut OurAccount) {
        let OurAccount { kept: account, key } = ours;
        if account.contacts == self.contacts {
            return;
        }
        match self.send_contacts(directory, key, &account.url).await {
            Ok(()) => {
                account.contacts.clone_from(&self.contacts);
                self.teller.account(AccountEvent::ContactsUpdated);
                if let Err(error) = self.store.save_account(&self.files, account) {
                    self.teller.account(AccountEvent::Unsaved { why: error.to_string() });
                }
            }
            Err(error) => {
                self.teller.account(AccountEvent::ContactsRefused { why: error.to_string() });
            }
        }
    }

    async fn send_contacts(
        &self,
        directory: &Directory,
        key: &AccountKey,
        account: &str,
    ) -> Result<(), AcmeError> {
        let transport = self.transport(directory);
        let requests = Requests { transport: &transport, directory, key, teller: &self.teller };
        requests.update_contacts(account, &self.contacts).await
    }

    /// Does the work of [`IssuerClient::replace_account`](super::issuer::IssuerClient::replace_account).
    pub(super) async fn replace_account(
        &self,
        url: &str,
        refusal: &AcmeError,
    ) -> Result<bool, AcmeError> {
        let is_unknown = refusal.is("accountDoesNotExist");
        // It may as well be about the names of the order, or the account's rights to them.
        if !is_unknown && !refusal.is("unauthorized") {
            return Ok(false);
        }
        let _key_stays = self.sessions.read().await;
        let directory = self.directory().await?;
        let mut account = self.account.lock().await;
        let Some(ours) = account.clone().filter(|ours| ours.kept.url == url) else {
            // Another order has done so.
            return Ok(true);
        };
        let transport = self.transport(&directory);
        let (directory, key, teller) = (&*directory, &ours.key, &self.teller);
        let requests = Requests { transport: &transport, directory, key, teller };
        let found =
            if is_unknown { Ok(AccountLookup::Unknown) } else { requests.find_account().await };
        match found {
            Ok(AccountLookup::Valid(_)) => return Ok(false),
            Ok(AccountLookup::Unknown) => {
                self.set_aside("the CA does not know the account any more")?
            }
            Ok(AccountLookup::Deactivated) => self.set_aside_deactivated(url)?,
            Err(error) if error.is("unauthorized") => {
                let path = self.store.account_path(&self.files);
                let what = format!("move \"{}\" away to get another", path.display());
                return Err(self.refused(url, &what));
            }
            Err(error) => {
                self.teller.step_failed(Level::Debug, &error);
                return Ok(false);
            }
        }
        *account = None;
        Ok(true)
    }

    fn set_aside_deactivated(&self, url: &str) -> Result<(), AcmeError> {
        if self.account_key.is_some() {
            return Err(self.refused(url, "set another \"account_key\""));
        }
        self.set_aside("the CA has deactivated the account")
    }

    fn refused(&self, url: &str, what_to_do: &str) -> AcmeError {
        AcmeError::AccountRefused {
            url: self.directory_url.clone(),
            account: url.to_owned(),
            what_to_do: what_to_do.to_owned(),
        }
    }

    pub(super) fn set_aside(&self, why: &str) -> Result<(), AcmeError> {
        let path = self.store.set_account_aside(&self.files).map_err(kept)?;
        self.teller.account(AccountEvent::SetAside { path, why: why.to_owned() });
        Ok(())
    }

    pub(super) fn bad_key(&self, reason: String) -> AcmeError {
        AcmeError::AccountKey { issuer: self.issuer.clone(), reason }
    }
}

pub(super) fn kept(error: StoreError) -> AcmeError {
    AcmeError::Store(Rc::new(error))
}
