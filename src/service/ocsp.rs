//! Questions to a CA's OCSP responder (RFC 6960), whose answers are stapled.
//!
//! The profile is that of RFC 5019: one certificate in a request, named by SHA-1 hashes, without a
//! nonce, so that responders can answer from their caches. The answer comes over plain HTTP as a
//! rule: it is worth what its signature is worth.

use crate::http::{HttpError, read_limited};
use crate::x509::reason;
use acme_dns_core::material::Staple;
use acme_dns_core::staple::{StapleWindow, StapleWindowError};
use acme_dns_core::time::UnixTime;
use openssl::asn1::Asn1GeneralizedTimeRef;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::ocsp::{
    OcspBasicResponseRef, OcspCertId, OcspCertStatus, OcspFlag, OcspRequest, OcspResponse,
    OcspResponseStatus,
};
use openssl::pkey::{PKey, Public};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Ref, X509VerifyResult};
use reqwest::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use std::fmt;
use thiserror::Error;
use url::Url;

/// The longest answer in bytes. Real ones have 300 to 3000; what is stapled goes out with each full
/// handshake.
const MAX_RESPONSE: usize = 64 * 1024;

const REQUEST_TYPE: &str = "application/ocsp-request";
const RESPONSE_TYPE: &str = "application/ocsp-response";

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reason why there is nothing to staple.
#[derive(Debug, Error)]
pub enum OcspError {
    /// The responder could not be asked.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The responder has answered with this HTTP status.
    #[error("it answered with HTTP status {0}")]
    Status(u16),
    /// The answer is something else.
    #[error("the answer is not an OCSP response")]
    Form,
    /// The responder does not answer the question, with its reason (RFC 6960 section 4.2.1).
    #[error("it answered \"{0}\"")]
    Refused(&'static str),
    /// The signature is neither the issuer's nor that of a responder that may sign for it.
    #[error("the answer is not signed for the issuer of the certificate: {0}")]
    Signature(String),
    /// The answer does not name the certificate.
    #[error("the answer is about another certificate")]
    OtherCertificate,
    /// The responder does not know the certificate, perhaps not yet.
    #[error("it does not know the certificate")]
    Unknown,
    /// The certificate is revoked, since this time.
    #[error("the certificate was revoked at {0}")]
    Revoked(String),
    /// The answer cannot be stapled now.
    #[error("the answer cannot be used: {0}")]
    Window(#[from] StapleWindowError),
    /// OpenSSL has failed.
    #[error("cannot build the OCSP request: {0}")]
    OpenSsl(String),
    /// The task has panicked.
    #[error("there is a bug in the module, its message is on standard error")]
    Bug,
}

/// The certificate is good, and the issuer or its delegate says so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GoodAnswer {
    /// For the servers.
    pub staple: Staple,
    /// The time that the responder gives to it.
    pub window: StapleWindow,
}

/// The question whether a certificate is good.
#[derive(Clone)]
pub struct Question {
    responder: Url,
    leaf: X509,
    issuer: X509,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("responder", &self.responder.as_str()).finish()
    }
}

/// Reason why nobody can be asked about a certificate.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NoQuestion {
    /// It names no responder that can be asked (RFC 5280 section 4.2.2.1).
    #[error("it names no OCSP responder")]
    NoResponder,
    /// It names one, which has to be told the issuer (RFC 6960 section 4.1.1).
    #[error("it names an OCSP responder, but the certificate of its issuer is not in its chain")]
    NoIssuer,
}

impl Question {
    /// Makes the question about the first certificate of a chain in DER.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub fn new(chain: &[Vec<u8>]) -> Result<Self, NoQuestion> {
        let (leaf, others) = chain.split_first().ok_or(NoQuestion::NoResponder)?;
        let leaf = X509::from_der(leaf).map_err(|_| NoQuestion::NoResponder)?;
        let responder = responder(&leaf).ok_or(NoQuestion::NoResponder)?;
        let mut others = others.iter().filter_map(|der| X509::from_der(der).ok());
        let issuer = others.find(|other| {
            let has_signed = |key: PKey<Public>| leaf.verify(&key).unwrap_or(false);
            other.issued(&leaf) == X509VerifyResult::OK && other.public_key().is_ok_and(has_signed)
        });
        // What does not fit is no error of anything else.
        drop(ErrorStack::get());
        Ok(Self { responder, leaf, issuer: issuer.ok_or(NoQuestion::NoIssuer)? })
    }

    /// Gives the host that is asked, with its port if that is not the usual one.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.responder.host_str().unwrap_or_default();
        self.responder.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Asks the responder; `now` is told when the answer is there.
    ///
    /// # Errors
    /// There is no answer, or it is not that the certificate is good.
    pub async fn ask(
        &self,
        client: &Client,
        now: impl FnOnce() -> UnixTime,
    ) -> Result<GoodAnswer, OcspError> {
        let request = self.request().map_err(|error| OcspError::OpenSsl(reason(&error)))?;
        let request = client.post(self.responder.clone()).body(request);
        let request = request.header(CONTENT_TYPE, REQUEST_TYPE).header(ACCEPT, RESPONSE_TYPE);
        let response = request.send().await.map_err(HttpError::Transport)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(OcspError::Status(response.status().as_u16()));
        }
        let body = read_limited(response, MAX_RESPONSE).await?;
        self.check(&body, now())
    }

    /// The `OCSPRequest` in DER (RFC 6960 section 4.1.1).
    fn request(&self) -> Result<Vec<u8>, ErrorStack> {
        let mut request = OcspRequest::new()?;
        request.add_id(self.id()?)?;
        request.to_der()
    }

    fn id(&self) -> Result<OcspCertId, ErrorStack> {
        OcspCertId::from_cert(MessageDigest::sha1(), &self.leaf, &self.issuer)
    }

    /// Checks an `OCSPResponse` in DER (RFC 6960 section 3.2).
    ///
    /// # Errors
    /// It does not say that the certificate is good now, or not on behalf of its issuer.
    pub fn check(&self, response: &[u8], now: UnixTime) -> Result<GoodAnswer, OcspError> {
        let result = self.read(response, now);
        // What is left in OpenSSL's queue would be taken for an error of the next connection.
        drop(ErrorStack::get());
        result
    }

    fn read(&self, der: &[u8], now: UnixTime) -> Result<GoodAnswer, OcspError> {
        let response = OcspResponse::from_der(der).map_err(|_| OcspError::Form)?;
        // Bytes behind the end would be stapled too.
        if response.to_der().ok().as_deref() != Some(der) {
            return Err(OcspError::Form);
        }
        if response.status() != OcspResponseStatus::SUCCESSFUL {
            return Err(OcspError::Refused(status_name(response.status())));
        }
        let basic = response.basic().map_err(|_| OcspError::Form)?;
        let id = self.id().map_err(|error| OcspError::OpenSsl(reason(&error)))?;
        let status = basic.find_status(&id).ok_or(OcspError::OtherCertificate)?;
        self.verify(&basic).map_err(|error| OcspError::Signature(reason(&error)))?;
        match status.status {
            OcspCertStatus::GOOD => {}
            OcspCertStatus::REVOKED => {
                let since = status.revocation_time.and_then(unix_time);
                let since = since.map_or_else(|| "an unknown time".to_owned(), |t| t.to_string());
                return Err(OcspError::Revoked(since));
            }
            _ => return Err(OcspError::Unknown),
        }
        let this_update = unix_time(status.this_update).ok_or(OcspError::Form)?;
        let next_update = match status.next_update() {
            Some(time) => Some(unix_time(time).ok_or(OcspError::Form)?),
            None => None,
        };
        let window = StapleWindow::new(this_update, next_update, now)?;
        let staple = Staple { response: der.to_vec(), not_after: window.next_update };
        Ok(GoodAnswer { staple, window })
    }

    /// Checks that the issuer has signed, or a certificate of it with `id-kp-OCSPSigning` (RFC 6960
    /// section 4.2.2.2).
    fn verify(&self, response: &OcspBasicResponseRef) -> Result<(), ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        store.add_cert(self.issuer.clone())?;
        // The issuer is trusted in this, and is not a root.
        store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        let mut chain = Stack::new()?;
        chain.push(self.issuer.clone())?;
        response.verify(&chain, &store.build(), OcspFlag::NO_EXPLICIT)
    }
}

/// Finds the first responder that HTTP leads to.
fn responder(leaf: &X509Ref) -> Option<Url> {
    let responders = leaf.ocsp_responders().ok()?;
    let mut urls = responders.iter().filter_map(|url| Url::parse(url).ok());
    urls.find(|url| matches!(url.scheme(), "http" | "https"))
}

fn status_name(status: OcspResponseStatus) -> &'static str {
    match status {
        OcspResponseStatus::MALFORMED_REQUEST => "malformedRequest",
        OcspResponseStatus::INTERNAL_ERROR => "internalError",
        OcspResponseStatus::TRY_LATER => "tryLater",
        OcspResponseStatus::SIG_REQUIRED => "sigRequired",
        OcspResponseStatus::UNAUTHORIZED => "unauthorized",
        _ => "an unknown status",
    }
}

/// A time of a response. The openssl crate shows it only as text: `Nov 23 20:45:00 2026 GMT`.
fn unix_time(time: &Asn1GeneralizedTimeRef) -> Option<UnixTime> {
    read_time(&time.to_string())
}

fn read_time(text: &str) -> Option<UnixTime> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [month, day, time, year, "GMT"] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    UnixTime::parse_rfc3339(&format!("{year:0>4}-{month:02}-{day:0>2}T{time}Z"))
}

#[cfg(test)]
mod tests;
