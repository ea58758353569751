//! Cloudflare's API v4.

use super::{Budget, DnsProvider, Placed, ProviderError, TxtRecord, Zone};
use crate::http::{self, HttpError};
use acme_dns_core::config::{Cloudflare as Settings, SecretId};
use async_trait::async_trait;
use secrecy::SecretString;
use std::rc::Rc;

/// The provider.
pub struct Cloudflare {
    client: reqwest::Client,
    name: String,
    budget: Rc<Budget>,
}
impl Cloudflare {
    /// Makes the client.
    ///
    /// # Errors
    /// The trusted certificates are no good, or the credentials cannot be sent.
    pub fn new(
        name: &str,
        settings: &Settings,
        _secret: impl Fn(SecretId) -> SecretString,
        budget: Rc<Budget>,
    ) -> Result<Self, HttpError> {
        let client = http::client(settings.trusted_certificate.as_deref())?;
        Ok(Self { client, name: name.to_owned(), budget })
    }
    fn nothing(&self) -> ProviderError {
        let detail = format!("{:?} {:?}", self.client, self.budget);
        ProviderError::Unexpected { action: self.name.clone(), detail }
    }
}
#[async_trait(?Send)]
impl DnsProvider for Cloudflare {
    async fn zone_of(&self, _name: &str) -> Result<Zone, ProviderError> {
        Err(self.nothing())
    }
    async fn create(
        &self,
        _zone: &Zone,
        _records: &[TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        Err(self.nothing())
    }
    async fn remove(&self, _placed: &[Placed]) -> Result<(), ProviderError> {
        Err(self.nothing())
    }
}
