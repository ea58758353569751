//! Requests at the status page: the form of its buttons, whose request counts, and what may be asked for now.
//!
//! A request counts if it comes from the page itself. Browsers say where a request is from; and the form holds a token
//! that only who can read the page knows: a code over the name of the certificate and the hour, by a key of this nginx.
//! It is good for the hour and the next one, so that the client keeps nothing and neither does nginx.

use super::assemble::hexadecimal;
use super::certificate::{Activity, CertificateStatus, RENEWAL_INTERVAL, Remedy, RequestState};
use super::page::{HelperState, Page};
use crate::time::UnixTime;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// The longest body that is read as a form, in bytes: a name has 255 at most.
pub const LONGEST_FORM: usize = 2048;

/// Media type of a form.
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// Time for which a token is made anew.
const TOKEN_SPAN: i64 = 3600;

/// Bytes of the code that a token holds.
const TOKEN_BYTES: usize = 16;

/// Form of a button: `renew=NAME&token=TOKEN`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RenewalForm {
    /// The name of the certificate.
    pub name: String,
    /// The token.
    pub token: String,
}

impl RenewalForm {
    /// Reads the body of a request. `None`: it is no such form.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (mut name, mut token) = (None, None);
        for (field, value) in url::form_urlencoded::parse(body) {
            let place = match &*field {
                "renew" => &mut name,
                "token" => &mut token,
                _ => return None,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self { name: name?, token: token? })
    }
}

/// Tells whether a body of this media type is a form.
pub fn is_form(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(FORM_TYPE)
}

/// Words of a request on where it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Provenance<'a> {
    /// The host and perhaps the port that the request is for (`Host`).
    pub host: &'a str,
    /// `Origin` (RFC 6454).
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site` (Fetch Metadata), which browsers send over TLS. A proxy that changes `Host` leaves it as it is.
    pub site: Option<&'a str>,
}

impl Provenance<'_> {
    /// Tells whether a page of this server has sent the request, or a program that is no browser.
    pub fn is_own(&self) -> bool {
        match (self.site, self.origin) {
            (Some(site), _) => matches!(site, "same-origin" | "none"),
            (None, Some(origin)) => {
                let host = origin.split_once("://").map(|(_, host)| host);
                host.is_some_and(|host| !host.is_empty() && host.eq_ignore_ascii_case(self.host))
            }
            (None, None) => true,
        }
    }
}

/// Gives the messages whose codes are tokens for a certificate: that of new ones first, then that of the hour before.
pub fn token_messages(name: &str, now: UnixTime) -> [String; 2] {
    let hour = now.0.div_euclid(TOKEN_SPAN);
    [hour, hour - 1].map(|hour| format!("acme_dns renew {hour} {name}"))
}

/// Writes the code of a message as a token.
pub fn token(code: &[u8]) -> String {
    hexadecimal(code.get(..TOKEN_BYTES).unwrap_or(code))
}

/// Kind of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    /// It was handed on.
    Accepted,
    /// Its body is no form of a button.
    NoForm,
    /// Its body is longer than any form of a button.
    TooLong,
    /// Another site has sent it.
    Foreign,
    /// Its token is not one of these hours.
    Stale,
    /// The configuration has no such certificate.
    Unknown,
    /// An attempt is under way, or due.
    UnderWay,
    /// It was asked for already.
    Asked,
    /// The CA or the DNS provider wants to be left alone.
    Held,
    /// Nobody is there to do it.
    Absent,
}

/// Answer to a request, in words and as HTTP has it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The kind, which programs go by.
    #[serde(rename = "result")]
    pub kind: AnswerKind,
    /// The name of the certificate, if the request has one.
    pub certificate: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// Time after which it may be asked for again.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// Answers to a request that names no certificate of the configuration.
    pub fn plain(kind: AnswerKind) -> Self {
        Self::of(kind, None, None)
    }

    /// Answers to a request for a certificate, by what is shown of it. What is done with it then is for the service to
    /// decide.
    pub fn to(page: &Page, certificate: &CertificateStatus) -> Self {
        let (kind, wait) = Self::decide(page, certificate);
        Self::of(kind, Some(certificate), wait)
    }

    fn decide(page: &Page, certificate: &CertificateStatus) -> (AnswerKind, Option<Duration>) {
        let soon = Some(Duration::from_secs(30));
        if page.helper.state != HelperState::Working {
            return (AnswerKind::Absent, soon);
        }
        if let Some(request) = certificate.requested {
            match request.state {
                RequestState::Pending => return (AnswerKind::Asked, soon),
                RequestState::Granted if request.at + RENEWAL_INTERVAL > page.now => {
                    return (
                        AnswerKind::Asked,
                        Some((request.at + RENEWAL_INTERVAL).since(page.now)),
                    );
                }
                RequestState::Granted | RequestState::Refused => {}
            }
        }
        if matches!(certificate.activity, Activity::Issuing | Activity::Waiting) {
            return (AnswerKind::UnderWay, soon);
        }
        match held_until(page, certificate).or_else(|| waits_until(page, certificate)) {
            Some(until) => (AnswerKind::Held, Some(until.since(page.now))),
            None => (AnswerKind::Accepted, None),
        }
    }

    fn of(kind: AnswerKind, of: Option<&CertificateStatus>, wait: Option<Duration>) -> Self {
        let message = match kind {
            AnswerKind::Accepted => "The renewal was asked for. It begins within seconds.",
            AnswerKind::NoForm => "This is not the form of a button of this page.",
            AnswerKind::TooLong => "This is longer than the form of a button of this page.",
            AnswerKind::Foreign => "The request comes from another site. Nothing was done.",
            AnswerKind::Stale => {
                "The page is too old, or NGINX was started since. Nothing was done: load the page again, and press \
                 the button there."
            }
            AnswerKind::Unknown => "There is no certificate of this name.",
            AnswerKind::UnderWay => {
                "Nothing was done: an attempt is under way, or begins in a moment."
            }
            AnswerKind::Asked => {
                "Nothing was done: the renewal was asked for already, which can be done once an hour."
            }
            AnswerKind::Held => {
                "Nothing was done: the CA or the DNS provider has asked for a pause, which this page does not shorten."
            }
            AnswerKind::Absent => {
                "Nothing was done: the acme dns process does not work here at the moment. Try again when it does."
            }
        };
        let certificate = of.map(|certificate| certificate.name.clone());
        Self { kind, certificate, message: message.to_owned(), retry_after: wait }
    }

    /// Gives the status of HTTP.
    pub fn status(&self) -> u16 {
        match self.kind {
            AnswerKind::Accepted => 202,
            AnswerKind::NoForm => 400,
            AnswerKind::Foreign | AnswerKind::Stale => 403,
            AnswerKind::Unknown => 404,
            AnswerKind::UnderWay => 409,
            AnswerKind::TooLong => 413,
            AnswerKind::Asked | AnswerKind::Held => 429,
            AnswerKind::Absent => 503,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Gives the time until which all CAs of a certificate want to be left alone.
fn held_until(page: &Page, certificate: &CertificateStatus) -> Option<UnixTime> {
    let until = |name: &String| {
        let issuer = page.issuers.iter().find(|issuer| issuer.name == *name)?;
        issuer.retry_after.filter(|until| *until > page.now)
    };
    let pauses: Option<Vec<UnixTime>> = certificate.issuers.iter().map(until).collect();
    pauses?.into_iter().min()
}

/// Gives the time of the next attempt, if the pause before it was asked for.
fn waits_until(page: &Page, certificate: &CertificateStatus) -> Option<UnixTime> {
    let error = certificate.last_error.as_ref().filter(|error| error.remedy == Remedy::Wait)?;
    let next = certificate.next.filter(|next| next.at > page.now && next.at > error.at)?;
    (certificate.activity == Activity::Failing).then_some(next.at)
}

#[cfg(test)]
mod tests;
