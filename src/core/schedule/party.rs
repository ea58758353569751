//! CAs and DNS providers that a certificate is obtained with.

use super::limits::OrderLimit;

/// A CA that a certificate can be from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Authority {
    /// Index into the configuration's issuers.
    pub issuer: usize,
    /// The issuer's name, by which the next process knows it.
    pub name: String,
    /// Set if it has a staging environment.
    pub has_staging: bool,
    /// Number of orders that it admits, where that is known.
    pub limit: Option<OrderLimit>,
}

/// A DNS provider, by which a certificate's names are proven.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Provider {
    /// Index into the configuration's providers.
    pub index: usize,
    /// The provider's name, by which the next process knows it.
    pub name: String,
}
