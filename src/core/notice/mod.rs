//! Notices: what people and programs outside are told of certificates, and the forms in which they are told.
//!
//! A notice is less than an event of the log: nine kinds, with a form that does not change without a new
//! [`SCHEMA`]. Who gets it, and when again, is decided by the service.

mod format;

pub use format::{NoticeFormat, Payload, payload};

use crate::time::UnixTime;
use serde::{Serialize, Serializer};
use std::fmt;

/// Version of the JSON form. It grows when a member changes its meaning or goes away, not when one is added.
pub const SCHEMA: u32 = 1;

/// Kind of a notice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum NoticeKind {
    /// The first certificate of its name is there.
    Issued,
    /// A certificate was replaced.
    Renewed,
    /// An attempt has failed.
    Failed,
    /// A certificate was obtained after attempts that had failed.
    Recovered,
    /// Little is left of a certificate's life, and it is not renewed.
    Expiring,
    /// A certificate was revoked.
    Revoked,
    /// A person is needed.
    Attention,
    /// The service was started anew under the same configuration: the one before had ended.
    Restarted,
    /// A TXT record is not visible yet.
    Waiting,
}

impl NoticeKind {
    /// All kinds, as the documentation lists them.
    pub const ALL: [Self; 9] = [
        Self::Issued,
        Self::Renewed,
        Self::Failed,
        Self::Recovered,
        Self::Expiring,
        Self::Revoked,
        Self::Attention,
        Self::Restarted,
        Self::Waiting,
    ];

    /// Returns its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Renewed => "renewed",
            Self::Failed => "failed",
            Self::Recovered => "recovered",
            Self::Expiring => "expiring",
            Self::Revoked => "revoked",
            Self::Attention => "attention",
            Self::Restarted => "restarted",
            Self::Waiting => "waiting",
        }
    }

    /// Finds a kind by its word.
    #[must_use]
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Tells whether new files are there, which software that uses them has to load.
    #[must_use]
    pub fn is_deployment(self) -> bool {
        matches!(self, Self::Issued | Self::Renewed)
    }

    /// Tells whether it is bad news.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Expiring | Self::Revoked | Self::Attention)
    }
}

impl fmt::Display for NoticeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A notice, in the members of its JSON form.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Version of this form.
    pub version: u32,
    /// Number by which a receiver knows a notice that comes twice.
    pub id: String,
    /// Its kind.
    #[serde(rename = "event", serialize_with = "as_text")]
    pub kind: NoticeKind,
    /// Set if nothing gets better before a person has done something.
    pub needs_person: bool,
    /// Time of the event.
    #[serde(serialize_with = "as_text")]
    pub time: UnixTime,
    /// Name of the machine.
    pub host: String,
    /// Sentence for people.
    pub message: String,
    /// Its subject.
    #[serde(flatten)]
    pub subject: Subject,
    /// Number of attempts that have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Time of the next attempt.
    #[serde(serialize_with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<UnixTime>,
    /// The error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Certificate that a notice is about; empty where it is about none, or about many.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Its name in the state path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The names that it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sans: Vec<String>,
    /// Directory of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Begin of its validity.
    #[serde(serialize_with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<UnixTime>,
    /// End of its validity.
    #[serde(serialize_with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<UnixTime>,
    /// Common name of the issuing certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Its serial number in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// SHA-256 of it in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_fingerprint: Option<String>,
}

impl Notice {
    /// Writes it as JSON, in one line.
    #[must_use]
    pub fn json(&self) -> String {
        // There is nothing in it that cannot be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Makes a title for people.
    #[must_use]
    pub fn title(&self) -> String {
        let what = match self.kind {
            NoticeKind::Attention => "a person is needed",
            NoticeKind::Restarted => "the service was restarted",
            NoticeKind::Waiting => "waiting for a TXT record",
            kind => kind.word(),
        };
        match &self.subject.certificate {
            Some(certificate) => format!("{certificate}: {what}"),
            None => format!("{}: {what}", self.host),
        }
    }
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[allow(clippy::ref_option, reason = "serde calls it so")]
fn as_text_if_any<S: Serializer>(
    value: &Option<UnixTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Notice, NoticeKind, SCHEMA, Subject};
    use crate::time::UnixTime;

    pub(crate) fn notice(kind: NoticeKind) -> Notice {
        Notice {
            version: SCHEMA,
            id: "0123456789abcdef".to_owned(),
            kind,
            needs_person: false,
            time: UnixTime(1_795_870_860),
            host: "web1".to_owned(),
            message: "certificate \"a.example\" \u{fc}".to_owned(),
            subject: Subject {
                certificate: Some("a.example".to_owned()),
                sans: vec!["a.example".to_owned(), "*.a.example".to_owned()],
                path: Some("/s/certs/a.example".to_owned()),
                not_after: Some(UnixTime(1_800_000_000)),
                ..Subject::default()
            },
            attempts: None,
            next_attempt: None,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NoticeKind;
    use super::testing::notice;

    #[test]
    fn the_json_form_is_the_documented_one() {
        let expected = concat!(
            "{\"version\":1,\"id\":\"0123456789abcdef\",\"event\":\"renewed\",\"needsPerson\":false,",
            "\"time\":\"2026-11-28T13:01:00Z\",\"host\":\"web1\",",
            "\"message\":\"certificate \\\"a.example\\\" \u{fc}\",\"certificate\":\"a.example\",",
            "\"sans\":[\"a.example\",\"*.a.example\"],\"path\":\"/s/certs/a.example\",",
            "\"notAfter\":\"2027-01-15T08:00:00Z\"}"
        );
        assert_eq!(notice(NoticeKind::Renewed).json(), expected);
    }

    #[test]
    fn each_kind_is_found_by_its_word() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::find(kind.word()), Some(kind));
        }
        assert_eq!(NoticeKind::find("renew"), None);
    }
}
