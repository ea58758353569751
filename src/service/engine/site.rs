//! The ground that all parts of the engine stand on: the configuration, the state path and the process around.
//!
//! What changes while the service runs is not here; each part has its own state.

use crate::event::{CertificateEvent, Event, FilesEvent, OriginEvent, StateEvent};
use crate::host::Host;
use crate::store::{CertificateFacts, Store};
use acme_dns_core::config::{Certificate, Config, Issuer, Variant};
use acme_dns_core::id::{CertificateId, IdRange, IssuerId, ProviderId, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use std::sync::Arc;

/// Configuration, state path and host. Identifiers are those of the configuration: one that it does not have is
/// a bug, and a panic.
pub(super) struct Site {
    pub(super) config: Arc<Config>,
    pub(super) store: Store,
    pub(super) host: Arc<dyn Host>,
}

impl Site {
    pub(super) fn tell(&self, event: &Event) {
        self.host.tell(event);
    }

    /// Tells an event in the life of a variant.
    pub(super) fn tell_life(&self, variant: VariantId, event: CertificateEvent) {
        self.tell(&Event::Certificate(self.name(variant).to_owned(), event));
    }

    /// Tells an event of a variant's files.
    pub(super) fn tell_files(&self, variant: VariantId, event: FilesEvent) {
        self.tell(&Event::Files(self.name(variant).to_owned(), event));
    }

    /// Tells an event of a variant's origin.
    pub(super) fn tell_origin(&self, variant: VariantId, event: OriginEvent) {
        self.tell(&Event::Origin(self.name(variant).to_owned(), event));
    }

    /// Tells that a file could not be read, written or removed.
    pub(super) fn tell_failure(&self, level: Level, error: &impl ToString) {
        self.tell(&Event::State(StateEvent::Failed { why: error.to_string(), level }));
    }

    /// Tells that a file is of no use, and that the service continues without it.
    pub(super) fn tell_ignored(&self, error: &impl ToString) {
        self.tell(&Event::State(StateEvent::Ignored { why: error.to_string() }));
    }

    /// Returns a variant with its certificate.
    pub(super) fn variant(&self, variant: VariantId) -> (&Variant, &Certificate) {
        let wanted = &self.config.variants[variant];
        (wanted, self.certificate(wanted.certificate))
    }

    pub(super) fn certificate(&self, certificate: CertificateId) -> &Certificate {
        &self.config.certificates[certificate]
    }

    pub(super) fn issuer(&self, issuer: IssuerId) -> &Issuer {
        &self.config.issuers[issuer]
    }

    /// Returns the name of a provider; nothing where none is defined.
    pub(super) fn provider_name(&self, provider: ProviderId) -> String {
        self.config.providers.get(provider).map(|found| found.name.clone()).unwrap_or_default()
    }

    /// Returns the name of a variant, which its files have too.
    pub(super) fn name(&self, variant: VariantId) -> &str {
        &self.config.variants[variant].name
    }

    pub(super) fn variants(&self) -> IdRange<VariantId> {
        self.config.variants.ids()
    }

    pub(super) fn certificates(&self) -> IdRange<CertificateId> {
        self.config.certificates.ids()
    }

    /// Returns the names that a variant is for.
    pub(super) fn names_of(&self, variant: VariantId) -> Vec<String> {
        let (_, certificate) = self.variant(variant);
        certificate.names.iter().map(|name| name.as_str().to_owned()).collect()
    }

    /// Finds the issuer with this directory.
    pub(super) fn issuer_with(&self, directory: Option<&str>) -> Option<IssuerId> {
        self.config.issuers.find(|i| Some(i.directory.as_str()) == directory)
    }

    /// Returns what the workers have of a variant: the pair with its type of key, or the only one.
    pub(super) fn published_pair(&self, variant: VariantId) -> Option<Pair> {
        let (wanted, certificate) = self.variant(variant);
        let pairs = self.host.published(wanted.certificate)?.pairs;
        let is_alone = certificate.variants.len() == 1 && pairs.len() == 1;
        let algorithm = wanted.key.algorithm();
        let is_it = |pair: &Pair| {
            is_alone
                || CertificateFacts::of(pair)
                    .is_some_and(|facts| facts.traits.key.algorithm() == algorithm)
        };
        pairs.into_iter().find(is_it)
    }
}
