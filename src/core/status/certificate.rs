//! The status of one certificate.

use super::field::{rfc3339, rfc3339_or_null, words};
use super::share::SharedVariant;
use crate::key::KeyType;
use crate::time::UnixTime;
use serde::{Serialize, Serializer};
use std::time::Duration;

fn key_type<S: Serializer>(key: &KeyType, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(key)
}

words! {
    /// Quality of what clients are given of a certificate; of several variants, the worst.
    pub enum Served {
        /// It is valid now.
        Valid = 1, "valid";
        /// Its time has not begun or is over.
        Expired = 2, "expired";
        /// There is none; clients get a self-signed one, or no answer.
        None = 3, "none";
    }
}

words! {
    /// Work that is done for a certificate.
    pub enum Activity {
        /// None: it is renewed later.
        Idle = 1, "idle";
        /// An attempt is under way.
        Issuing = 2, "issuing";
        /// It is due, and an attempt begins when there is room, or when a CA or a DNS provider is to be tried again.
        Waiting = 3, "waiting";
        /// The last attempt has failed, and another one follows.
        Failing = 4, "failing";
    }
}

words! {
    /// Origin of a certificate that is served.
    pub enum Origin {
        /// It was obtained from a CA of the configuration.
        Issued = 1, "issued";
        /// It was taken over from another client, or put there by hand.
        Imported = 2, "imported";
        /// It is its own issuer.
        SelfSigned = 3, "self_signed";
    }
}

words! {
    /// Reason for the time of what happens next.
    pub enum WhyNext {
        /// The CA suggests it (ARI, RFC 9773).
        Ari = 1, "ari";
        /// The lifetime of the certificate.
        Lifetime = 2, "lifetime";
        /// An attempt has failed.
        Retry = 3, "retry";
        /// The configuration wants another certificate than is there, or the first.
        Config = 4, "config";
        /// A person has asked for it.
        Request = 5, "request";
    }
}

words! {
    /// Means to have the next attempt sooner than planned.
    pub enum Remedy {
        /// A reload of nginx.
        Reload = 1, "reload";
        /// The file `actions/renew-NAME` in the state path, and a reload.
        Request = 2, "request";
        /// None: the CA or the DNS provider has asked for the pause.
        Wait = 3, "wait";
        /// The TXT record that the text names: it is looked for until somebody has added it.
        Record = 4, "record";
    }
}

words! {
    /// Step of an attempt, in their order.
    pub enum Step {
        /// Zones, account, order and authorizations.
        Ordering = 1, "ordering";
        /// TXT records are written.
        Records = 2, "records";
        /// The servers of the zones do not show the TXT records yet.
        Propagation = 3, "propagation";
        /// The CA validates.
        Validation = 4, "validation";
        /// CSR, certificate, check.
        Finalize = 5, "finalize";
    }
}

words! {
    /// State of a renewal that was asked for at the status page.
    pub enum RequestState {
        /// The process that obtains certificates has not looked at it yet.
        Pending = 1, "pending";
        /// It was begun.
        Granted = 2, "granted";
        /// It was not.
        Refused = 3, "refused";
    }
}

/// Time between two renewals of a certificate that are asked for at the status page.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(3600);

/// Renewal that was asked for at the status page.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct RenewalRequest {
    /// Time at which it was decided, or of the page while that has not happened.
    #[serde(serialize_with = "rfc3339")]
    pub at: UnixTime,
    /// The state.
    pub state: RequestState,
}

/// Plan: when what comes next is done, and why then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct NextStep {
    /// Its time; one in the past means as soon as there is room.
    #[serde(serialize_with = "rfc3339")]
    pub at: UnixTime,
    /// Reason for that time.
    pub reason: WhyNext,
}

/// Step of an attempt under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct StepUnderWay {
    /// The step.
    pub name: Step,
    /// Its beginning.
    #[serde(serialize_with = "rfc3339")]
    pub since: UnixTime,
}

/// The last failure.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct LastError {
    /// The error, as the log has it. It holds words of others: escape it.
    pub text: String,
    /// Its time.
    #[serde(serialize_with = "rfc3339")]
    pub at: UnixTime,
    /// Means to try again before the planned time.
    pub remedy: Remedy,
}

/// Certificate that clients are given.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedCertificate {
    /// The issuer of the configuration that it is from, if it is known.
    pub issuer: Option<String>,
    /// The common name of the issuing certificate; a CA's words.
    #[serde(rename = "issuerCN")]
    pub issuer_cn: String,
    /// The serial number, in lower-case hexadecimal digits.
    pub serial_number: String,
    /// SHA-256 of the leaf, in lower-case hexadecimal digits.
    pub cert_fingerprint: String,
    /// The first moment of its validity.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: UnixTime,
    /// The last.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: UnixTime,
    /// The profile that was wanted.
    pub profile: Option<String>,
    /// Origin.
    pub source: Origin,
    /// End of the OCSP response that is stapled.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub stapled_until: Option<UnixTime>,
}

/// A certificate with one type of key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantStatus {
    /// The type of key that is wanted.
    #[serde(serialize_with = "key_type")]
    pub key_type: KeyType,
    /// The certificate that is served.
    pub certificate: Option<ServedCertificate>,
    /// Time of its renewal; `None`: there is nothing to be renewed.
    pub renewal: Option<NextStep>,
    /// The next attempt, which is later than the renewal if one has failed; `None` while one is under way.
    pub next: Option<NextStep>,
    /// The hosts that have to do with it, if it is shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<SharedVariant>,
}

/// Status of one certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Its name.
    pub name: String,
    /// One word for both that follow: `activity`, unless that is idle, else `served`.
    pub state: &'static str,
    /// Quality of what clients are given.
    pub served: Served,
    /// Work that is done for it.
    pub activity: Activity,
    /// Set if the CA says that it is revoked.
    pub revoked: bool,
    /// The names that it is for.
    pub sans: Vec<String>,
    /// The issuers that it may be from, the preferred one first.
    pub issuers: Vec<String>,
    /// The DNS provider.
    pub provider: String,
    /// Number of attempts in a row that have failed.
    pub failures: u32,
    /// Time at which a certificate was obtained last.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_success: Option<UnixTime>,
    /// The last failure; `None` after a success.
    pub last_error: Option<LastError>,
    /// The next attempt or renewal; `None` while an attempt is under way, or if nothing is known.
    pub next: Option<NextStep>,
    /// Step of the attempt under way.
    pub step: Option<StepUnderWay>,
    /// The last renewal that was asked for at the status page.
    pub requested: Option<RenewalRequest>,
    /// Token of the form by which it may be renewed now; `None`: the location does not allow that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_token: Option<String>,
    /// Its variants, at least one.
    pub variants: Vec<VariantStatus>,
}

impl CertificateStatus {
    /// Gives the first end of what is served; `None`: nothing is.
    pub fn not_after(&self) -> Option<UnixTime> {
        let served = self.variants.iter().filter_map(|variant| variant.certificate.as_ref());
        served.map(|certificate| certificate.not_after).min()
    }
}
