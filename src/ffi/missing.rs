//! The log lines about certificates that are missing when a configuration comes into force: one line for
//! all that are missed in the same way, however many they are. How certificates are looked for is in `startup`.

use super::bound::BoundServer;
use super::certificate::Fallback;
use super::nginx::log;
use acme_dns_core::config::Config;
use acme_dns_core::level::Level;
use acme_dns_core::text::list;
use std::collections::{BTreeMap, HashMap};

/// Logs which certificates are missing, given as indices into the configuration's, and what is served
/// meanwhile.
pub(super) fn tell(config: &Config, servers: &[BoundServer], missing: &[usize]) {
    if missing.is_empty() {
        return;
    }
    // Of servers with the same certificate one that rejects handshakes counts.
    let mut fallbacks: HashMap<usize, Fallback> = HashMap::new();
    for server in servers {
        let (certificate, own) = server.with_certificate(|it| (it.certificate, it.fallback));
        if let Some(certificate) = certificate {
            let fallback = fallbacks.entry(certificate).or_default();
            *fallback = own.max(*fallback);
        }
    }
    // `None`: of a domains file, and used by no server.
    let mut groups: BTreeMap<Option<Fallback>, Vec<&str>> = BTreeMap::new();
    for index in missing {
        if let Some(certificate) = config.certificates.get(*index) {
            groups.entry(fallbacks.get(index).copied()).or_default().push(&certificate.name);
        }
    }
    for (fallback, names) in groups {
        log(Level::Notice, &format!("acme_dns: {}", line(fallback, &names)));
    }
}

fn line(fallback: Option<Fallback>, names: &[&str]) -> String {
    let meanwhile = match (fallback, names) {
        (Some(Fallback::Reject), [_]) => ", handshakes are rejected until it is issued",
        (Some(Fallback::Reject), _) => ", handshakes are rejected until they are issued",
        (Some(Fallback::SelfSigned), [_]) => ", a self-signed one is served until it is issued",
        (Some(Fallback::SelfSigned), _) => ", self-signed ones are served until they are issued",
        (None, _) => "",
    };
    match names {
        [name] => format!("no certificate \"{name}\" yet{meanwhile}"),
        names => {
            format!("{} certificates are missing{meanwhile}: {}", names.len(), list(names))
        }
    }
}
