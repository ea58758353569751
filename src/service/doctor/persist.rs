//! Records of dns-persist-01, and the key that is all that is needed beside them.

use super::Doctor;
use crate::acme::Inspection;
use acme_dns_core::config::{Certificate, ChallengeMethod, Issuer};
use acme_dns_core::findings::{Finding, rows};
use acme_dns_core::id::IssuerId;
use acme_dns_core::name::Name;
use acme_dns_core::persist::{Look, Wanted, record_name};
use acme_dns_core::time::UnixTime;
use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

/// Tells whether names are proven to an issuer by such records, if they are there.
fn prefers_records(issuer: &Issuer) -> bool {
    issuer.challenges.first() == Some(&ChallengeMethod::DnsPersist01)
}

impl Doctor {
    /// Tells whether no other method is left for a certificate, so that its names need no provider.
    pub(super) fn has_persist_only(&self, certificate: &Certificate) -> bool {
        let mut issuers = certificate.issuers.iter().filter_map(|id| self.config.issuers.get(*id));
        issuers.all(|issuer| issuer.challenges == [ChallengeMethod::DnsPersist01])
    }

    /// Looks for the records of a certificate's names, for each CA to which our account is known. Where other methods
    /// are left, only one that is there and wrong is told.
    pub(super) async fn check_persist(
        &self,
        certificate: &Certificate,
        inspected: &HashMap<IssuerId, Inspection>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for id in &certificate.issuers {
            let issuer = self.config.issuers.get(*id).filter(|issuer| prefers_records(issuer));
            let Some((issuer, inspection)) = issuer.zip(inspected.get(id)) else { continue };
            let is_needed = issuer.challenges.len() == 1;
            let bases: BTreeSet<&str> = certificate.names.iter().map(Name::base).collect();
            for base in bases {
                let Some(wanted) = inspection.persistent(base) else { continue };
                let is_wildcard = |name: &Name| name.is_wildcard() && name.base() == base;
                let wildcard = certificate.names.iter().any(is_wildcard);
                let wanted = Wanted { wildcard, ..wanted };
                findings.extend(self.check_record(base, &wanted, is_needed).await);
            }
        }
        findings
    }

    /// Looks for one record at all servers of its zone.
    async fn check_record(&self, base: &str, wanted: &Wanted, is_needed: bool) -> Option<Finding> {
        let (name, now) = (record_name(base), UnixTime::from(SystemTime::now()));
        let look = |values: &Vec<String>| wanted.look(values.iter().map(String::as_str), now);
        let (issuer, why) = match self.checker.values(&self.resolver, &name).await {
            Ok(servers) => match servers.iter().map(look).reduce(Look::joined) {
                Some(Look { good: Some(_), .. }) | None => return None,
                Some(look) => (look.issuer, look.fault),
            },
            Err(why) => (wanted.issuers.first()?.clone(), Some(why)),
        };
        let why = match why {
            None if !is_needed => return None,
            why => why.unwrap_or_else(|| "it is not there".to_owned()),
        };
        Some(rows::P01.finding(&[
            ("name", &name),
            ("account", wanted.accounts.first()?),
            ("words", &why),
            ("record", &wanted.value(&issuer, None)),
        ]))
    }

    /// Tells of account keys that workers can read.
    pub(super) fn check_standing_key(&self, issuer: &Issuer) -> Option<Finding> {
        let user = self.shared_user.as_deref()?;
        let is_standing = issuer.challenges.contains(&ChallengeMethod::DnsPersist01);
        is_standing.then(|| rows::P03.finding(&[("issuer", &issuer.name), ("user", user)]))
    }
}
