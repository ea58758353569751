//! News from etcd: a watch, which is an answer that does not end.
//!
//! A watch that says nothing for a while is begun anew, from the last change that came: nothing tells a silent one from one
//! whose member is dead or cut off, and the next may be at another member.

use super::gateway::{Call, Failure, MAX_ANSWER};
use super::wire::{EventKind, Message, Refusal, WatchEvent, Watched, base64};
use super::{Change, Etcd, Missed, News, Revision};
use crate::http::HttpError;
use reqwest::Response;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

/// Messages of a watch, one a line.
struct Lines {
    response: Response,
    /// The rest that has come and was not read.
    rest: Vec<u8>,
    silence: Duration,
}

/// End of lines.
enum Ended {
    /// Nothing has come for a while.
    Silent,
    /// The connection broke.
    Broken(HttpError),
    /// The member has ended it.
    Closed,
}

/// End of a watch.
enum Stopped {
    /// It is to be begun anew.
    Silent,
    Missed,
}

impl Lines {
    async fn next(&mut self) -> Result<Vec<u8>, Ended> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.rest, rest));
            }
            let chunk = timeout(self.silence, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| Ended::Silent)?;
            let chunk = chunk.map_err(|error| Ended::Broken(HttpError::Transport(error)))?;
            let chunk = chunk.ok_or(Ended::Closed)?;
            if self.rest.len() + chunk.len() > MAX_ANSWER {
                return Err(Ended::Broken(HttpError::TooLong(MAX_ANSWER)));
            }
            self.rest.extend_from_slice(&chunk);
        }
    }
}

impl Etcd {
    /// Watches until it fails or has missed something.
    pub(super) async fn follow(
        &self,
        from: Revision,
        tell: &mut dyn FnMut(News),
    ) -> Result<Missed, Failure> {
        let mut seen = from;
        let mut has_new_token = false;
        loop {
            let before = seen;
            match self.follow_once(&mut seen, tell).await {
                Ok(Stopped::Silent) => has_new_token = false,
                Ok(Stopped::Missed) => return Ok(Missed),
                // A watch is refused in its first message, not by a status.
                Err(Failure::Token) if !has_new_token || seen > before => {
                    self.gateway.forget_token();
                    has_new_token = true;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn follow_once(
        &self,
        seen: &mut Revision,
        tell: &mut dyn FnMut(News),
    ) -> Result<Stopped, Failure> {
        let body = json!({ "create_request": {
            "key": base64(self.leases()),
            "range_end": base64(self.end()),
            "start_revision": super::Number(seen.0 + 1),
            "progress_notify": true,
            "fragment": true,
        }});
        let response = self.gateway.open(Call::WATCH, &body).await?;
        let silence = self.gateway.silence();
        let mut lines = Lines { response, rest: Vec::new(), silence };
        // Those of a message that comes in pieces.
        let mut changes = Vec::new();
        loop {
            let line = match lines.next().await {
                Ok(line) => line,
                Err(Ended::Silent) => return Ok(Stopped::Silent),
                Err(Ended::Broken(error)) => return Err(self.gateway.broken(&error, true)),
                Err(Ended::Closed) => return Err(self.gateway.left()),
            };
            let watched = match self.gateway.parse::<Message<Watched>>(&line)? {
                Message::Result(watched) => watched,
                Message::Error(refusal) => return Err(self.gateway.explain(&refusal)),
            };
            if watched.canceled {
                return self.cancelled(&watched);
            }
            if watched.created && Revision(watched.header.revision.0) < *seen {
                // The member may be behind, or etcd was restored from a backup, or emptied.
                if self.revision().await? < *seen {
                    return Ok(Stopped::Missed);
                }
            }
            let is_whole = !watched.fragment;
            let is_progress = watched.events.is_empty() && !watched.created;
            if is_progress && changes.is_empty() {
                *seen = (*seen).max(Revision(watched.header.revision.0));
            }
            changes.extend(watched.events.into_iter().filter_map(|event| self.change(event)));
            if is_whole {
                *seen = changes.iter().map(Change::revision).fold(*seen, Revision::max);
                tell(News { revision: *seen, changes: std::mem::take(&mut changes) });
            }
        }
    }

    /// Makes a change of an event; `None`: nobody is told of that.
    fn change(&self, WatchEvent { kind, kv }: WatchEvent) -> Option<Change> {
        let revision = Revision(kv.mod_revision.0);
        let key = &kv.key.0;
        match kind {
            _ if key.starts_with(self.leases().as_bytes()) => {
                let name = String::from_utf8_lossy(&key[self.leases().len()..]);
                (kind == EventKind::Delete).then(|| Change::lease_ended(&name, revision))
            }
            // Others may have keys between those of leases and records.
            _ if !key.starts_with(self.records().as_bytes()) => None,
            EventKind::Put => Some(self.put_change(kv)),
            EventKind::Delete => Some(Change::Removed { path: self.path(key), revision }),
        }
    }

    /// Says what it means that etcd has ended a watch.
    fn cancelled(&self, watched: &Watched) -> Result<Stopped, Failure> {
        if watched.compact_revision.0 > 0 {
            return Ok(Stopped::Missed);
        }
        // The reason is a text alone, with the code of gRPC by its name.
        let refusal = Refusal { code: 0, message: watched.cancel_reason.clone() };
        match self.gateway.explain(&refusal) {
            Failure::Compacted => Ok(Stopped::Missed),
            failure => Err(failure),
        }
    }
}
