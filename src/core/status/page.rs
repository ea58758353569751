//! The model that all forms show.

use super::certificate::CertificateStatus;
use super::field::{rfc3339, rfc3339_or_null, words};
use super::figure::Phase;
use super::query::Query;
use super::share::{ShareFailure, ShareState};
use crate::time::UnixTime;
use serde::Serialize;

/// Everything that is shown at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// Number of the schema.
    pub version: u32,
    /// The time at which it was made.
    #[serde(serialize_with = "rfc3339")]
    pub now: UnixTime,
    /// Versions.
    pub build: Build,
    /// The process that obtains certificates.
    pub helper: Helper,
    /// All certificates, counted.
    pub totals: Totals,
    /// The selection that follows.
    pub listing: Listing,
    /// The certificates of this page, the most urgent first.
    pub certificates: Vec<CertificateStatus>,
    /// The issuers of the configuration.
    pub issuers: Vec<IssuerStatus>,
    /// The DNS providers of the configuration.
    pub providers: Vec<ProviderStatus>,
    /// Duration of the parts of issuances.
    pub durations: Vec<PhaseDurations>,
    /// The engine that certificates are shared on, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareStatus>,
    /// Reloads of nginx that were asked for: those that were done, and those that failed.
    pub reloads: Attempts,
    /// Shared memory.
    pub shared_zone: ZoneUse,
}

/// Versions of what runs.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Build {
    /// The module's.
    pub version: String,
    /// nginx's.
    pub nginx: String,
    /// The TLS library, with its version.
    pub openssl: String,
}

words! {
    /// Occupation of the process that obtains certificates.
    pub enum HelperState {
        /// It has not begun yet.
        Starting = 1, "starting";
        /// It obtains certificates.
        Working = 2, "working";
        /// Another process has the state path: certificates are renewed there, and served here.
        Following = 3, "following";
        /// It has shown no sign of life for some time.
        Down = 4, "down";
    }
}

/// The process that obtains certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Helper {
    /// Set unless it is down.
    pub up: bool,
    /// Its state.
    pub state: HelperState,
    /// Its identifier.
    pub pid: Option<u32>,
    /// The time of its start.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub started: Option<UnixTime>,
}

/// Numbers of certificates. `valid`, `expired` and `none` make up `total`; the others are parts of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Totals {
    /// All certificates of the configuration.
    pub total: usize,
    /// Those that are served and valid.
    pub valid: usize,
    /// Those of which one that has expired is served.
    pub expired: usize,
    /// Those of which nothing is served.
    pub none: usize,
    /// Those with an attempt under way.
    pub issuing: usize,
    /// Those that are due and wait.
    pub waiting: usize,
    /// Those whose last attempt has failed.
    pub failing: usize,
    /// Those that are revoked.
    pub revoked: usize,
}

/// Selection of certificates.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Listing {
    /// Number of this page, from 1.
    pub page: usize,
    /// Number of pages, at least 1.
    pub pages: usize,
    /// Number of certificates that the filter lets through.
    pub matching: usize,
    /// The query that selects them.
    pub query: Query,
}

/// Numbers of successes and failures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Attempts {
    /// Those that succeeded.
    pub ok: u64,
    /// Those that failed.
    pub failed: u64,
}

/// Number of requests with the same action and result.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RequestCount {
    /// Name of the action: a resource of the CA, such as `newOrder`, or an operation of a DNS provider, such as `create`.
    pub action: &'static str,
    /// The status of the answer, `ok`, or `error`.
    pub code: String,
    /// Their number.
    pub count: u64,
}

/// A certification authority of the configuration.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// Its name.
    pub name: String,
    /// The URL of its directory.
    pub directory: String,
    /// Set if browsers do not trust what it issues.
    pub is_staging: bool,
    /// Attempts to obtain a certificate from it.
    pub attempts: Attempts,
    /// Requests to it.
    pub requests: Vec<RequestCount>,
    /// It wants to be left alone until then.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub retry_after: Option<UnixTime>,
}

/// A DNS provider of the configuration.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderStatus {
    /// Its name.
    pub name: String,
    /// Its type, such as `cloudflare`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Requests to its API.
    pub requests: Vec<RequestCount>,
    /// TXT records that exist or may exist: none at rest.
    pub txt_records: u64,
}

/// Durations of one part of issuances.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseDurations {
    /// The part.
    pub phase: Phase,
    /// Its durations.
    #[serde(flatten)]
    pub took: Histogram,
}

/// Number of times that something took so long.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// Numbers of what took at most so many seconds, as in Prometheus: each holds those before.
    pub buckets: Vec<(u32, u64)>,
    /// Their number.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
}

/// Use of the shared zone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ZoneUse {
    /// Bytes of records.
    pub used: usize,
    /// Bytes in all.
    pub total: usize,
}

/// The engine as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareStatus {
    /// Its type, such as `etcd`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Name of this host, as others see it.
    pub host: Option<String>,
    /// The state.
    pub state: ShareState,
    /// Beginning of that state.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub since: Option<UnixTime>,
    /// Time of its last word.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_contact: Option<UnixTime>,
    /// Number of records that were there when they were loaded.
    pub records: u64,
    /// Number of hosts that are alive, this one included, as far as it hears of them.
    pub hosts: Option<u16>,
    /// The last failure, if it is not over.
    pub last_error: Option<ShareFailure>,
    /// Time from the issue of certificates to their takeover here.
    pub lag: Histogram,
}

impl ShareStatus {
    /// Tells whether certificates are not shared now, for whatever reason.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.state, ShareState::Away | ShareState::Refused)
    }
}
