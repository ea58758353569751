//! Requests to CAs and to the APIs of DNS providers, each with its answer.

use super::reference::rows;
use super::{Event, Subject};
use acme_dns_core::level::Level;
use http::Method;
use std::fmt;
use std::time::Duration;

/// Request that has ended; its URL is as [`shown_url`](crate::http::shown_url) shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RequestEvent {
    /// It was answered.
    Answered {
        /// Its method.
        method: Method,
        /// Its URL.
        url: String,
        /// Status of the answer.
        status: u16,
        /// Time until the answer was there.
        took: Duration,
        /// The server's own identifier of the request, after the name of its header.
        id: Option<String>,
    },
    /// There is no answer, or not all of it.
    Unanswered {
        /// Its method.
        method: Method,
        /// Its URL.
        url: String,
        /// Time until that was clear.
        took: Duration,
        /// The error.
        why: String,
    },
}

impl RequestEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Answered { .. } | Self::Unanswered { .. } => Level::Debug,
        }
    }
}

impl fmt::Display for RequestEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { method, url, status, took, id } => {
                write!(f, "{method} {url}: {status} in {} ms", took.as_millis())?;
                id.iter().try_for_each(|id| write!(f, ", {id}"))
            }
            Self::Unanswered { method, url, took, why } => {
                write!(f, "{method} {url}: no answer in {} ms: {why}", took.as_millis())
            }
        }
    }
}

rows! {
    RequestEvent, |event| Event::Request(Subject::Issuer("letsencrypt".into()), event);
    "request-answered": Answered {
        method: Method::POST,
        url: "https://ca.example/new-order".into(),
        status: 201,
        took: Duration::from_millis(143),
        id: Some("cf-ray 8e2f0a-FRA".into()),
    } => "a request to a CA or a DNS provider, with its status, its duration, and the identifier by which the \
        server's operators find it", nothing;
    "request-unanswered": Unanswered {
        method: Method::POST,
        url: "https://ca.example/new-order".into(),
        took: Duration::from_secs(10),
        why: "cannot connect (ca.example): timed out".into(),
    } => "the same without an answer; what follows from it is told by another line", nothing;
}
