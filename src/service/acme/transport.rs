//! instant-acme's requests through our HTTP client.
//!
//! instant-acme hides headers and status codes, gives up after three refused nonces and takes every
//! error answer for a problem document. So each order has a [`Transport`] of its own that notes
//! what the last answer was, and every request goes through [`Transport::call`]. No request leaves
//! but through [`Transport::send`], which looks at its URL: most of them are the CA's words.

use super::error::AcmeError;
use super::links::links;
use super::now;
use super::observer::{Ended, Observer};
use super::problem::{MAX_TEXT, Problem};
use super::regular;
use super::step::Step;
use super::teller::Teller;
use crate::event::OrderEvent;
use crate::http::{self as client, HttpError};
use acme_dns_core::text::excerpt;
use acme_dns_core::time::UnixTime;
use acme_dns_core::url::CaUrls;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use thiserror::Error as ThisError;
use url::Url;

/// The largest answer: a chain of a few certificates has some ten thousand bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Number of refused nonces that count as bad luck; instant-acme tries thrice in each round, we once.
const NONCE_ROUNDS: usize = 20;

/// Number of alternate chains that are noted.
const MAX_ALTERNATES: usize = 8;

/// The longest URL that is shown, in characters.
const MAX_TARGET: usize = 120;

/// The longest type of an answer that is shown, in characters.
const MAX_TYPE: usize = 60;

/// The pauses before a request that got no proper answer is repeated.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Text of instant-acme's error for an order that was placed without a URL.
const NO_ORDER_URL: &str = "no order URL found";

/// A CA that asks for a longer pause than this is left alone: the schedule comes back to it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The HTTP client of one order.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client,
    urls: CaUrls,
    /// Answer to instant-acme's request for the directory.
    directory: Bytes,
    observer: Option<Observer>,
    last: Arc<Mutex<Exchange>>,
    /// Challenges of types that instant-acme reduces to what all have, by their URLs.
    challenges: Arc<Mutex<HashMap<String, Value>>>,
}

/// The last request and its answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    /// Its URL, as far as it is shown.
    pub(super) url: String,
    /// The step that it is for.
    step: Option<Step>,
    /// The status of the answer, if one came.
    pub(super) status: Option<StatusCode>,
    /// The type of the answer, without parameters.
    content_type: Option<String>,
    /// The CA's own time (RFC 9110 section 6.6.1).
    pub(super) date: Option<UnixTime>,
    /// Pause that the CA asks for.
    pub(super) retry_after: Option<Duration>,
    /// The CA's own identifier of the request.
    request_id: Option<String>,
    /// Set if it failed in a way that the next one may not.
    pub(super) is_transient: bool,
    /// The URLs of other chains for the certificate that it brought (RFC 8555 section 7.4.2).
    pub(super) alternates: Vec<String>,
    /// URL at which a person agrees to new terms of service (RFC 8555 section 7.3.3).
    pub(super) terms_of_service: Option<String>,
    /// Set if it was for a nonce (RFC 8555 section 7.2).
    is_nonce: bool,
}

#[derive(Debug, ThisError)]
enum AnswerError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the answer is a {status} with {content}")]
    Status { status: StatusCode, content: String },
    #[error("unexpected redirect to \"{target}\", status {status}")]
    Redirect { status: StatusCode, target: String },
    #[error("{0}")]
    Url(String),
}

impl Transport {
    /// Makes a transport for requests to the CA whose URLs `urls` allows.
    pub(super) fn new(client: Client, urls: CaUrls, directory: Bytes) -> Self {
        let (last, challenges) = (Arc::default(), Arc::default());
        Self { client, urls, directory, observer: None, last, challenges }
    }

    /// Has its requests observed.
    pub(super) fn observed(self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Gives the rule for URLs of the CA.
    pub(super) fn urls(&self) -> &CaUrls {
        &self.urls
    }

    /// Gives a challenge of dns-persist-01 as the CA has sent it, by its URL.
    pub(super) fn challenge(&self, url: &str) -> Option<Value> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }

    /// Gives the last request and its answer.
    pub(super) fn last(&self) -> Exchange {
        self.exchange().clone()
    }

    /// Sends a request until it is answered: refused nonces, lost connections and failures of the
    /// server are tried again. What must not be done twice is not: see [`Step::is_repeatable`].
    pub(super) async fn call<T>(
        &self,
        step: Step,
        teller: &Teller,
        mut attempt: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<T, AcmeError> {
        let mut pauses = PAUSES.iter();
        let mut refused_nonces = 0;
        loop {
            *self.exchange() = Exchange { step: Some(step), ..Exchange::default() };
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let exchange = self.last();
            let pause = exchange.pause(&error);
            self.exchange().is_transient = pause.is_some();
            let is_repeatable = step.is_repeatable() || exchange.is_nonce;
            let is_answered = exchange.status.is_some();
            let error = classify(step, exchange, error);
            if error.is("badNonce") && refused_nonces < NONCE_ROUNDS {
                refused_nonces += 1;
                continue;
            }
            let pause = match (pause, is_repeatable) {
                (Some(asked), true) => pauses.next().map(|own| asked.max(*own)),
                _ => None,
            };
            let Some(pause) = pause else { return Err(error) };
            // A CA that cannot be reached takes its time: silence would look like a hang.
            let is_first = pauses.len() + 1 == PAUSES.len();
            let is_unreachable = is_first && step == Step::Directory && !is_answered;
            teller.order(OrderEvent::Retrying { why: error.to_string(), pause, is_unreachable });
            tokio::time::sleep(pause).await;
        }
    }

    /// Gives the error of a step whose request cannot be made, or whose answer is not what it should be.
    pub(super) fn failed(&self, step: Step, error: Error) -> AcmeError {
        classify(step, self.last(), error)
    }

    /// Reads a resource that needs no signature.
    pub(super) async fn get(&self, url: &str) -> Result<Bytes, Error> {
        let request = Request::builder().uri(url).body(())?;
        let (parts, ()) = request.into_parts();
        let (parts, body) = self.send(parts, Bytes::new()).await?;
        match parts.status.is_success() {
            true => Ok(body),
            false => Err(Error::Api(serde_json::from_slice(&body)?)),
        }
    }

    /// Sends a signed request. An answer that is no success is a problem document.
    pub(super) async fn post(
        &self,
        url: &str,
        jws: String,
    ) -> Result<(http::response::Parts, Bytes), Error> {
        let request = Request::post(url).header(CONTENT_TYPE, "application/jose+json").body(())?;
        let (parts, ()) = request.into_parts();
        self.send(parts, jws.into()).await
    }

    /// Gets a nonce (RFC 8555 section 7.2).
    pub(super) async fn new_nonce(&self, url: &str) -> Result<String, Error> {
        let (parts, ()) = Request::head(url).body(())?.into_parts();
        let (parts, _) = self.send(parts, Bytes::new()).await?;
        Self::nonce(&parts.headers).ok_or(Error::Str("no nonce"))
    }

    /// Gives the nonce of an answer.
    pub(super) fn nonce(headers: &HeaderMap) -> Option<String> {
        Some(headers.get("Replay-Nonce")?.to_str().ok()?.to_owned())
    }

    async fn send(
        &self,
        mut parts: Parts,
        body: Bytes,
    ) -> Result<(http::response::Parts, Bytes), Error> {
        let url = excerpt(&parts.uri.to_string(), MAX_TARGET);
        // Nothing else is asked for by HEAD.
        let is_nonce = parts.method == Method::HEAD;
        let step = self.exchange().step;
        *self.exchange() = Exchange { url, is_nonce, step, ..Exchange::default() };
        // The client has a name of its own.
        parts.headers.remove(USER_AGENT);
        let observer = self.observer.as_ref();
        let underway = observer.map(|observer| observer.begin(&parts.method, &parts.uri));
        let answer = self.exchange_bytes(parts, body).await;
        if let Some((observer, underway)) = observer.zip(underway) {
            let step = step.map(|step| if is_nonce { Step::NewNonce } else { step });
            let Exchange { status, request_id: id, .. } = self.last();
            let error = answer.as_ref().err().map(|error| error as &dyn fmt::Display);
            observer.end(underway, Ended { step, status, id, error });
        }
        answer.map_err(|error| Error::Other(Box::new(error)))
    }

    async fn exchange_bytes(
        &self,
        parts: Parts,
        body: Bytes,
    ) -> Result<(http::response::Parts, Bytes), AnswerError> {
        let url = self.urls.check(&parts.uri.to_string()).map_err(AnswerError::Url)?;
        let request = self.client.request(parts.method, url.clone());
        let request = request.headers(parts.headers).body(body);
        let response = request.send().await.map_err(HttpError::Transport)?;
        let (status, mut headers) = (response.status(), response.headers().clone());
        {
            let mut exchange = self.exchange();
            exchange.status = Some(status);
            exchange.content_type = content_type(&headers);
            exchange.date = client::date(&headers).map(UnixTime::from);
            exchange.retry_after = client::retry_after(&headers, SystemTime::now());
            exchange.request_id = client::request_id(&headers);
            exchange.alternates = links(&headers, "alternate", &url);
            exchange.alternates.truncate(MAX_ALTERNATES);
            exchange.terms_of_service = links(&headers, "terms-of-service", &url).pop();
        }
        let body = client::read_limited(response, MAX_ANSWER).await?;
        if let Ok(Instance { instance: Some(instance) }) = serde_json::from_slice(&body) {
            self.exchange().terms_of_service = Some(instance);
        }
        if status.is_redirection()
            && let Some(target) = headers.get(LOCATION)
        {
            let target = String::from_utf8_lossy(target.as_bytes());
            let target = excerpt(&target, MAX_TARGET);
            return Err(AnswerError::Redirect { status, target });
        }
        let body = match status.is_success() {
            true => Some(body),
            false => regular::problem(&body).filter(|_| !status.is_redirection()),
        };
        let Some(body) = body else {
            let content = self.exchange().content();
            return Err(AnswerError::Status { status, content });
        };
        // A new resource may be named by a relative URL (RFC 9110 section 10.2.2).
        let location = headers.get(LOCATION).and_then(|to| url.join(to.to_str().ok()?).ok());
        if let Some(Ok(location)) = location.map(|to| HeaderValue::from_str(to.as_str())) {
            headers.insert(LOCATION, location);
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = status;
        parts.headers = headers;
        Ok((parts, body))
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            if parts.method == Method::GET {
                // Only the directory is read by GET, and we have it.
                let (parts, ()) = Response::new(()).into_parts();
                return Ok(BytesResponse { parts, body: Box::new(this.directory) });
            }
            let Ok(body) = body.collect().await.map(Collected::to_bytes);
            let base = Url::parse(&parts.uri.to_string()).ok();
            let (mut parts, answer) = this.send(parts, body.clone()).await?;
            let answer = match base.filter(|_| parts.status.is_success()) {
                Some(base) => {
                    let persistent = regular::persistent_challenges(&answer, &base);
                    let mut known = this.challenges.lock().unwrap_or_else(PoisonError::into_inner);
                    known.extend(persistent);
                    regular::success(answer, &base, &body)
                }
                None => answer,
            };
            // For a new nonce instant-acme takes no other success.
            if parts.status.is_success() {
                parts.status = StatusCode::OK;
            }
            Ok(BytesResponse { parts, body: Box::new(answer) })
        })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("last", &self.last()).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Gives the shortest pause before the request may be repeated; `None`: it must not be.
    fn pause(&self, error: &Error) -> Option<Duration> {
        if is_final(error) {
            return None;
        }
        let transient = match (self.status, error) {
            // Neither will be otherwise the next time.
            (Some(StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED), _)
            | (_, Error::Str(NO_ORDER_URL)) => false,
            (Some(status), _) if status.is_server_error() => true,
            (Some(StatusCode::REQUEST_TIMEOUT), _) | (None, Error::Other(_)) => true,
            // The connection broke in the middle of the answer, or it makes no sense.
            (Some(status), Error::Other(_) | Error::Json(_) | Error::Str(_)) => status.is_success(),
            _ => false,
        };
        let asked = self.retry_after.unwrap_or_default();
        (transient && asked <= LONGEST_PAUSE).then_some(asked)
    }

    /// Describes the kind of the answer.
    fn content(&self) -> String {
        self.content_type.clone().unwrap_or_else(|| "no type".to_owned())
    }

    fn is_json(&self) -> bool {
        self.content_type.as_ref().is_some_and(|kind| kind.ends_with("json"))
    }
}

/// Gives the type of an answer (RFC 9110 section 8.3), without parameters; printable.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default().trim();
    Some(excerpt(&kind.to_ascii_lowercase(), MAX_TYPE)).filter(|kind| !kind.is_empty())
}

fn answer_error(error: &Error) -> Option<&AnswerError> {
    let Error::Other(error) = error else { return None };
    error.downcast_ref()
}

/// Tells whether the next try must end in the same way.
fn is_final(error: &Error) -> bool {
    matches!(
        answer_error(error),
        Some(AnswerError::Url(_) | AnswerError::Http(HttpError::TooLong(_)))
    )
}

/// The part of a problem document (RFC 7807) that instant-acme leaves out. With
/// `userActionRequired`, a person should look there.
#[derive(Deserialize)]
struct Instance {
    instance: Option<String>,
}

fn classify(step: Step, exchange: Exchange, error: Error) -> AcmeError {
    let is_json = exchange.is_json();
    let content = exchange.content();
    let Exchange { url, status, retry_after, terms_of_service, is_nonce, .. } = exchange;
    let step = if is_nonce { Step::NewNonce } else { step };
    if let Some(AnswerError::Url(why)) = answer_error(&error) {
        return AcmeError::Url { step, url, why: why.clone() };
    }
    let answer = status.map_or_else(|| "the answer".to_owned(), |s| format!("the answer, a {s},"));
    let status = status.map(|status| status.as_u16());
    let reason = match error {
        Error::Api(problem) => {
            let mut problem = Problem::new(&problem);
            if problem.is("userActionRequired")
                && let Some(url) = terms_of_service
            {
                problem.refer_to(&url);
            }
            return AcmeError::Refused { step, url, status, problem, retry_after };
        }
        Error::Json(error) if is_json => format!("{answer} cannot be read: {error}"),
        Error::Json(_) => format!("{answer} is {content} instead of JSON"),
        Error::Str(what) => format!("{answer} is not what it should be: {what}"),
        error => error.to_string(),
    };
    let reason = with_advice(excerpt(&reason, MAX_TEXT));
    AcmeError::Failed { step, url, status, reason, retry_after }
}

/// Adds what to check to an error of TLS, where that is known.
fn with_advice(reason: String) -> String {
    let is_about = |texts: &[&str]| texts.iter().any(|text| reason.contains(text));
    if !is_about(&["certificate verify failed"]) {
        reason
    } else if is_about(&["has expired", "not yet valid"]) {
        format!("{reason}; this host's clock says {}: is it right?", now())
    } else if is_about(&["local issuer", "self-signed", "self signed"]) {
        format!("{reason}; a CA that the system does not trust needs \"trusted_certificate\"")
    } else {
        reason
    }
}
