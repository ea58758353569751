//! What is on disk when the service begins.

use super::work::{Served, Work, now};
use crate::store::{Facts, Imprint, PendingOrder, Store, Stored, keys};
use acme_dns_core::config::{Certificate, Variant};
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use acme_dns_core::schedule::{Known, Progress, Validity};
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
    pub(super) async fn load(&mut self, store: &Store) -> Vec<Known> {
        let config = Arc::clone(&self.config);
        let facts = std::mem::take(&mut self.facts);
        let mut facts: HashMap<_, _> = facts.into_iter().collect();
        let under_way = store.under_way().unwrap_or_else(|error| {
            self.log(Level::Warn, format_args!("{error}"));
            config.variants.iter().map(|variant| variant.name.clone()).collect()
        });
        let mut known = Vec::with_capacity(config.variants.len());
        for (index, variant) in config.variants.iter().enumerate() {
            let_others_work(index).await;
            let facts = facts.remove(&index).filter(|facts| {
                Imprint::of(store.path(), &variant.name).as_ref() == Some(&facts.imprint)
            });
            let is_under_way = under_way.contains(&variant.name);
            known.extend(self.load_variant(store, index, facts, is_under_way));
        }
        for certificate in 0..config.certificates.len() {
            let_others_work(certificate).await;
            self.begin_staples(certificate);
            self.publish_anew(certificate);
        }
        known
    }

    fn load_variant(
        &mut self,
        store: &Store,
        index: usize,
        facts: Option<Facts>,
        is_under_way: bool,
    ) -> Option<Known> {
        let config = Arc::clone(&self.config);
        let (Variant { name, .. }, certificate) = config.variant(index)?;
        let progress = match is_under_way {
            true => store.load_progress(name).unwrap_or_else(|error| {
                self.log(Level::Warn, format_args!("{error}; it is ignored"));
                Progress::default()
            }),
            false => Progress::default(),
        };
        let lost = self.lost_pair(store, index, facts.is_some());
        let validity = match (lost, facts) {
            (Some(pair), _) => self.take_back(store, index, pair),
            // A staple belongs to the chain, which is not among the facts.
            (None, Some(facts)) if !is_under_way && !certificate.staples => {
                self.take_over(index, &facts, None)
            }
            _ => self.load_files(store, index),
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

    /// Reads a certificate; gives its validity if it is the one that is wanted.
    fn load_files(&mut self, store: &Store, index: usize) -> Option<Validity> {
        let config = Arc::clone(&self.config);
        let (Variant { name, .. }, certificate) = config.variant(index)?;
        let stored = store.load_certificate(name).unwrap_or_else(|error| {
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
        self.take_over(index, &facts, material.pairs.into_iter().next())
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

    /// Serves a variant from the disk; gives its validity if it is the one that is wanted. Without a
    /// pair it is served already.
    pub(super) fn take_over(
        &mut self,
        index: usize,
        facts: &Facts,
        pair: Option<Pair>,
    ) -> Option<Validity> {
        let config = Arc::clone(&self.config);
        let (variant, certificate) = config.variant(index)?;
        let validity = facts.validity;
        let difference = self.difference(variant, certificate, facts);
        let directory = facts.directory.as_ref();
        let issuer = config.issuers.iter().position(|i| Some(&i.directory) == directory);
        self.serve(index, Served { pair, issuer });
        let Some(difference) = difference else { return Some(validity) };
        let name = &variant.name;
        self.log(
            Level::Notice,
            format_args!("certificate \"{name}\" {difference}, a new one will be obtained"),
        );
        None
    }

    /// What makes a certificate from the disk another than the one that is wanted.
    fn difference(
        &self,
        variant: &Variant,
        wanted: &Certificate,
        facts: &Facts,
    ) -> Option<&'static str> {
        let mut names: Vec<_> = wanted.names.iter().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let holds = |name: &&str| facts.names.iter().any(|held| held == name);
        // What was taken over is replaced when it is renewed: that costs no order more than usual.
        let (has_names, has_key) = match facts.is_imported {
            true => (
                names.iter().all(holds),
                wanted.variants.len() == 1 || facts.key.algorithm() == variant.key.algorithm(),
            ),
            false => (facts.ordered() == names, facts.key == variant.key),
        };
        let issuers = wanted.issuers.iter().filter_map(|index| self.config.issuers.get(*index));
        let issuer = facts.directory.as_ref().map(|directory| {
            let mut issuers = issuers;
            issuers.find(|issuer| issuer.directory == *directory)
        });
        if !has_names {
            Some("holds other names than configured")
        } else if !has_key {
            Some("has another type of key than configured")
        } else {
            match issuer {
                Some(None) => Some("is from another CA than configured"),
                Some(Some(issuer))
                    if !facts.is_imported
                        && issuer.profile.as_ref().map(|p| &p.name) != facts.profile.as_ref() =>
                {
                    Some("has another profile than configured")
                }
                // Of one that was put there by hand it is not known where it is from.
                _ => None,
            }
        }
    }
}
