//! Authorizations of an order (RFC 8555 section 7.1.4).

use crate::acme::error::ObtainError;
use crate::acme::issuer::Session;
use crate::acme::problem::{Problem, printable};
use crate::acme::solver::Challenge;
use acme_dns_core::config::ChallengeMethod;
use acme_dns_core::name::Name;
use instant_acme::{AuthorizationState, AuthorizationStatus, ChallengeType, Identifier};

/// So many types of challenges of an authorization are shown.
const MAX_OFFERED: usize = 16;

/// One authorization of an order (RFC 8555 section 7.1.4).
#[derive(Debug)]
pub(in crate::acme) struct Authorization {
    pub(super) index: usize,
    /// The name, with `*.` if it is a wildcard, as the CA has it; printable.
    pub(in crate::acme) name: String,
    pub(in crate::acme) status: AuthorizationStatus,
    /// Set if it is of a name that was ordered.
    pub(in crate::acme) is_ordered: bool,
    /// The challenges that we may solve, the preferred ones first.
    challenges: Vec<Challenge>,
    /// The types of its challenges.
    offered: String,
    pub(super) problem: Option<Problem>,
}

impl Authorization {
    /// Gives the challenges that we may solve, the preferred ones first.
    pub(in crate::acme) fn challenges(&self) -> &[Challenge] {
        &self.challenges
    }

    /// Makes the error of an authorization without a challenge by one of these methods.
    pub(in crate::acme) fn lacks(&self, wanted: &[ChallengeMethod]) -> ObtainError {
        let wanted: Vec<&str> = wanted.iter().map(|method| method.name()).collect();
        ObtainError::NoChallenge {
            wanted: wanted.join(" or "),
            name: self.name.clone(),
            offered: self.offered.clone(),
        }
    }

    /// Gives the reason why nothing can come of it any more.
    pub(super) fn failure(&self) -> Option<(String, Problem)> {
        dead(self.status)?;
        Some((self.name.clone(), self.problem.clone()?))
    }

    /// Reads an authorization of an order for these names.
    pub(super) fn read(
        index: usize,
        handle: &AuthorizationState,
        names: &[Name],
        session: &Session,
    ) -> Self {
        let identifier = handle.identifier();
        let name = printable(&identifier.to_string());
        let ordered = match identifier.identifier {
            Identifier::Dns(text) => {
                names.iter().find(|name| name.is_authorized_by(text, identifier.wildcard))
            }
            _ => None,
        };
        let status = handle.status;
        let challenges = handle.challenges.iter().take(MAX_OFFERED);
        let offered: Vec<String> =
            challenges.map(|challenge| challenge_type(&challenge.r#type)).collect();
        let problem = handle.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        let problem = problem.map(Problem::new).or_else(|| dead(status));
        let challenges = ordered.map(|name| Challenge::among(name, &handle.challenges, session));
        let (is_ordered, offered) = (ordered.is_some(), offered.join(", "));
        let challenges = challenges.unwrap_or_default();
        Self { index, name, status, is_ordered, challenges, offered, problem }
    }
}

/// Fails if nothing can come of one of an order's authorizations any more, with the reasons.
pub(in crate::acme) fn check(authorizations: &[Authorization]) -> Result<(), ObtainError> {
    let failed: Vec<_> = authorizations.iter().filter_map(Authorization::failure).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(ObtainError::Invalid(failed)),
    }
}

pub(super) fn challenge_type(kind: &ChallengeType) -> String {
    match kind {
        ChallengeType::Http01 => "http-01".to_owned(),
        ChallengeType::Dns01 => "dns-01".to_owned(),
        ChallengeType::TlsAlpn01 => "tls-alpn-01".to_owned(),
        ChallengeType::Unknown(name) => printable(name),
        _ => "another".to_owned(),
    }
}

/// Gives the fault of an authorization that cannot become valid any more.
fn dead(status: AuthorizationStatus) -> Option<Problem> {
    let status = match status {
        AuthorizationStatus::Pending | AuthorizationStatus::Valid => return None,
        AuthorizationStatus::Invalid => "invalid",
        AuthorizationStatus::Revoked => "revoked",
        AuthorizationStatus::Expired => "expired",
        AuthorizationStatus::Deactivated => "deactivated",
    };
    let detail = format!("the authorization is {status}");
    Some(Problem { detail, ..Problem::default() })
}
