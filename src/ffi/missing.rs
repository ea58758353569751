//! The event of certificates that are missing when a configuration comes into force: one for all that are missed in
//! the same way, however many they are. How certificates are looked for is in `startup`.

use super::bound::BoundServer;
use super::certificate::Fallback;
use super::nginx::tell;
use acme_dns_core::config::Config;
use acme_dns_core::id::CertificateId;
use acme_dns_service::event::{Meanwhile, NginxEvent};
use std::collections::{BTreeMap, HashMap};

/// Tells which certificates are missing, and what is served meanwhile.
pub(super) fn tell_missing(config: &Config, servers: &[BoundServer], missing: &[CertificateId]) {
    if missing.is_empty() {
        return;
    }
    // Of servers with the same certificate one that rejects handshakes counts.
    let mut fallbacks: HashMap<CertificateId, Fallback> = HashMap::new();
    // That of servers which serve any certificate.
    let mut of_all: Option<Fallback> = None;
    for server in servers {
        let (certificate, own) = server.with_certificate(|it| (it.certificate, it.fallback));
        if server.choosing().is_some() {
            of_all = of_all.max(Some(own));
        }
        if let Some(certificate) = certificate {
            let fallback = fallbacks.entry(certificate).or_default();
            *fallback = own.max(*fallback);
        }
    }
    // `None`: of a domains file, and used by no server.
    let mut groups: BTreeMap<Option<Fallback>, Vec<String>> = BTreeMap::new();
    for id in missing {
        if let Some(certificate) = config.certificates.get(*id) {
            let fallback = fallbacks.get(id).copied().max(of_all);
            groups.entry(fallback).or_default().push(certificate.name.clone());
        }
    }
    for (fallback, names) in groups {
        let meanwhile = match fallback {
            Some(Fallback::Reject) => Meanwhile::Rejected,
            Some(Fallback::SelfSigned) => Meanwhile::SelfSigned,
            None => Meanwhile::Unused,
        };
        tell(NginxEvent::Missing { names, meanwhile });
    }
}
