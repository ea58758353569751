//! The readers of Cloudflare's answers, for the fuzzer of `tests/fuzz`.

use super::client::{ApiCall, ApiClient, Permission};
use super::{Budget, id, starts_with, text, txt, zones};
use crate::dns::{ProviderError, Zone};
use crate::http::{Clients, HttpError};
use acme_dns_core::config::CloudflareSettings as Settings;
use http::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::Value;
use std::fmt;
use std::rc::Rc;

/// Reads answers without asking for them.
pub struct AnswerReader(ApiClient);

impl fmt::Debug for AnswerReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerReader").finish_non_exhaustive()
    }
}

impl AnswerReader {
    /// Makes a reader whose credentials are `secret`.
    ///
    /// # Errors
    /// As of a client.
    pub fn new(settings: &Settings, secret: &str) -> Result<Self, HttpError> {
        let secret = |_| SecretString::from(secret);
        let (budget, clients) = (Rc::new(Budget::new(|_| {})), Clients::default());
        ApiClient::new("fuzzing", settings, secret, budget, &clients).map(Self)
    }

    /// Reads an answer; gives its result.
    ///
    /// # Errors
    /// The error of a request with this answer.
    pub fn read(&self, status: StatusCode, body: &[u8]) -> Result<Value, ProviderError> {
        let call = ApiCall {
            method: Method::GET,
            path: &["zones"],
            query: &[],
            body: None,
            permission: Permission::ReadZones,
            zone: "",
            action: "fuzz",
        };
        self.0.interpret(&call, status, None, body).map(|reply| reply.result)
    }
}

/// Reads a zone of a result.
///
/// # Errors
/// A part is missing.
pub fn read_zone(item: &Value) -> Result<Zone, ProviderError> {
    zones::zone(item, "fuzz")
}

/// Reads a record of a result: its identifier, and its value without quotes.
///
/// # Errors
/// The identifier is missing.
pub fn read_record(item: &Value) -> Result<(String, String), ProviderError> {
    Ok((id(item, "fuzz")?, txt::unquote(text(item, "content"))))
}

/// Gives the two forms of a TXT value: as it is sent, and what that is read as.
#[must_use]
pub fn quote_and_unquote(value: &str) -> (String, String) {
    let quoted = txt::quote(value);
    let value = txt::unquote(&quoted);
    (quoted, value)
}

/// Compares two names as the client does: the domain that both are in, whether the first holds the
/// second, and whether it begins with it.
#[must_use]
pub fn compare<'a>(a: &'a str, b: &str) -> (&'a str, bool, bool) {
    (zones::common(a, b), zones::holds(a, b), starts_with(a, b))
}
