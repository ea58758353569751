//! CAs and DNS providers that a certificate is obtained with.

use super::limits::OrderLimit;
use crate::id::{IssuerId, ProviderId};
use std::sync::Arc;

/// A CA that a certificate can be from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Authority {
    /// Its identifier in the configuration.
    pub issuer: IssuerId,
    /// The issuer's name, by which the next process knows it.
    pub name: String,
    /// Set if it has a staging environment.
    pub has_staging: bool,
    /// Number of orders that it admits, where that is known.
    pub limit: Option<OrderLimit>,
}

/// A DNS provider, by which a certificate's names are proven.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProviderIdentity {
    /// Its identifier in the configuration.
    pub id: ProviderId,
    /// The provider's name, by which the next process knows it.
    pub name: Arc<str>,
}
