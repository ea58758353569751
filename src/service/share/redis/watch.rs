//! News from Redis: a stream that is read on a connection of its own, as its reader blocks it.

use super::{Change, Missed, News, Redis, Revision, SharePath, milliseconds, script, scripts};
use crate::share::ShareError;
use crate::share::redis::connection::Connection;
use redis::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The number of changes that are read at a time.
const BATCH: usize = 200;

/// Streams with their entries: the number of each, and its fields.
type Streams = Option<Vec<(String, Vec<(String, Vec<Value>)>)>>;

impl Redis {
    /// Watches until it fails or has missed something.
    pub(super) async fn follow(
        &self,
        from: Revision,
        tell: &mut dyn FnMut(News),
    ) -> Result<Missed, ShareError> {
        let mut connection = self.connector.connect().await?;
        let known = self.history.borrow().clone();
        if known.is_some_and(|known| known != connection.history) {
            return Ok(Missed);
        }
        let mut seen = from;
        loop {
            // What was trimmed, or emptied, is told by no entry.
            let last = self.last_on(&mut connection).await?;
            if last < seen {
                return Ok(Missed);
            }
            tell(News { revision: seen, changes: Vec::new() });
            let silence = if last > seen { None } else { Some(self.connector.patience.silence) };
            let entries = self.entries(&mut connection, seen, silence).await?;
            if entries.is_empty() && last > seen {
                return Ok(Missed);
            }
            let Some(news) = self.news(seen, &entries).await? else { return Ok(Missed) };
            seen = news.revision;
            if !news.changes.is_empty() {
                tell(news);
            }
        }
    }

    async fn last_on(&self, connection: &mut Connection) -> Result<Revision, ShareError> {
        let command = script(scripts::LAST, &[&self.key("news")]);
        let last: String = self.connector.ask_on(connection, &command, Duration::ZERO).await?;
        Ok(Revision(last.parse().unwrap_or_default()))
    }

    /// Reads the changes after one, by number and path; waits for some where none is known.
    async fn entries(
        &self,
        connection: &mut Connection,
        after: Revision,
        wait: Option<Duration>,
    ) -> Result<Vec<(Revision, String)>, ShareError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(BATCH);
        if let Some(wait) = wait {
            command.arg("BLOCK").arg(milliseconds(wait));
        }
        command.arg("STREAMS").arg(self.key("news")).arg(format!("{}-0", after.0));
        let streams: Streams =
            self.connector.ask_on(connection, &command, wait.unwrap_or_default()).await?;
        let entries = streams.into_iter().flatten().flat_map(|(_, entries)| entries);
        let read = entries.map(|(id, fields)| {
            let number = id.split('-').next().and_then(|number| number.parse().ok());
            let path = match fields.into_iter().nth(1) {
                Some(Value::BulkString(path)) => String::from_utf8_lossy(&path).into_owned(),
                _ => String::new(),
            };
            (Revision(number.unwrap_or_default()), path)
        });
        Ok(read.collect())
    }

    /// Makes changes of entries, with the records as they are now; `None` where some entries are missing.
    async fn news(
        &self,
        seen: Revision,
        entries: &[(Revision, String)],
    ) -> Result<Option<News>, ShareError> {
        let mut revision = seen;
        // The last change of each record is the only one that can still be read.
        let mut last = BTreeMap::new();
        for (number, path) in entries {
            if number.0 != revision.0 + 1 {
                return Ok(None);
            }
            revision = *number;
            last.insert(path.as_str(), *number);
        }
        if last.is_empty() {
            return Ok(Some(News { revision, changes: Vec::new() }));
        }
        let paths: Vec<&str> = last.keys().copied().collect();
        let records = self.records(&paths).await?;
        let changes = last.into_iter().zip(records).map(|((path, revision), record)| {
            let removed = Change::Removed { path: SharePath::new(path), revision };
            record.map_or(removed, Change::Put)
        });
        let mut changes: Vec<Change> = changes.collect();
        changes.sort_by_key(Change::revision);
        Ok(Some(News { revision, changes }))
    }
}
