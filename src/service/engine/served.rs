//! The certificates that are served: what each variant has, and what the workers are given of it.
//!
//! Where certificates come from is not here: they are loaded ([`load`](super::load)), taken over under another
//! name ([`succession`](super::succession)), imported, or issued ([`commit`](super::commit)).

use super::clock::now;
use super::site::Site;
use crate::event::{Event, FilesEvent};
use crate::host::NoRoom;
use crate::store::{CertificateFacts, load_material};
use acme_dns_core::id::{CertificateId, IssuerId, Table, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::material::{Material, Pair, Staple};
use acme_dns_core::schedule::Schedule;
use std::collections::HashMap;
use std::rc::Rc;

/// All certificates that are served.
pub(super) struct Served {
    site: Rc<Site>,
    /// Each variant, or `None` if nothing is served of it.
    variants: Table<VariantId, Option<ServedVariant>>,
    /// Pairs that stand in for names that no variant covers, by certificate.
    stand_ins: HashMap<CertificateId, Vec<FurtherPair>>,
}

/// Variant that is served.
pub(super) struct ServedVariant {
    /// `None`: the master has published what is on disk, and nobody has asked for it here.
    pub(super) pair: Option<Box<Pair>>,
    /// Its issuer, if it is one of the configuration's.
    pub(super) issuer: Option<IssuerId>,
    /// Set if it is a certificate of another name, served until there is one.
    pub(super) stands_in: bool,
}

/// Pair that is served besides the variants', with the algorithm of its key.
pub(super) struct FurtherPair {
    pub(super) algorithm: &'static str,
    pub(super) pair: Pair,
}

impl Served {
    pub(super) fn new(site: Rc<Site>) -> Self {
        let variants = site.variants().map(|_| None).collect();
        Self { site, variants, stand_ins: HashMap::new() }
    }

    pub(super) fn get(&self, variant: VariantId) -> Option<&ServedVariant> {
        self.variants[variant].as_ref()
    }

    /// Serves a variant from now on; [`Served::publish`] makes it so.
    pub(super) fn set(&mut self, variant: VariantId, served: ServedVariant) {
        self.variants[variant] = Some(served);
    }

    /// Has a place for a variant that was added.
    pub(super) fn extend_to(&mut self, variant: VariantId) {
        self.variants.extend_to(variant);
    }

    /// Serves nothing of a variant from now on.
    pub(super) fn unset(&mut self, variant: VariantId) {
        self.variants[variant] = None;
    }

    /// Returns the pair that is served of a variant, if it is in memory.
    pub(super) fn pair_mut(&mut self, variant: VariantId) -> Option<&mut Pair> {
        self.variants[variant].as_mut()?.pair.as_deref_mut()
    }

    /// Returns the pair that is served of a variant, from the disk if it is not in memory. An error is logged.
    pub(super) fn pair(&self, variant: VariantId) -> Option<Pair> {
        if let Some(pair) = &self.get(variant)?.pair {
            return Some(Pair::clone(pair));
        }
        let name = self.site.name(variant);
        let why = match load_material(self.site.store.path(), name) {
            Ok(Some(material)) => return material.pairs.into_iter().next(),
            Ok(None) => "it is gone".to_owned(),
            Err(error) => error.to_string(),
        };
        let event = FilesEvent::UnusableButServed { why, level: Level::Error };
        self.site.tell_files(variant, event);
        self.site.published_pair(variant)
    }

    /// Returns the leaf that is served of a variant, in DER.
    pub(super) fn leaf(&self, variant: VariantId) -> Option<Vec<u8>> {
        self.pair(variant)?.chain.into_iter().next()
    }

    /// Returns the chain of a variant, if it is in memory, as it is for those that want a staple.
    pub(super) fn chain(&self, variant: VariantId) -> Option<&Vec<Vec<u8>>> {
        Some(&self.get(variant)?.pair.as_ref()?.chain)
    }

    /// Returns what is served of a variant, if it is its own and worth keeping.
    pub(super) fn pair_to_keep(&self, variant: VariantId) -> Option<Pair> {
        let (wanted, certificate) = self.site.variant(variant);
        let served = self.get(variant);
        if served.is_some_and(|served| served.stands_in) {
            return None;
        }
        let own = served.and_then(|served| served.pair.as_deref().cloned());
        let pair = own.or_else(|| self.site.published_pair(variant))?;
        let facts = CertificateFacts::of(&pair)?;
        let is_own = served.is_some()
            || facts.traits.difference(&self.site.config, wanted, certificate).is_none();
        (is_own && now() < facts.traits.validity.not_after).then_some(pair)
    }

    /// Hands a certificate to the workers, as far as there is anything of it.
    pub(super) fn publish(&self, certificate: CertificateId) {
        let variants = self.site.certificate(certificate).variants.clone();
        let served = variants.filter(|variant| self.get(*variant).is_some());
        let pairs = served.map(|variant| self.pair(variant)).collect::<Option<Vec<_>>>();
        // One that is lost was logged; the workers keep what they have.
        let Some(pairs) = pairs.filter(|pairs| !pairs.is_empty()) else { return };
        let stand_ins = self.stand_ins.get(&certificate);
        let beside = stand_ins.into_iter().flatten().map(|stand_in| &stand_in.pair);
        let all = pairs.iter().chain(beside).cloned().collect();
        let host = &self.site.host;
        let mut published = host.publish(certificate, &Material { pairs: all });
        if published.is_err() && stand_ins.is_some() {
            // There may be room for those alone that come first.
            published = host.publish(certificate, &Material { pairs });
        }
        if let Err(NoRoom) = published {
            let name = self.site.certificate(certificate).name.clone();
            host.tell(&Event::Files(name, FilesEvent::NoRoom));
        }
    }

    /// Publishes a certificate, unless the master has done it.
    pub(super) fn publish_anew(&self, certificate: CertificateId) {
        let mut variants = self.site.certificate(certificate).variants.clone();
        if variants.any(|variant| self.get(variant).is_some_and(|served| served.pair.is_some())) {
            self.publish(certificate);
        }
    }

    /// Publishes a certificate with this staple of a variant, or without one.
    pub(super) fn staple(&mut self, variant: VariantId, staple: Option<Staple>) {
        if let Some(pair) = self.pair_mut(variant)
            && pair.staple != staple
        {
            pair.staple = staple;
            self.publish(self.site.variant(variant).0.certificate);
        }
    }

    /// Notes that a pair is on disk, so that the next service looks for it there.
    pub(super) fn note_saved(&mut self, variant: VariantId) {
        if let Some(source) = self.pair_mut(variant).and_then(|pair| pair.source.as_mut()) {
            source.is_kept = true;
            self.publish(self.site.variant(variant).0.certificate);
        }
    }

    /// Serves these besides the variants of a certificate.
    pub(super) fn add_stand_ins(
        &mut self,
        certificate: CertificateId,
        stand_ins: Vec<FurtherPair>,
    ) {
        if !stand_ins.is_empty() {
            self.stand_ins.insert(certificate, stand_ins);
        }
    }

    /// Ends the use of what stands in for a variant that was issued. What has another type of key stays as long
    /// as another variant needs it.
    pub(super) fn end_stand_ins(&mut self, variant: VariantId, schedule: &Schedule) {
        let (issued, certificate) = self.site.variant(variant);
        let algorithm = issued.key.algorithm();
        let is_missing = |other: VariantId| other != variant && schedule.renewal(other).is_none();
        let is_last = !certificate.variants.clone().any(is_missing);
        if let Some(stand_ins) = self.stand_ins.get_mut(&issued.certificate) {
            stand_ins.retain(|stand_in| !is_last && stand_in.algorithm != algorithm);
        }
    }
}
