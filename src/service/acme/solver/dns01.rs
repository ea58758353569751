//! dns-01 (RFC 8555 section 8.4): a TXT record for each name, removed once the order is ready.

use super::{Challenge, ChallengeMethod, Solver, SolverTask};
use crate::acme::error::ObtainError;
use crate::acme::records::{Records, WantedRecord};
use crate::dns::{TxtRecord, ValueLimit};
use acme_dns_core::challenge::record_name;
use acme_dns_core::name::Name;
use async_trait::async_trait;
use instant_acme::ChallengeType;

/// The line of dns-01 in the table of methods.
pub(super) const METHOD: ChallengeMethod = ChallengeMethod {
    name: "dns-01",
    kind: || ChallengeType::Dns01,
    limit: |task, name| Box::pin(limit(task, name)),
    solver: |task| {
        let own = task.state.own_provider(task.certificate).unwrap_or_default();
        Box::new(Dns01(Records::new(task.state, &task.variant.name, own, task.teller)))
    },
};

/// The solver of an order's dns-01 challenges.
struct Dns01(Records);

#[async_trait(?Send)]
impl Solver for Dns01 {
    async fn present(
        &mut self,
        task: &SolverTask<'_>,
        challenges: &[&Challenge],
    ) -> Result<(), ObtainError> {
        let mut wanted = Vec::with_capacity(challenges.len());
        for challenge in challenges {
            let route = task.state.route(challenge.name.base(), task.teller).await?;
            let own = route.is_delegated().then(|| record_name(challenge.name.base()));
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

/// Gives the limit of the record set that the record of a name's challenge belongs to.
async fn limit(task: &SolverTask<'_>, name: &Name) -> Result<Option<ValueLimit>, ObtainError> {
    let route = task.state.route(name.base(), task.teller).await?;
    let own = route.is_delegated().then(|| record_name(name.base()));
    let provider = task.state.provider_for(task.certificate, route.target(), own.as_deref())?;
    Ok(task.state.provider(provider)?.value_limit(route.target()))
}
