//! The certificates of a configuration, each once, and their names.

use super::Wanted;
use super::parties::{CertificateParties, Defined};
use crate::config::text::MAX_FILE_NAME;
use crate::config::watched::WatchedLine;
use crate::config::{Certificate, Variant};
use crate::id::{CertificateId, IdRange, Table, VariantId};
use crate::key::KeyType;
use crate::name::Name;
use std::borrow::Cow;
use std::collections::HashMap;

/// The certificates so far.
#[derive(Default)]
pub(super) struct Register {
    pub(super) certificates: Table<CertificateId, Certificate>,
    pub(super) variants: Table<VariantId, Variant>,
    /// Of the variants too.
    pub(super) by_name: HashMap<String, CertificateId>,
    /// Made when the first asks for a certificate by its settings: of thousands of lines each has a name.
    by_settings: Option<HashMap<CertificateSettings, CertificateId>>,
}

/// Certificate as a server or a line asks for it.
pub(super) struct Asked<'a> {
    /// The parameters, but for what is here.
    pub(super) wanted: &'a Wanted,
    /// The name that it is to have.
    pub(super) name: Option<String>,
    pub(super) names: Vec<Name>,
    /// Set if it is a line of a watched file.
    pub(super) line: Option<WatchedLine>,
}

/// Settings of a certificate: requests with equal ones share it.
#[derive(Eq, Hash, PartialEq)]
pub(super) struct CertificateSettings {
    names: Vec<Name>,
    pub(super) keys: Vec<KeyType>,
    pub(super) parties: CertificateParties,
    pub(super) reuses_key: bool,
}

impl CertificateSettings {
    fn new(
        names: &[Name],
        keys: Vec<KeyType>,
        parties: &CertificateParties,
        reuses_key: bool,
    ) -> Self {
        let mut names = names.to_vec();
        names.sort();
        Self { names, keys, parties: parties.clone(), reuses_key }
    }

    /// The keys as they are written in `key=`.
    fn keys(&self) -> String {
        self.keys.iter().map(KeyType::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Register {
    /// The certificate that is asked for: one that is there with the same names and settings, or a new one.
    ///
    /// # Errors
    /// Its name, or that of one of its variants, is another certificate's; nothing is added.
    pub(super) fn add(
        &mut self,
        asked: Asked<'_>,
        parties: CertificateParties,
        defined: Defined<'_>,
    ) -> Result<CertificateId, String> {
        let Asked { wanted, name, names, line } = asked;
        let keys = keys(wanted);
        let reuses_key = wanted.reuses_key.unwrap_or(false);
        let settings = || CertificateSettings::new(&names, keys.to_vec(), &parties, reuses_key);
        let name = match name {
            Some(name) => match self.by_name.get(&name) {
                None => name,
                Some(&id) if self.settings(id) == Some(settings()) && self.is_of(&name, id) => {
                    return Ok(id);
                }
                Some(_) => return Err(different_settings(&name)),
            },
            None => {
                let settings = settings();
                if let Some(id) = self.find(&settings) {
                    return Ok(id);
                }
                self.free_name(&names, &settings, &defined.owners(&parties))
            }
        };
        let id = self.certificates.next_id();
        let variants = self.add_variants(id, &name, &keys)?;
        if let Some(by_settings) = &mut self.by_settings {
            by_settings.entry(settings()).or_insert(id);
        }
        let CertificateParties { issuers, provider, provider_is_given } = parties;
        Ok(self.certificates.push(Certificate {
            name,
            names,
            variants,
            issuers,
            provider,
            provider_is_given,
            reuses_key,
            staples: false,
            line,
        }))
    }

    /// Adds the variants of a certificate, all or none.
    fn add_variants(
        &mut self,
        certificate: CertificateId,
        name: &str,
        keys: &[KeyType],
    ) -> Result<IdRange<VariantId>, String> {
        let names = || (0..keys.len()).map(|number| variant_name(name, keys, number));
        if let Some(name) = names().find(|name| self.by_name.contains_key(name)) {
            return Err(different_settings(&name));
        }
        let first = self.variants.next_id();
        for (name, key) in names().zip(keys) {
            self.by_name.insert(name.clone(), certificate);
            self.variants.push(Variant { name, key: *key, certificate });
        }
        Ok(IdRange::new(first, self.variants.next_id()))
    }

    /// Tells whether a certificate has this name, and not one of its variants.
    fn is_of(&self, name: &str, id: CertificateId) -> bool {
        self.certificates.get(id).is_some_and(|certificate| certificate.name == name)
    }

    /// The settings of a certificate.
    pub(super) fn settings(&self, id: CertificateId) -> Option<CertificateSettings> {
        let certificate = self.certificates.get(id)?;
        let Certificate { issuers, provider, provider_is_given, reuses_key, .. } = certificate;
        let (issuers, provider, provider_is_given) =
            (issuers.clone(), *provider, *provider_is_given);
        let parties = CertificateParties { issuers, provider, provider_is_given };
        let keys = self.variants.range(&certificate.variants).iter().map(|variant| variant.key);
        let keys = keys.collect();
        Some(CertificateSettings::new(&certificate.names, keys, &parties, *reuses_key))
    }

    /// Finds the first certificate with these settings.
    fn find(&mut self, settings: &CertificateSettings) -> Option<CertificateId> {
        let by_settings = self.by_settings.take().unwrap_or_else(|| self.all_settings());
        let found = by_settings.get(settings).copied();
        self.by_settings = Some(by_settings);
        found
    }

    /// The settings of all certificates, each with the first that has them.
    fn all_settings(&self) -> HashMap<CertificateSettings, CertificateId> {
        let mut all = HashMap::new();
        for id in self.certificates.ids() {
            if let Some(settings) = self.settings(id) {
                all.entry(settings).or_insert(id);
            }
        }
        all
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

/// The types of key of a certificate that is asked for.
pub(super) fn keys(wanted: &Wanted) -> Cow<'_, [KeyType]> {
    match wanted.keys.as_slice() {
        [] => Cow::Owned(vec![KeyType::default()]),
        keys => Cow::Borrowed(keys),
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
