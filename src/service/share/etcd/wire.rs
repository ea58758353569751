//! Messages of etcd's JSON gateway: bytes are base64, and 64-bit numbers are texts.

use acme_dns_core::encoding::from_base64;
use openssl::base64::encode_block;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use zeroize::Zeroizing;

/// A number of 64 bits, or 0 where there is none.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Number(pub(super) u64);

/// Bytes, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes(pub(super) Zeroizing<Vec<u8>>);

/// Beginning of each answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    pub(super) revision: Number,
}

/// A key with its value.
#[derive(Debug, Deserialize)]
pub(super) struct KeyValue {
    pub(super) key: Bytes,
    #[serde(default)]
    pub(super) value: Bytes,
    #[serde(default)]
    pub(super) create_revision: Number,
    #[serde(default)]
    pub(super) mod_revision: Number,
}

/// Keys of a range, or a page of them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
    #[serde(default)]
    pub(super) more: bool,
}

/// Answer to a transaction.
#[derive(Debug, Deserialize)]
pub(super) struct Transaction {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<TransactionPart>,
}

/// Answer to a part of a transaction.
#[derive(Debug, Deserialize)]
pub(super) struct TransactionPart {
    #[serde(default)]
    pub(super) response_range: Range,
}

/// A lease that was granted or kept; without a time if it is gone.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Grant {
    #[serde(default, rename = "ID")]
    pub(super) id: Number,
    #[serde(default, rename = "TTL")]
    pub(super) ttl: Number,
}

/// Answer to a login.
#[derive(Debug, Deserialize)]
pub(super) struct Login {
    pub(super) token: String,
}

/// A message of a stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Message<T> {
    Result(T),
    Error(Refusal),
}

/// A refusal, beside a status of HTTP or in a stream.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    /// Its code, as gRPC has them.
    #[serde(default, alias = "grpc_code")]
    pub(super) code: u32,
    #[serde(default)]
    pub(super) message: String,
}

/// A message of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Watched {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) created: bool,
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) compact_revision: Number,
    #[serde(default)]
    pub(super) cancel_reason: String,
    /// Set if the rest of the same changes follows.
    #[serde(default)]
    pub(super) fragment: bool,
    #[serde(default)]
    pub(super) events: Vec<WatchEvent>,
}

/// A change of a key.
#[derive(Debug, Deserialize)]
pub(super) struct WatchEvent {
    #[serde(default, rename = "type")]
    pub(super) kind: EventKind,
    pub(super) kv: KeyValue,
}

/// Kind of a change.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum EventKind {
    #[default]
    Put,
    Delete,
}

/// Writes bytes as etcd reads them.
pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    encode_block(bytes.as_ref())
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, perhaps as text")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Digits)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        if text.is_empty() {
            return Ok(Self::default());
        }
        from_base64(&text).map(Self).ok_or_else(|| de::Error::custom("no base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::{EventKind, Message, Refusal, Watched, base64};

    #[test]
    fn a_watch_is_read_as_etcd_writes_it() {
        let text = r#"{"result":{"header":{"revision":"7"},"events":[
            {"kv":{"key":"YQ==","mod_revision":"7","value":"djI="}},
            {"type":"DELETE","kv":{"key":"Yg==","mod_revision":6}}]}}"#;
        let Message::Result(watched) = serde_json::from_str::<Message<Watched>>(text).unwrap()
        else {
            panic!("it is a result")
        };
        let kinds: Vec<EventKind> = watched.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Put, EventKind::Delete]);
        assert_eq!(watched.events[0].kv.value.0.as_slice(), b"v2");
        assert_eq!(watched.events[1].kv.mod_revision.0, 6);
        assert!(watched.events[1].kv.value.0.is_empty());
        assert_eq!(base64("v2"), "djI=");
    }

    #[test]
    fn a_refusal_has_its_code_under_two_names() {
        for text in
            [r#"{"code":16,"message":"m","error":"m"}"#, r#"{"grpc_code":16,"message":"m"}"#]
        {
            let Refusal { code, message } = serde_json::from_str(text).unwrap();
            assert_eq!((code, message.as_str()), (16, "m"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_message() {
        for text in [
            "{}",
            r#"{"result":{"events":[{"kv":{}}]}}"#,
            r#"{"result":{"events":[{"kv":{"key":"."}}]}}"#,
            r#"{"result":{"header":{"revision":"-1"}}}"#,
            r#"{"result":{"events":[{"type":"X","kv":{"key":""}}]}}"#,
        ] {
            assert!(serde_json::from_str::<Message<Watched>>(text).is_err(), "{text}");
        }
    }
}
