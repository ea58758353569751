//! Taking over the account of a key that is not of our type, with one key change (RFC 8555 section 7.3.5).
//!
//! ```text
//! new key made -> account_key.new.pem -> keyChange, signed by the old key -> account with the new key
//! ```
//!
//! It is the same account from then on, with its limits, its authorizations, and what CAA records say of it
//! (`accounturi`, RFC 8657). Whenever the process dies, both keys are on disk, and the CA is asked whose
//! the account is. Where the CA has no key change, a key that was imported is set aside.

use super::account::kept;
use super::directory::Directory;
use super::error::AcmeError;
use super::foreign_key::ForeignKey;
use super::issuer::{AcmeServer, OurAccount};
use super::jws::{AccountKey, AccountLookup, Requests, SigningKey};
use crate::event::AccountEvent;
use crate::x509::reason;
use std::rc::Rc;

impl AcmeServer {
    /// Takes over the account of a key of another type. `None`: that cannot be, and the key, which was
    /// imported, is set aside.
    pub(super) async fn take_over(
        &self,
        directory: &Rc<Directory>,
        old: &ForeignKey,
    ) -> Result<Option<OurAccount>, AcmeError> {
        let why = match self.hand_over(directory, old).await {
            Ok(Ok(account)) => return Ok(Some(account)),
            Ok(Err(why)) => why,
            Err(error) if error.is_final() || error.is_permanent() => error.to_string(),
            Err(error) => return Err(error),
        };
        if self.account_key.is_some() {
            let reason = format!("it is not an ECDSA key on P-256, and its account {why}");
            return Err(self.bad_key(reason));
        }
        self.set_aside(&format!("the account that was imported {why}")).map(|()| None)
    }

    /// Gives the account with a key of ours, or the reason why it cannot be had.
    async fn hand_over(
        &self,
        directory: &Rc<Directory>,
        old: &ForeignKey,
    ) -> Result<Result<OurAccount, String>, AcmeError> {
        let of = old.thumbprint().map_err(|error| self.bad_key(reason(&error)))?;
        let begun = self.load_new_key()?.and_then(Result::ok);
        if let Some(new) = &begun
            && let AccountLookup::Valid(url) = self.look_up(directory, new).await?
        {
            return self.have(new, url, of).map(Ok);
        }
        let url = match self.look_up(directory, old).await? {
            AccountLookup::Valid(url) => url,
            AccountLookup::Unknown => return Ok(Err("is not known to the CA".to_owned())),
            AccountLookup::Deactivated => return Ok(Err("has been deactivated".to_owned())),
        };
        let Some(key_change) = directory.key_change() else {
            return Ok(Err(
                "cannot be given a key of that type: the CA has no key change".to_owned()
            ));
        };
        let new = match begun {
            Some(new) => new,
            None => self.make_new_key()?,
        };
        let transport = self.transport(directory);
        let requests =
            Requests { transport: &transport, directory, key: old, teller: &self.teller };
        let changed = requests.change_key(key_change, &url, &new).await;
        // The account depends on it: neither a success nor a lost answer is taken on trust.
        if let AccountLookup::Valid(url) = self.look_up(directory, &new).await? {
            return self.have(&new, url, of).map(Ok);
        }
        match changed {
            Err(error) if error.is_final() => {
                self.drop_key()?;
                Ok(Err(format!("keeps its key: {error}")))
            }
            Err(error) => Err(error),
            Ok(()) => Err(self.unchanged(key_change)),
        }
    }

    fn have(
        &self,
        key: &AccountKey,
        url: String,
        taken_from: String,
    ) -> Result<OurAccount, AcmeError> {
        self.teller.account(AccountEvent::TakenOver { url: url.clone() });
        // Its contacts are not known, so those of the configuration are sent.
        let account = self.keep(key, url, Vec::new(), Some(taken_from))?;
        self.store.drop_new_account_key(&self.files).map_err(kept)?;
        Ok(account)
    }

    async fn look_up(
        &self,
        directory: &Directory,
        key: &dyn SigningKey,
    ) -> Result<AccountLookup, AcmeError> {
        let transport = self.transport(directory);
        let requests = Requests { transport: &transport, directory, key, teller: &self.teller };
        requests.find_account().await
    }
}
