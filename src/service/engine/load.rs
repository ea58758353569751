//! The certificates on disk when the service begins, and the plan that it begins with.
//!
//! Certificates that lie under other names are found in [`succession`](super::succession).

use super::clock::{LOCAL_PAUSE, let_others_work, now};
use super::keeper::write_back;
use super::packing::Packing;
use super::parties::Parties;
use super::served::{Served, ServedVariant};
use super::site::Site;
use super::succession::{Held, Succession};
use super::unreadable::{Unreadable, may_be_good};
use super::unsaved::Unsaved;
use crate::event::FilesEvent;
use crate::store::{
    CertificateFacts, Certificates, IssuedPem, PackedRenewal, PendingOrder, PublishedFacts,
    StoredCertificate, Trust,
};
use crate::x509::keys;
use acme_dns_core::id::{Table, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use acme_dns_core::schedule::{Known, Progress, Validity};
use acme_dns_core::stock::Traits;
use openssl::pkey::PKey;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The parts that are filled from the disk.
pub(super) struct Loader<'a> {
    pub(super) site: &'a Site,
    pub(super) served: &'a mut Served,
    pub(super) unsaved: &'a mut Unsaved,
    pub(super) unreadable: &'a mut Unreadable,
    pub(super) parties: Parties<'a>,
}

impl Loader<'_> {
    /// Serves what is on disk, and gathers what the schedule begins with. What the master has published and is
    /// on disk still is not read again.
    pub(super) async fn load(
        mut self,
        facts: &PublishedFacts,
        packing: &Packing,
    ) -> Table<VariantId, Known> {
        let site = self.site;
        // Whatever is wrong with the directory is said of what is read.
        let all = Certificates::open(site.store.path(), &Trust::here()).ok().flatten();
        let mut published: Table<VariantId, Option<&CertificateFacts>> =
            site.variants().map(|_| None).collect();
        for (variant, facts) in facts {
            published[*variant] = Some(facts);
        }
        let under_way = site.store.under_way().unwrap_or_else(|error| {
            site.tell_failure(Level::Warn, &error);
            site.variants().map(|variant| site.name(variant).to_owned()).collect::<BTreeSet<_>>()
        });
        let is_under_way = |variant: VariantId| under_way.contains(site.name(variant));
        let mut held: Held<'_> = Table::default();
        let mut renewals: Table<VariantId, Option<PackedRenewal>> = Table::default();
        for variant in site.variants() {
            let_others_work(variant.index()).await;
            let facts = published[variant].take().filter(|facts| {
                let stamp = all.as_ref().and_then(|all| all.chain_stamp(site.name(variant)));
                stamp.iter().for_each(|stamp| packing.note_found(*stamp));
                stamp == Some(facts.stamp)
            });
            // Right behind the look at the chain, which has the same way.
            renewals.push(facts.and_then(|facts| facts.renewal).filter(|renewal| {
                let name = site.name(variant);
                all.as_ref().is_some_and(|all| all.has_renewal(name, renewal))
            }));
            held.push(self.load_variant(variant, facts, is_under_way(variant)));
        }
        let succession = Succession { site, served: self.served, unsaved: self.unsaved };
        let validities = succession.succeed(held).await;
        let mut known = Table::default();
        for (variant, validity) in validities {
            let_others_work(variant.index()).await;
            let packed = renewals[variant];
            known.push(self.gather(variant, (validity, packed), is_under_way(variant)));
        }
        known
    }

    /// Serves what is on disk of a variant that was added since, and gathers what the schedule begins with.
    pub(super) fn load_added(mut self, variant: VariantId) -> Known {
        let site = self.site;
        let is_under_way = site.store.has_progress(site.name(variant));
        let held = self.load_variant(variant, None, is_under_way);
        let (wanted, certificate) = site.variant(variant);
        let is_wanted = |traits: &Cow<'_, Traits>| {
            traits.difference(&site.config, wanted, certificate).is_none()
        };
        let validity = held.filter(is_wanted).map(|traits| traits.validity);
        self.gather(variant, (validity, None), is_under_way)
    }

    /// Serves the certificate that lies under a variant's own name; returns its traits.
    fn load_variant<'f>(
        &mut self,
        variant: VariantId,
        facts: Option<&'f CertificateFacts>,
        is_under_way: bool,
    ) -> Option<Cow<'f, Traits>> {
        let staples = self.site.variant(variant).1.staples;
        let owned = |(traits, pair)| (Cow::Owned(traits), pair);
        let (traits, pair) = match (self.unsaved_pair(variant), facts) {
            (Some(pair), _) => owned(self.take_back(variant, pair)?),
            // A staple belongs to the chain, which is not among the facts.
            (None, Some(facts)) if !is_under_way && !staples => {
                (Cow::Borrowed(&facts.traits), None)
            }
            _ => owned(self.load_files(variant)?),
        };
        let issuer = self.site.issuer_with(traits.directory.as_deref());
        let pair = pair.map(Box::new);
        self.served.set(variant, ServedVariant { pair, issuer, stands_in: false });
        Some(traits)
    }

    /// Gathers what the schedule begins with; `validity` is that of the certificate that is wanted, if it is
    /// there, with its renewal state as the pack has it, if that is still so.
    fn gather(
        &mut self,
        variant: VariantId,
        (validity, packed): (Option<Validity>, Option<PackedRenewal>),
        is_under_way: bool,
    ) -> Known {
        let (site, store, name) = (self.site, &self.site.store, self.site.name(variant));
        let ignore = |error| site.tell_ignored(&error);
        let progress = match is_under_way {
            true => store.load_progress(name).unwrap_or_else(|error| {
                ignore(error);
                Progress::default()
            }),
            false => Progress::default(),
        };
        let renewal = validity.and_then(|_| match packed {
            Some(PackedRenewal::Absent) => None,
            Some(PackedRenewal::Saved(_, renewal)) => Some(renewal),
            None => store.load_renewal(name).unwrap_or_else(|error| {
                ignore(error);
                None
            }),
        });
        let renewal = renewal.unwrap_or_default();
        let mut known = self.parties.known(variant, validity, renewal, progress);
        known.is_under_way = is_under_way && store.has_order(name);
        if known.has_ended(now()) {
            known.progress = Progress::default();
            if let Err(error) = store.remove_progress(name) {
                site.tell_failure(Level::Warn, &error);
            }
        }
        known
    }

    /// Reads a certificate.
    fn load_files(&mut self, variant: VariantId) -> Option<(Traits, Option<Pair>)> {
        let (site, name) = (self.site, self.site.name(variant));
        let stored = site.store.load_certificate(name).unwrap_or_else(|error| {
            if may_be_good(&error) {
                self.unreadable.note(variant, error);
                return None;
            }
            site.tell_files(variant, FilesEvent::Unusable { why: error.to_string() });
            None
        })?;
        if let Some(error) = &stored.issuer_error {
            site.tell_files(variant, FilesEvent::IssuerUnknown { why: error.to_string() });
        }
        if !site.variant(variant).1.reuses_key {
            self.forget_ended_order(name, &stored);
        }
        let StoredCertificate { material, facts, .. } = stored;
        Some((facts.traits, material.pairs.into_iter().next()))
    }

    /// Forgets the order that the certificate is from: the process may have died before it could.
    fn forget_ended_order(&self, name: &str, stored: &StoredCertificate) {
        let (site, store) = (self.site, &self.site.store);
        let order = store.load_order(name).unwrap_or_else(|error| {
            site.tell_failure(Level::Warn, &error);
            None
        });
        let Some(PendingOrder { key: Some(pem), .. }) = order else { return };
        let of_order = keys::private_key(pem.as_bytes());
        let of_certificate = stored.material.pairs.first().map(|pair| &pair.key);
        let of_certificate = of_certificate.map(|key| PKey::private_key_from_pkcs8(key));
        let (Ok(of_order), Some(Ok(of_certificate))) = (of_order, of_certificate) else { return };
        if of_order.public_eq(&of_certificate)
            && let Err(error) = store.remove_order(name)
        {
            site.tell_failure(Level::Warn, &error);
        }
    }

    /// Finds what shared memory has of a variant that the disk had refused, if it is what is wanted.
    fn unsaved_pair(&self, variant: VariantId) -> Option<Pair> {
        let (wanted, certificate) = self.site.variant(variant);
        let mut pair = self.site.published_pair(variant)?;
        // Before a look into the certificate: a start asks this of all of them.
        pair.source.as_ref().filter(|source| !source.is_kept)?;
        let facts = CertificateFacts::of(&pair)?;
        let config = &self.site.config;
        let is_wanted = facts.traits.difference(config, wanted, certificate).is_none();
        if !certificate.staples {
            pair.staple = None;
        }
        (is_wanted && now() < facts.traits.validity.not_after).then_some(pair)
    }

    /// Writes to the disk what it had refused before.
    fn take_back(&mut self, variant: VariantId, mut pair: Pair) -> Option<(Traits, Option<Pair>)> {
        let (site, name) = (self.site, self.site.name(variant));
        let facts = CertificateFacts::of(&pair)?;
        let written = write_back(&site.store, name, &pair);
        if let Some(source) = &mut pair.source {
            source.is_kept = written.is_ok();
        }
        match written {
            Ok(()) => {
                site.tell_files(variant, FilesEvent::WrittenBack);
                if let Ok(Some(stored)) = site.store.load_certificate(name) {
                    self.forget_ended_order(name, &stored);
                }
            }
            Err(error) => {
                let why = error.to_string();
                site.tell_files(variant, FilesEvent::Unsaved { why, retry: LOCAL_PAUSE });
                if let Ok(issued) = IssuedPem::of(&pair) {
                    self.unsaved.save_later(variant, Some(issued));
                }
            }
        }
        Some((facts.traits, Some(pair)))
    }
}
