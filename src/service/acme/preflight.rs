//! The checks before an account is made or an order is placed: the zones of all names, and before the first order
//! what else is cheap to find out and would cost a part of the CA's limits ([`crate::doctor::order`]).

use super::attempt::OrderAttempt;
use super::choice::Readiness;
use super::error::ObtainError;
use super::solver::{label_of, record_name_of};
use crate::dns::on_account_of;
use crate::doctor::order::{self, Plan};
use crate::store::StoredCertificate;
use acme_dns_core::config::ChallengeMethod;
use acme_dns_core::name::Name;
use acme_dns_core::schedule::Environment;
use std::collections::{BTreeMap, BTreeSet};

impl OrderAttempt<'_> {
    /// Looks for the zones of all names. Credentials that are refused, or a zone that is not there, cost
    /// no account and no order then; and what is found is what the records need next.
    ///
    /// Some CAs need no proof of their customers. One that has issued the certificate of before, and has not asked
    /// for a proof since, is asked whatever the DNS provider says.
    pub(super) async fn look_at_zones(
        &self,
        environment: Environment,
        previous: Option<&StoredCertificate>,
    ) -> Result<(), ObtainError> {
        let has_issued = previous.is_some_and(|previous| self.is_from_issuer(previous));
        if has_issued && self.issuer.may_trust_us() {
            return Ok(());
        }
        let method = match self.readiness(environment).await? {
            Readiness::Method(ChallengeMethod::DnsPersist01) | Readiness::Unknown => return Ok(()),
            Readiness::Method(method) => method,
        };
        let main = self.state.own_provider(self.certificate)?;
        let names = self.challenge_names(method, environment).await?;
        self.state.find_routes(&names, &self.teller).await;
        let zones = on_account_of(&self.certificate.name, async {
            let mut zones = BTreeMap::new();
            // One after the other: the provider has found most zones after the first name.
            for name in &names {
                let route = self.state.route(name, &self.teller).await?;
                let (name, own) = (route.target(), route.is_delegated().then_some(name.as_str()));
                let provider = self.state.provider_for(self.certificate, name, own)?;
                let zone = self.state.zone_of((main, provider), name, own).await?;
                let servers = self.state.provider(provider)?.name_servers(&zone);
                zones.insert(zone.name, servers);
            }
            Ok::<_, ObtainError>(zones)
        });
        let zones = zones.await?;
        let is_first = previous.is_none() || self.state.is_troubled(&self.variant.name);
        if is_first { self.consult(environment, method, &zones).await } else { Ok(()) }
    }

    /// Asks the doctor. A problem that would cost a part of the CA's limits ends the attempt.
    async fn consult(
        &self,
        environment: Environment,
        method: ChallengeMethod,
        zones: &BTreeMap<String, Option<Vec<String>>>,
    ) -> Result<(), ObtainError> {
        let (identities, account) = self.issuer.caa_party(environment).await?;
        let plan = Plan {
            names: &self.certificate.names,
            zones,
            identities: &identities,
            account: account.as_deref(),
            method: method.name(),
        };
        match order::check(&self.state.checker, &self.state.resolver, &plan).await {
            Some(finding) => Err(ObtainError::Check(Box::new(finding))),
            None => Ok(()),
        }
    }

    /// Gives the names of the challenges by a method. An account that is a part of them is made for that.
    async fn challenge_names(
        &self,
        method: ChallengeMethod,
        environment: Environment,
    ) -> Result<Vec<String>, ObtainError> {
        let label = match method {
            ChallengeMethod::DnsAccount01 => {
                label_of(self.issuer.session(environment).await?.account.id())
            }
            ChallengeMethod::Dns01 | ChallengeMethod::DnsPersist01 => String::new(),
        };
        let bases: BTreeSet<&str> = self.certificate.names.iter().map(Name::base).collect();
        Ok(bases.into_iter().map(|base| record_name_of(method, base, &label)).collect())
    }
}
