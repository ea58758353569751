//! The engine that hosts share certificates on: whether it answers, lets this host in, and lets it read, write and take
//! leases; whether the records there can be read. That workers cannot read its keys is looked at by `nginx -t` itself.

use super::Doctor;
use crate::random::random_hex;
use crate::share::{
    Change, Engine, Expected, Patience, Refusal, SetupError, ShareError, SharePath, Written, open,
};
use acme_dns_core::config::{Config, SecretId};
use acme_dns_core::findings::{Finding, Row, rows};
use secrecy::SecretString;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest look at an engine.
const LIMIT: Duration = Duration::from_secs(20);

/// Time after which the lease of a test ends by itself.
const LEASE: Duration = Duration::from_secs(15);

/// An engine, or the reason why there is no client for it.
pub(super) type Opened = Result<Box<dyn Engine>, SetupError>;

/// Makes the client of the engine of a configuration; nobody is contacted yet.
pub(super) fn client(config: &Config, secret: impl Fn(SecretId) -> SecretString) -> Option<Opened> {
    let opened = open(config.share.as_ref()?, secret, Patience::default());
    Some(opened.map(|engine| Box::new(engine) as Box<dyn Engine>))
}

impl Doctor {
    /// Looks at the engine, if the configuration has one.
    pub(super) async fn check_share(&self, writes: bool) -> Vec<Finding> {
        let (Some(share), Some(engine)) = (&self.config.share, &self.engine) else {
            return Vec::new();
        };
        let findings = match engine {
            Ok(engine) => timeout(LIMIT, look(&**engine, writes)).await.unwrap_or_else(|_| {
                let words = format!("no answer within {} s", LIMIT.as_secs());
                vec![rows::E01.finding(&[("words", &words)])]
            }),
            Err(error) => vec![rows::E03_OWN.finding(&[("words", &error.to_string())])],
        };
        let subject = format!("share {}", share.kind.name());
        findings.into_iter().map(|finding| finding.about(&subject)).collect()
    }
}

/// Reads all records, and writes and removes one under a lease.
async fn look(engine: &dyn Engine, writes: bool) -> Vec<Finding> {
    let begun = Instant::now();
    let changes = match engine.load().await {
        Ok(news) => news.changes,
        Err(error) => return vec![judge(error)],
    };
    let took = begun.elapsed().as_secs_f64();
    let mut findings = judge_records(&changes);
    let mut good = format!("answered in {took:.2} s; {} records can be read", readable(&changes));
    if writes {
        match write(engine).await {
            Ok(()) => good += "; one was written, read and removed under a lease",
            Err(finding) => findings.push(finding),
        }
    }
    findings.insert(0, Finding::good("", &good));
    findings
}

fn readable(changes: &[Change]) -> usize {
    changes.iter().filter(|change| matches!(change, Change::Put(_))).count()
}

/// Says what cannot be read, and why.
fn judge_records(changes: &[Change]) -> Vec<Finding> {
    let refused: Vec<&Refusal> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Refused { why, .. } => Some(why),
            Change::Put(_) | Change::Removed { .. } => None,
        })
        .collect();
    let total = changes.len().to_string();
    let mut findings = Vec::new();
    let mut add = |row: Row, is_it: fn(&Refusal) -> bool, key: &str| {
        let count = refused.iter().filter(|why| is_it(why)).count();
        if count > 0 {
            let count = count.to_string();
            let values = [("count", count.as_str()), ("total", &total), ("key", key)];
            findings.push(row.finding(&values));
        }
    };
    let key = refused.iter().find_map(|why| match why {
        Refusal::UnknownKey { key } => Some(key.as_str()),
        Refusal::Newer { .. } | Refusal::Forged => None,
    });
    let key = key.unwrap_or_default();
    add(rows::E06, |why| matches!(why, Refusal::UnknownKey { .. }), key);
    add(rows::E07, |why| matches!(why, Refusal::Forged), key);
    add(rows::E08, |why| matches!(why, Refusal::Newer { .. }), key);
    findings
}

/// Writes a record that no host looks at, reads it, and removes it.
async fn write(engine: &dyn Engine) -> Result<(), Finding> {
    // Of two doctors each has its own.
    let name = format!("check {}", random_hex::<8>().unwrap_or_default());
    let path = SharePath::new(&format!("checks/{name}"));
    let strange = |words: &str| rows::E05_LOST.finding(&[("words", words)]);
    let lease = engine.lease(&name, LEASE).await.map_err(judge)?;
    let lease = lease.ok_or_else(|| strange("a lease that nobody has was not given"))?;
    let written = async {
        let content = name.as_bytes();
        let put = engine.put(&path, content, Expected::Absent, Some(&lease)).await;
        let Written::Done(revision) = put.map_err(judge)? else {
            return Err(strange("a record was not written where there is none"));
        };
        let read = engine.get(&path).await;
        let removed = engine.remove(&path, revision, Some(&lease)).await.map_err(judge)?;
        let is_same =
            |found: &Change| matches!(found, Change::Put(shared) if shared.content[..] == *content);
        match (read.map_err(judge)?.is_some_and(|found| is_same(&found)), removed) {
            (true, Written::Done(_)) => Ok(()),
            (false, _) => Err(strange("a record is not there as it was written")),
            (true, _) => Err(strange("a record was not removed under its lease")),
        }
    };
    let written = written.await;
    // It ends by itself otherwise.
    let _released = engine.release(&lease).await;
    written
}

/// Says what an error means.
fn judge(error: ShareError) -> Finding {
    match error {
        ShareError::Away { .. } | ShareError::Timeout { .. } | ShareError::Encryption { .. } => {
            rows::E01.finding(&[("words", &error.to_string())])
        }
        ShareError::Refused { endpoint, detail, advice } => {
            rows::E02.finding(&[("endpoint", &endpoint), ("words", &detail), ("remedy", advice)])
        }
        ShareError::Untrusted { endpoint, detail } => {
            rows::E03.finding(&[("endpoint", &endpoint), ("words", &detail)])
        }
        ShareError::Foreign { endpoint, detail, advice } => {
            rows::E04.finding(&[("endpoint", &endpoint), ("words", &detail), ("remedy", advice)])
        }
        ShareError::Full { endpoint, detail, advice } => {
            rows::E05.finding(&[("endpoint", &endpoint), ("words", &detail), ("remedy", advice)])
        }
    }
}
