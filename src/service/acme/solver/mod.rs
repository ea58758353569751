//! Solvers of challenges (RFC 8555 section 8): present what the CA looks for, wait until it can be seen,
//! clean up.
//!
//! [`METHODS`] is the table of the types of challenges that there are solvers for, with a file for each.
//! How TXT records get into a zone and out of it is in [`super::records`], what is said to the CA in
//! [`super::order`].

mod dns01;

use super::ObtainerState;
use super::error::ObtainError;
use super::teller::Teller;
use crate::dns::ValueLimit;
use acme_dns_core::config::{Certificate, Variant};
use acme_dns_core::name::Name;
use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use instant_acme::{AuthorizationHandle, ChallengeType};
use std::rc::Rc;

/// The types of challenges that we solve, the preferred ones first.
const METHODS: &[ChallengeMethod] = &[dns01::METHOD];

/// A limit that is looked for.
type LimitFuture<'a> = LocalBoxFuture<'a, Result<Option<ValueLimit>, ObtainError>>;

/// A type of challenge that we solve.
#[derive(Debug)]
pub(super) struct ChallengeMethod {
    /// Its name at CAs.
    name: &'static str,
    kind: fn() -> ChallengeType,
    /// Gives the limit that what is presented for a name keeps to, if there is one.
    limit: for<'a> fn(&'a SolverTask<'_>, &'a Name) -> LimitFuture<'a>,
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
    method: &'static ChallengeMethod,
    /// The name to prove, as it was ordered: what is presented is made of it, not of the CA's text.
    name: Name,
    /// The digest of the key authorization (RFC 8555 section 8.4), in base64url.
    digest: String,
}

impl Challenge {
    /// Chooses among the challenges of an authorization for `name`.
    pub(super) fn choose<'a>(name: &Name, handle: &'a mut AuthorizationHandle<'a>) -> Option<Self> {
        let offers = |method: &&ChallengeMethod| {
            handle.challenges.iter().any(|c| c.r#type == (method.kind)())
        };
        let method = METHODS.iter().find(offers)?;
        let digest = handle.challenge((method.kind)())?.key_authorization().dns_value();
        Some(Self { method, name: name.clone(), digest })
    }

    /// Gives the limit that what is presented for it keeps to, if there is one.
    pub(super) async fn limit(
        &self,
        task: &SolverTask<'_>,
    ) -> Result<Option<ValueLimit>, ObtainError> {
        (self.method.limit)(task, &self.name).await
    }

    /// Gives the name to prove, without `*.`.
    pub(super) fn base(&self) -> &str {
        self.name.base()
    }

    /// Gives its type, to answer it.
    pub(super) fn kind(&self) -> ChallengeType {
        (self.method.kind)()
    }
}

/// Lists the types of challenges that we solve, for messages.
pub(super) fn names() -> String {
    METHODS.iter().map(|method| method.name).collect::<Vec<_>>().join(" or ")
}

/// The order that solvers work for.
pub(super) struct SolverTask<'a> {
    pub(super) state: &'a Rc<ObtainerState>,
    pub(super) variant: &'a Variant,
    pub(super) certificate: &'a Certificate,
    pub(super) teller: &'a Teller,
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
        for method in METHODS {
            let of_method = |challenge: &&&Challenge| challenge.method.name == method.name;
            let own: Vec<&Challenge> = challenges.iter().filter(of_method).copied().collect();
            if own.is_empty() {
                continue;
            }
            self.0.push((method.solver)(task));
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
