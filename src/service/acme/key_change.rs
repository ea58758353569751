//! Replacing the key of an account (RFC 8555 section 7.3.5).
//!
//! ```text
//! new key made -> account_key.new.pem -> keyChange -> account_key.new.pem becomes account_key.pem
//! ```
//!
//! Whenever the process dies, or an answer is lost, both keys are on disk, and the CA is asked which
//! of them is the account's before the account is used again.

use super::account::kept;
use super::directory::Directory;
use super::error::AcmeError;
use super::issuer::{AcmeServer, OurAccount};
use super::jws::{AccountKey, AccountLookup, Requests};
use super::step::Step;
use crate::event::AccountEvent;
use crate::store::StoreError;
use crate::x509::reason;
use std::rc::Rc;

/// Number of keys before the present one that are remembered.
const FORMER_KEYS: usize = 16;

/// Number of tries of a change whose answer was lost and which did not happen.
const ATTEMPTS: usize = 3;

impl AcmeServer {
    /// Replaces the key of the account, when no order is under way and before the next one begins.
    pub(super) async fn change_key(&self) -> Result<(), AcmeError> {
        if self.account_key.is_some() {
            return Err(AcmeError::KeyIsConfigured { issuer: self.issuer.clone() });
        }
        let _alone = self.sessions.write().await;
        let directory = self.directory().await?;
        let ours = self.account.get(|_| true, async || self.make_account(&directory).await).await?;
        let Some(url) = directory.key_change() else {
            return Err(self.unsupported(Step::KeyChange));
        };
        self.keep_thumbprint(&ours)?;
        let new = self.prepare_key(&ours)?;
        let done = self.request_key_change(&directory, url, &ours, &new).await;
        // The next session reads from the disk which key it is, and asks the CA if that is not clear.
        self.account.lock().await.take();
        done?;
        self.adopt_key()
    }

    /// Keeps the thumbprint of the key: records of dns-persist-01 that have it stay good, whatever comes of the
    /// change.
    fn keep_thumbprint(&self, ours: &OurAccount) -> Result<(), AcmeError> {
        let thumbprint = ours.key.thumbprint().map_err(|error| self.bad_key(reason(&error)))?;
        let mut account = ours.kept.clone();
        account.former_keys.retain(|former| *former != thumbprint);
        account.former_keys.push(thumbprint);
        let excess = account.former_keys.len().saturating_sub(FORMER_KEYS);
        account.former_keys.drain(..excess);
        self.store.save_account(&self.files, &account).map_err(kept)
    }

    /// Gives the key of a change whose outcome was never known, else a new one.
    fn prepare_key(&self, ours: &OurAccount) -> Result<AccountKey, AcmeError> {
        if let Some(Ok(new)) = self.load_new_key()?
            && new != ours.key
        {
            return Ok(new);
        }
        self.make_new_key()
    }

    /// Makes a key that is to replace another one, on disk.
    pub(super) fn make_new_key(&self) -> Result<AccountKey, AcmeError> {
        let new = AccountKey::generate().map_err(|reason| self.bad_key(reason))?;
        let der = new.pkcs8().map_err(|reason| self.bad_key(reason))?;
        self.store.save_new_account_key(&self.files, &der).map_err(kept)?;
        Ok(new)
    }

    /// Makes an error of a success that has changed nothing.
    pub(super) fn unchanged(&self, url: &str) -> AcmeError {
        AcmeError::Failed {
            step: Step::KeyChange,
            url: url.to_owned(),
            status: None,
            reason: "the account has its old key still".to_owned(),
            retry_after: None,
        }
    }

    /// Loads the key of a change that was begun; what is no key was never sent to the CA.
    pub(super) fn load_new_key(&self) -> Result<Option<Result<AccountKey, String>>, AcmeError> {
        match self.store.load_new_account_key(&self.files) {
            Ok(der) => Ok(der.map(|der| AccountKey::from_pkcs8(&der))),
            Err(error @ StoreError::Invalid { .. }) => Ok(Some(Err(error.to_string()))),
            Err(error @ (StoreError::Io { .. } | StoreError::Foreign { .. })) => Err(kept(error)),
        }
    }

    async fn request_key_change(
        &self,
        directory: &Directory,
        url: &str,
        ours: &OurAccount,
        new: &AccountKey,
    ) -> Result<(), AcmeError> {
        let transport = self.transport(directory);
        let requests =
            Requests { transport: &transport, directory, key: &ours.key, teller: &self.teller };
        let mut attempt = 1;
        loop {
            let result = requests.change_key(url, &ours.kept.url, new).await;
            let is_unclear = result.is_ok() || transport.last().is_transient;
            // The account depends on it: a success is not taken on trust.
            if self.is_known(directory, new).await? {
                return Ok(());
            }
            let error = result.err().unwrap_or_else(|| self.unchanged(url));
            if !is_unclear {
                self.drop_key()?;
                return Err(error);
            }
            // The request may still be on its way. The new key stays on disk until the next session
            // looks which one the CA knows.
            if attempt == ATTEMPTS {
                return Err(error);
            }
            self.teller.account(AccountEvent::Retrying { why: error.to_string() });
            attempt += 1;
        }
    }

    /// Finishes or drops a change that was begun, when the account is loaded. `None`: the CA knows
    /// neither key, the account was set aside.
    pub(super) async fn finish_key_change(
        &self,
        directory: &Rc<Directory>,
        mut ours: OurAccount,
    ) -> Result<Option<OurAccount>, AcmeError> {
        let Some(new) = self.load_new_key()? else { return Ok(Some(ours)) };
        if let Some(new) = new.ok().filter(|new| *new != ours.key)
            && self.is_known(directory, &new).await?
        {
            self.adopt_key()?;
            ours.kept.key = new.pkcs8().map_err(|reason| self.bad_key(reason))?;
            ours.key = new;
            return Ok(Some(ours));
        }
        if !self.is_known(directory, &ours.key).await? {
            self.set_aside("the CA does not know the account any more")?;
            return Ok(None);
        }
        self.drop_key()?;
        self.teller.account(AccountEvent::KeyUnchanged);
        Ok(Some(ours))
    }

    async fn is_known(&self, directory: &Directory, key: &AccountKey) -> Result<bool, AcmeError> {
        let transport = self.transport(directory);
        let requests = Requests { transport: &transport, directory, key, teller: &self.teller };
        requests.find_account().await.map(|found| found != AccountLookup::Unknown)
    }

    fn adopt_key(&self) -> Result<(), AcmeError> {
        self.store.adopt_new_account_key(&self.files).map_err(kept)?;
        self.teller.account(AccountEvent::KeyChanged);
        Ok(())
    }

    pub(super) fn drop_key(&self) -> Result<(), AcmeError> {
        self.store.drop_new_account_key(&self.files).map_err(kept)
    }
}
