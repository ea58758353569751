//! Failures of the program as errors of providers.

use crate::dns::{About, ProviderError, Refusal, RefusalReason};
use acme_dns_core::providers_protocol::FailureKind;

/// Makes an error of a failure; `text` is fit for a log.
pub(super) fn error_of(failed: &str, zone: &str, kind: FailureKind, text: String) -> ProviderError {
    let action = failed.to_owned();
    let refusal =
        Refusal { status: 0, reasons: vec![RefusalReason { code: 0, text: text.clone() }] };
    let about_zone = About::Zone(zone.into());
    let unauthorized = |advice: &str, about| ProviderError::Unauthorized {
        action: action.clone(),
        refusal: refusal.clone(),
        advice: advice.to_owned(),
        about,
    };
    match kind {
        FailureKind::Unauthorized => unauthorized(
            "the credentials are refused, check them in the provider's block",
            About::Credentials,
        ),
        FailureKind::Forbidden => unauthorized(
            &format!("check that the credentials may change the records of zone \"{zone}\""),
            about_zone,
        ),
        FailureKind::NotFound => ProviderError::NoZone {
            action,
            detail: text,
            advice: format!(
                "check that zone \"{zone}\" is there and that the credentials may see it"
            ),
            about: about_zone,
        },
        FailureKind::RateLimited => ProviderError::Throttled { action, retry_after: None },
        FailureKind::Refused => {
            ProviderError::Refused { action, refusal, advice: String::new(), about: about_zone }
        }
        FailureKind::Unreachable => ProviderError::Unreachable { action, detail: text },
        FailureKind::Unavailable => ProviderError::Unavailable { action, refusal },
        FailureKind::Other => ProviderError::Unexpected { action, detail: text },
    }
}
