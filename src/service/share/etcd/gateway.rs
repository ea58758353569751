//! Requests to etcd's JSON gateway: several endpoints, login, and what its refusals mean.

use super::super::error::{NO_TLS, closed_hint, is_closed};
use super::super::{Patience, ShareError};
use super::wire::{Login, Refusal};
use crate::http::{HttpError, describe, read_limited};
use acme_dns_core::config::Endpoint;
use acme_dns_core::text::excerpt;
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use reqwest::{Client, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// The longest answer, in bytes: a page of records, or a message of a watch.
pub(super) const MAX_ANSWER: usize = 32 << 20;

/// The longest text of an answer that is shown, in characters.
const MAX_TEXT: usize = 200;

const NO_GATEWAY: &str =
    "etcd 3.4 or newer with its JSON gateway (\"enable-grpc-gateway\") is needed";

/// A request: its path, and whether it does no harm to send it twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    path: &'static str,
    is_repeatable: bool,
}

impl Call {
    pub(super) const RANGE: Self = Self { path: "kv/range", is_repeatable: true };
    pub(super) const TRANSACTION: Self = Self { path: "kv/txn", is_repeatable: false };
    /// A lease that nobody knows ends by itself.
    pub(super) const GRANT: Self = Self { path: "lease/grant", is_repeatable: true };
    pub(super) const KEEP_ALIVE: Self = Self { path: "lease/keepalive", is_repeatable: true };
    pub(super) const WATCH: Self = Self { path: "watch", is_repeatable: true };
    const LOGIN: Self = Self { path: "auth/authenticate", is_repeatable: true };
}

/// Name and password.
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: SecretString,
}

/// An error, by what is to be done about it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The token has expired, or etcd has forgotten it.
    Token,
    /// History was asked for that etcd no longer has.
    Compacted,
    /// There is no such lease.
    NoLease,
    /// This member cannot answer; another may. `was_sent`: it may have done what was asked.
    Member { error: ShareError, was_sent: bool },
    /// Another would not help.
    Final(ShareError),
}

/// The members of an etcd.
pub(super) struct Gateway {
    client: Client,
    endpoints: Vec<Endpoint>,
    patience: Patience,
    credentials: Option<Credentials>,
    has_certificate: bool,
    /// Some member has, so that it is content with our certificate, or with none.
    has_answered: Cell<bool>,
    /// The member that has answered last.
    current: Cell<usize>,
    token: RefCell<Option<HeaderValue>>,
}

impl Gateway {
    pub(super) fn new(
        client: Client,
        endpoints: Vec<Endpoint>,
        patience: Patience,
        credentials: Option<Credentials>,
        has_certificate: bool,
    ) -> Self {
        Self {
            client,
            endpoints,
            patience,
            credentials,
            has_certificate,
            has_answered: Cell::new(false),
            current: Cell::new(0),
            token: RefCell::new(None),
        }
    }

    /// Gives the name of the member that has answered last.
    pub(super) fn endpoint(&self) -> String {
        self.endpoints.get(self.current.get()).map(ToString::to_string).unwrap_or_default()
    }

    /// Gives the time of silence after which a watch is begun anew.
    pub(super) fn silence(&self) -> Duration {
        self.patience.silence
    }

    /// Asks, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        call: Call,
        body: &Value,
    ) -> Result<T, Failure> {
        let response = self.open(call, body).await?;
        let reading = async {
            let answer = read_limited(response, MAX_ANSWER).await;
            answer.map_err(|error| self.broken(&error, true))
        };
        self.parse(&self.in_time(reading).await?)
    }

    /// Reads a message.
    pub(super) fn parse<T: DeserializeOwned>(&self, text: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(text).map_err(|error| {
            // It may quote a value, but records are encrypted.
            self.foreign(&format!("it is no such JSON: {}", excerpt(&error.to_string(), MAX_TEXT)))
        })
    }

    /// Asks one member after the other, and gives the answer that is still to be read. The request is repeated once with a
    /// new token: it was refused before it was looked at.
    pub(super) async fn open(&self, call: Call, body: &Value) -> Result<Response, Failure> {
        match self.open_somewhere(call, body).await {
            Err(Failure::Token) => {
                self.forget_token();
                self.open_somewhere(call, body).await
            }
            opened => opened,
        }
    }

    pub(super) fn forget_token(&self) {
        self.token.replace(None);
    }

    async fn open_somewhere(&self, call: Call, body: &Value) -> Result<Response, Failure> {
        // The connection to a single member may have been dead for long.
        for _ in 1..self.endpoints.len().max(2) {
            match self.in_time(self.open_here(call, body)).await {
                Err(Failure::Member { was_sent, .. }) if call.is_repeatable || !was_sent => {}
                opened => return opened,
            }
        }
        self.in_time(self.open_here(call, body)).await
    }

    /// Limits the time of a request; the next goes to another member.
    async fn in_time<T>(
        &self,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let limit = self.patience.request;
        let asked = tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| {
            let (endpoint, detail) =
                (self.endpoint(), format!("no answer for {} s", limit.as_secs()));
            Err(Failure::Member { error: ShareError::Timeout { endpoint, detail }, was_sent: true })
        });
        if let Err(Failure::Member { .. }) = &asked {
            self.current.set((self.current.get() + 1) % self.endpoints.len().max(1));
        }
        asked
    }

    /// Asks the current member, after a login if one is needed.
    async fn open_here(&self, call: Call, body: &Value) -> Result<Response, Failure> {
        let known = self.token.borrow().clone();
        let token = match (&self.credentials, known) {
            (Some(credentials), None) => Some(self.log_in(credentials).await?),
            (_, known) => known,
        };
        self.send(call, body, token).await
    }

    async fn log_in(&self, credentials: &Credentials) -> Result<HeaderValue, Failure> {
        let Credentials { username, password } = credentials;
        let body = json!({ "name": username, "password": password.expose_secret() });
        let response = self.send(Call::LOGIN, &body, None).await?;
        let answer = read_limited(response, MAX_ANSWER).await;
        let answer = answer.map_err(|error| self.broken(&error, false))?;
        let Login { token } = self.parse(&answer)?;
        let mut token =
            HeaderValue::from_str(&token).map_err(|_| self.foreign("its token is no header"))?;
        token.set_sensitive(true);
        self.token.replace(Some(token.clone()));
        Ok(token)
    }

    async fn send(
        &self,
        call: Call,
        body: &Value,
        token: Option<HeaderValue>,
    ) -> Result<Response, Failure> {
        let url = format!("{}/v3/{}", self.endpoint(), call.path);
        let mut request = self.client.post(url).json(body);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let response = request.send().await;
        let response = response.map_err(|error| {
            let was_sent = !error.is_connect();
            self.broken(&HttpError::Transport(error), was_sent)
        })?;
        self.has_answered.set(true);
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(self.refused(status, response).await),
        }
    }

    /// Makes the failure of a member that has ended a watch.
    pub(super) fn left(&self) -> Failure {
        let (endpoint, detail) = (self.endpoint(), "it has ended the watch".to_owned());
        Failure::Member { error: ShareError::Away { endpoint, detail }, was_sent: true }
    }

    /// Explains why no answer has come, or not all of it.
    pub(super) fn broken(&self, error: &HttpError, was_sent: bool) -> Failure {
        let endpoint = self.endpoint();
        let detail = match error {
            HttpError::Transport(error) => describe(error),
            error => error.to_string(),
        };
        let has = |words: &[&str]| words.iter().any(|word| detail.contains(word));
        if has(&["certificate", "unknown ca"]) {
            // The others may have another certificate.
            return Failure::Member { error: ShareError::Untrusted { endpoint, detail }, was_sent };
        }
        if has(&["wrong version number", "packet length too long"]) {
            let advice = "it seems to have no TLS: is it to be \"http://\"?";
            let error = ShareError::Foreign { endpoint, detail, advice };
            return Failure::Member { error, was_sent };
        }
        let detail = format!("{detail}{}", self.hint(error, &detail));
        Failure::Member { error: ShareError::Away { endpoint, detail }, was_sent }
    }

    /// Says what may be behind a connection that is closed.
    fn hint(&self, error: &HttpError, detail: &str) -> &'static str {
        let is_tls = self.endpoints.iter().any(|endpoint| endpoint.is_tls);
        match error {
            HttpError::Transport(error) if !is_tls || error.is_timeout() => "",
            HttpError::Transport(error) if error.is_connect() && is_closed(detail) => NO_TLS,
            HttpError::Transport(error) if error.is_connect() || !error.is_request() => "",
            HttpError::Transport(_) if !self.has_answered.get() => {
                closed_hint(self.has_certificate)
            }
            _ => "",
        }
    }

    /// Reads a refusal.
    async fn refused(&self, status: StatusCode, response: Response) -> Failure {
        let body = read_limited(response, MAX_ANSWER).await.unwrap_or_default();
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) if !refusal.message.is_empty() => self.explain(&refusal),
            _ => {
                let text = excerpt(String::from_utf8_lossy(&body).trim(), MAX_TEXT);
                self.foreign(&format!("HTTP status {status} \"{text}\""))
            }
        }
    }

    /// Says what a refusal means. The codes are those of gRPC, and many mean several things.
    pub(super) fn explain(&self, refusal: &Refusal) -> Failure {
        let text = refusal.message.as_str();
        let (endpoint, detail) = (self.endpoint(), format!("\"{}\"", excerpt(text, MAX_TEXT)));
        let has = |word: &str| text.contains(word);
        let refused = |advice| {
            let (endpoint, detail) = (endpoint.clone(), detail.clone());
            Failure::Final(ShareError::Refused { endpoint, detail, advice })
        };
        match refusal.code {
            _ if has("invalid auth token") || has("auth store is old") => Failure::Token,
            _ if has("has been compacted") => Failure::Compacted,
            _ if has("lease not found") => Failure::NoLease,
            _ if has("authentication is not enabled") => {
                refused("enable its authentication, or remove \"username\"")
            }
            _ if has("user name is empty") => refused("set \"username\" and \"password_file\""),
            _ if has("authentication failed") => {
                refused("check \"username\" and \"password_file\"")
            }
            _ if has("permission denied") => {
                refused("grant the user's role \"readwrite\" on the prefix")
            }
            _ if has("space exceeded") => {
                let advice = "compact and defragment it, then disarm its alarm NOSPACE";
                Failure::Final(ShareError::Full { endpoint, detail, advice })
            }
            _ if has("request is too large") => {
                let advice = "raise its \"max-request-bytes\"";
                Failure::Final(ShareError::Full { endpoint, detail, advice })
            }
            // Deadline, exhausted, aborted, internal, unavailable: no leader, too many requests, a member that leaves.
            4 | 8 | 10 | 13 | 14 => {
                Failure::Member { error: ShareError::Away { endpoint, detail }, was_sent: true }
            }
            _ => self.foreign(&detail),
        }
    }

    fn foreign(&self, detail: &str) -> Failure {
        let (endpoint, detail) = (self.endpoint(), detail.to_owned());
        Failure::Final(ShareError::Foreign { endpoint, detail, advice: NO_GATEWAY })
    }

    /// Makes the error of a caller, to whom nothing else is to be done.
    pub(super) fn error(&self, failure: Failure) -> ShareError {
        let endpoint = self.endpoint();
        let unexpected = |detail: &str| {
            let detail = detail.to_owned();
            ShareError::Away { endpoint, detail }
        };
        match failure {
            Failure::Member { error, .. } | Failure::Final(error) => error,
            Failure::Token => unexpected("it does not know the token that it has just given"),
            Failure::Compacted => unexpected("it compacts its history faster than it can be read"),
            Failure::NoLease => unexpected("the lease has just ended"),
        }
    }
}
