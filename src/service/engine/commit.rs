//! After issuing: the one way by which a certificate from a CA becomes ours.
//!
//! ```text
//! in the attempt's task, files on another thread: save the certificate -> forget the order -> the progress
//! in the loop, at once: schedule -> serve -> publish -> save the time of the renewal -> tell -> actions, reload
//! ```
//!
//! A kill between any two steps leaves something that the next start completes: an order without its
//! certificate is resumed, one with it is forgotten (`forget_ended_order` in load.rs). A disk that
//! refuses stops nothing: what was issued is served, and saving it is tried again.

use super::clock::LOCAL_PAUSE;
use super::tasks::{Outcome, Report};
use super::work::{Served, Work, now, random};
use crate::acme::Issued;
use crate::store::{IssuedPem, Store, StoreError};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::Obtained;
use acme_dns_core::text::list;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Result of saving a certificate that was issued.
#[derive(Debug)]
pub enum Saved {
    /// It is on disk, and nothing is left of the attempts.
    Completely,
    /// It is on disk, but something is left of the attempts.
    WithRemains(StoreError),
    /// The disk has refused it.
    Refused(StoreError),
}

/// Saves a certificate under the name of its variant, and forgets the order and the progress that have led to
/// it. The order stays as long as the certificate is not on disk: it holds the only other copy of the key.
pub fn save_issued(store: &Store, name: &str, pem: &IssuedPem) -> Saved {
    match store.save_certificate(name, pem) {
        Err(error) => Saved::Refused(error),
        Ok(()) => match forget_attempts(store, name) {
            Err(error) => Saved::WithRemains(error),
            Ok(()) => Saved::Completely,
        },
    }
}

/// Forgets the order and the progress of a certificate that is on disk.
fn forget_attempts(store: &Store, name: &str) -> Result<(), StoreError> {
    store.remove_order(name)?;
    store.remove_progress(name)
}

/// Keeps trying to save a certificate that the disk has refused (`None`: only to forget the attempts), and
/// reports when it is saved.
pub(super) fn save_later(
    store: Store,
    name: String,
    pem: Option<IssuedPem>,
    (entry, report): (usize, Report),
) -> AbortHandle {
    let task = tokio::task::spawn_local(async move {
        loop {
            sleep(LOCAL_PAUSE).await;
            let (of, pem) = (name.clone(), pem.clone());
            let is_new = pem.is_some();
            let save = move |store: &Store| -> Result<(), StoreError> {
                if let Some(pem) = pem {
                    store.save_certificate(&of, &pem)?;
                }
                forget_attempts(store, &of)
            };
            if store.on_thread(save).await.is_ok() {
                if is_new {
                    let _ended = report.send(Outcome::Kept { entry });
                }
                return;
            }
        }
    });
    task.abort_handle()
}

impl Work {
    /// Commits a certificate that its attempt has saved, as far as the disk took it.
    pub(super) fn commit(
        &mut self,
        (entry, issuer): (usize, usize),
        issued: Issued,
        took: Duration,
        saved: &Saved,
        report: &Report,
    ) {
        let config = Arc::clone(&self.config);
        let Some((variant, _)) = config.variant(entry) else { return };
        let Some((store, schedule)) = &mut self.schedule else { return };
        let obtained = Obtained { validity: issued.validity, skew: issued.skew };
        let renewal = schedule.handle_issued(entry, obtained, now(), random());
        let store = store.clone();
        let is_saved = !matches!(saved, Saved::Refused(_));
        // Served even if the disk refuses it: better than nothing, or than the old one.
        if let Some(mut pair) = issued.material.pairs.first().cloned() {
            pair.source = issued.pem.source(is_saved);
            self.serve(entry, Served { pair: Some(pair), issuer: Some(issuer), stands_in: false });
            self.end_stand_ins(entry);
            self.begin_staple(entry);
        }
        self.publish(variant.certificate);
        // After the publication: a write to the disk takes a while.
        if is_saved && let Err(error) = store.save_renewal(&variant.name, &renewal) {
            self.log(Level::Warn, format_args!("{error}"));
        }
        self.tell_issued(entry, &issued, took);
        match saved {
            Saved::Completely => {}
            Saved::WithRemains(error) => {
                self.log(Level::Warn, format_args!("{error}"));
                self.keep_later(entry, None, report);
            }
            Saved::Refused(error) => {
                self.log_not_kept(&variant.name, error);
                self.keep_later(entry, Some(issued.pem), report);
            }
        }
        if is_saved {
            self.written.notify_one();
            self.note_renewal(entry);
        }
    }

    fn tell_issued(&self, entry: usize, issued: &Issued, took: Duration) {
        let Some((variant, certificate)) = self.config.variant(entry) else { return };
        let names = certificate.names.iter().map(|name| name.as_str());
        let names = list(&names.collect::<Vec<_>>());
        let Issued { issuer, serial, validity, .. } = issued;
        let renewal = self.planned().and_then(|schedule| schedule.renewal(entry));
        let next = renewal.map_or(validity.not_after, |(time, _)| time);
        self.log(
            Level::Notice,
            format_args!(
                "certificate \"{}\" issued by \"{issuer}\" in {:.1} s, valid until {}, renewal at \
                 {next}, serial {serial}, for {names}",
                variant.name,
                took.as_secs_f64(),
                validity.not_after
            ),
        );
    }

    /// Notes that the disk has taken what it had refused.
    pub(super) fn commit_late(&mut self, entry: usize) {
        let name = self.variant_name(entry);
        self.log(Level::Notice, format_args!("certificate \"{name}\" is kept on disk now"));
        self.note_kept(entry);
        self.written.notify_one();
        self.note_renewal(entry);
    }

    /// Keeps trying to save what the disk has refused.
    pub(super) fn keep_later(&mut self, entry: usize, pem: Option<IssuedPem>, report: &Report) {
        let Some((store, _)) = &self.schedule else { return };
        let (store, name) = (store.clone(), self.variant_name(entry).to_owned());
        let task = save_later(store, name, pem, (entry, report.clone()));
        self.unkept.insert(entry, task);
    }
}
