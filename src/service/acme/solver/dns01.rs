//! dns-01 (RFC 8555 section 8.4): a TXT record for each name, removed once the order is ready.

use super::MethodSolver;
use super::digest::{self, DigestSolver};
use acme_dns_core::config::ChallengeMethod;

/// The solver of dns-01.
pub(super) const SOLVER: MethodSolver = MethodSolver {
    method: ChallengeMethod::Dns01,
    limit: |task, challenge| Box::pin(digest::limit(task, challenge)),
    solver: |task| Box::new(DigestSolver::new(task)),
};
