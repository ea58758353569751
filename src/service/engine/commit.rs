//! After issuing: the one way by which a certificate from a CA becomes ours.
//!
//! ```text
//! in the attempt's task, files on another thread (saving.rs):
//!   save the certificate -> forget the order -> forget the progress
//! in the loop, at once (here):
//!   schedule -> serve -> publish -> save the time of the renewal -> tell -> actions, reload
//! ```
//!
//! A kill between any two steps leaves something that the next start completes: an order without its
//! certificate is resumed, one with it is forgotten (load.rs). A disk that refuses stops nothing: what was
//! issued is served, and saving it is tried again (unsaved.rs).

use super::actions::Actions;
use super::clock::{LOCAL_PAUSE, now, random};
use super::outcome::{Issuance, IssuanceOrigin};
use super::reloading::Reloading;
use super::saving::Saved;
use super::served::{Served, ServedVariant};
use super::site::Site;
use super::stapling::Stapling;
use super::unsaved::Unsaved;
use crate::acme::Issued;
use crate::event::{CertificateEvent, FilesEvent, OriginEvent};
use acme_dns_core::id::{IssuerId, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Obtained, Renewal, Schedule};
use std::time::Duration;

/// The parts that take note of a certificate.
pub(super) struct Commit<'a> {
    pub(super) site: &'a Site,
    pub(super) schedule: &'a mut Schedule,
    pub(super) served: &'a mut Served,
    pub(super) stapling: &'a mut Stapling,
    pub(super) unsaved: &'a mut Unsaved,
    pub(super) actions: &'a mut Actions,
    pub(super) reloading: &'a Reloading,
    /// In a fleet, the number of the certificate that is shared until now.
    pub(super) follows: Option<u64>,
}

impl Commit<'_> {
    /// Commits a certificate that its attempt, or its adoption, has saved, as far as the disk took it. Gives what is kept
    /// beside it.
    pub(super) fn issued(mut self, issuance: Issuance) -> Renewal {
        let Issuance { variant, issuer, issued, took, saved, origin } = issuance;
        let Issued { validity, skew, .. } = issued;
        let renewal = match &origin {
            IssuanceOrigin::Ca => {
                let obtained = Obtained { validity, skew, follows: self.follows };
                self.schedule.handle_issued(variant, obtained, now(), random())
            }
            IssuanceOrigin::Fleet { renewal, .. } => {
                self.schedule.handle_adopted(variant, validity, *renewal, now())
            }
        };
        let is_saved = !matches!(saved, Saved::Refused(_));
        let is_ours = matches!(origin, IssuanceOrigin::Ca);
        self.serve(variant, issuer, &issued, is_saved);
        let (site, name) = (self.site, self.site.name(variant));
        // After the publication: a write to the disk takes a while. An adoption has done it.
        if is_saved
            && is_ours
            && let Err(error) = site.store.save_renewal(name, &renewal)
        {
            site.tell_failure(Level::Warn, &error);
        }
        self.tell(variant, &issued, took, origin);
        match saved {
            Saved::Completely => {}
            Saved::WithRemains(error) => {
                site.tell_failure(Level::Warn, &error);
                self.unsaved.save_later(variant, None);
            }
            Saved::Refused(error) => {
                let why = error.to_string();
                site.tell_files(variant, FilesEvent::Unsaved { why, retry: LOCAL_PAUSE });
                self.unsaved.save_later(variant, Some(issued.pem));
            }
        }
        if is_saved {
            self.note_files(variant);
        }
        renewal
    }

    /// Commits a certificate that the disk has taken at last.
    pub(super) fn saved(self, variant: VariantId) {
        self.site.tell_files(variant, FilesEvent::Saved);
        self.served.note_saved(variant);
        self.note_files(variant);
    }

    /// Serves the certificate even if the disk refuses it: better than nothing, or than the old one.
    fn serve(&mut self, variant: VariantId, issuer: IssuerId, issued: &Issued, is_saved: bool) {
        if let Some(mut pair) = issued.material.pairs.first().cloned() {
            pair.source = issued.pem.source(is_saved);
            let served =
                ServedVariant { pair: Some(pair.into()), issuer: Some(issuer), stands_in: false };
            self.served.set(variant, served);
            self.served.end_stand_ins(variant, self.schedule);
            self.stapling.begin(self.served, variant);
        }
        self.served.publish(self.site.variant(variant).0.certificate);
    }

    /// Tells those who wait for new files.
    fn note_files(self, variant: VariantId) {
        self.reloading.note_written();
        self.actions.note_renewal(variant);
    }

    fn tell(&self, variant: VariantId, issued: &Issued, took: Duration, origin: IssuanceOrigin) {
        let Issued { issuer, serial, validity, .. } = issued;
        let renewal = self.schedule.renewal(variant);
        if let IssuanceOrigin::Fleet { host, is_one_of_many, .. } = origin {
            let until = validity.not_after;
            let renewal = renewal.map_or(until, |(time, _)| time);
            let event = OriginEvent::Adopted { host, until, renewal, is_one_of_many };
            return self.site.tell_origin(variant, event);
        }
        let event = CertificateEvent::Issued {
            issuer: issuer.clone(),
            took,
            until: validity.not_after,
            renewal: renewal.map_or(validity.not_after, |(time, _)| time),
            serial: serial.clone(),
            names: self.site.names_of(variant),
        };
        self.site.tell_life(variant, event);
    }
}
