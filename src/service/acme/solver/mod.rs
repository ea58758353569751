//! Solvers of challenges (RFC 8555 section 8): present what the CA looks for, wait until it can be seen,
//! clean up.
//!
//! [`SOLVERS`] has a solver for each method of `challenge` in an issuer's block, with a file for each. How TXT records get into a zone and out of it is in [`super::records`], what is said to the CA in
//! [`super::order`].

mod digest;
mod dns01;
mod dns_account01;
mod dns_persist01;

use super::ObtainerState;
use super::error::ObtainError;
use super::issuer::Session;
use super::teller::Teller;
use crate::dns::ValueLimit;
use acme_dns_core::challenge::{account_label, account_record_name, record_name};
use acme_dns_core::config::{Certificate, ChallengeMethod, Variant};
use acme_dns_core::encoding::base64url;
use acme_dns_core::name::Name;
use acme_dns_core::persist::{self, Malformed, Wanted};
use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use instant_acme::ChallengeType;
use openssl::sha::sha256;
use std::rc::Rc;
use std::time::Duration;

/// The solvers, by their methods.
const SOLVERS: &[MethodSolver] = &[dns01::SOLVER, dns_account01::SOLVER, dns_persist01::SOLVER];

/// A limit that is looked for.
type LimitFuture<'a> = LocalBoxFuture<'a, Result<Option<ValueLimit>, ObtainError>>;

/// The solver of a method.
struct MethodSolver {
    method: ChallengeMethod,
    /// Gives the limit that what is presented for a challenge keeps to, if there is one.
    limit: for<'a> fn(&'a SolverTask<'_>, &'a Challenge) -> LimitFuture<'a>,
    /// Makes the solver for an order.
    solver: fn(&SolverTask<'_>) -> Box<dyn Solver>,
}

/// The solver of all challenges of one type of an order.
#[async_trait(?Send)]
trait Solver {
    /// Presents what the CA looks for, for all challenges at once.
    async fn present(
        &mut self,
        task: &SolverTask<'_>,
        challenges: &[&Challenge],
    ) -> Result<(), ObtainError>;

    /// Waits until the CA can see it.
    async fn wait(&self) -> Result<(), ObtainError>;

    /// Takes it away, if that is the method's way. Goes on by itself: nobody waits for it with a
    /// certificate in hand.
    fn clean_up(self: Box<Self>);
}

/// A challenge that we can solve.
#[derive(Debug)]
pub(super) struct Challenge {
    method: ChallengeMethod,
    /// The name to prove, as it was ordered: what is presented is made of it, not of the CA's text.
    name: Name,
    /// The digest of the key authorization (RFC 8555 section 8.4), in base64url.
    digest: String,
    /// With dns-persist-01, what the record has to say, or the fault of the challenge.
    persistent: Option<Result<Wanted, Malformed>>,
}

impl Challenge {
    /// Finds those among the challenges of an authorization for `name` that we may solve, the preferred
    /// ones first.
    pub(super) fn among(
        name: &Name,
        offered: &[instant_acme::Challenge],
        session: &Session,
    ) -> Vec<Self> {
        let find = |method: &ChallengeMethod| {
            let challenge = offered.iter().find(|offer| offer.r#type == kind(*method))?;
            let key_authorization = format!("{}.{}", challenge.token, session.thumbprint);
            let digest = base64url(&sha256(key_authorization.as_bytes()));
            let persistent = (*method == ChallengeMethod::DnsPersist01).then(|| {
                let json = session.transport.challenge(&challenge.url).unwrap_or_default();
                let challenge = session.directory.persist().challenge(&json)?;
                session.persistent(name.base(), Some(&challenge)).ok_or(Malformed::Number(0))
            });
            Some(Self { method: *method, name: name.clone(), digest, persistent })
        };
        session.methods.iter().filter_map(find).collect()
    }

    /// Gives the limit that what is presented for it keeps to, if there is one.
    pub(super) async fn limit(
        &self,
        task: &SolverTask<'_>,
    ) -> Result<Option<ValueLimit>, ObtainError> {
        match SOLVERS.iter().find(|solver| solver.method == self.method) {
            Some(solver) => (solver.limit)(task, self).await,
            None => Ok(None),
        }
    }

    /// Gives the name to prove, without `*.`.
    pub(super) fn base(&self) -> &str {
        self.name.base()
    }

    /// Gives what a record that stays has to say, or the fault of the challenge; `None` by other methods.
    pub(super) fn persistent(&self) -> Option<&Result<Wanted, Malformed>> {
        self.persistent.as_ref()
    }

    /// Gives its type, to answer it.
    pub(super) fn kind(&self) -> ChallengeType {
        kind(self.method)
    }
}

/// Gives the type of challenge of a method.
fn kind(method: ChallengeMethod) -> ChallengeType {
    match method {
        ChallengeMethod::Dns01 => ChallengeType::Dns01,
        other => ChallengeType::Unknown(other.name().to_owned()),
    }
}

/// The order that solvers work for.
pub(super) struct SolverTask<'a> {
    pub(super) state: &'a Rc<ObtainerState>,
    pub(super) variant: &'a Variant,
    pub(super) certificate: &'a Certificate,
    pub(super) teller: &'a Teller,
    /// The label of our account.
    pub(super) account_label: String,
    /// The time for which records of dns-persist-01 are written.
    pub(super) persist: Option<Duration>,
}

impl SolverTask<'_> {
    /// Gives the name of the record that a challenge asks for.
    pub(super) fn record_name(&self, challenge: &Challenge) -> String {
        record_name_of(challenge.method, challenge.name.base(), &self.account_label)
    }
}

/// Gives the name of the record that proves a name, which is given without `*.`, by a method.
pub(super) fn record_name_of(method: ChallengeMethod, base: &str, account_label: &str) -> String {
    match method {
        ChallengeMethod::Dns01 => record_name(base),
        ChallengeMethod::DnsPersist01 => persist::record_name(base),
        ChallengeMethod::DnsAccount01 => account_record_name(account_label, base),
    }
}

/// Gives the label of the account with a URL.
pub(super) fn label_of(account: &str) -> String {
    account_label(&sha256(account.as_bytes()))
}

/// The solvers at work on one order: one for each type of challenge that it has.
#[derive(Default)]
pub(super) struct Solvers(Vec<Box<dyn Solver>>);

impl Solvers {
    /// Presents what the CA looks for. Whatever comes of it, [`Solvers::clean_up`] is due then.
    pub(super) async fn present(
        &mut self,
        task: &SolverTask<'_>,
        challenges: &[&Challenge],
    ) -> Result<(), ObtainError> {
        for solver in SOLVERS {
            let is_own = |challenge: &&&Challenge| challenge.method == solver.method;
            let own: Vec<&Challenge> = challenges.iter().filter(is_own).copied().collect();
            if own.is_empty() {
                continue;
            }
            self.0.push((solver.solver)(task));
            if let Some(solver) = self.0.last_mut() {
                solver.present(task, &own).await?;
            }
        }
        Ok(())
    }

    /// Waits until the CA can see everything.
    pub(super) async fn wait(&self) -> Result<(), ObtainError> {
        for solver in &self.0 {
            solver.wait().await?;
        }
        Ok(())
    }

    /// Takes away what was presented.
    pub(super) fn clean_up(self) {
        self.0.into_iter().for_each(Solver::clean_up);
    }
}
