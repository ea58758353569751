//! Forms of what hosts share: JSON, with a version in each.
//!
//! They hold the store's own types, since what is shared becomes files of other hosts. What another version has added is
//! passed over; a form that this version does not know is left alone.

use crate::share::{Change, Expected, Refusal, Shared};
use crate::store::{Account, IssuedPem, JournalEntry, PendingOrder};
use acme_dns_core::schedule::{Progress, Renewal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use zeroize::Zeroizing;

/// Version of the forms.
const FORM: u32 = 1;

/// A certificate with its key.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct CertificateRecord {
    /// The host that has obtained or offered it.
    pub(super) host: String,
    /// Its names, sorted.
    pub(super) names: Vec<String>,
    pub(super) issued: IssuedPem,
    pub(super) renewal: Renewal,
}

/// Attempts to obtain a certificate, as far as another host could go on with them.
#[derive(Clone, Default, Deserialize, Serialize)]
pub(super) struct AttemptRecord {
    /// The host that has made the last one.
    pub(super) host: String,
    pub(super) order: Option<PendingOrder>,
    pub(super) journal: Vec<JournalEntry>,
    /// State of the failures, if the last one has failed.
    pub(super) progress: Option<Progress>,
}

impl AttemptRecord {
    /// Tells whether nothing is left to do for another host.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_none() && self.journal.is_empty() && self.progress.is_none()
    }
}

/// An account at a CA, with its key.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct AccountRecord {
    pub(super) account: Account,
}

/// A host that is alive.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct HostRecord {
    pub(super) host: String,
}

/// Record in the form in which it is shared.
#[derive(Deserialize, Serialize)]
struct Envelope<T> {
    form: u32,
    record: T,
}

/// Reason why a record cannot be read.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Unreadable {
    /// A newer version has written it.
    Newer(u32),
    /// It is something else. The text says what, without any of it.
    Foreign(String),
}

/// Writes a record, in memory that is wiped.
pub(super) fn encode<T: Serialize>(record: &T) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let envelope = Envelope { form: FORM, record };
    let mut length = Length(0);
    serde_json::to_writer(&mut length, &envelope)?;
    // Allocated once: a growing vector would leave copies of the key behind.
    let mut json = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *json, &envelope)?;
    Ok(json)
}

/// Reads a record.
pub(super) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, Unreadable> {
    #[derive(Deserialize)]
    struct Form {
        form: u32,
    }
    // Serde's words may quote a value.
    let foreign = |error: serde_json::Error| {
        Unreadable::Foreign(format!("it is not what a host writes (column {})", error.column()))
    };
    let Form { form } = serde_json::from_slice(json).map_err(foreign)?;
    if form > FORM {
        return Err(Unreadable::Newer(form));
    }
    serde_json::from_slice(json).map(|envelope: Envelope<T>| envelope.record).map_err(foreign)
}

/// Writer that counts.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a record of attempts, with the state that the next one replaces.
pub(super) fn read_attempts(found: Option<&Change>) -> (Option<Expected>, Option<AttemptRecord>) {
    match found {
        None | Some(Change::Removed { .. }) => (Some(Expected::Absent), None),
        Some(Change::Put(Shared { revision, content, .. })) => {
            match decode::<AttemptRecord>(content) {
                Ok(record) => (Some(Expected::At(*revision)), Some(record)),
                Err(Unreadable::Newer(_)) => (None, None),
                Err(Unreadable::Foreign(_)) => (Some(Expected::At(*revision)), None),
            }
        }
        Some(Change::Refused { why: Refusal::Forged, revision, .. }) => {
            (Some(Expected::At(*revision)), None)
        }
        Some(Change::Refused { .. }) => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::{AccountRecord, AttemptRecord, CertificateRecord, Unreadable, decode, encode};
    use crate::store::testing::issued;
    use crate::store::{Account, PendingOrder};
    use crate::x509::testing::key;
    use acme_dns_core::schedule::{Progress, Renewal};

    #[test]
    fn records_are_read_as_they_were_written() {
        let renewal = Renewal { number: 7, ..Renewal::default() };
        let issued = issued(&["a.example"]);
        let names = vec!["a.example".to_owned()];
        let record = CertificateRecord { host: "web1".into(), names, issued, renewal };
        let json = encode(&record).unwrap();
        let read: CertificateRecord = decode(&json).unwrap();
        assert_eq!((&read.host, &read.names, read.renewal), (&record.host, &record.names, renewal));
        assert_eq!(
            (&read.issued.key, &read.issued.fullchain),
            (&record.issued.key, &record.issued.fullchain)
        );
        assert!(json.capacity() == json.len(), "no copy of the key was left behind");

        let order = PendingOrder {
            url: "https://ca.example/order/1".into(),
            account: "https://ca.example/account/1".into(),
            directory: "https://ca.example/directory".into(),
            names: vec!["a.example".into()],
            profile: None,
            key: Some("key".to_owned().into()),
        };
        let progress = Some(Progress { failures: 3, ..Progress::default() });
        let record = AttemptRecord {
            host: "web1".into(),
            order: Some(order),
            progress,
            ..AttemptRecord::default()
        };
        let read: AttemptRecord = decode(&encode(&record).unwrap()).unwrap();
        let order = read.order.unwrap();
        assert_eq!(
            (order.url.as_str(), order.key.unwrap().as_str()),
            ("https://ca.example/order/1", "key")
        );
        assert_eq!(read.progress.unwrap().failures, 3);

        let account = Account {
            url: "https://ca.example/account/1".into(),
            directory: "https://ca.example/directory".into(),
            contacts: Vec::new(),
            taken_from: None,
            former_keys: vec!["a thumbprint".into()],
            key: key().private_key_to_pkcs8().unwrap().into(),
        };
        let json = encode(&AccountRecord { account: account.clone() }).unwrap();
        let read: AccountRecord = decode(&json).unwrap();
        assert_eq!((read.account.url, read.account.key), (account.url, account.key));
    }

    #[test]
    fn what_is_newer_or_something_else_is_told_apart_and_not_quoted() {
        let rows = [
            (r#"{"form":2,"of":"the future"}"#, Err(Unreadable::Newer(2))),
            (r#"{"form":1,"record":{"host":"web1","journal":[],"more":1},"more":1}"#, Ok(())),
            (
                r#"{"form":1,"record":{"host":"web1","journal":"secret"}}"#,
                Err(Unreadable::Foreign(String::new())),
            ),
            (r#"{"host":"web1"}"#, Err(Unreadable::Foreign(String::new()))),
            ("", Err(Unreadable::Foreign(String::new()))),
            ("[1]", Err(Unreadable::Foreign(String::new()))),
        ];
        for (json, expected) in rows {
            match (decode::<AttemptRecord>(json.as_bytes()), expected) {
                (Ok(_), Ok(())) => {}
                (Err(Unreadable::Newer(form)), Err(Unreadable::Newer(expected))) => {
                    assert_eq!(form, expected, "{json}");
                }
                (Err(Unreadable::Foreign(why)), Err(Unreadable::Foreign(_))) => {
                    assert!(!why.contains("secret"), "{why}");
                }
                (read, _) => panic!("{json}: {:?}", read.map(|record| record.host)),
            }
        }
    }
}
