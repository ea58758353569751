//! Certificates that need not be, because a wildcard of another server covers their names.

use super::Config;
use super::domains::Holders;
use super::draft::Finished;
use crate::id::{CertificateId, IdRange, Table, VariantId};
use crate::name::Name;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// So many names are told.
const MAX_TOLD: usize = 20;

/// A certificate that is used instead of others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shared {
    /// Its name.
    pub name: String,
    /// The names of those that it takes the place of: mostly the first names of the servers.
    pub others: Vec<String>,
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<_> =
            self.others.iter().take(MAX_TOLD).map(|name| format!("\"{name}\"")).collect();
        let more = match self.others.len() - told.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (name, told) = (&self.name, told.join(", "));
        write!(f, "certificate \"{name}\" is also that of {told}{more}, which its wildcard covers")
    }
}

impl Finished {
    /// Has servers share the certificate of another one whose wildcard covers their names. Those that say more
    /// than `on`, or check clients' certificates, keep their own; so do those whose certificates' names
    /// `keeps` is true for. Gives what is shared.
    pub fn share(&mut self, keeps: impl Fn(&str) -> bool) -> Vec<Shared> {
        let candidates = self.candidates();
        let others: BTreeMap<CertificateId, CertificateId> = candidates
            .into_iter()
            .filter(|(other, _)| {
                let variants = self.config.certificates.get(*other).map(|c| c.variants.clone());
                let variants = variants.map(|variants| self.config.variants.range(&variants));
                !variants.unwrap_or_default().iter().any(|variant| keeps(&variant.name))
            })
            .collect();
        let mut shared: BTreeMap<CertificateId, Shared> = BTreeMap::new();
        for (other, by) in &others {
            // One that is covered itself has what covers it do.
            let mut by = by;
            while let Some(next) = others.get(by) {
                by = next;
            }
            let name = |id: &CertificateId| {
                self.config.certificates.get(*id).map(|c| c.name.clone()).unwrap_or_default()
            };
            let entry = shared.entry(*by);
            let entry = entry.or_insert_with(|| Shared { name: name(by), others: Vec::new() });
            entry.others.push(name(other));
        }
        self.merge(&others);
        shared.into_values().collect()
    }

    /// Tells whether there is anything to share at all.
    pub fn can_share(&self) -> bool {
        !self.candidates().is_empty()
    }

    /// Certificates whose names another one covers by a wildcard, each with that one.
    fn candidates(&self) -> Vec<(CertificateId, CertificateId)> {
        let certificates = self.config.certificates.iter();
        let plain = certificates.filter(|(id, _)| !self.keeps_own.contains(id));
        let plain: Vec<_> = plain.collect();
        let mut holders = Holders::default();
        for (id, certificate) in &plain {
            if certificate.names.iter().any(Name::is_wildcard) {
                holders.add(*id, &certificate.names);
            }
        }
        let covered = plain.into_iter().filter_map(|(id, certificate)| {
            let suits = |by: CertificateId| by != id && is_alike(&self.config, id, by);
            Some((id, holders.covering(&certificate.names, suits)?))
        });
        covered.collect()
    }

    /// Gives each of these up for its other one.
    fn merge(&mut self, others: &BTreeMap<CertificateId, CertificateId>) {
        if others.is_empty() {
            return;
        }
        let config = &mut self.config;
        let (certificates, variants) =
            (std::mem::take(&mut config.certificates), std::mem::take(&mut config.variants));
        let stapled: HashSet<CertificateId> = others
            .iter()
            .filter(|(other, _)| certificates.get(**other).is_some_and(|c| c.staples))
            .map(|(_, by)| *by)
            .collect();
        let mut places: Table<_, _> = certificates.ids().collect();
        for (old, mut certificate) in certificates {
            if others.contains_key(&old) {
                continue;
            }
            let first = config.variants.next_id();
            for variant in variants.range(&certificate.variants) {
                let mut variant = variant.clone();
                variant.certificate = config.certificates.next_id();
                config.variants.push(variant);
            }
            certificate.variants = IdRange::new(first, config.variants.next_id());
            certificate.staples |= stapled.contains(&old);
            places[old] = config.certificates.push(certificate);
        }
        for certificate in &mut self.certificates {
            while let Some(by) = others.get(certificate) {
                *certificate = *by;
            }
            *certificate = places.get(*certificate).copied().unwrap_or_default();
        }
        self.keeps_own =
            self.keeps_own.iter().filter_map(|old| places.get(*old).copied()).collect();
    }
}

/// Tells whether two certificates differ in nothing but names. The names of `by` must have a wildcard that makes
/// it the one with more.
fn is_alike(config: &Config, id: CertificateId, by: CertificateId) -> bool {
    let (Some(one), Some(other)) = (config.certificates.get(id), config.certificates.get(by))
    else {
        return false;
    };
    let keys = |variants: &IdRange<VariantId>| {
        let variants = config.variants.range(variants).iter();
        variants.map(|variant| variant.key).collect::<Vec<_>>()
    };
    one.issuers == other.issuers
        && one.provider == other.provider
        && one.reuses_key == other.reuses_key
        && keys(&one.variants) == keys(&other.variants)
}
