//! dns-account-01 (draft-ietf-acme-dns-account-label): as dns-01, at a name that no other account has.

use super::MethodSolver;
use super::digest::{self, DigestSolver};
use acme_dns_core::config::ChallengeMethod;

/// The solver of dns-account-01.
pub(super) const SOLVER: MethodSolver = MethodSolver {
    method: ChallengeMethod::DnsAccount01,
    limit: |task, challenge| Box::pin(digest::limit(task, challenge)),
    solver: |task| Box::new(DigestSolver::new(task)),
};
