//! Certificates that the disk has refused, and keeps being offered.
//!
//! They are served meanwhile: a full disk must not keep a certificate from being renewed.

use super::clock::LOCAL_PAUSE;
use super::outcome::{Outcome, Report};
use super::saving::forget_attempts;
use super::site::Site;
use crate::store::{IssuedPem, Store, StoreError};
use acme_dns_core::id::VariantId;
use std::collections::HashMap;
use std::rc::Rc;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Tasks that try to save, by variant.
pub(super) struct Unsaved {
    site: Rc<Site>,
    report: Report,
    tasks: HashMap<VariantId, AbortHandle>,
}

impl Unsaved {
    pub(super) fn new(site: Rc<Site>, report: Report) -> Self {
        Self { site, report, tasks: HashMap::new() }
    }

    /// Keeps trying to save a certificate (`None`: only to forget its attempts), and reports when it is saved.
    pub(super) fn save_later(&mut self, variant: VariantId, pem: Option<IssuedPem>) {
        let (store, name) = (self.site.store.clone(), self.site.name(variant).to_owned());
        let report = self.report.clone();
        let task = tokio::task::spawn_local(async move {
            let is_new = pem.is_some();
            save_at_last(&store, &name, pem).await;
            if is_new {
                let _ended = report.send(Outcome::Saved { variant });
            }
        });
        self.tasks.insert(variant, task.abort_handle());
    }

    /// Gives a variant up: what is left to do for the certificate before must not disturb the next.
    pub(super) fn give_up(&mut self, variant: VariantId) {
        if let Some(task) = self.tasks.remove(&variant) {
            task.abort();
        }
    }

    pub(super) fn contains(&self, variant: VariantId) -> bool {
        self.tasks.contains_key(&variant)
    }
}

async fn save_at_last(store: &Store, name: &str, pem: Option<IssuedPem>) {
    loop {
        sleep(LOCAL_PAUSE).await;
        let (name, pem) = (name.to_owned(), pem.clone());
        let save = move |store: &Store| -> Result<(), StoreError> {
            if let Some(pem) = pem {
                store.save_certificate(&name, &pem)?;
            }
            forget_attempts(store, &name)
        };
        if store.on_thread(save).await.is_ok() {
            return;
        }
    }
}
