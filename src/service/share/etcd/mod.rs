//! etcd, by its JSON gateway (`/v3/`, from etcd 3.4 on).
//!
//! Records are keys below `PREFIX/records/`, leases below `PREFIX/leases/` ([`leases`]). Each change under a lease compares
//! its fencing number in the same transaction, so that a process that wakes after its lease has gone changes nothing.

mod gateway;
mod leases;
mod watch;
mod wire;

use super::{
    Change, Engine, Expected, Lease, Missed, News, Patience, Revision, ShareError, SharePath,
    Shared, Written,
};
use crate::http::{HttpError, Identity, engine_client};
use acme_dns_core::config::Share;
use async_trait::async_trait;
use gateway::{Call, Credentials, Failure, Gateway};
use leases::Session;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use wire::{KeyValue, Number, Range, Transaction, base64};

/// The number of records of a page.
const PAGE: u64 = 100;

/// Attempts to load all pages of one revision, while etcd compacts.
const LOADS: usize = 3;

/// etcd.
pub struct Etcd {
    gateway: Gateway,
    prefix: String,
    sessions: RefCell<Vec<Session>>,
    /// The number of attempts to take a lease.
    marks: Cell<u64>,
}

impl Etcd {
    /// Makes a client of the engine of a configuration. Nobody is contacted.
    ///
    /// # Errors
    /// A certificate or key cannot be used.
    pub fn new(
        share: &Share,
        password: Option<SecretString>,
        identity: Option<Identity<'_>>,
        patience: Patience,
    ) -> Result<Self, HttpError> {
        let client = engine_client(share.trusted_certificate.as_deref(), identity)?;
        let credentials = share.username.clone().zip(password);
        let credentials =
            credentials.map(|(username, password)| Credentials { username, password });
        let has_certificate = share.client_certificate.is_some();
        let endpoints = share.endpoints.clone();
        let gateway = Gateway::new(client, endpoints, patience, credentials, has_certificate);
        let (sessions, marks) = (RefCell::default(), Cell::new(0));
        Ok(Self { gateway, prefix: share.prefix.clone(), sessions, marks })
    }

    /// Beginning of the keys of all records. What ends with a slash is followed by what ends with `0`.
    fn records(&self) -> String {
        format!("{}/records/", self.prefix)
    }

    fn record(&self, path: &SharePath) -> String {
        format!("{}{}", self.records(), path.as_str())
    }

    fn end(&self) -> String {
        format!("{}/records0", self.prefix)
    }

    /// Beginning of the keys of all leases, which stand before the records.
    fn leases(&self) -> String {
        format!("{}/leases/", self.prefix)
    }

    fn lease_key(&self, name: &str) -> String {
        format!("{}{name}", self.leases())
    }

    /// Gives the path of a record. What is no text is none of ours, and cannot be opened either.
    fn path(&self, key: &[u8]) -> SharePath {
        let records = self.records();
        let path = key.strip_prefix(records.as_bytes()).unwrap_or(key);
        SharePath::new(&String::from_utf8_lossy(path))
    }

    fn put_change(&self, found: KeyValue) -> Change {
        let path = self.path(&found.key.0);
        let revision = Revision(found.mod_revision.0);
        Change::Put(Shared { path, revision, content: found.value.0 })
    }

    /// Loads all records of one revision, page by page.
    async fn load_pages(&self) -> Result<News, Failure> {
        let mut body = json!({
            "key": base64(self.records()),
            "range_end": base64(self.end()),
            "limit": Number(PAGE),
        });
        let mut news = News::default();
        loop {
            let page: Range = self.gateway.ask(Call::RANGE, &body).await?;
            if news.revision == Revision::default() {
                news.revision = Revision(page.header.revision.0);
                body["revision"] = json!(page.header.revision);
            }
            let last = page.kvs.last().map(|last| [&last.key.0[..], &[0]].concat());
            news.changes.extend(page.kvs.into_iter().map(|found| self.put_change(found)));
            match last.filter(|_| page.more) {
                Some(next) => body["key"] = json!(base64(next)),
                None => return Ok(news),
            }
        }
    }

    /// Gives the revision of the whole cluster, not of one member that may be behind.
    async fn revision(&self) -> Result<Revision, Failure> {
        let body = json!({ "key": base64(self.records()), "count_only": true });
        let range: Range = self.gateway.ask(Call::RANGE, &body).await?;
        Ok(Revision(range.header.revision.0))
    }

    /// Changes a record if it is as expected and the lease is held.
    async fn write(
        &self,
        key: &str,
        expected: Expected,
        lease: Option<&Lease>,
        change: Value,
    ) -> Result<Written, Failure> {
        let mut compare = vec![match expected {
            Expected::Absent => created(key, 0),
            Expected::At(Revision(revision)) => json!({
                "key": base64(key),
                "target": "MOD",
                "result": "EQUAL",
                "mod_revision": Number(revision),
            }),
        }];
        let mut look = Vec::new();
        if let Some(lease) = lease {
            let key = self.lease_key(&lease.name);
            look.push(json!({ "request_range": { "key": base64(&key), "keys_only": true } }));
            compare.push(created(&key, lease.fence));
        }
        let body = json!({ "compare": compare, "success": [change], "failure": look });
        let done: Transaction = self.gateway.ask(Call::TRANSACTION, &body).await?;
        if done.succeeded {
            return Ok(Written::Done(Revision(done.header.revision.0)));
        }
        let mut held = done.responses.iter().flat_map(|part| &part.response_range.kvs);
        let is_held = |lease: &Lease| held.any(|key| key.create_revision.0 == lease.fence);
        Ok(match lease.is_none_or(is_held) {
            true => Written::Lost,
            false => Written::Fenced,
        })
    }

    fn own<T>(&self, result: Result<T, Failure>) -> Result<T, ShareError> {
        result.map_err(|failure| self.gateway.error(failure))
    }
}

/// Condition that a key was created at a revision; 0 if there is to be none.
fn created(key: &str, revision: u64) -> Value {
    json!({
        "key": base64(key),
        "target": "CREATE",
        "result": "EQUAL",
        "create_revision": Number(revision),
    })
}

#[async_trait(?Send)]
impl Engine for Etcd {
    async fn load(&self) -> Result<News, ShareError> {
        for _ in 1..LOADS {
            match self.load_pages().await {
                Err(Failure::Compacted) => {}
                loaded => return self.own(loaded),
            }
        }
        self.own(self.load_pages().await)
    }

    async fn get(&self, path: &SharePath) -> Result<Option<Change>, ShareError> {
        let body = json!({ "key": base64(self.record(path)) });
        let range: Range = self.own(self.gateway.ask(Call::RANGE, &body).await)?;
        Ok(range.kvs.into_iter().next().map(|found| self.put_change(found)))
    }

    async fn put(
        &self,
        path: &SharePath,
        content: &[u8],
        expected: Expected,
        lease: Option<&Lease>,
    ) -> Result<Written, ShareError> {
        let key = self.record(path);
        let put = json!({ "request_put": { "key": base64(&key), "value": base64(content) } });
        self.own(self.write(&key, expected, lease, put).await)
    }

    async fn remove(
        &self,
        path: &SharePath,
        expected: Revision,
        lease: Option<&Lease>,
    ) -> Result<Written, ShareError> {
        let key = self.record(path);
        let remove = json!({ "request_delete_range": { "key": base64(&key) } });
        self.own(self.write(&key, Expected::At(expected), lease, remove).await)
    }

    async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, ShareError> {
        self.own(self.take_lease(name, ttl).await)
    }

    async fn renew(&self, lease: &Lease) -> Result<bool, ShareError> {
        self.own(self.renew_lease(lease).await)
    }

    async fn release(&self, lease: &Lease) -> Result<(), ShareError> {
        self.own(self.release_lease(lease).await)
    }

    async fn watch(
        &self,
        from: Revision,
        tell: &mut dyn FnMut(News),
    ) -> Result<Missed, ShareError> {
        self.own(self.follow(from, tell).await)
    }
}
