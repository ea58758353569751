//! Redis, or what speaks its protocol, such as Valkey: a single server, or one that Sentinels watch.
//!
//! Records are fields of the hash `PREFIX/records`, each with the number of its change before the content; news are the
//! stream `PREFIX/news`; a lease is the key `PREFIX/leases/NAME` with a random token. A change compares all that it depends
//! on in one script, so that it is one step and fenced.
//!
//! Replicas follow later than the master answers. Where one takes its place, the last changes may be lost, a lease among
//! them: two hosts may hold it then, and what one of them wrote may be gone. That costs an order, and no certificate, as each
//! host has on its disk what it serves. A failover begins another history, which a watch notices.

mod connection;
mod scripts;
mod watch;

use super::{
    Change, Engine, Expected, LEASES, Lease, Missed, News, Patience, Revision, SetupError,
    ShareError, SharePath, Shared, Written,
};
use crate::http::Identity;
use crate::random::random_hex;
use acme_dns_core::config::Share;
use async_trait::async_trait;
use connection::{Connection, Connector};
use redis::{Cmd, FromRedisValue};
use secrecy::SecretString;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// The number of records that are asked for at a time.
const PAGE: usize = 200;

/// The number of changes that are kept for those who were away.
const NEWS: usize = 10_000;

/// Redis.
pub struct Redis {
    connector: Connector,
    prefix: String,
    connection: RefCell<Option<Connection>>,
    /// The history that was loaded.
    history: RefCell<Option<String>>,
}

impl Redis {
    /// Makes a client of the engine of a configuration; `passwords` are those of Redis and of its Sentinels. Nobody is
    /// contacted.
    ///
    /// # Errors
    /// A certificate or key cannot be used.
    pub fn new(
        share: &Share,
        passwords: [Option<SecretString>; 2],
        identity: Option<Identity<'_>>,
        patience: Patience,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            connector: Connector::new(share, passwords, identity, patience)?,
            prefix: share.prefix.clone(),
            connection: RefCell::new(None),
            history: RefCell::new(None),
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    fn lease_key(&self, name: &str) -> String {
        format!("{}/leases/{name}", self.prefix)
    }

    /// Gives the connection that there is, or a new one.
    async fn connection(&self) -> Result<Connection, ShareError> {
        let known = self.connection.borrow().clone();
        match known {
            Some(connection) => Ok(connection),
            None => {
                let connection = self.connector.connect().await?;
                self.connection.replace(Some(connection.clone()));
                Ok(connection)
            }
        }
    }

    /// Asks. After an error the next one connects anew: another server may be the master.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ShareError> {
        let mut connection = self.connection().await?;
        let asked = self.connector.ask_on(&mut connection, command, Duration::ZERO).await;
        if asked.is_err() {
            self.connection.replace(None);
        }
        asked
    }

    /// Asks for something that does no harm when it is done twice: the connection may have been dead for long.
    async fn ask_again<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ShareError> {
        match self.ask(command).await {
            Err(ShareError::Away { .. }) => self.ask(command).await,
            asked => asked,
        }
    }

    async fn write(
        &self,
        path: &SharePath,
        expected: Expected,
        lease: Option<&Lease>,
        content: Option<&[u8]>,
    ) -> Result<Written, ShareError> {
        let expected = match expected {
            Expected::Absent => String::new(),
            Expected::At(Revision(revision)) => revision.to_string(),
        };
        let lease_key = lease.map(|lease| self.lease_key(&lease.name)).unwrap_or_default();
        let mut command =
            script(scripts::WRITE, &[&self.key("records"), &self.key("news"), &lease_key]);
        command.arg(path.as_str()).arg(expected);
        command.arg(if content.is_some() { "put" } else { "remove" });
        command.arg(content.unwrap_or_default());
        command.arg(lease.map(|lease| lease.token.as_str()).unwrap_or_default()).arg(NEWS);
        let done: String = self.ask(&command).await?;
        Ok(match done.parse() {
            Ok(revision) => Written::Done(Revision(revision)),
            Err(_) if done == "fenced" => Written::Fenced,
            Err(_) => Written::Lost,
        })
    }

    /// Gives the number of the last change.
    async fn last(&self) -> Result<Revision, ShareError> {
        let last: String = self.ask_again(&script(scripts::LAST, &[&self.key("news")])).await?;
        Ok(Revision(last.parse().unwrap_or_default()))
    }

    /// Reads records of these paths, as they are now.
    async fn records(&self, paths: &[&str]) -> Result<Vec<Option<Shared>>, ShareError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.key("records")).arg(paths);
        let values: Vec<Option<Vec<u8>>> = self.ask_again(&command).await?;
        let read = paths.iter().zip(values);
        Ok(read.map(|(path, value)| Some(record(SharePath::new(path), value?))).collect())
    }
}

/// Makes the command that runs a script.
fn script(text: &str, keys: &[&str]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(keys.len()).arg(keys);
    command
}

/// Reads the value of a record: its number, a space, and the content. What somebody else has put there has no number, and
/// is not opened either.
fn record(path: SharePath, value: Vec<u8>) -> Shared {
    let space = value.iter().position(|byte| *byte == b' ');
    let (number, content) = value.split_at(space.unwrap_or_default());
    let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
    let content = Zeroizing::new(content.get(1..).unwrap_or_default().to_vec());
    Shared { path, revision: Revision(number.unwrap_or_default()), content }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait(?Send)]
impl Engine for Redis {
    /// Loads all records. What changes meanwhile is told by a watch from the revision that is given.
    async fn load(&self) -> Result<News, ShareError> {
        let history = self.connection().await?.history;
        let revision = self.last().await?;
        let (mut cursor, mut found) = (0_u64, BTreeMap::new());
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(self.key("records")).arg(cursor).arg("COUNT").arg(PAGE);
            let (next, page): (u64, Vec<(Vec<u8>, Vec<u8>)>) = self.ask_again(&command).await?;
            // A record may come twice.
            found.extend(page.into_iter().map(|(path, value)| {
                let path = SharePath::new(&String::from_utf8_lossy(&path));
                (path.clone(), record(path, value))
            }));
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        self.history.replace(Some(history));
        Ok(News { revision, changes: found.into_values().map(Change::Put).collect() })
    }

    async fn get(&self, path: &SharePath) -> Result<Option<Change>, ShareError> {
        let record = self.records(&[path.as_str()]).await?.into_iter().next().flatten();
        Ok(record.map(Change::Put))
    }

    async fn put(
        &self,
        path: &SharePath,
        content: &[u8],
        expected: Expected,
        lease: Option<&Lease>,
    ) -> Result<Written, ShareError> {
        self.write(path, expected, lease, Some(content)).await
    }

    async fn remove(
        &self,
        path: &SharePath,
        expected: Revision,
        lease: Option<&Lease>,
    ) -> Result<Written, ShareError> {
        self.write(path, Expected::At(expected), lease, None).await
    }

    async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, ShareError> {
        let token = random_hex::<16>().ok_or_else(|| ShareError::Encryption {
            detail: "there is no randomness for the token of a lease".to_owned(),
        })?;
        let mut command = script(scripts::TAKE, &[&self.lease_key(name), &self.key("fence")]);
        let fence: u64 = self.ask(command.arg(&token).arg(milliseconds(ttl))).await?;
        Ok((fence > 0).then(|| Lease { name: name.to_owned(), fence, token, ttl }))
    }

    async fn renew(&self, lease: &Lease) -> Result<bool, ShareError> {
        let mut command = script(scripts::RENEW, &[&self.lease_key(&lease.name)]);
        let held: u64 =
            self.ask_again(command.arg(&lease.token).arg(milliseconds(lease.ttl))).await?;
        Ok(held > 0)
    }

    async fn release(&self, lease: &Lease) -> Result<(), ShareError> {
        let keys = [&self.lease_key(&lease.name)[..], &self.key("news")];
        let mut command = script(scripts::RELEASE, &keys);
        // Entries are of records, and nothing is where this one points to: it is read as a removal.
        let path = format!("{LEASES}{}", lease.name);
        let command = command.arg(&lease.token).arg(path).arg(NEWS);
        self.ask_again::<u64>(command).await.map(|_| ())
    }

    async fn watch(
        &self,
        from: Revision,
        tell: &mut dyn FnMut(News),
    ) -> Result<Missed, ShareError> {
        self.follow(from, tell).await
    }
}
