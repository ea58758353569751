//! Requests to the HTTP APIs of providers: what all of them have in common.

use super::{About, ProviderError, Redactor, Refusal, RefusalReason};
use crate::event::RequestEvent;
use crate::http::{HttpError, describe, read_limited, request_id, retry_after, shown_url};
use bytes::Bytes;
use http::{Method, StatusCode};
use reqwest::{Request, RequestBuilder};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::sleep;

/// Pauses between tries.
pub(super) const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The longest pause asked for by a server that is sat out.
const PATIENCE: Duration = Duration::from_secs(60);

/// Listener to requests.
pub(super) type Ear = Rc<dyn Fn(RequestEvent)>;

tokio::task_local! {
    static EAR: Ear;
}

/// Has the requests that `work` makes told to a listener.
pub(super) async fn overheard<F: Future>(ear: Ear, work: F) -> F::Output {
    EAR.scope(ear, work).await
}

/// Request under way that somebody listens to.
struct Underway {
    ear: Ear,
    since: Instant,
    method: Method,
    url: String,
}

impl Underway {
    fn begin(request: &Request, redactor: &Redactor) -> Option<Self> {
        let ear = EAR.try_with(Rc::clone).ok()?;
        let url = shown_url(request.url(), |text| redactor.hide(text));
        Some(Self { ear, since: Instant::now(), method: request.method().clone(), url })
    }

    fn answered(self, status: StatusCode, id: Option<String>) {
        let Self { ear, since, method, url } = self;
        let (status, took) = (status.as_u16(), since.elapsed());
        ear(RequestEvent::Answered { method, url, status, took, id });
    }

    fn unanswered(self, error: &ProviderError) {
        let Self { ear, since, method, url } = self;
        ear(RequestEvent::Unanswered {
            method,
            url,
            took: since.elapsed(),
            why: error.to_string(),
        });
    }
}

/// An answer that was read as a whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Sends a request and reads its answer, up to `limit` bytes. `action` is the beginning of the message
/// if it fails.
///
/// # Errors
/// There is no answer, not all of it, or too much.
pub(super) async fn send(
    request: RequestBuilder,
    limit: usize,
    redactor: &Redactor,
    action: &str,
) -> Result<Answer, ProviderError> {
    let unreachable = |error: &reqwest::Error| ProviderError::Unreachable {
        action: action.to_owned(),
        detail: redactor.clean(&describe(error)),
    };
    let (client, request) = request.build_split();
    let request = request.map_err(|error| unreachable(&error))?;
    let underway = Underway::begin(&request, redactor);
    let read = async {
        let response = client.execute(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let id = request_id(response.headers()).map(|id| redactor.hide(&id));
        let retry_after = retry_after(response.headers(), SystemTime::now());
        match read_limited(response, limit).await {
            Ok(body) => Ok((Answer { status, retry_after, body }, id)),
            Err(HttpError::Transport(error)) => Err(unreachable(&error)),
            Err(error) => Err(ProviderError::unexpected(action, &error.to_string())),
        }
    };
    let read = read.await;
    if let Some(underway) = underway {
        match &read {
            Ok((answer, id)) => underway.answered(answer.status, id.clone()),
            Err(error) => underway.unanswered(error),
        }
    }
    read.map(|(answer, _)| answer)
}

/// Advice on the settings of a type of provider.
pub(super) struct Advice {
    /// Advice on credentials that are refused.
    pub(super) credentials: &'static str,
    /// The setting that holds the URL.
    pub(super) url: &'static str,
}

impl Answer {
    /// Gives what the server says, in a JSON object's `member` or as plain text. A page for people is not
    /// shown.
    pub(super) fn words(&self, member: &str, redactor: &Redactor) -> Option<String> {
        let json: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let text = match &json {
            Some(json) => json.get(member).and_then(serde_json::Value::as_str),
            None => std::str::from_utf8(&self.body).ok().filter(|text| !text.contains('<')),
        };
        text.map(|text| redactor.clean(text.trim())).filter(|text| !text.is_empty())
    }

    /// Gives the error of an answer that is no success, as far as HTTP says it.
    pub(super) fn error(
        &self,
        words: Option<String>,
        advice: &Advice,
        action: &str,
    ) -> ProviderError {
        let action = action.to_owned();
        let reasons = words.into_iter().map(|text| RefusalReason { code: 0, text }).collect();
        let refusal = Refusal { status: self.status.as_u16(), reasons };
        let (setting, retry_after) = (advice.url, self.retry_after);
        let (advice, about) = match self.status.as_u16() {
            429 => return ProviderError::Throttled { action, retry_after },
            408 | 500.. => return ProviderError::Unavailable { action, refusal },
            401 | 403 => {
                let advice = advice.credentials.to_owned();
                let about = About::Credentials;
                return ProviderError::Unauthorized { action, refusal, advice, about };
            }
            300..=399 => {
                (format!("redirects are not followed, check \"{setting}\""), About::Provider)
            }
            404 | 405 => {
                (format!("there is no such interface, check \"{setting}\""), About::Provider)
            }
            _ => (String::new(), About::Name),
        };
        ProviderError::Refused { action, refusal, advice, about }
    }
}

/// Makes a request again as long as it fails for a while only.
///
/// # Errors
/// The last try's; unclear if an earlier one may have done what a later one was refused.
pub(super) async fn retrying<T>(
    mut try_once: impl AsyncFnMut() -> Result<T, ProviderError>,
) -> Result<T, ProviderError> {
    let mut pauses = PAUSES.iter();
    let mut is_clear = true;
    loop {
        match try_once().await {
            Ok(done) => return Ok(done),
            Err(error) if error.is_permanent() && !is_clear => {
                return Err(ProviderError::Unclear(Box::new(error)));
            }
            Err(error) => {
                is_clear &= matches!(error, ProviderError::Throttled { .. });
                pause(error, pauses.next()).await?;
            }
        }
    }
}

/// Waits before the next try, or gives the error back where there is none.
pub(super) async fn pause(
    error: ProviderError,
    next: Option<&Duration>,
) -> Result<(), ProviderError> {
    let asked = error.retry_after().unwrap_or_default();
    // A program that has failed has had its time.
    let is_final = error.is_permanent() || matches!(error, ProviderError::Program { .. });
    match next {
        Some(next) if !is_final && asked <= PATIENCE => {
            sleep(asked.max(*next)).await;
            Ok(())
        }
        _ => Err(error),
    }
}
