//! Requests to Cloudflare's API and what their answers mean.

use super::super::{About, ProviderError, Refusal, RefusalReason};
use super::budget::Budget;
use crate::http::{Clients, HttpError, describe, read_limited, retry_after};
use acme_dns_core::config::{CloudflareCredentials, CloudflareSettings as Settings, SecretId};
use acme_dns_core::text::one_line;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use url::Url;

/// The longest answer, in bytes: a page of zones is a tenth of it.
const MAX_ANSWER: usize = 1 << 20;

/// The longest text of Cloudflare's that is shown, in characters.
const MAX_TEXT: usize = 200;

/// Requests at the same time: enough for many orders at once, few enough to be polite.
const CONCURRENT: usize = 16;

/// A listing that goes on for longer than this does not end at all.
const MAX_PAGES: u64 = 100;

/// The most items of a listing, and the most bytes of all of its pages: no zone has that many
/// records of one name.
const MAX_ITEMS: usize = 10_000;
const MAX_LISTED: usize = 8 << 20;

/// The most reasons of one refusal that are kept.
const MAX_REASONS: usize = 8;

/// Too many requests.
const THROTTLED: [i64; 2] = [971, 10100];

/// Codes of Cloudflare that say that the credentials are malformed, missing or wrong, or not enough
/// for what was asked for: the last two can be either.
const CREDENTIALS: [i64; 11] = [1000, 6003, 6102, 6103, 6111, 9103, 9106, 9107, 10001, 9109, 10000];
const EITHER: [i64; 2] = [9109, 10000];

/// The zone has as many records as its plan allows.
const QUOTA: i64 = 81045;

/// The identifier in the path is none, or of nothing.
const NO_ZONE: [i64; 2] = [1001, 7003];

/// Credentials that Cloudflare has accepted within this time are good: what it then forbids is a
/// matter of the zone.
const PROOF: Duration = Duration::from_secs(3600);

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
    pages: u64,
    /// Of the whole answer, in bytes.
    size: usize,
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
    /// Kept to be cut out of texts that come from elsewhere.
    secret: SecretString,
    budget: Rc<Budget>,
    slots: Semaphore,
    /// Time at which Cloudflare last accepted a request.
    accepted: Cell<Option<Instant>>,
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
        let timing = Timing::default();
        Ok(Self { http, base, headers, kind, secret, budget, slots, accepted, timing })
    }

    /// Tells whether the credentials are known to be good.
    fn is_proven(&self) -> bool {
        self.accepted.get().is_some_and(|accepted| accepted.elapsed() < PROOF)
    }

    /// Finds the cause of a refusal of credentials: they themselves, or the zone that they do not reach.
    fn about(&self, zone: &str, refusal: &Refusal) -> About {
        if blames_credentials(refusal) || zone.is_empty() || !self.is_proven() {
            return About::Credentials;
        }
        About::Zone(zone.into())
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
                return Err(unexpected(call.action, "the result is not a list"));
            };
            let done = items.is_empty() || page >= reply.pages;
            size += reply.size;
            if all.len() + items.len() > MAX_ITEMS || size > MAX_LISTED {
                return Err(unexpected(call.action, "the list is too long"));
            }
            all.extend(items);
            if done {
                return Ok(Some(all));
            }
        }
        Err(unexpected(call.action, "the list does not end"))
    }

    async fn attempt(&self, call: &ApiCall<'_>) -> Result<ApiReply, ProviderError> {
        let throttled = |left| ProviderError::Throttled {
            action: call.action.to_owned(),
            retry_after: Some(left),
        };
        let unreachable = |error: &reqwest::Error| ProviderError::Unreachable {
            action: call.action.to_owned(),
            detail: self.clean(&describe(error)),
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
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let wait = retry_after(response.headers(), SystemTime::now());
        let body = match read_limited(response, MAX_ANSWER).await {
            Ok(body) => body,
            Err(HttpError::Transport(error)) => return Err(unreachable(&error)),
            Err(error) => return Err(unexpected(call.action, &error.to_string())),
        };
        let reply = self.interpret(call, status, wait, &body);
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

    pub(super) fn interpret(
        &self,
        call: &ApiCall<'_>,
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Result<ApiReply, ProviderError> {
        let action = call.action.to_owned();
        let envelope = serde_json::from_slice::<Envelope>(body);
        let mut refusal = Refusal { status: status.as_u16(), reasons: Vec::new() };
        if let Ok(envelope) = &envelope {
            self.collect(&envelope.errors, &mut refusal.reasons);
        }
        if status == StatusCode::TOO_MANY_REQUESTS || refusal.has_code(&THROTTLED) {
            return Err(ProviderError::Throttled { action, retry_after });
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return Err(ProviderError::Unavailable { action, refusal });
        }
        let Ok(envelope) = envelope else {
            if status.is_success() {
                return Err(unexpected(&action, "it is not JSON as Cloudflare sends it"));
            }
            let advice = "this is not an answer of Cloudflare's API, check \"api\"".to_owned();
            return Err(ProviderError::Refused { action, refusal, advice, about: About::Provider });
        };
        if status.is_success() && envelope.success {
            self.accepted.set(Some(Instant::now()));
            let pages = envelope.result_info.map_or(1, |info| info.total_pages);
            return Ok(ApiReply { result: envelope.result, pages, size: body.len() });
        }
        if is_passing(&refusal) {
            return Err(ProviderError::Unavailable { action, refusal });
        }
        let unauthorized = status == StatusCode::UNAUTHORIZED
            || status == StatusCode::FORBIDDEN
            || refusal.has_code(&CREDENTIALS);
        Err(if unauthorized {
            let advice = unauthorized_advice(self.kind, call.permission, &refusal);
            let about = self.about(call.zone, &refusal);
            ProviderError::Unauthorized { action, refusal, advice, about }
        } else {
            let advice = refused_advice(&refusal).to_owned();
            let zone = call.zone.into();
            let about = match refusal {
                _ if refusal.has_code(&[QUOTA]) => About::Quota { zone, ours: 0 },
                _ if refusal.has_code(&NO_ZONE) && !call.zone.is_empty() => About::Zone(zone),
                _ => About::Name,
            };
            ProviderError::Refused { action, refusal, advice, about }
        })
    }

    fn collect(&self, errors: &[ApiError], reasons: &mut Vec<RefusalReason>) {
        for error in errors {
            if reasons.len() == MAX_REASONS {
                return;
            }
            reasons.push(RefusalReason { code: error.code, text: self.clean(&error.message) });
            self.collect(&error.error_chain, reasons);
        }
    }

    /// Makes a text from elsewhere fit for a log.
    fn clean(&self, text: &str) -> String {
        let secret = self.secret.expose_secret();
        let text = if secret.is_empty() { text.to_owned() } else { text.replace(secret, "***") };
        one_line(&text).chars().take(MAX_TEXT).collect()
    }
}

pub(super) fn unexpected(action: &str, detail: &str) -> ProviderError {
    ProviderError::Unexpected { action: action.to_owned(), detail: detail.to_owned() }
}

/// Tells whether a refusal is certain to be about the credentials, and not about what they may do.
pub(super) fn blames_credentials(refusal: &Refusal) -> bool {
    refusal.status == StatusCode::UNAUTHORIZED.as_u16()
        || refusal.has_code(&CREDENTIALS) && !refusal.has_code(&EITHER)
}

/// Tells whether a refusal names no reason, or says itself that the next try may do: the other side's trouble.
fn is_passing(refusal: &Refusal) -> bool {
    let again = |reason: &RefusalReason| reason.text.to_ascii_lowercase().contains("try again");
    let is_denied = matches!(refusal.status, 401 | 403);
    (refusal.reasons.is_empty() && !is_denied) || refusal.reasons.iter().any(again)
}

fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Half as much again at most, so that what failed together is not tried again together.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness there is no jitter, which is no reason to fail.
    let _ = openssl::rand::rand_bytes(&mut byte);
    pause + pause * u32::from(byte[0]) / 512
}

/// Form of every answer.
#[derive(Deserialize)]
struct Envelope {
    success: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    errors: Vec<ApiError>,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    result_info: Option<ResultInfo>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    code: i64,
    #[serde(default, deserialize_with = "null_is_default")]
    message: String,
    #[serde(default, deserialize_with = "null_is_default")]
    error_chain: Vec<ApiError>,
}

#[derive(Deserialize)]
struct ResultInfo {
    #[serde(default)]
    total_pages: u64,
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn unauthorized_advice(kind: CredentialKind, permission: Permission, refusal: &Refusal) -> String {
    match (kind, permission) {
        (CredentialKind::Token, _) if refusal.has_code(&[6003, 6111]) => {
            "the secret does not have the form of a token: check that it is the API token alone, and \
             not the Global API Key"
        }
        (CredentialKind::Token, _) if refusal.status == StatusCode::UNAUTHORIZED.as_u16() => {
            "check that the token is valid, and has Zone/DNS/Edit and Zone/Zone/Read"
        }
        (CredentialKind::Token, Permission::ReadZones) => {
            "check that the token is valid, allowed from this address, and has Zone/DNS/Edit and \
             Zone/Zone/Read (or set \"zone_id\")"
        }
        (CredentialKind::Token, Permission::EditRecords) => {
            "check that the token is valid, allowed from this address, and has Zone/DNS/Edit for this zone"
        }
        (CredentialKind::Key, _) => {
            "check that \"email\" is the address of the user, and the key this user's Global API Key"
        }
    }
    .to_owned()
}

fn refused_advice(refusal: &Refusal) -> &'static str {
    if refusal.has_code(&[QUOTA]) {
        "the zone has as many records as its plan allows, remove some"
    } else if refusal.has_code(&[9021]) {
        "check \"ttl\""
    } else if refusal.has_code(&[81053, 81054]) {
        "a CNAME record has this name: remove it, or use the provider that holds its target"
    } else if refusal.has_code(&NO_ZONE) {
        "the zone is not there or no longer, or \"zone_id\" is wrong"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiCall, ApiClient, Permission};
    use crate::dns::cloudflare::Budget;
    use crate::dns::{About, ProviderError};
    use crate::http::Clients;
    use acme_dns_core::config::{CloudflareCredentials, CloudflareSettings, SecretId};
    use http::{Method, StatusCode};
    use secrecy::SecretString;
    use std::rc::Rc;
    use std::time::Duration;

    const SECRET: &str = "s3cr3t-token";

    fn client(credentials: CloudflareCredentials) -> ApiClient {
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

    fn token() -> ApiClient {
        client(CloudflareCredentials::Token(SecretId(0)))
    }

    fn call(permission: Permission) -> ApiCall<'static> {
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

    fn error(client: &ApiClient, permission: Permission, status: u16, body: &str) -> ProviderError {
        let status = StatusCode::from_u16(status).unwrap();
        let wait = Some(Duration::from_secs(7));
        client.interpret(&call(permission), status, wait, body.as_bytes()).err().unwrap()
    }

    fn errors(code: i64, text: &str) -> String {
        format!(
            r#"{{"success":false,"errors":[{{"code":{code},"message":"{text}"}}],"result":null}}"#
        )
    }

    #[test]
    fn errors_say_what_to_do() {
        use Permission::{EditRecords, ReadZones};
        let key = client(CloudflareCredentials::Key {
            email: "you@example.com".to_owned(),
            key: SecretId(0),
        });
        for (client, permission, status, body, permanent, expected) in [
            (
                &token(),
                ReadZones,
                403,
                errors(9109, "Invalid access token"),
                true,
                &["9109 \"Invalid access token\", HTTP status 403", "Zone/Zone/Read", "zone_id"][..],
            ),
            (
                &token(),
                EditRecords,
                403,
                errors(10000, "Authentication error"),
                true,
                &["10000 \"Authentication error\"", "Zone/DNS/Edit"],
            ),
            (
                &token(),
                EditRecords,
                400,
                errors(6003, "Invalid request headers"),
                true,
                &["does not have the form of a token"],
            ),
            (
                &key,
                EditRecords,
                403,
                errors(9103, "Unknown X-Auth-Key or X-Auth-Email"),
                true,
                &["\"email\"", "Global API Key"],
            ),
            (
                &token(),
                EditRecords,
                400,
                errors(81045, "Record quota exceeded."),
                true,
                &["81045", "remove some"],
            ),
            (&token(), EditRecords, 400, errors(9021, "Invalid TTL."), true, &["check \"ttl\""]),
            (&token(), EditRecords, 200, errors(1004, "DNS Validation Error"), true, &["1004"]),
            (&token(), EditRecords, 404, "<html>".to_owned(), true, &["check \"api\""]),
            (&token(), EditRecords, 200, "<html>".to_owned(), false, &["unexpected answer"]),
            (&token(), EditRecords, 502, "<html>".to_owned(), false, &["HTTP status 502"]),
            (&token(), EditRecords, 429, String::new(), false, &["too many requests", "7 s"]),
            (&token(), EditRecords, 400, errors(971, "Please wait"), false, &["too many requests"]),
            (&token(), EditRecords, 400, errors(10100, "Please wait"), false, &["too many"]),
        ] {
            let error = error(client, permission, status, &body);
            let text = error.to_string();
            assert_eq!(error.is_permanent(), permanent, "{status} {body}: {text}");
            for part in expected {
                assert!(text.contains(part), "{status} {body}: {text}");
            }
        }
    }

    #[test]
    fn errors_say_what_is_in_the_way() {
        let zone = || About::Zone("example.com".into());
        let full = About::Quota { zone: "example.com".into(), ours: 0 };
        for (proven, status, body, expected) in [
            // Credentials that have worked are good, unless Cloudflare says otherwise.
            (false, 403, errors(10000, "Authentication error"), About::Credentials),
            (true, 403, errors(10000, "Authentication error"), zone()),
            (true, 403, errors(9109, "Unauthorized to access requested resource"), zone()),
            (true, 403, errors(0, "requires permission"), zone()),
            (true, 401, errors(10000, "Authentication error"), About::Credentials),
            (true, 403, errors(9103, "Unknown X-Auth-Key"), About::Credentials),
            (true, 400, errors(6003, "Invalid request headers"), About::Credentials),
            (true, 400, errors(1000, "Invalid API Token"), About::Credentials),
            (true, 403, "<html>".to_owned(), About::Provider),
            (true, 404, "<html>".to_owned(), About::Provider),
            (true, 404, errors(7003, "Could not route"), zone()),
            (true, 400, errors(81045, "Record quota exceeded."), full),
            (true, 400, errors(81053, "A CNAME record exists"), About::Name),
            (true, 400, errors(1004, "Please try again later."), About::Provider),
            (true, 400, r#"{"success":false}"#.to_owned(), About::Provider),
            (true, 200, r#"{"success":false,"errors":[]}"#.to_owned(), About::Provider),
            (true, 429, String::new(), About::Provider),
        ] {
            let client = token();
            client.accepted.set(proven.then(tokio::time::Instant::now));
            let error = error(&client, Permission::EditRecords, status, &body);
            assert_eq!(*error.about(), expected, "{proven} {status} {body}: {error}");
        }
    }

    #[test]
    fn causes_of_an_error_are_shown() {
        let body = r#"{"success":false,"messages":null,"result":null,"errors":[{"code":6003,
            "message":"Invalid request headers","error_chain":[{"code":6111,
            "message":"Invalid format for Authorization header","error_chain":null}]}]}"#;
        let text = error(&token(), Permission::ReadZones, 400, body).to_string();
        let expected = "cannot: 6003 \"Invalid request headers\", \
                        6111 \"Invalid format for Authorization header\", HTTP status 400; ";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn only_throttling_says_when_to_come_back() {
        let throttled = error(&token(), Permission::ReadZones, 429, "");
        assert_eq!(throttled.retry_after(), Some(Duration::from_secs(7)));
        let down = error(&token(), Permission::ReadZones, 503, "");
        assert_eq!(down.retry_after(), None);
    }

    #[test]
    fn foreign_text_is_one_short_line_without_the_secret() {
        let text = format!("{SECRET} is\\nbad {}", "x".repeat(1000));
        let text = error(&token(), Permission::ReadZones, 400, &errors(1, &text)).to_string();
        assert!(text.contains("*** is bad"), "{text}");
        assert!(!text.contains(SECRET) && text.len() < 300, "{text}");
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
