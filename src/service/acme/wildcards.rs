//! The wildcards of all certificates.

use acme_dns_core::config::{Certificate, Config};
use acme_dns_core::id::{CertificateId, IdRange, IssuerId};
use std::collections::{HashMap, HashSet};

/// The wildcards that each CA certifies. Certificates that are added to the configuration are read once.
#[derive(Debug, Default)]
pub(super) struct Wildcards {
    /// The CAs of each, by the name without `*.`.
    issuers: HashMap<String, HashSet<IssuerId>>,
    /// Number of certificates that were read.
    read: usize,
}

impl Wildcards {
    /// Tells whether a wildcard of a name is among those that one of a certificate's CAs certifies.
    pub(super) fn have(&mut self, config: &Config, certificate: &Certificate, base: &str) -> bool {
        let end = config.certificates.next_id();
        let new = IdRange::new(CertificateId::new(self.read), end);
        self.read = end.index();
        new.filter_map(|id| config.certificates.get(id))
            .for_each(|certificate| self.add(certificate));
        let issuers = self.issuers.get(base);
        issuers.is_some_and(|issuers| certificate.issuers.iter().any(|id| issuers.contains(id)))
    }

    fn add(&mut self, certificate: &Certificate) {
        for name in certificate.names.iter().filter(|name| name.is_wildcard()) {
            let issuers = self.issuers.entry(name.base().to_owned()).or_default();
            issuers.extend(&certificate.issuers);
        }
    }
}
