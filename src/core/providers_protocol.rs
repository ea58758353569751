//! Protocol between the service and the program `acme-dns-providers`, which changes the DNS at providers of
//! type library: lines of JSON, one process for each request.
//!
//! The program says [`Hello`] before it is sent anything; so nobody else is sent a secret. Then it reads one
//! [`Request`], does it, says one [`Answer`] and ends.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroize;

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The file name of the program.
pub const PROGRAM: &str = "acme-dns-providers";

/// The first line of the program.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hello {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// The version of the program.
    pub version: String,
    /// The types of providers that it knows.
    pub types: Vec<String>,
}

/// Task of the program.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Adds values to those that are there. A value that is there already stays.
    Add,
    /// Removes values, and no others. A value that is not there counts as removed.
    Remove,
    /// Tells which of the values are there.
    List,
}

/// TXT values of one name.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NameValues {
    /// The name without a final dot.
    pub name: String,
    /// The values without quotes.
    pub values: Vec<String>,
}

/// Request to the program, for names of one zone.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Request {
    /// The task.
    pub action: Action,
    /// The type of the provider.
    #[serde(rename = "type")]
    pub kind: String,
    /// The settings of the provider that are no secrets; a flag is `on` or `off`.
    pub settings: BTreeMap<String, String>,
    /// The settings that are secrets.
    pub secrets: BTreeMap<String, String>,
    /// The name of the zone without a final dot.
    pub zone: String,
    /// The records that it is about.
    pub records: Vec<NameValues>,
    /// The TTL of new records, in seconds.
    pub ttl: u32,
    /// The time that the program may take, in seconds.
    pub timeout: u64,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, kind, zone, records, .. } = self;
        f.debug_struct("Request")
            .field("action", action)
            .field("kind", kind)
            .field("zone", zone)
            .field("records", records)
            .finish_non_exhaustive()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.secrets.values_mut().for_each(Zeroize::zeroize);
    }
}

/// Answer of the program.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It is done. The answer to [`Action::List`] has those of the values that are there.
    Ok(Vec<NameValues>),
    /// It is not done.
    Error(Failure),
}

/// Failure of a request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failure {
    /// The kind of the failure.
    pub kind: FailureKind,
    /// The provider's words or the library's, without secrets.
    pub text: String,
    /// So many names were done before the one that has failed.
    #[serde(default)]
    pub done: usize,
}

/// Kind of a failure.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The credentials are wrong.
    Unauthorized,
    /// The credentials may not do this.
    Forbidden,
    /// The zone is not there, as far as the credentials can see.
    NotFound,
    /// There were too many requests.
    RateLimited,
    /// The provider, or the library, does not want to: the same request is refused again.
    Refused,
    /// The provider cannot be reached, or does not answer.
    Unreachable,
    /// The provider has trouble of its own.
    Unavailable,
    /// The answer makes no sense.
    Other,
}

#[cfg(test)]
mod tests {
    use super::{Action, Answer, Failure, FailureKind, Hello, NameValues, Request, VERSION};
    use serde_json::{from_str, json, to_value};

    #[test]
    fn lines_are_as_they_are_documented() {
        let hello = Hello { protocol: VERSION, version: "0.1.0".into(), types: vec!["aa".into()] };
        let json = json!({"protocol": 1, "version": "0.1.0", "types": ["aa"]});
        assert_eq!(to_value(hello).unwrap(), json);
        let request = Request {
            action: Action::Add,
            kind: "aa".into(),
            settings: [("region".into(), "eu".into())].into(),
            secrets: [("token".into(), "s3cret".into())].into(),
            zone: "example.com".into(),
            records: vec![NameValues { name: "a.example.com".into(), values: vec!["v".into()] }],
            ttl: 60,
            timeout: 30,
        };
        assert!(!format!("{request:?}").contains("s3cret"));
        let json = json!({
            "action": "add", "type": "aa", "settings": {"region": "eu"}, "secrets": {"token": "s3cret"},
            "zone": "example.com", "records": [{"name": "a.example.com", "values": ["v"]}],
            "ttl": 60, "timeout": 30,
        });
        assert_eq!(to_value(&request).unwrap(), json);
        assert_eq!(to_value(Answer::Ok(Vec::new())).unwrap(), json!({"ok": []}));
        let answer = r#"{"error": {"kind": "rate_limited", "text": "HTTP 429"}}"#;
        let failure = Failure { kind: FailureKind::RateLimited, text: "HTTP 429".into(), done: 0 };
        assert_eq!(from_str::<Answer>(answer).unwrap(), Answer::Error(failure));
    }
}
