//! Requests to a CA besides obtaining certificates: accounts, key changes, revocations, renewal
//! information. The steps themselves are in `issuer` and `key_change`.

use super::Obtainer;
use super::error::AcmeError;
use super::issuer::IssuerClient;
use super::renewal_info::RenewalAnswer;
use acme_dns_core::id::IssuerId;
use acme_dns_core::schedule::Environment;
use instant_acme::CertificateIdentifier;

impl Obtainer {
    /// Gives the URL of our account, which is created if there is none.
    ///
    /// # Errors
    /// There is none, and none can be created.
    pub async fn account(
        &self,
        issuer: IssuerId,
        environment: Environment,
    ) -> Result<String, AcmeError> {
        let session = self.issuer(issuer)?.session(environment).await?;
        Ok(session.account.id().to_owned())
    }

    /// Replaces the key of the account (RFC 8555 section 7.3.5) as soon as no order is under way.
    ///
    /// # Errors
    /// The key comes from the configuration, the CA refuses, or its answer does not come; then the
    /// next order finds out which key is the account's.
    pub async fn change_key(&self, issuer: IssuerId) -> Result<(), AcmeError> {
        self.issuer(issuer)?.change_key(Environment::Production).await
    }

    /// Revokes a certificate (DER) that our account obtained (RFC 8555 section 7.6), for one of the
    /// reasons of RFC 5280 section 5.3.1. One that is revoked already is fine.
    ///
    /// # Errors
    /// The CA refuses or does not answer.
    pub async fn revoke(
        &self,
        issuer: IssuerId,
        certificate: &[u8],
        reason: Option<u8>,
    ) -> Result<(), AcmeError> {
        self.issuer(issuer)?.revoke(certificate, reason).await
    }

    /// Asks when a certificate should be renewed (RFC 9773 section 4.1); `None`: the CA does not say
    /// such a thing.
    ///
    /// # Errors
    /// The CA refuses or does not answer.
    pub async fn renewal_info(
        &self,
        issuer: IssuerId,
        certificate: &CertificateIdentifier<'_>,
    ) -> Result<Option<RenewalAnswer>, AcmeError> {
        self.issuer(issuer)?.renewal_info(certificate).await
    }

    fn issuer(&self, issuer: IssuerId) -> Result<&IssuerClient, AcmeError> {
        self.state.issuers.get(issuer).ok_or(AcmeError::NoSuchIssuer)
    }
}
