//! What is said of certificates that are not there when a configuration comes into force: one line for
//! all that are missed in the same way, however many they are.

use super::nginx::log;
use super::server::Bound;
use acme_dns_core::config::Config;
use acme_dns_core::level::Level;
use acme_dns_core::text::list;
use std::collections::{BTreeMap, HashMap};

/// Tells which certificates are missing, given as indices into the configuration's, and what is done
/// meanwhile.
pub(super) fn tell(config: &Config, bindings: &[Bound], missing: &[usize]) {
    if missing.is_empty() {
        return;
    }
    let mut rejects: HashMap<usize, bool> = HashMap::new();
    for bound in bindings {
        // SAFETY: the bindings belong to the cycle's pool, and no worker runs yet.
        let binding = unsafe { &*bound.binding };
        if let Some(certificate) = binding.certificate {
            *rejects.entry(certificate).or_default() |= binding.rejects;
        }
    }
    // `None`: of a domains file, and used by no server.
    let mut groups: BTreeMap<Option<bool>, Vec<&str>> = BTreeMap::new();
    for index in missing {
        if let Some(certificate) = config.certificates.get(*index) {
            groups.entry(rejects.get(index).copied()).or_default().push(&certificate.name);
        }
    }
    for (rejects, names) in groups {
        log(Level::Notice, &format!("acme_dns: {}", line(rejects, &names)));
    }
}

fn line(rejects: Option<bool>, names: &[&str]) -> String {
    let meanwhile = match (rejects, names) {
        (Some(true), [_]) => ", handshakes are rejected until it is issued",
        (Some(true), _) => ", handshakes are rejected until they are issued",
        (Some(false), [_]) => ", a self-signed one is served until it is issued",
        (Some(false), _) => ", self-signed ones are served until they are issued",
        (None, _) => "",
    };
    match names {
        [name] => format!("no certificate \"{name}\" yet{meanwhile}"),
        names => {
            format!("{} certificates are not there yet{meanwhile}: {}", names.len(), list(names))
        }
    }
}
