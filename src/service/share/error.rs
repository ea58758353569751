//! Errors of engines: which endpoint, what it said, and what a person can do.

use crate::http::HttpError;
use acme_dns_core::config::KeyError;
use openssl::error::ErrorStack;
use thiserror::Error;

/// Failure to make an engine's client, before anybody is contacted.
#[derive(Debug, Error)]
pub enum SetupError {
    /// A certificate or a key cannot be used, or TLS cannot be set up.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A key of records cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate cannot be read.
    #[error("invalid trusted certificate: {0}")]
    Certificate(#[from] ErrorStack),
    /// TLS cannot be set up, or the certificate and the key of the client cannot be used together.
    #[error("\"certificate\", \"certificate_key\" or \"trusted_certificate\" cannot be used: {0}")]
    Tls(String),
}

/// An error of an engine. `endpoint` is the one that was asked last, without what may be secret in it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ShareError {
    /// It cannot be reached, or breaks off; with several endpoints, none can.
    #[error("{endpoint} cannot be reached: {detail}")]
    Away {
        /// The endpoint.
        endpoint: String,
        /// The error.
        detail: String,
    },
    /// It has not answered in time.
    #[error("{endpoint} has not answered in time: {detail}")]
    Timeout {
        /// The endpoint.
        endpoint: String,
        /// The question, or the error.
        detail: String,
    },
    /// It refuses the credentials, or their rights are not enough.
    #[error("{endpoint} refuses access: {detail}; {advice}")]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// Its words.
        detail: String,
        /// Advice for a person.
        advice: &'static str,
    },
    /// Its certificate is not trusted, or it does not trust ours.
    #[error(
        "{endpoint} is not trusted: {detail}; check \"trusted_certificate\" and its certificate"
    )]
    Untrusted {
        /// The endpoint.
        endpoint: String,
        /// The error.
        detail: String,
    },
    /// It is something else than what the block says, or a version that cannot be used.
    #[error("{endpoint} gave an answer that makes no sense: {detail}; {advice}")]
    Foreign {
        /// The endpoint.
        endpoint: String,
        /// The answer.
        detail: String,
        /// Advice for a person.
        advice: &'static str,
    },
    /// It takes no more data.
    #[error("{endpoint} is full: {detail}; {advice}")]
    Full {
        /// The endpoint.
        endpoint: String,
        /// Its words.
        detail: String,
        /// Advice for a person.
        advice: &'static str,
    },
    /// A record cannot be encrypted.
    #[error("cannot encrypt a record: {detail}")]
    Encryption {
        /// The error.
        detail: String,
    },
}

/// A guess at what is behind a connection that is closed in the TLS handshake.
pub(super) const NO_TLS: &str = "; perhaps it has no TLS";

/// Tells whether an error of a TLS handshake is that of a connection that was closed. Which it is depends on who is faster.
pub(super) fn is_closed(detail: &str) -> bool {
    ["unexpected EOF", "reset by peer", "roken pipe"].iter().any(|word| detail.contains(word))
}

/// Says what may be behind a connection that is closed right after the TLS handshake. Servers do not tell it, or it is not
/// heard: with TLS 1.3 a client sends its request before it is refused, and a write that fails hides the reason.
pub(super) const fn closed_hint(has_certificate: bool) -> &'static str {
    if has_certificate {
        "; perhaps it does not trust the \"certificate\""
    } else {
        "; perhaps it asks for a \"certificate\""
    }
}

impl ShareError {
    /// Tells whether it is useless to try again before a person has changed something. It is tried again all the same,
    /// because they may have.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Away { .. } | Self::Timeout { .. })
    }

    /// Tells whether what was asked for may have been done.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Timeout { .. } | Self::Foreign { .. })
    }
}
