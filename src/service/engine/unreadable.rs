//! Certificates that are on disk and cannot be read.
//!
//! What this user may not read, or a disk does not give for a moment, is no reason to order: it may be a good
//! certificate, and a volume with wrong owners would cost an order at each start. It is said what to
//! do, and the files are looked at again every few seconds, so that nothing else has to be done once
//! they can be read. A disk that fails for longer is another matter: what it holds is lost.

use super::clock::{now, random};
use super::served::{Served, ServedVariant};
use super::site::Site;
use super::stapling::Stapling;
use crate::event::{CertificatesEvent, Event, FilesEvent};
use crate::store::{StoreError, StoredCertificate};
use acme_dns_core::id::VariantId;
use acme_dns_core::schedule::{Schedule, Validity};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Time for which something other than permissions may keep a certificate from being read.
const PATIENCE: Duration = Duration::from_secs(600);

/// Number of looks in a round: a look takes microseconds, unless a disk hangs.
const ROUND: usize = 64;

/// Variants that cannot be read, the one that was looked at longest ago first.
pub(super) struct Unreadable {
    site: Rc<Site>,
    variants: VecDeque<(VariantId, Instant)>,
    /// Error of the first of them, until it is told.
    why: Option<StoreError>,
}

/// The parts that a certificate is served by which can be read at last.
pub(super) struct Recovery<'a> {
    pub(super) schedule: &'a mut Schedule,
    pub(super) served: &'a mut Served,
    pub(super) stapling: &'a mut Stapling,
}

impl Unreadable {
    pub(super) fn new(site: Rc<Site>) -> Self {
        Self { site, variants: VecDeque::new(), why: None }
    }

    /// Notes that a variant cannot be read.
    pub(super) fn note(&mut self, variant: VariantId, why: StoreError) {
        self.variants.push_back((variant, Instant::now()));
        self.why.get_or_insert(why);
    }

    /// Has nothing ordered in the place of what cannot be read, unless something else does for it, and says so
    /// in one line.
    pub(super) fn bar(&mut self, schedule: &mut Schedule) {
        self.variants.retain(|(variant, _)| schedule.renewal(*variant).is_none());
        for (variant, _) in &self.variants {
            schedule.bar(*variant);
        }
        let Some(why) = self.why.take() else { return };
        let why = why.to_string();
        let variants: Vec<VariantId> = self.variants.iter().map(|(variant, _)| *variant).collect();
        match variants.as_slice() {
            [] => {}
            [variant] => self.site.tell_files(*variant, FilesEvent::Unreadable { why }),
            variants => {
                let names = variants.iter().map(|v| self.site.name(*v).to_owned()).collect();
                self.site.tell(&Event::Certificates(CertificatesEvent::Unreadable { names, why }));
            }
        }
    }

    /// Looks whether what could not be read can be now.
    pub(super) fn look(&mut self, mut parts: Recovery<'_>) {
        for _ in 0..ROUND.min(self.variants.len()) {
            let Some((variant, since)) = self.variants.pop_front() else { return };
            // It was obtained meanwhile, as somebody has asked for it.
            if parts.schedule.renewal(variant).is_some() {
                continue;
            }
            let name = self.site.name(variant);
            match self.site.store.load_certificate(name) {
                Err(error)
                    if error.is_denied() || may_be_good(&error) && since.elapsed() < PATIENCE =>
                {
                    self.variants.push_back((variant, since));
                }
                Ok(Some(stored)) => self.serve(&mut parts, variant, stored),
                read => {
                    let why = read.err().map_or_else(|| "it is gone".to_owned(), |e| e.to_string());
                    self.site.tell_files(variant, FilesEvent::Unusable { why });
                    parts.schedule.unbar(variant, None, now(), random());
                }
            }
        }
    }

    /// Serves a certificate that can be read at last.
    fn serve(&self, parts: &mut Recovery<'_>, variant: VariantId, stored: StoredCertificate) {
        let site = &self.site;
        let (wanted, certificate) = site.variant(variant);
        let StoredCertificate { material, facts, .. } = stored;
        let issuer = site.issuer_with(facts.traits.directory.as_deref());
        let pair = material.pairs.into_iter().next();
        parts
            .served
            .set(variant, ServedVariant { pair: pair.map(Box::new), issuer, stands_in: false });
        parts.stapling.begin(parts.served, variant);
        parts.served.publish(wanted.certificate);
        let validity = facts.traits.validity;
        let is_wanted = facts.traits.difference(&site.config, wanted, certificate).is_none();
        let name = site.name(variant);
        let renewal = site.store.load_renewal(name).ok().flatten().unwrap_or_default();
        let found: Option<(Validity, _)> = is_wanted.then_some((validity, renewal));
        parts.schedule.unbar(variant, found, now(), random());
        site.tell_files(variant, FilesEvent::ReadableAgain { until: validity.not_after });
    }
}

/// Tells whether a certificate that cannot be read may be a good one, for all that is known.
pub(super) fn may_be_good(error: &StoreError) -> bool {
    !error.is_about_content()
}
