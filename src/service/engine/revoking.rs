//! Revocation of certificates (RFC 8555 section 7.6), as a person's request and its file ask for it.
//!
//! Which requests there are, and what else each does, is not here ([`actions`](super::actions),
//! [`forgetting`](super::forgetting)).

use super::outcome::Undone;
use crate::acme::Obtainer;
use crate::store::Store;
use acme_dns_core::id::IssuerId;
use openssl::x509::X509;
use std::fmt::Write as _;

/// Reasons that a certificate's owner can have (RFC 5280 section 5.3.1).
const REASONS: [(&str, u8); 5] = [
    ("unspecified", 0),
    ("keyCompromise", 1),
    ("affiliationChanged", 3),
    ("superseded", 4),
    ("cessationOfOperation", 5),
];

/// Revokes certificates, each at the first of its possible issuers that knows it.
pub(super) async fn revoke_all(
    obtainer: &Obtainer,
    certificates: &[Vec<u8>],
    issuers: &[IssuerId],
    reason: Option<u8>,
) -> Result<(), Undone> {
    let mut failed = None::<Undone>;
    for certificate in certificates {
        if let Err(undone) = revoke(obtainer, certificate, issuers, reason).await {
            match &mut failed {
                Some(failed) => failed.add(undone),
                None => failed = Some(undone),
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Revokes a certificate at the first of its possible issuers that knows it.
pub(super) async fn revoke(
    obtainer: &Obtainer,
    certificate: &[u8],
    issuers: &[IssuerId],
    reason: Option<u8>,
) -> Result<(), Undone> {
    let mut undone = Undone { why: String::new(), is_final: true };
    for issuer in issuers {
        match obtainer.revoke(*issuer, certificate, reason).await {
            Ok(()) => return Ok(()),
            Err(error) => undone.add(error.into()),
        }
    }
    Err(undone)
}

/// Marks certificates as revoked, so that none is ever taken over: copies may lie under names that no
/// configuration has any more.
pub(super) async fn mark_revoked(store: &Store, certificates: Vec<Vec<u8>>) -> Result<(), Undone> {
    let mark = move |store: &Store| store.mark_revoked(&certificates);
    let marked = store.on_thread(mark).await;
    marked.map_err(|error| Undone { why: error.to_string(), is_final: false })
}

/// Reads the reason in the first line, if there is one.
pub(super) fn read_reason(text: &str) -> Result<Option<u8>, String> {
    let first = text.lines().next().unwrap_or_default().trim();
    if first.is_empty() || first.starts_with("-----BEGIN") {
        return Ok(None);
    }
    let found = REASONS.iter().find(|(name, _)| *name == first).map(|(_, code)| *code);
    found.map(Some).ok_or_else(|| {
        let known = REASONS.map(|(name, _)| name).join(", ");
        format!("its first line is none of the reasons {known}")
    })
}

/// Reads the certificates of a text, in DER.
pub(super) fn read_certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    if !text.contains("-----BEGIN") {
        return Ok(Vec::new());
    }
    let invalid = |_| "it holds something that is no certificate in PEM".to_owned();
    let certificates = X509::stack_from_pem(text.as_bytes()).map_err(invalid)?;
    certificates.iter().map(|certificate| certificate.to_der().map_err(invalid)).collect()
}

/// Writes the reason that was given, and the certificates.
pub(super) fn write_revocation(text: &str, certificates: &[Vec<u8>]) -> Result<String, String> {
    let mut out = text.lines().next().unwrap_or_default().trim().to_owned();
    out.push('\n');
    for der in certificates {
        let pem = X509::from_der(der).and_then(|certificate| certificate.to_pem());
        let pem = pem.map_err(|error| error.to_string())?;
        let _infallible = write!(out, "{}", String::from_utf8_lossy(&pem));
    }
    Ok(out)
}
