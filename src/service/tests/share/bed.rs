//! Servers of both types, and hosts that share records on them.

use acme_dns_core::config::share::ShareReader;
use acme_dns_core::config::{Resources, SecretCheck, SecretId, SecretSource, Share};
use acme_dns_service::share::sealed::Sealed;
use acme_dns_service::share::{
    Change, Engine, Missed, News, Patience, Revision, ShareError, SharePath, Shared, Written, open,
};
use secrecy::SecretString;
use servers::etcd::{Etcd, EtcdOptions};
use servers::redis::Redis;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};
use tokio::time::timeout;

/// Keys of records, as `openssl rand -hex 32` makes them.
pub(crate) const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";
pub(crate) const NEW_KEY: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// Time of a lease that is to end soon.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// Time of a lease that outlives a test.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Longest time that a test waits for something.
const LIMIT: Duration = Duration::from_secs(60);

/// A directive of a block.
pub(crate) type Line<'a> = &'a [&'a str];

/// A server with its directory.
pub(crate) struct Bed {
    pub(crate) server: Server,
    dir: TempDir,
}

pub(crate) enum Server {
    Etcd(Etcd),
    Redis(Redis),
}

impl Bed {
    /// Starts a server of each type.
    pub(crate) fn all() -> [Self; 2] {
        [Self::etcd(EtcdOptions::default()), Self::redis("")]
    }

    pub(crate) fn etcd(options: EtcdOptions<'_>) -> Self {
        Self::make(|dir| Server::Etcd(Etcd::start(dir, options)))
    }

    pub(crate) fn redis(lines: &str) -> Self {
        Self::make(|dir| Server::Redis(Redis::start(dir, lines)))
    }

    pub(crate) fn make(start: impl FnOnce(&Path) -> Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { server: start(dir.path()), dir }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.server {
            Server::Etcd(_) => "etcd",
            Server::Redis(_) => "redis",
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        match &self.server {
            Server::Etcd(etcd) => etcd.endpoints(),
            Server::Redis(redis) => vec![redis.endpoint()],
        }
    }

    /// Makes a host that shares on this server.
    pub(crate) fn host(&self) -> Rc<Sealed> {
        self.host_with(&[&["encryption_key_file", KEY]])
    }

    /// Makes a host with these directives besides the endpoint.
    pub(crate) fn host_with(&self, lines: &[Line<'_>]) -> Rc<Sealed> {
        let endpoints = self.endpoints();
        let endpoint: Vec<&str> =
            ["endpoint"].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
        host(self.name(), &[&[endpoint.as_slice()], lines].concat())
    }

    pub(crate) fn pause(&mut self) {
        match &mut self.server {
            Server::Etcd(etcd) => etcd.pause(0),
            Server::Redis(redis) => redis.pause(),
        }
    }

    pub(crate) fn stop(&mut self) {
        match &mut self.server {
            Server::Etcd(etcd) => etcd.stop(0),
            Server::Redis(redis) => redis.stop(),
        }
    }

    pub(crate) fn start_again(&mut self) {
        match &mut self.server {
            Server::Etcd(etcd) => etcd.start_again(0),
            Server::Redis(redis) => redis.start_again(),
        }
    }

    /// Has the server forget all changes but the records as they are.
    pub(crate) fn forget_history(&mut self, until: Revision) {
        match &mut self.server {
            Server::Etcd(etcd) => drop(etcd.control(&["compaction", &until.0.to_string()])),
            Server::Redis(redis) => {
                let _ = redis.control(&["XTRIM", "acme_dns/news", "MAXLEN", "1"]);
            }
        }
    }

    /// Puts bytes in the place of a record, as somebody does who can write to the server.
    pub(crate) fn forge(&mut self, path: &str, content: &str) {
        match &mut self.server {
            Server::Etcd(etcd) => {
                etcd.control(&["put", &format!("acme_dns/records/{path}"), content]);
            }
            Server::Redis(redis) => {
                let value = format!("7 {content}");
                let _ = redis.control(&["HSET", "acme_dns/records", path, &value]);
            }
        }
    }

    /// Gives all bytes that the server has.
    pub(crate) fn dump(&mut self) -> String {
        match &mut self.server {
            Server::Etcd(etcd) => etcd.control(&["get", "", "--prefix", "--hex"]),
            Server::Redis(redis) => redis.control(&["HGETALL", "acme_dns/records"]),
        }
    }
}

/// Makes a host by the directives of its block. What is to be the name of a file is its content here.
pub(crate) fn host(kind: &str, lines: &[Line<'_>]) -> Rc<Sealed> {
    let (share, secrets) = block(kind, lines);
    let patience =
        Patience { request: Duration::from_secs(3), silence: Duration::from_millis(1500) };
    Rc::new(open(&share, |id| secrets[id.0].clone(), patience).unwrap())
}

pub(crate) fn block(kind: &str, lines: &[Line<'_>]) -> (Share, Vec<SecretString>) {
    let (mut reader, mut files) = (ShareReader::new(kind).unwrap(), Files::default());
    for line in lines {
        reader.set(line[0], &line[1..], &mut files).unwrap();
    }
    (reader.finish().unwrap(), files.0)
}

#[derive(Default)]
struct Files(Vec<SecretString>);

impl Resources for Files {
    fn warn(&mut self, _: &str) {}

    fn secret(&mut self, source: &SecretSource, check: SecretCheck) -> Result<SecretId, String> {
        let (SecretSource::File(text) | SecretSource::Environment(text)) = source;
        check(text.trim().as_bytes())?;
        self.0.push(SecretString::from(text.trim()));
        Ok(SecretId(self.0.len() - 1))
    }

    fn mac_key(&mut self, _: &SecretSource) -> Result<SecretId, String> {
        Err("there is no such key here".to_owned())
    }

    fn private_key(&mut self, _: &str) -> Result<SecretId, String> {
        Err("there is no such key here".to_owned())
    }

    fn certificates(&mut self, path: &str) -> Result<Vec<u8>, String> {
        Ok(path.into())
    }
}

/// The servers have a runtime of their own and wait for it, so that a test is not itself asynchronous.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

pub(crate) fn path(text: &str) -> SharePath {
    SharePath::new(text)
}

/// The revision of a change that was done.
pub(crate) fn done(written: Result<Written, ShareError>) -> Revision {
    match written {
        Ok(Written::Done(revision)) => revision,
        other => panic!("{other:?}"),
    }
}

/// Changes without their revisions, for comparisons: a path and a content, or none.
pub(crate) fn shown(changes: &[Change]) -> Vec<(String, String)> {
    let shown = changes.iter().map(|change| match change {
        Change::Put(Shared { path, content, .. }) => {
            (path.to_string(), String::from_utf8_lossy(content).into_owned())
        }
        Change::Removed { path, .. } => (path.to_string(), "removed".to_owned()),
        Change::Refused { path, why, .. } => (path.to_string(), format!("{why:?}")),
    });
    shown.collect()
}

/// A host that watches, goes on after errors, and loads anew what it has missed.
pub(crate) struct Watcher {
    /// All that was told, and how often it was loaded.
    told: watch::Receiver<(Vec<Change>, usize)>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Begins to watch after a revision.
    pub(crate) fn new(host: Rc<Sealed>, from: Revision) -> Self {
        let (tell, told) = watch::channel((Vec::new(), 0));
        let task = spawn_local(async move {
            let seen = Cell::new(from);
            loop {
                let mut hear = |news: News| {
                    seen.set(news.revision);
                    tell.send_modify(|(changes, _)| changes.extend(news.changes));
                };
                match host.watch(seen.get(), &mut hear).await {
                    Ok(Missed) => {
                        let Ok(news) = host.load().await else { continue };
                        seen.set(news.revision);
                        tell.send_modify(|(changes, loads)| {
                            changes.extend(news.changes);
                            *loads += 1;
                        });
                    }
                    // The server is away; the next attempt takes some time by itself, or is refused at once.
                    Err(_) => yield_now().await,
                }
            }
        });
        Self { told, task }
    }

    /// Waits until so much was told.
    pub(crate) async fn until(&mut self, is_enough: impl Fn(&[Change]) -> bool) -> Vec<Change> {
        let told = in_time(self.told.wait_for(|(changes, _)| is_enough(changes))).await;
        told.unwrap().0.clone()
    }

    /// Waits until a record has a content.
    pub(crate) async fn until_put(&mut self, path: &str, content: &str) {
        let expected = (path.to_owned(), content.to_owned());
        self.until(|changes| shown(changes).contains(&expected)).await;
    }

    /// Waits until it has loaded all anew.
    pub(crate) async fn until_loaded(&mut self) {
        in_time(self.told.wait_for(|(_, loads)| *loads > 0)).await.unwrap();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for what must come.
pub(crate) async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    timeout(LIMIT, waiting).await.expect("it has not come")
}

/// Asks until there is something, while nothing but time can bring it.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            match ask().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    in_time(asking).await
}
