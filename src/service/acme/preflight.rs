//! The check before an account is made or an order is placed: the zones of all names.

use super::attempt::OrderAttempt;
use super::error::ObtainError;
use crate::dns::on_account_of;
use crate::store::StoredCertificate;
use acme_dns_core::challenge::record_name;
use acme_dns_core::name::Name;
use std::collections::BTreeSet;

impl OrderAttempt<'_> {
    /// Looks for the zones of all names. Credentials that are refused, or a zone that is not there, cost
    /// no account and no order then; and what is found is what the records need next.
    ///
    /// Some CAs need no proof of their customers. One that has issued the certificate of before, and has not asked
    /// for a proof since, is asked whatever the DNS provider says.
    pub(super) async fn look_at_zones(
        &self,
        previous: Option<&StoredCertificate>,
    ) -> Result<(), ObtainError> {
        let has_issued = previous.is_some_and(|previous| self.is_from_issuer(previous));
        if has_issued && self.issuer.may_trust_us() {
            return Ok(());
        }
        let main = self.state.own_provider(self.certificate)?;
        let names: BTreeSet<&str> = self.certificate.names.iter().map(Name::base).collect();
        self.state.find_routes(names.iter().copied(), &self.teller).await;
        on_account_of(&self.certificate.name, async {
            // One after the other: the provider has found most zones after the first name.
            for name in names {
                let route = self.state.route(name, &self.teller).await?;
                let own = route.is_delegated().then(|| record_name(name));
                let (name, own) = (route.target(), own.as_deref());
                let provider = self.state.provider_for(self.certificate, name, own)?;
                self.state.zone_of((main, provider), name, own).await?;
            }
            Ok(())
        })
        .await
    }
}
