//! Growth of a configuration that is in force: certificates that watched domains files have added.
//!
//! The service writes each addition into shared memory (`writer`), and has it be found by its names. Every process has
//! a configuration of its own, as the master has made it, and catches up when it meets a certificate that it does not
//! know. A service that is started anew, and the master at a reload, do so at their beginning.

use super::memory::SharedMemory;
use acme_dns_core::config::Config;
use acme_dns_core::config::watched::Addition;
use acme_dns_core::id::CertificateId;
use acme_dns_core::index::{IndexFull, NameIndex};
use std::sync::atomic::AtomicU64;

/// Adds to a configuration what its memory has more.
pub(super) fn catch_up(config: &Config, memory: &SharedMemory) {
    loop {
        let id = config.certificates.next_id();
        let addition = memory.addition(config.certificates.added_ids().len());
        let addition = addition.and_then(|text| Addition::decode(&text));
        if !addition.is_some_and(|addition| config.add(id, &addition)) {
            return;
        }
    }
}

/// Changes what a certificate is found by.
type Change<'m> = fn(NameIndex<'m>, &[AtomicU64], &str, CertificateId) -> Result<(), IndexFull>;

/// Has a certificate be found by its names, if names are looked for at all.
///
/// # Errors
/// There is no room.
pub(super) fn show_names(
    config: &Config,
    memory: &SharedMemory,
    certificate: CertificateId,
) -> Result<(), IndexFull> {
    change_names(config, memory, certificate, NameIndex::insert)
}

/// Has a certificate not be found any more.
///
/// # Errors
/// There is no room for what is found instead.
pub(super) fn hide_names(
    config: &Config,
    memory: &SharedMemory,
    certificate: CertificateId,
) -> Result<(), IndexFull> {
    change_names(config, memory, certificate, NameIndex::remove)
}

fn change_names<'m>(
    config: &Config,
    memory: &'m SharedMemory,
    id: CertificateId,
    change: Change<'m>,
) -> Result<(), IndexFull> {
    let found = config.certificates.get(id).zip(memory.names());
    let Some((certificate, index)) = found else { return Ok(()) };
    let words = memory.writable_index_words().unwrap_or_default();
    let mut names = certificate.names.iter();
    names.try_for_each(|name| change(index, words, name.as_str(), id))
}

/// Completes what a service that has died may have left: an addition that is not found by its names.
pub(super) fn repair(config: &Config, memory: &SharedMemory) {
    if let Some(last) = config.certificates.added_ids().last() {
        let _full = show_names(config, memory, last);
    }
}
