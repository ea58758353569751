//! The observer of the requests to a CA: it counts them, and tells each at level `debug`.

use super::step::Step;
use crate::event::{Event, RequestEvent, Subject};
use crate::host::Host;
use crate::http::shown_url;
use acme_dns_core::id::IssuerId;
use acme_dns_core::level::Level;
use acme_dns_core::status::{Code, Figure};
use http::{Method, StatusCode, Uri};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use url::Url;

/// Observer of the requests to a CA.
#[derive(Clone)]
pub(super) struct Observer {
    host: Arc<dyn Host>,
    subject: Subject,
    /// The issuer that they are counted for.
    issuer: Option<IssuerId>,
}

/// Request under way.
pub(super) struct Underway {
    since: Instant,
    /// Its method and its URL, if they are told.
    told: Option<(Method, String)>,
}

/// End of a request, as it is observed.
pub(super) struct Ended<'a> {
    pub(super) step: Option<Step>,
    pub(super) status: Option<StatusCode>,
    /// The CA's own identifier of the request.
    pub(super) id: Option<String>,
    /// The error, if the answer did not come or is of no use.
    pub(super) error: Option<&'a dyn fmt::Display>,
}

impl Observer {
    pub(super) fn new(host: Arc<dyn Host>, subject: Subject, issuer: Option<IssuerId>) -> Self {
        Self { host, subject, issuer }
    }

    /// Notes that a request is sent.
    pub(super) fn begin(&self, method: &Method, uri: &Uri) -> Underway {
        let shown = || {
            let url = Url::parse(&uri.to_string());
            (method.clone(), url.map(|url| shown_url(&url, str::to_owned)).unwrap_or_default())
        };
        Underway { since: Instant::now(), told: self.host.listens(Level::Debug).then(shown) }
    }

    /// Notes how a request has ended.
    pub(super) fn end(&self, underway: Underway, ended: Ended<'_>) {
        let Ended { step, status, id, error } = ended;
        if let Some((step, issuer)) = step.zip(self.issuer) {
            let code = status.map_or(Code::Error, |status| Code::Status(status.as_u16()));
            self.host.add(Figure::CaRequests(issuer, step.action(), code), 1);
        }
        let Underway { since, told: Some((method, url)) } = underway else { return };
        let took = since.elapsed();
        let event = match status {
            Some(status) => {
                RequestEvent::Answered { method, url, status: status.as_u16(), took, id }
            }
            None => {
                let why = error.map_or_else(String::new, ToString::to_string);
                RequestEvent::Unanswered { method, url, took, why }
            }
        };
        self.host.tell(&Event::Request(self.subject.clone(), event));
    }
}
