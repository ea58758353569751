//! The ground that all parts of the engine stand on: the configuration, the state path and the process around.
//!
//! What changes while the service runs is not here; each part has its own state.

use crate::host::Host;
use crate::store::{Facts, Store};
use acme_dns_core::config::{Certificate, Config, Issuer, Variant};
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use acme_dns_core::text::list;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Configuration, state path and host. Indices are those of the configuration: one that it does not have is a
/// bug, and a panic.
pub(super) struct Site {
    pub(super) config: Arc<Config>,
    pub(super) store: Store,
    pub(super) host: Arc<dyn Host>,
}

impl Site {
    /// Writes a line to the error log.
    pub(super) fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        self.host.log(level, format_args!("acme_dns: {message}"));
    }

    /// Returns a variant with its certificate.
    pub(super) fn variant(&self, variant: usize) -> (&Variant, &Certificate) {
        let wanted = &self.config.variants[variant];
        (wanted, self.certificate(wanted.certificate))
    }

    pub(super) fn certificate(&self, certificate: usize) -> &Certificate {
        &self.config.certificates[certificate]
    }

    pub(super) fn issuer(&self, issuer: usize) -> &Issuer {
        &self.config.issuers[issuer]
    }

    /// Returns the name of a variant, which its files have too.
    pub(super) fn name(&self, variant: usize) -> &str {
        &self.config.variants[variant].name
    }

    pub(super) fn variants(&self) -> Range<usize> {
        0..self.config.variants.len()
    }

    pub(super) fn certificates(&self) -> Range<usize> {
        0..self.config.certificates.len()
    }

    /// Returns the names that a variant is for, as a line has them.
    pub(super) fn names_of(&self, variant: usize) -> String {
        let (_, certificate) = self.variant(variant);
        let names = certificate.names.iter().map(|name| name.as_str());
        list(&names.collect::<Vec<_>>())
    }

    /// Finds the issuer with this directory.
    pub(super) fn issuer_with(&self, directory: Option<&str>) -> Option<usize> {
        self.config.issuers.iter().position(|i| Some(i.directory.as_str()) == directory)
    }

    /// Returns what the workers have of a variant: the pair with its type of key, or the only one.
    pub(super) fn published_pair(&self, variant: usize) -> Option<Pair> {
        let (wanted, certificate) = self.variant(variant);
        let pairs = self.host.published(wanted.certificate)?.pairs;
        let is_alone = certificate.variants.len() == 1 && pairs.len() == 1;
        let algorithm = wanted.key.algorithm();
        let is_it = |pair: &Pair| {
            is_alone || Facts::of(pair).is_some_and(|facts| facts.key.algorithm() == algorithm)
        };
        pairs.into_iter().find(is_it)
    }
}
