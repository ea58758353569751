//! The public status: what a person, a program or a monitoring system may know of the certificates and of the process
//! that obtains them.
//!
//! ```text
//! service --records, figures--> shared memory --copied by a worker--> Page --json, prometheus--> text
//! ```
//!
//! [`encode`] is the form in shared memory, [`page`] the model that is shown, and each form of it is a pure
//! function of that model. Names, key types and parties are the configuration's, which every process has: only what
//! changes is in shared memory. Nothing in here is secret: no key, no token, no account.

pub mod certificate;
pub mod figure;
pub mod page;
pub mod query;

pub use certificate::{
    Activity, CertificateStatus, LastError, NextStep, Origin, Remedy, Served, ServedCertificate,
    Step, StepUnderWay, VariantStatus, WhyNext,
};
pub use figure::{Counted, Phase};
pub use page::{
    Attempts, Build, Helper, HelperState, IssuerStatus, Listing, Page, PhaseDurations,
    ProviderStatus, RequestCount, Totals, ZoneUse,
};
pub use query::{Filter, Query};
