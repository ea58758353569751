//! The page as JSON. Its schema is in docs/status.md.

use super::certificate::CertificateStatus;
use super::control::Answer;
use super::field::rfc3339;
use super::page::Page;
use crate::time::UnixTime;
use serde::Serialize;

/// One certificate alone.
#[derive(Serialize)]
struct One<'a> {
    version: u32,
    #[serde(serialize_with = "rfc3339")]
    now: UnixTime,
    #[serde(flatten)]
    certificate: &'a CertificateStatus,
}

/// Writes a page.
#[must_use]
pub fn render(page: &Page) -> String {
    // Numbers, texts and lists have no form that JSON lacks.
    serde_json::to_string(page).unwrap_or_default()
}

/// Writes the first certificate of a page alone.
#[must_use]
pub fn render_one(page: &Page) -> String {
    let certificate = page.certificates.first();
    let one =
        certificate.map(|certificate| One { version: page.version, now: page.now, certificate });
    one.and_then(|one| serde_json::to_string(&one).ok()).unwrap_or_default()
}

/// Writes an answer to a request for a renewal.
#[must_use]
pub fn answer(answer: &Answer) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}
