//! The public status: what a person, a program or a monitoring system may know of the certificates and of the process
//! that obtains them.
//!
//! ```text
//! service --records, figures--> shared memory --copied by a worker--> Page --json, prometheus--> text
//! ```
//!
//! [`encode`] is the form in shared memory, [`page`] the model that is shown, which [`assemble`] makes, and each form of
//! it is a pure function of that model. Names, key types and parties are the configuration's, which every process has:
//! only what changes is in shared memory. Nothing in here is secret: no key, no token, no account.

pub mod assemble;
pub mod certificate;
pub mod control;
pub mod encode;
mod field;
pub mod figure;
pub mod form;
pub mod html;
pub mod json;
pub mod page;
pub mod prometheus;
pub mod query;
#[cfg(any(test, feature = "testing"))]
pub mod samples;
pub mod share;
pub mod share_record;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use assemble::{Assembly, Head, Order, PublicArea};
pub use certificate::{
    Activity, CertificateStatus, LastError, NextStep, Origin, Remedy, RenewalRequest, RequestState,
    Served, ServedCertificate, Step, StepUnderWay, VariantStatus, WhyNext,
};
pub use control::{Answer, AnswerKind};
pub use encode::{Plan, RecordError, ServedRecord};
pub use figure::{CaAction, Code, Counted, DnsAction, Figure, Phase};
pub use form::Form;
pub use page::{
    Attempts, Build, Helper, HelperState, Histogram, IssuerStatus, Listing, Page, PhaseDurations,
    ProviderStatus, RequestCount, ShareStatus, Totals, ZoneUse,
};
pub use query::{Filter, Query};
pub use share::{ShareFailure, ShareState, SharedVariant};
pub use share_record::EngineRecord;

use crate::time::UnixTime;

/// Makes a weak entity tag (RFC 9110 section 8.8.3) of a rendered page. The time at which it was rendered does not
/// count.
#[must_use]
pub fn entity_tag(body: &str, now: UnixTime) -> String {
    let now = now.to_string();
    let hash = body
        .split(&now)
        .fold(0_u64, |before, part| before.rotate_left(1) ^ encode::hash(part.as_bytes()));
    format!("W/\"{hash:016x}\"")
}
