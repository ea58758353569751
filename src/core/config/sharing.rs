//! Certificates that need not be, because a wildcard of another server covers their names.

use super::Config;
use super::domains::Holders;
use super::draft::Finished;
use crate::name::Name;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

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
        let others: BTreeMap<usize, usize> = candidates
            .into_iter()
            .filter(|(other, _)| {
                let variants = self.config.certificates.get(*other).map(|c| c.variants.clone());
                let variants = variants.and_then(|range| self.config.variants.get(range));
                !variants.unwrap_or_default().iter().any(|variant| keeps(&variant.name))
            })
            .collect();
        let mut shared: BTreeMap<usize, Shared> = BTreeMap::new();
        for (other, by) in &others {
            // One that is covered itself has what covers it do.
            let mut by = by;
            while let Some(next) = others.get(by) {
                by = next;
            }
            let name = |index: &usize| {
                self.config.certificates.get(*index).map(|c| c.name.clone()).unwrap_or_default()
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
    fn candidates(&self) -> Vec<(usize, usize)> {
        let certificates = self.config.certificates.iter().enumerate();
        let plain = certificates.filter(|(index, _)| !self.keeps_own.contains(index));
        let plain: Vec<_> = plain.collect();
        let mut holders = Holders::default();
        for (index, certificate) in &plain {
            if certificate.names.iter().any(Name::is_wildcard) {
                holders.add(*index, &certificate.names);
            }
        }
        let covered = plain.into_iter().filter_map(|(index, certificate)| {
            let suits = |by: usize| by != index && is_alike(&self.config, index, by);
            Some((index, holders.covering(&certificate.names, suits)?))
        });
        covered.collect()
    }

    /// Gives each of these up for its other one.
    fn merge(&mut self, others: &BTreeMap<usize, usize>) {
        if others.is_empty() {
            return;
        }
        let config = &mut self.config;
        let (certificates, variants) =
            (std::mem::take(&mut config.certificates), std::mem::take(&mut config.variants));
        let stapled: HashSet<usize> = others
            .iter()
            .filter(|(other, _)| certificates.get(**other).is_some_and(|c| c.staples))
            .map(|(_, by)| *by)
            .collect();
        let mut places = vec![0; certificates.len()];
        for (old, mut certificate) in certificates.into_iter().enumerate() {
            if others.contains_key(&old) {
                continue;
            }
            let first = config.variants.len();
            for variant in variants.get(certificate.variants.clone()).unwrap_or_default() {
                let mut variant = variant.clone();
                variant.certificate = config.certificates.len();
                config.variants.push(variant);
            }
            certificate.variants = first..config.variants.len();
            certificate.staples |= stapled.contains(&old);
            if let Some(place) = places.get_mut(old) {
                *place = config.certificates.len();
            }
            config.certificates.push(certificate);
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
fn is_alike(config: &Config, index: usize, by: usize) -> bool {
    let (Some(one), Some(other)) = (config.certificates.get(index), config.certificates.get(by))
    else {
        return false;
    };
    let keys = |range: Range<usize>| {
        let variants = config.variants.get(range).unwrap_or_default();
        variants.iter().map(|variant| variant.key).collect::<Vec<_>>()
    };
    one.issuers == other.issuers
        && one.provider == other.provider
        && one.reuses_key == other.reuses_key
        && keys(one.variants.clone()) == keys(other.variants.clone())
}
