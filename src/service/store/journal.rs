//! The journal: the TXT records that exist, or may exist.
//!
//! A record is written here before it is created and leaves after it is removed, so that a process
//! that dies in between cleans up at its next start. Each order has a file of its own, named after
//! its certificate; while the file of an earlier order is still there, `~2`, `~3`, ... is appended,
//! which no certificate's name can contain. What is done about an entry is decided in
//! [`crate::acme`], not in here.

use super::door::Place;
use super::{Store, StoreError, files};
use crate::dns::PlacedRecord;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The records of one order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "EntryFile", into = "EntryFile")]
pub struct JournalEntry {
    /// The records, each with its provider.
    pub records: Vec<JournalRecord>,
}

/// A record of an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalRecord {
    /// The name of its provider in the configuration.
    pub provider: String,
    /// The name of the challenge, where that is an alias of the record's.
    pub challenge: Option<String>,
    /// The record.
    pub placed: PlacedRecord,
}

/// A file of the journal: which order's, and what it holds.
pub type JournalFile = (String, Result<JournalEntry, StoreError>);

/// An entry as it is written. Where one provider has all records it is named once, as in version 0.1,
/// which reads such a file. Otherwise each record names its own: version 0.1 cannot read that and sets
/// the file aside with a warning, rather than look for a record at the wrong provider.
#[derive(Deserialize, Serialize)]
struct EntryFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    records: Vec<RecordLine>,
}

#[derive(Deserialize, Serialize)]
struct RecordLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
    #[serde(flatten)]
    placed: PlacedRecord,
}

/// Gives the name of the certificate that an entry is about.
pub(crate) fn journal_owner(id: &str) -> &str {
    id.split_once('~').map_or(id, |(name, _)| name)
}

impl JournalEntry {
    /// Makes an entry whose records are all at one provider.
    #[must_use]
    pub fn of(provider: &str, records: Vec<PlacedRecord>) -> Self {
        let record =
            |placed| JournalRecord { provider: provider.to_owned(), challenge: None, placed };
        Self { records: records.into_iter().map(record).collect() }
    }
}

impl From<JournalEntry> for EntryFile {
    fn from(entry: JournalEntry) -> Self {
        let first = entry.records.first().map(|record| record.provider.clone());
        let is_only = |first: &String| entry.records.iter().all(|other| other.provider == *first);
        let provider = match &first {
            Some(first) => is_only(first).then(|| first.clone()),
            // No version reads a file without records and provider.
            None => Some(String::new()),
        };
        let own = |name: String| provider.is_none().then_some(name);
        let line = |record: JournalRecord| RecordLine {
            provider: own(record.provider),
            challenge: record.challenge,
            placed: record.placed,
        };
        let records = entry.records.into_iter().map(line).collect();
        Self { provider, records }
    }
}

impl TryFrom<EntryFile> for JournalEntry {
    type Error = &'static str;

    fn try_from(file: EntryFile) -> Result<Self, Self::Error> {
        let EntryFile { provider: of_all, records } = file;
        let record = |line: RecordLine| -> Result<_, Self::Error> {
            let provider = line.provider.or_else(|| of_all.clone());
            let provider = provider.ok_or("a record has no provider")?;
            Ok(JournalRecord { provider, challenge: line.challenge, placed: line.placed })
        };
        Ok(Self { records: records.into_iter().map(record).collect::<Result<_, _>>()? })
    }
}

impl Store {
    /// Keeps the records of an order.
    ///
    /// # Errors
    /// The file cannot be written; what was there is still there.
    pub fn journal_write(&self, id: &str, entry: &JournalEntry) -> Result<(), StoreError> {
        let path = self.journal_path(id);
        let json = serde_json::to_vec(entry).map_err(|e| path.invalid(e.to_string()))?;
        files::replace(&path, &json)
    }

    /// Forgets the records of an order.
    ///
    /// # Errors
    /// The file is there and cannot be removed.
    pub fn journal_remove(&self, id: &str) -> Result<(), StoreError> {
        files::remove(&self.journal_path(id))
    }

    /// Lists all entries; a file that cannot be read stands with its error.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn journal_all(&self) -> Result<Vec<JournalFile>, StoreError> {
        let names = files::list(&self.journal())?;
        let ids = names.iter().filter_map(|name| name.strip_suffix(".json"));
        Ok(ids.filter_map(|id| Some((id.to_owned(), self.journal_read(id).transpose()?))).collect())
    }

    /// Lists the entries of a certificate that can be read.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn journal_of(&self, name: &str) -> Result<Vec<(String, JournalEntry)>, StoreError> {
        let all = self.journal_all()?.into_iter().filter(|(id, _)| journal_owner(id) == name);
        Ok(all.filter_map(|(id, entry)| Some((id, entry.ok()?))).collect())
    }

    /// Keeps records of an order of another host, unless they are there.
    ///
    /// # Errors
    /// The directory cannot be read, or the file cannot be written.
    pub fn journal_add(&self, name: &str, entry: &JournalEntry) -> Result<(), StoreError> {
        let known = self.journal_of(name)?;
        let values = |entry: &JournalEntry| -> Vec<_> {
            entry.records.iter().map(|record| record.placed.record.clone()).collect()
        };
        if known.iter().any(|(_, other)| values(other) == values(entry)) {
            return Ok(());
        }
        let ids = (1_u64..).map(|n| if n == 1 { name.to_owned() } else { format!("{name}~{n}") });
        let free = ids.into_iter().find(|id| !self.journal_has(id));
        self.journal_write(&free.unwrap_or_default(), entry)
    }

    /// Sets a file aside, for a person to look at.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn journal_set_aside(&self, id: &str) -> Result<PathBuf, StoreError> {
        Ok(files::set_aside(&self.journal_path(id), id)?.path())
    }

    /// Tells whether there may be a file of this order.
    #[must_use]
    pub fn journal_has(&self, id: &str) -> bool {
        self.journal_path(id).stat().map_or(true, |stat| stat.is_some())
    }

    fn journal_read(&self, id: &str) -> Result<Option<JournalEntry>, StoreError> {
        self.journal_path(id).read_json()
    }

    fn journal_path(&self, id: &str) -> Place {
        self.journal().join(format!("{id}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::{JournalEntry, JournalRecord};
    use crate::dns::{PlacedRecord, TxtRecord, Zone};
    use crate::store::Store;
    use std::fs;

    /// A file as version 0.1 wrote it.
    const OF_ONE_PROVIDER: &str = concat!(
        r#"{"provider":"p","records":["#,
        r#"{"record":{"name":"_acme-challenge.a.example","value":"v"},"#,
        r#""zone":{"id":"z","name":"a.example"},"id":"1"},"#,
        r#"{"record":{"name":"_acme-challenge.a.example","value":"w"},"#,
        r#""zone":{"id":"z","name":"a.example"},"id":null}]}"#
    );

    /// The reader of version 0.1.
    #[derive(serde::Deserialize)]
    struct OldEntry {
        provider: String,
        records: Vec<PlacedRecord>,
    }

    fn placed(value: &str, id: Option<&str>) -> PlacedRecord {
        let record = TxtRecord { name: "_acme-challenge.a.example".into(), value: value.into() };
        let zone = Zone { id: "z".into(), name: "a.example".into() };
        PlacedRecord { record, zone, id: id.map(Into::into) }
    }

    fn entry(id: Option<&str>) -> JournalEntry {
        JournalEntry::of("p", vec![placed("v", id)])
    }

    #[test]
    fn the_file_of_the_version_before_is_read_and_written_where_there_is_one_provider() {
        let expected = JournalEntry::of("p", vec![placed("v", Some("1")), placed("w", None)]);
        assert_eq!(serde_json::from_str::<JournalEntry>(OF_ONE_PROVIDER).unwrap(), expected);
        assert_eq!(serde_json::to_string(&expected).unwrap(), OF_ONE_PROVIDER);
        let old: OldEntry = serde_json::from_str(OF_ONE_PROVIDER).unwrap();
        assert_eq!((old.provider.as_str(), old.records.len()), ("p", 2));
    }

    #[test]
    fn each_record_has_a_provider() {
        let record = |provider: &str, value| JournalRecord {
            provider: provider.into(),
            challenge: None,
            placed: placed(value, None),
        };
        let entry = JournalEntry { records: vec![record("p", "v"), record("q", "w")] };
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<JournalEntry>(&json).unwrap(), entry, "{json}");
        // The version before must not look for the second at the first one's provider.
        assert!(serde_json::from_str::<OldEntry>(&json).is_err(), "{json}");
        let without = OF_ONE_PROVIDER.replace("\"provider\":\"p\",", "");
        assert!(serde_json::from_str::<JournalEntry>(&without).is_err());
    }

    #[test]
    fn entries_are_kept_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.journal_write("b", &entry(None)).unwrap();
        store.journal_write("a", &entry(None)).unwrap();
        store.journal_write("a", &entry(Some("1"))).unwrap();
        let all: Vec<_> = store.journal_all().unwrap();
        let all: Vec<_> = all.into_iter().map(|(id, entry)| (id, entry.unwrap())).collect();
        assert_eq!(all, [("a".into(), entry(Some("1"))), ("b".into(), entry(None))]);
        store.journal_remove("a").unwrap();
        store.journal_remove("a").unwrap();
        assert!(!store.journal_has("a") && store.journal_has("b"));
    }

    #[test]
    fn garbage_stands_with_its_error_and_can_be_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::write(dir.path().join("journal/a.json"), "{\"provider\":\"p\",\"records\":[{").unwrap();
        let all = store.journal_all().unwrap();
        let [(id, Err(error))] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(id, "a");
        assert!(error.to_string().contains("cannot be used"), "{error}");
        for expected in ["journal/a.invalid", "journal/a~2.invalid", "journal/a~3.invalid"] {
            assert!(store.journal_set_aside("a").unwrap().ends_with(expected), "{expected}");
            assert!(dir.path().join(expected).exists(), "{expected}");
            assert!(store.journal_all().unwrap().is_empty());
            fs::write(dir.path().join("journal/a.json"), "more garbage").unwrap();
        }
    }
}
