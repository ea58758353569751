//! Leases: keys that only their takers create, all of a host bound to one lease of etcd's.
//!
//! So a lease costs one request, granted or not, and a host that is not heard of loses all of its leases at once. The
//! revision at which a key was created is its fencing number.

use super::gateway::{Call, Failure};
use super::wire::{Grant, KeyValue, Message, Number, Range, Transaction, base64};
use super::{Etcd, created};
use crate::share::Lease;
use futures_util::future::try_join;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// A lease of etcd's is renewed once this part of its time has passed, whoever asks.
const FRESH: u32 = 6;

/// A lease of etcd's that this host's keys are bound to.
#[derive(Clone, Copy)]
pub(super) struct Session {
    id: Number,
    /// The time that was asked for, in seconds, and the one that was granted.
    asked: u64,
    ttl: Duration,
    /// Time at which it was granted or renewed last, at the latest.
    renewed: Instant,
}

impl Etcd {
    /// Creates the key of a lease, unless it is there.
    pub(super) async fn take_lease(
        &self,
        name: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, Failure> {
        let session = self.session(ttl).await?;
        match self.create_key(name, session).await {
            // It has just ended.
            Err(Failure::NoLease) => {
                self.forget_session(session.id);
                self.create_key(name, self.session(ttl).await?).await
            }
            taken => taken,
        }
    }

    /// Makes a lease last, and all others of its session.
    pub(super) async fn renew_lease(&self, lease: &Lease) -> Result<bool, Failure> {
        let id = lease_id(lease);
        let known = self.sessions.borrow().iter().find(|session| session.id == id).copied();
        let kept = async {
            match known {
                Some(session) => self.refresh(session).await,
                // No more are taken in it.
                None => self.keep_alive(id).await,
            }
        };
        let body = json!({ "key": base64(self.lease_key(&lease.name)), "keys_only": true });
        let found = self.gateway.ask::<Range>(Call::RANGE, &body);
        // Both at once: where answers take long there is time for one only.
        let (is_kept, found) = try_join(kept, found).await?;
        let is_ours = |key: &KeyValue| key.create_revision.0 == lease.fence;
        Ok(is_kept && found.kvs.iter().any(is_ours))
    }

    /// Removes the key of a lease, if it is still the same.
    pub(super) async fn release_lease(&self, lease: &Lease) -> Result<(), Failure> {
        let key = self.lease_key(&lease.name);
        let removed = self.remove_key(&key, &[created(&key, lease.fence)]).await;
        if removed.is_err() {
            // It ends with its session.
            self.forget_session(lease_id(lease));
        }
        removed
    }

    async fn create_key(&self, name: &str, session: Session) -> Result<Option<Lease>, Failure> {
        let Session { id, ttl, .. } = session;
        let key = self.lease_key(name);
        // Tells this attempt from all others of this host.
        let mark = base64(self.marks.replace(self.marks.get() + 1).to_string());
        let put = json!({ "key": base64(&key), "value": mark, "lease": id });
        let body = json!({ "compare": [created(&key, 0)], "success": [{ "request_put": put }] });
        let taken = self.gateway.ask::<Transaction>(Call::TRANSACTION, &body).await;
        if matches!(taken, Err(Failure::Member { was_sent: true, .. })) {
            // The key may have been created all the same, and would be held for nothing for as long as the session lasts.
            let of_session = json!({
                "key": base64(&key), "target": "LEASE", "result": "EQUAL", "lease": id,
            });
            let is_marked = json!({
                "key": base64(&key), "target": "VALUE", "result": "EQUAL", "value": mark,
            });
            if self.remove_key(&key, &[of_session, is_marked]).await.is_err() {
                self.forget_session(id);
            }
        }
        let done = taken?;
        let (fence, token) = (done.header.revision.0, id.0.to_string());
        Ok(done.succeeded.then(|| Lease { name: name.to_owned(), fence, token, ttl }))
    }

    async fn remove_key(&self, key: &str, compare: &[Value]) -> Result<(), Failure> {
        let remove = json!({ "request_delete_range": { "key": base64(key) } });
        let body = json!({ "compare": compare, "success": [remove] });
        self.gateway.ask::<Transaction>(Call::TRANSACTION, &body).await.map(|_| ())
    }

    /// Gives the lease of etcd's for this time, so fresh that a holder can renew it before it ends.
    async fn session(&self, ttl: Duration) -> Result<Session, Failure> {
        let asked = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let of_time = || self.sessions.borrow().iter().find(|it| it.asked == asked).copied();
        if let Some(session) = of_time()
            && self.refresh(session).await?
        {
            return Ok(session);
        }
        let renewed = Instant::now();
        let granted: Grant =
            self.gateway.ask(Call::GRANT, &json!({ "TTL": Number(asked) })).await?;
        // One that another task has been granted meanwhile is used; this one ends by itself.
        if let Some(session) = of_time() {
            return Ok(session);
        }
        let ttl = Duration::from_secs(granted.ttl.0);
        let session = Session { id: granted.id, asked, ttl, renewed };
        self.sessions.borrow_mut().push(session);
        Ok(session)
    }

    /// Renews a session if that was not done lately; `false` where it has ended.
    async fn refresh(&self, session: Session) -> Result<bool, Failure> {
        let renewed = Instant::now();
        if renewed - session.renewed < session.ttl / FRESH {
            return Ok(true);
        }
        let is_held = self.keep_alive(session.id).await?;
        if !is_held {
            self.forget_session(session.id);
        }
        for known in self.sessions.borrow_mut().iter_mut().filter(|it| it.id == session.id) {
            known.renewed = renewed;
        }
        Ok(is_held)
    }

    /// Takes no more leases in a session. It ends when nobody renews what was taken.
    fn forget_session(&self, id: Number) {
        self.sessions.borrow_mut().retain(|session| session.id != id);
    }

    async fn keep_alive(&self, id: Number) -> Result<bool, Failure> {
        let body = json!({ "ID": id });
        match self.gateway.ask::<Message<Grant>>(Call::KEEP_ALIVE, &body).await {
            Ok(Message::Result(Grant { ttl, .. })) => Ok(ttl.0 > 0),
            Ok(Message::Error(refusal)) => match self.gateway.explain(&refusal) {
                Failure::NoLease => Ok(false),
                failure => Err(failure),
            },
            Err(Failure::NoLease) => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

/// The number of a lease of etcd's.
fn lease_id(lease: &Lease) -> Number {
    Number(lease.token.parse().unwrap_or_default())
}
