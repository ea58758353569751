//! Failures of the library, sorted by what can be done about them.

use acme_dns_core::providers_protocol::FailureKind;
use dns_update::Error;

/// Words before the status of HTTP in texts of the library.
const STATUS_FOLLOWS: [&str; 3] = ["HTTP ", "API error: ", "HTTP status "];

/// Words of texts about requests that had no answer, or not all of it.
const UNREACHABLE: [&str; 5] = [
    "error sending request",
    "Failed to send request",
    "Failed to read response",
    "request or response body error",
    "error reading a body",
];

/// Sorts an error, and gives its text.
pub(crate) fn sort(error: &Error) -> (FailureKind, String) {
    match error {
        Error::Unauthorized => (FailureKind::Unauthorized, "HTTP 401".to_owned()),
        Error::NotFound => (FailureKind::NotFound, "HTTP 404".to_owned()),
        Error::BadRequest => (FailureKind::Refused, "HTTP 400".to_owned()),
        Error::InvalidRegion => (FailureKind::Refused, "the region is not known".to_owned()),
        Error::Unsupported(text) => (FailureKind::Refused, text.clone()),
        Error::Protocol(text)
        | Error::Parse(text)
        | Error::Client(text)
        | Error::Response(text)
        | Error::Serialize(text)
        | Error::Api(text) => (kind_of(text, error), text.clone()),
        other => (FailureKind::Other, format!("{other:?}")),
    }
}

fn kind_of(text: &str, error: &Error) -> FailureKind {
    if UNREACHABLE.iter().any(|words| text.contains(words)) {
        return FailureKind::Unreachable;
    }
    match status(text) {
        Some(401) => FailureKind::Unauthorized,
        Some(403) => FailureKind::Forbidden,
        Some(404) => FailureKind::NotFound,
        Some(429) => FailureKind::RateLimited,
        Some(400..=499) => FailureKind::Refused,
        Some(500..=599) => FailureKind::Unavailable,
        _ if matches!(error, Error::Api(_)) && text.contains("BadRequest") => FailureKind::Refused,
        _ => FailureKind::Other,
    }
}

/// Finds a status of HTTP in a text.
fn status(text: &str) -> Option<u16> {
    STATUS_FOLLOWS.iter().find_map(|words| {
        let (_, rest) = text.split_once(words)?;
        rest.get(..3)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::sort;
    use acme_dns_core::providers_protocol::FailureKind::{
        Forbidden, NotFound, Other, RateLimited, Refused, Unauthorized, Unavailable, Unreachable,
    };
    use dns_update::Error::{self, Api, Client, Response};

    #[test]
    fn texts_of_the_library_are_sorted() {
        let refused = "Route53 API error: 403 Forbidden - <Code>InvalidClientTokenId</Code>";
        for (error, expected) in [
            (Error::Unauthorized, Unauthorized),
            (Error::NotFound, NotFound),
            (Api("HTTP 403: no".to_owned()), Forbidden),
            (Api(refused.to_owned()), Forbidden),
            (Api("HTTP 429".to_owned()), RateLimited),
            (Api("HTTP 422: the TTL is too small".to_owned()), Refused),
            (Api("BadRequest {}".to_owned()), Refused),
            (Api("Route53 BadRequest: <Error/>".to_owned()), Refused),
            (Api("HTTP 503: later".to_owned()), Unavailable),
            (Api("Failed to send request to https://a/: error".to_owned()), Unreachable),
            (Client("error sending request for url (https://a/)".to_owned()), Unreachable),
            (Response("HTTP ".to_owned()), Other),
            (Api("HTTP over something".to_owned()), Other),
        ] {
            assert_eq!(sort(&error).0, expected, "{error:?}");
        }
    }
}
