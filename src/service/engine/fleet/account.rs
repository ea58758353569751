//! One account at each CA for all hosts.

use super::Fleet;
use super::news::Wait;
use super::record::{AccountRecord, decode, encode};
use crate::acme::Obtainer;
use crate::share::{Change, Expected, Lease, ShareError, SharePath, Shared};
use crate::store::{Account, StoreError};
use acme_dns_core::fleet::RecordKey;
use acme_dns_core::id::IssuerId;
use acme_dns_core::schedule::Attempt;

impl Fleet {
    /// Has this host use the account that all hosts use, which is created if there is none. A wait if another host is
    /// creating it.
    pub(super) async fn share_account(
        &self,
        due: &Attempt,
        obtainer: &Obtainer,
    ) -> Result<Option<Wait>, ShareError> {
        let issuer = due.issuer;
        let config = self.site.issuer(issuer);
        // With a key of the configuration all hosts find the same account by themselves.
        if config.account_key.is_some() {
            return Ok(None);
        }
        // Of the orders of this host one finds or creates it, and the others have it then.
        let _one_by_one = self.accounts.lock().await;
        if self.mirror.borrow().accounts.contains(&issuer) {
            return Ok(None);
        }
        let key = RecordKey::of_account(&config.directory);
        let path = SharePath::new(&format!("accounts/{key}"));
        if self.use_shared(issuer, &path, obtainer).await? {
            return Ok(None);
        }
        let lease = match self.lease_for(due.variant, &format!("account {key}")).await? {
            Ok(lease) => lease,
            Err(wait) => return Ok(Some(wait)),
        };
        // Another host may have been faster.
        let shared = match self.use_shared(issuer, &path, obtainer).await {
            Ok(true) => Ok(()),
            Ok(false) => self.create_and_share(issuer, &path, &lease, obtainer).await,
            Err(error) => Err(error),
        };
        // It ends by itself otherwise.
        let _released = self.engine.release(&lease).await;
        shared.map(|()| None)
    }

    /// Uses the account that is shared, if there is a good one.
    async fn use_shared(
        &self,
        issuer: IssuerId,
        path: &SharePath,
        obtainer: &Obtainer,
    ) -> Result<bool, ShareError> {
        let heard = self.account_news.get();
        let found = self.engine.get(path).await?;
        let Some(Change::Put(Shared { content, .. })) = found else { return Ok(false) };
        let Ok(AccountRecord { account }) = decode(&content) else { return Ok(false) };
        let config = self.site.issuer(issuer);
        if account.directory != config.directory {
            return Ok(false);
        }
        match self.keep_account(&config.name, &account) {
            Ok(false) => {}
            Ok(true) => obtainer.forget_account(issuer).await,
            Err(error) => self.site.tell_ignored(&error),
        }
        // Until there are news of accounts, nobody need ask again.
        if self.account_news.get() == heard {
            self.mirror.borrow_mut().accounts.insert(issuer);
        }
        Ok(true)
    }

    /// Keeps the account on disk in the place of another one; tells whether it is another one.
    fn keep_account(&self, name: &str, account: &Account) -> Result<bool, StoreError> {
        let store = &self.site.store;
        let own = store.load_account(name).unwrap_or_default();
        if own.as_ref().is_some_and(|own| own.url == account.url && own.key == account.key) {
            return Ok(false);
        }
        if own.is_some() {
            store.set_account_aside(name)?;
        }
        store.save_account(name, account)?;
        Ok(true)
    }

    async fn create_and_share(
        &self,
        issuer: IssuerId,
        path: &SharePath,
        lease: &Lease,
        obtainer: &Obtainer,
    ) -> Result<(), ShareError> {
        // What is wrong is said by the attempt, which meets the same.
        if obtainer.open_account(issuer).await.is_err() {
            return Ok(());
        }
        let name = &self.site.issuer(issuer).name;
        let Ok(Some(account)) = self.site.store.load_account(name) else { return Ok(()) };
        let Ok(content) = encode(&AccountRecord { account }) else { return Ok(()) };
        // What is there is nothing that could be used.
        let found = self.engine.get(path).await?;
        let expected = found.as_ref().map_or(Expected::Absent, |it| Expected::At(it.revision()));
        self.engine.put(path, &content, expected, Some(lease)).await?;
        Ok(())
    }
}
