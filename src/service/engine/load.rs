//! What is on disk when the service begins.

use super::tasks::Report;
use super::unreadable::may_be_good;
use super::work::{Served, Work, now};
use crate::store::{Facts, PendingOrder, Store, Stored, certificate_stamp};
use crate::x509::keys;
use acme_dns_core::config::Variant;
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use acme_dns_core::schedule::{Known, Progress, Validity};
use acme_dns_core::stock::Traits;
use openssl::pkey::PKey;
use std::collections::HashMap;
use std::sync::Arc;

/// Thousands take time, and a stop must not wait for them.
pub(super) async fn let_others_work(index: usize) {
    /// So many take a millisecond or two. Each pause is a system call.
    const BATCH: usize = 64;
    if index.is_multiple_of(BATCH) {
        tokio::task::yield_now().await;
    }
}

impl Work {
    /// Publishes what is on disk, as the helper before may have published into an older zone, and
    /// gathers what the schedule begins with. What the master has published and is on disk still is not
    /// read again.
    pub(super) async fn load(&mut self, store: &Store, report: &Report) -> Vec<Known> {
        let config = Arc::clone(&self.config);
        let facts = std::mem::take(&mut self.facts);
        let mut facts: HashMap<_, _> = facts.into_iter().collect();
        let under_way = store.under_way().unwrap_or_else(|error| {
            self.log(Level::Warn, format_args!("{error}"));
            config.variants.iter().map(|variant| variant.name.clone()).collect()
        });
        let mut held = Vec::with_capacity(config.variants.len());
        for (index, variant) in config.variants.iter().enumerate() {
            let_others_work(index).await;
            let facts = facts.remove(&index).filter(|facts| {
                certificate_stamp(store.path(), &variant.name) == Some(facts.stamp)
            });
            let is_under_way = under_way.contains(&variant.name);
            held.push(self.load_variant(store, index, facts, is_under_way));
        }
        let validities = self.succeed(store, held, report).await;
        let mut known = Vec::with_capacity(config.variants.len());
        for (index, validity) in validities.into_iter().enumerate() {
            let_others_work(index).await;
            let name = config.variants.get(index).map_or("", |variant| variant.name.as_str());
            known.extend(self.gather(store, index, validity, under_way.contains(name)));
        }
        for certificate in 0..config.certificates.len() {
            let_others_work(certificate).await;
            self.begin_staples(certificate);
            self.publish_anew(certificate);
        }
        known
    }

    /// Serves the certificate that lies under a variant's own name; gives what it is.
    fn load_variant(
        &mut self,
        store: &Store,
        index: usize,
        facts: Option<Facts>,
        is_under_way: bool,
    ) -> Option<Traits> {
        let staples = self.config.variant(index).is_some_and(|(_, c)| c.staples);
        let (facts, pair) = match (self.unkept_pair(index), facts) {
            (Some(pair), _) => self.take_back(store, index, pair)?,
            // A staple belongs to the chain, which is not among the facts.
            (None, Some(facts)) if !is_under_way && !staples => (facts, None),
            _ => self.load_files(store, index)?,
        };
        let issuer = self.issuer_of(facts.directory.as_deref());
        self.serve(index, Served { pair, issuer, stands_in: false });
        Some(facts.traits())
    }

    /// The issuer with this directory, as an index into the configuration's.
    pub(super) fn issuer_of(&self, directory: Option<&str>) -> Option<usize> {
        self.config.issuers.iter().position(|i| Some(i.directory.as_str()) == directory)
    }

    /// What the schedule begins with; `validity` is that of the certificate that is wanted, if it is there.
    fn gather(
        &self,
        store: &Store,
        index: usize,
        validity: Option<Validity>,
        is_under_way: bool,
    ) -> Option<Known> {
        let config = Arc::clone(&self.config);
        let (Variant { name, .. }, _) = config.variant(index)?;
        let progress = match is_under_way {
            true => store.load_progress(name).unwrap_or_else(|error| {
                self.log(Level::Warn, format_args!("{error}; it is ignored"));
                Progress::default()
            }),
            false => Progress::default(),
        };
        let renewal = validity.and_then(|_| {
            store.load_renewal(name).unwrap_or_else(|error| {
                self.log(Level::Warn, format_args!("{error}; it is ignored"));
                None
            })
        });
        let mut known = self.known(index, validity, renewal.unwrap_or_default(), progress)?;
        known.is_under_way = is_under_way && store.has_order(name);
        if known.has_ended(now()) {
            known.progress = Progress::default();
            if let Err(error) = store.remove_progress(name) {
                self.log(Level::Warn, format_args!("{error}"));
            }
        }
        Some(known)
    }

    /// Reads a certificate.
    fn load_files(&mut self, store: &Store, index: usize) -> Option<(Facts, Option<Pair>)> {
        let config = Arc::clone(&self.config);
        let (Variant { name, .. }, certificate) = config.variant(index)?;
        let stored = store.load_certificate(name).unwrap_or_else(|error| {
            if may_be_good(&error) {
                self.unreadable.note(index, error);
                return None;
            }
            self.log(
                Level::Error,
                format_args!(
                    "certificate \"{name}\" on disk cannot be used, a new one will be obtained: \
                     {error}"
                ),
            );
            None
        })?;
        if let Some(error) = &stored.issuer_error {
            self.log(
                Level::Warn,
                format_args!("{error}; it is not known where certificate \"{name}\" is from"),
            );
        }
        if !certificate.reuses_key {
            self.forget_ended_order(store, name, &stored);
        }
        let Stored { material, facts, .. } = stored;
        Some((facts, material.pairs.into_iter().next()))
    }

    /// Forgets the order that the certificate is from: the process may have died before it could.
    pub(super) fn forget_ended_order(&self, store: &Store, name: &str, stored: &Stored) {
        let order = store.load_order(name).unwrap_or_else(|error| {
            self.log(Level::Warn, format_args!("{error}"));
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
            self.log(Level::Warn, format_args!("{error}"));
        }
    }
}
