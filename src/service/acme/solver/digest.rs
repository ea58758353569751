//! Challenges that are proven by a TXT record with the digest of their key authorization: dns-01 and
//! dns-account-01.

use super::{Challenge, Solver, SolverTask};
use crate::acme::error::ObtainError;
use crate::acme::records::{Records, WantedRecord};
use crate::dns::{TxtRecord, ValueLimit};
use async_trait::async_trait;

/// The solver of an order's challenges.
pub(super) struct DigestSolver(Records);

impl DigestSolver {
    pub(super) fn new(task: &SolverTask<'_>) -> Self {
        let own = task.state.own_provider(task.certificate).unwrap_or_default();
        Self(Records::new(task.state, &task.variant.name, own, task.teller))
    }
}

#[async_trait(?Send)]
impl Solver for DigestSolver {
    async fn present(
        &mut self,
        task: &SolverTask<'_>,
        challenges: &[&Challenge],
    ) -> Result<(), ObtainError> {
        let mut wanted = Vec::with_capacity(challenges.len());
        for challenge in challenges {
            let challenge_name = task.record_name(challenge);
            let route = task.state.route(&challenge_name, task.teller).await?;
            let own = route.is_delegated().then_some(challenge_name);
            let (name, value) = (route.target().to_owned(), challenge.digest.clone());
            let provider = task.state.provider_for(task.certificate, &name, own.as_deref())?;
            let provider = provider.to_owned();
            let record = TxtRecord { name, value };
            wanted.push(WantedRecord { provider, challenge: own, record });
        }
        self.0.create(wanted).await
    }

    async fn wait(&self) -> Result<(), ObtainError> {
        self.0.wait().await
    }

    fn clean_up(self: Box<Self>) {
        self.0.clean_up();
    }
}

/// Gives the limit of the record set that a challenge's record belongs to.
pub(super) async fn limit(
    task: &SolverTask<'_>,
    challenge: &Challenge,
) -> Result<Option<ValueLimit>, ObtainError> {
    let challenge = task.record_name(challenge);
    let route = task.state.route(&challenge, task.teller).await?;
    let own = route.is_delegated().then_some(challenge.as_str());
    let provider = task.state.provider_for(task.certificate, route.target(), own)?;
    Ok(task.state.provider(provider)?.value_limit(route.target()))
}
