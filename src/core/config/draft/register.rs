//! The certificates of a configuration, each once, and their names.

use super::parties::CertificateParties;
use super::request::{Binding, DraftError};
use crate::config::text::MAX_FILE_NAME;
use crate::config::{Certificate, Variant};
use crate::id::{CertificateId, IdRange, Table, VariantId};
use crate::key::KeyType;
use crate::name::Name;
use std::collections::HashMap;

/// The certificates so far.
#[derive(Default)]
pub(super) struct Register {
    pub(super) certificates: Table<CertificateId, Certificate>,
    pub(super) variants: Table<VariantId, Variant>,
    pub(super) settings: Table<CertificateId, CertificateSettings>,
    /// Of the variants too.
    pub(super) by_name: HashMap<String, CertificateId>,
    by_settings: HashMap<CertificateSettings, CertificateId>,
}

/// Settings of a certificate: requests with equal ones share it.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct CertificateSettings {
    names: Vec<Name>,
    pub(super) keys: Vec<KeyType>,
    pub(super) parties: CertificateParties,
    pub(super) reuses_key: bool,
}

impl CertificateSettings {
    /// The keys as they are written in `key=`.
    fn keys(&self) -> String {
        self.keys.iter().map(KeyType::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Register {
    /// The certificate of a binding: one that is there with the same names and settings, or a new
    /// one. `owners` are the names of the issuers and of the provider.
    pub(super) fn add(
        &mut self,
        binding: Binding,
        parties: CertificateParties,
        owners: &str,
    ) -> Result<CertificateId, DraftError> {
        let keys = match binding.wanted.keys.as_slice() {
            [] => vec![KeyType::default()],
            keys => keys.to_vec(),
        };
        let mut sorted = binding.names.clone();
        sorted.sort();
        let reuses_key = binding.wanted.reuses_key.unwrap_or(false);
        let settings = CertificateSettings { names: sorted, keys, parties, reuses_key };
        let name = match &binding.wanted.name {
            Some(name) => match self.by_name.get(name) {
                None => name.clone(),
                Some(&id)
                    if self.settings.get(id) == Some(&settings)
                        && self.certificates.get(id).is_some_and(|c| c.name == *name) =>
                {
                    return Ok(id);
                }
                Some(_) => return Err(binding.error(different_settings(name))),
            },
            None => match self.by_settings.get(&settings) {
                Some(&id) => return Ok(id),
                None => self.free_name(&binding.names, &settings, owners),
            },
        };
        let id = self.certificates.next_id();
        let first = self.variants.next_id();
        for key in &settings.keys {
            let number = self.variants.next_id().index() - first.index();
            let variant = variant_name(&name, &settings.keys, number);
            if self.by_name.insert(variant.clone(), id).is_some() {
                return Err(binding.error(different_settings(&variant)));
            }
            self.variants.push(Variant { name: variant, key: *key, certificate: id });
        }
        self.by_settings.entry(settings.clone()).or_insert(id);
        self.certificates.push(Certificate {
            name,
            names: binding.names,
            variants: IdRange::new(first, self.variants.next_id()),
            issuers: settings.parties.issuers.clone(),
            provider: settings.parties.provider,
            provider_is_given: settings.parties.provider_is_given,
            reuses_key,
            staples: false,
            line: binding.line,
        });
        self.settings.push(settings);
        Ok(id)
    }

    /// The first name of the certificate, `_` for its `*`; with a suffix that follows from the
    /// settings where another certificate has that name, or where a file system could not hold it.
    fn free_name(&self, names: &[Name], settings: &CertificateSettings, owners: &str) -> String {
        let first = names.first().map_or("", Name::as_str).replacen('*', "_", 1);
        if first.len() <= MAX_FILE_NAME && !self.by_name.contains_key(&first) {
            return first;
        }
        let text = settings.names.iter().map(Name::as_str).collect::<Vec<_>>().join(",");
        let reuse = if settings.reuses_key { " reuse_key" } else { "" };
        let text = format!("{text} {} {owners}{reuse}", settings.keys());
        suffixed(names, &text, |name| !self.by_name.contains_key(name))
    }
}

/// The first of the names with a suffix that follows from a text, such that nobody has it.
pub(super) fn suffixed(names: &[Name], text: &str, is_free: impl Fn(&str) -> bool) -> String {
    let first = names.first().map_or("", Name::as_str).replacen('*', "_", 1);
    let mut suffix = fnv1a(text.as_bytes());
    // Names are ASCII, so that any length is a boundary of characters.
    let stem = first.get(..MAX_FILE_NAME).unwrap_or(&first);
    loop {
        let name = format!("{stem}-{suffix:08x}");
        if is_free(&name) {
            return name;
        }
        suffix = suffix.wrapping_add(1);
    }
}

/// The name of a certificate's variant. The first has the name of the certificate, so that nothing changes for other
/// software that reads its files when a second type of key is added.
pub(super) fn variant_name(certificate: &str, keys: &[KeyType], number: usize) -> String {
    match keys.get(number) {
        Some(key) if number > 0 => format!("{certificate}-{}", key.algorithm()),
        _ => certificate.to_owned(),
    }
}

/// FNV-1a with 32 bits: stable over versions and machines, as the standard library's hash is not.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The message about a name that two requests with different settings have.
pub(super) fn different_settings(name: &str) -> String {
    format!("certificate \"{name}\" is defined with different settings")
}
