//! Requests to the HTTP APIs of providers: what all of them have in common.

use super::{ProviderError, Redactor};
use crate::http::{HttpError, describe, read_limited, retry_after};
use bytes::Bytes;
use http::StatusCode;
use reqwest::RequestBuilder;
use std::time::{Duration, SystemTime};

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
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    let status = response.status();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    match read_limited(response, limit).await {
        Ok(body) => Ok(Answer { status, retry_after, body }),
        Err(HttpError::Transport(error)) => Err(unreachable(&error)),
        Err(error) => Err(ProviderError::unexpected(action, &error.to_string())),
    }
}
