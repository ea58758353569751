//! Requests to Cloudflare's API. What their answers mean is in `answer`.

use super::super::{ProviderError, Redactor, Zone, request};
use super::budget::Budget;
use crate::http::{Clients, HttpError};
use acme_dns_core::config::{CloudflareCredentials, CloudflareSettings as Settings, SecretId};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use url::Url;

/// The longest answer, in bytes: a page of zones is a tenth of it.
const MAX_ANSWER: usize = 1 << 20;

/// Requests at the same time: enough for many orders at once, few enough to be polite.
const CONCURRENT: usize = 16;

/// A listing that goes on for longer than this does not end at all.
const MAX_PAGES: u64 = 100;

/// The most items of a listing, and the most bytes of all of its pages: no zone has that many
/// records of one name.
const MAX_ITEMS: usize = 10_000;
const MAX_LISTED: usize = 8 << 20;

/// Lengths of waits.
#[derive(Clone, Debug)]
pub struct Timing {
    /// One request, connection and answer included.
    pub request: Duration,
    /// The pauses between tries; with the first there is one try more than pauses.
    pub pauses: Vec<Duration>,
    /// The longest pause asked for by Cloudflare that is sat out.
    pub patience: Duration,
    /// No try begins later than this after the first one.
    pub total: Duration,
    /// Age up to which an answer about zones is good.
    pub keep: Duration,
    /// The same where nothing was found: a person may be adding the zone. Less than the shortest
    /// pause after a refusal.
    pub keep_nothing: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(30),
            pauses: [500, 1000, 2000, 4000].map(Duration::from_millis).to_vec(),
            patience: Duration::from_secs(60),
            total: Duration::from_secs(90),
            keep: Duration::from_secs(600),
            keep_nothing: Duration::from_secs(45),
        }
    }
}

/// Permission that a request needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Permission {
    ReadZones,
    EditRecords,
}

/// A request.
pub(super) struct ApiCall<'a> {
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<&'a Value>,
    pub(super) permission: Permission,
    /// The zone that it is about, for errors: its name, or its identifier.
    pub(super) zone: &'a str,
    /// The beginning of the message if it fails.
    pub(super) action: &'a str,
}

/// A positive answer.
pub(super) struct ApiReply {
    pub(super) result: Value,
    pub(super) pages: u64,
    /// Of the whole answer, in bytes.
    pub(super) size: usize,
}

/// The two ways to authorize, for messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CredentialKind {
    Token,
    Key,
}

pub(super) struct ApiClient {
    http: reqwest::Client,
    base: Url,
    headers: HeaderMap,
    kind: CredentialKind,
    redactor: Redactor,
    budget: Rc<Budget>,
    slots: Semaphore,
    /// Time at which Cloudflare last accepted a request.
    pub(super) accepted: Cell<Option<Instant>>,
    pub(super) timing: Timing,
}

impl ApiClient {
    pub(super) fn new(
        provider: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
        budget: Rc<Budget>,
        clients: &Clients,
    ) -> Result<Self, HttpError> {
        let http = clients.get(settings.trusted_certificate.as_deref())?;
        let base = Url::parse(&settings.api).map_err(|_| HttpError::Url(settings.api.clone()))?;
        let invalid = || HttpError::Credentials(provider.to_owned());
        let mut headers = HeaderMap::new();
        let (kind, secret) = match &settings.credentials {
            CloudflareCredentials::Token(id) => {
                let token = secret(*id);
                let text = format!("Bearer {}", token.expose_secret());
                headers.insert(header::AUTHORIZATION, sensitive(text).ok_or_else(invalid)?);
                (CredentialKind::Token, token)
            }
            CloudflareCredentials::Key { email, key } => {
                let key = secret(*key);
                let text = key.expose_secret().to_owned();
                let email = sensitive(email.clone()).ok_or_else(invalid)?;
                headers.insert(HeaderName::from_static("x-auth-email"), email);
                let text = sensitive(text).ok_or_else(invalid)?;
                headers.insert(HeaderName::from_static("x-auth-key"), text);
                (CredentialKind::Key, key)
            }
        };
        let (slots, accepted) = (Semaphore::new(CONCURRENT), Cell::default());
        let (timing, redactor) = (Timing::default(), Redactor::new([secret]));
        Ok(Self { http, base, headers, kind, redactor, budget, slots, accepted, timing })
    }

    /// Leaves equal parts of the account's requests to so many other hosts.
    pub(super) fn share_limit(&self, others: usize) {
        self.budget.divide(others);
    }

    pub(super) fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// Makes a request, again if its answer is lost or asks for patience. All requests of this
    /// client may be repeated: what a lost one created is refused as a duplicate, what it deleted
    /// is not found.
    pub(super) async fn call(&self, call: &ApiCall<'_>) -> Result<ApiReply, ProviderError> {
        let begun = Instant::now();
        let mut pauses = self.timing.pauses.iter();
        let mut is_clear = true;
        loop {
            let error = match self.attempt(call).await {
                Ok(reply) => return Ok(reply),
                Err(error) if error.is_permanent() && is_clear => return Err(error),
                Err(error) if error.is_permanent() => {
                    return Err(ProviderError::Unclear(Box::new(error)));
                }
                Err(error) => error,
            };
            is_clear &=
                call.method == Method::GET || matches!(error, ProviderError::Throttled { .. });
            let asked = error.retry_after().unwrap_or(Duration::ZERO);
            let Some(pause) = pauses.next() else { return Err(error) };
            let pause = asked.max(jitter(*pause));
            if asked > self.timing.patience || begun.elapsed() + pause > self.timing.total {
                return Err(error);
            }
            let is_first = self.timing.pauses.len() == pauses.len() + 1;
            if is_first && matches!(error, ProviderError::Unreachable { .. }) {
                // A network without a way out takes its time: silence would look like a hang.
                self.budget.tell_trouble(&error);
            }
            sleep(pause).await;
        }
    }

    /// Makes all operations of one kind in a zone, or none: `posts` or `deletes`.
    pub(super) async fn batch(
        &self,
        zone: &Zone,
        part: &str,
        operations: Vec<Value>,
        action: &str,
    ) -> Result<Value, ProviderError> {
        let call = ApiCall {
            method: Method::POST,
            path: &["zones", &zone.id, "dns_records", "batch"],
            query: &[],
            body: Some(&json!({ part: operations })),
            permission: Permission::EditRecords,
            zone: &zone.name,
            action,
        };
        self.call(&call).await.map(|reply| reply.result)
    }

    /// Makes a request for a list until all of its pages are there; `None` if they are more than
    /// `most_pages`.
    pub(super) async fn list(
        &self,
        call: &ApiCall<'_>,
        most_pages: u64,
    ) -> Result<Option<Vec<Value>>, ProviderError> {
        let mut all = Vec::new();
        let mut size = 0;
        for page in 1..=MAX_PAGES {
            let number = page.to_string();
            let mut query = call.query.to_vec();
            query.push(("page", &number));
            let call = ApiCall { method: call.method.clone(), query: &query, ..*call };
            let reply = self.call(&call).await?;
            if reply.pages > most_pages {
                return Ok(None);
            }
            let Value::Array(items) = reply.result else {
                return Err(ProviderError::unexpected(call.action, "the result is not a list"));
            };
            let done = items.is_empty() || page >= reply.pages;
            size += reply.size;
            if all.len() + items.len() > MAX_ITEMS || size > MAX_LISTED {
                return Err(ProviderError::unexpected(call.action, "the list is too long"));
            }
            all.extend(items);
            if done {
                return Ok(Some(all));
            }
        }
        Err(ProviderError::unexpected(call.action, "the list does not end"))
    }

    async fn attempt(&self, call: &ApiCall<'_>) -> Result<ApiReply, ProviderError> {
        let throttled = |left| ProviderError::Throttled {
            action: call.action.to_owned(),
            retry_after: Some(left),
        };
        self.budget.acquire(self.timing.patience).await.map_err(throttled)?;
        // Only then, as who waits for his share must not keep others from theirs. The semaphore is
        // never closed.
        let _slot = self.slots.acquire().await;
        let mut request = self
            .http
            .request(call.method.clone(), self.url(call))
            .headers(self.headers.clone())
            .timeout(self.timing.request);
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let answer = request::send(request, MAX_ANSWER, &self.redactor, call.action).await?;
        let reply = self.interpret(call, answer.status, answer.retry_after, &answer.body);
        if let Err(ProviderError::Throttled { retry_after: Some(wait), .. }) = &reply {
            self.budget.pause(*wait);
            self.budget.handle_throttled(*wait);
        }
        reply
    }

    fn url(&self, call: &ApiCall<'_>) -> Url {
        let mut url = self.base.clone();
        // Only a URL such as `mailto:` has no segments, and the configuration takes none.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        url
    }

    /// Makes a text from elsewhere fit for a log.
    pub(super) fn clean(&self, text: &str) -> String {
        self.redactor.clean(text)
    }
}

fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Lengthens a pause by half at most, so that what failed together is not retried together.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness there is no jitter, which is no reason to fail.
    let _ = openssl::rand::rand_bytes(&mut byte);
    pause + pause * u32::from(byte[0]) / 512
}

#[cfg(test)]
pub(super) mod tests {
    use super::{ApiCall, ApiClient, Permission};
    use crate::dns::cloudflare::Budget;
    use crate::http::Clients;
    use acme_dns_core::config::{CloudflareCredentials, CloudflareSettings, SecretId};
    use http::Method;
    use secrecy::SecretString;
    use std::rc::Rc;

    pub(in super::super) const SECRET: &str = "s3cr3t-token";

    pub(in super::super) fn client(credentials: CloudflareCredentials) -> ApiClient {
        let settings = CloudflareSettings {
            credentials,
            zone_id: None,
            ttl: 60,
            requests: None,
            api: "https://api.example/client/v4".to_owned(),
            trusted_certificate: None,
        };
        ApiClient::new(
            "cf",
            &settings,
            |_| SecretString::from(SECRET),
            Rc::new(Budget::new(|_| {})),
            &Clients::default(),
        )
        .unwrap()
    }

    pub(in super::super) fn token() -> ApiClient {
        client(CloudflareCredentials::Token(SecretId(0)))
    }

    pub(in super::super) fn call(permission: Permission) -> ApiCall<'static> {
        ApiCall {
            method: Method::GET,
            path: &["zones", "a/b", "dns_records"],
            query: &[("name", "a&b=c")],
            body: None,
            permission,
            zone: "example.com",
            action: "cannot",
        }
    }

    #[test]
    fn what_is_put_into_a_url_stays_in_its_place() {
        let url = token().url(&call(Permission::ReadZones));
        let expected = "https://api.example/client/v4/zones/a%2Fb/dns_records?name=a%26b%3Dc";
        assert_eq!(url.as_str(), expected);
    }

    #[test]
    fn credentials_are_not_shown() {
        let key = client(CloudflareCredentials::Key {
            email: "you@example.com".to_owned(),
            key: SecretId(0),
        });
        for (client, names) in
            [(token(), &["authorization"][..]), (key, &["x-auth-email", "x-auth-key"])]
        {
            assert!(!format!("{:?}", client.headers).contains(SECRET));
            for name in names {
                assert!(client.headers.get(*name).is_some_and(|v| v.is_sensitive()), "{name}");
            }
        }
    }
}
