//! The challenge by which a name is proven, and what has to be there before an order is placed.

use super::attempt::OrderAttempt;
use super::error::{NeededRecord, ObtainError};
use super::issuer::Session;
use super::order::Authorization;
use super::persist::PersistStep;
use super::solver::Challenge;
use super::step::Step;
use crate::event::PersistEvent;
use acme_dns_core::config::ChallengeMethod;
use acme_dns_core::name::Name;
use acme_dns_core::persist::Wanted;
use acme_dns_core::schedule::Environment;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeSet;

/// So many records are looked for at a time.
const AT_ONCE: usize = 8;

/// Outcome of a look before an order.
pub(super) enum Readiness {
    /// The preferred method that can be had.
    Method(ChallengeMethod),
    /// Only an order can tell.
    Unknown,
}

impl OrderAttempt<'_> {
    /// Chooses the challenge of each authorization.
    pub(super) async fn choose<'a>(
        &self,
        authorizations: Vec<&'a Authorization>,
        methods: &[ChallengeMethod],
    ) -> Result<Vec<(&'a Authorization, &'a Challenge)>, ObtainError> {
        let mut chosen = Vec::with_capacity(authorizations.len());
        let mut needed = Vec::new();
        for authorization in authorizations {
            match self.choose_one(authorization, methods).await? {
                Ok(challenge) => chosen.push((authorization, challenge)),
                Err(record) if !needed.contains(&record) => needed.push(record),
                Err(_) => {}
            }
        }
        match needed.is_empty() {
            true => Ok(chosen),
            false => {
                self.state.tell_needed(&needed, &self.teller);
                Err(ObtainError::Waiting(needed))
            }
        }
    }

    /// Chooses the first challenge that can be had; a record that somebody has to add if there is none.
    async fn choose_one<'a>(
        &self,
        authorization: &'a Authorization,
        methods: &[ChallengeMethod],
    ) -> Result<Result<&'a Challenge, NeededRecord>, ObtainError> {
        let mut needed = None;
        for challenge in authorization.challenges() {
            let wanted = match challenge.persistent() {
                None => return Ok(Ok(challenge)),
                Some(Ok(wanted)) => wanted.clone(),
                Some(Err(fault)) => {
                    let (name, why) = (authorization.name.clone(), fault.to_string());
                    self.teller.persist(PersistEvent::Malformed { name, why });
                    continue;
                }
            };
            match self.persist_step(challenge.base(), wanted).await? {
                PersistStep::Wait(record) => needed = needed.or(Some(record)),
                _ => return Ok(Ok(challenge)),
            }
        }
        needed.map(Err).ok_or_else(|| authorization.lacks(methods))
    }

    /// Finds the preferred method that can be had, as far as that shows before an order. An account that a record
    /// depends on is made for that.
    pub(super) async fn readiness(
        &self,
        environment: Environment,
    ) -> Result<Readiness, ObtainError> {
        let methods = self.issuer.methods(environment);
        let mut needed = Vec::new();
        for method in methods {
            if method != ChallengeMethod::DnsPersist01 {
                return Ok(Readiness::Method(method));
            }
            let session = self.issuer.session(environment).await?;
            match self.missing_records(&session).await? {
                None => return Ok(Readiness::Unknown),
                Some(records) if records.is_empty() => return Ok(Readiness::Method(method)),
                Some(records) => needed = records,
            }
        }
        if needed.iter().any(|record| self.state.is_due(record)) {
            self.check_account(environment).await?;
        }
        self.state.tell_needed(&needed, &self.teller);
        Err(ObtainError::Waiting(needed))
    }

    /// Finds the records that nobody here can write. `None`: the CA does not say before an order what they are.
    async fn missing_records(
        &self,
        session: &Session,
    ) -> Result<Option<Vec<NeededRecord>>, ObtainError> {
        let bases: BTreeSet<&str> = self.certificate.names.iter().map(Name::base).collect();
        let mut wanted = Vec::with_capacity(bases.len());
        for base in bases {
            let Some(of_base) = session.persistent(base, None) else { return Ok(None) };
            wanted.push((base, of_base));
        }
        let steps = stream::iter(wanted).map(|(base, wanted)| self.persist_step(base, wanted));
        let steps: Vec<PersistStep> = steps.buffered(AT_ONCE).try_collect().await?;
        let missing = steps.into_iter().filter_map(|step| match step {
            PersistStep::Wait(record) => Some(record),
            _ => None,
        });
        Ok(Some(missing.collect()))
    }

    /// Finds out what is to be done about the record of a name.
    async fn persist_step(&self, base: &str, wanted: Wanted) -> Result<PersistStep, ObtainError> {
        let (span, certificate) = (self.issuer.config().persist, self.certificate);
        let record =
            self.state.persist_record(certificate, (base, wanted), span, &self.teller).await?;
        Ok(record.step)
    }

    /// Asks the CA whether the account is good, before others are told to put it into records (draft 02, section
    /// 4.5); an account that is not is replaced.
    async fn check_account(&self, environment: Environment) -> Result<(), ObtainError> {
        let session = self.issuer.session(environment).await?;
        let url = session.account.id().to_owned();
        let answer = session.post_as_get(Step::Account, &url, &self.teller).await;
        drop(session);
        match answer {
            Ok(_) => Ok(()),
            Err(error) => {
                self.issuer.replace_account(environment, &url, &error).await?;
                Err(error.into())
            }
        }
    }
}
