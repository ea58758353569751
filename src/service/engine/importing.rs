//! Keeping what the master has found in the trees of other clients.
//!
//! The certificates are in shared memory already, where the master has put them: there they are taken
//! from, so that no key goes any other way. The keys of accounts come as secrets do. From then on the
//! state path has them, and nothing is looked for any more.

use super::clock::LOCAL_PAUSE;
use super::commit::save_later;
use super::tasks::Report;
use super::work::{Served, Work, random};
use crate::acme::account_key;
use crate::import::{Imported, ImportedAccount, Imports, fingerprint};
use crate::store::{IssuedPem, Store, StoreError, has_account, is_kept};
use acme_dns_core::level::Level;
use acme_dns_core::material::{Pair, Source};
use acme_dns_core::schedule::{Known, Renewal};
use secrecy::ExposeSecret;

/// A certificate that was taken over.
pub(super) struct Taken {
    imported: Imported,
    /// The disk has refused it; it is served all the same.
    unkept: Option<Pair>,
}

impl Work {
    /// Keeps what was found and is not in the state path, where a helper before may have put it.
    pub(super) async fn import(&mut self, store: &Store, report: &Report) -> Vec<Taken> {
        let Imports { certificates, accounts } = std::mem::take(&mut self.imports);
        for account in accounts {
            self.import_account(store, &account);
        }
        let mut taken = Vec::new();
        for imported in certificates {
            taken.extend(self.import_certificate(store, imported, report).await);
        }
        taken
    }

    /// From then on the account is found by its key, as after a crash.
    fn import_account(&self, store: &Store, account: &ImportedAccount) {
        let Some(issuer) = self.config.issuers.get(account.issuer) else { return };
        let name = &issuer.name;
        if has_account(store.path(), name) {
            return;
        }
        let source = account.source.display();
        let key = account_key(self.secret(account.key).expose_secret());
        let kept = key.and_then(|key| {
            store.save_account_key(name, &key).map_err(|error: StoreError| error.to_string())
        });
        match kept {
            Ok(()) => self.log(
                Level::Notice,
                format_args!("account of issuer \"{name}\" imported from \"{source}\""),
            ),
            Err(error) => self.log(
                Level::Warn,
                format_args!(
                    "account of issuer \"{name}\" is not imported from \"{source}\", a new one will \
                     be created: {error}"
                ),
            ),
        }
    }

    async fn import_certificate(
        &mut self,
        store: &Store,
        imported: Imported,
        report: &Report,
    ) -> Option<Taken> {
        let name = self.config.variants.get(imported.variant)?.name.clone();
        if is_kept(store.path(), &name) {
            return None;
        }
        let certificate = self.config.variants.get(imported.variant)?.certificate;
        // Without it shared memory is full, and the master has said so.
        let pairs = self.host.published(certificate)?.pairs.into_iter();
        let is_it = |pair: &Pair| {
            pair.chain.first().is_some_and(|leaf| fingerprint(leaf) == imported.fingerprint)
        };
        let mut pair = pairs.into_iter().find(is_it)?;
        pair.staple = None;
        let directory = imported.directory.clone();
        pair.source = Some(Source {
            directory,
            profile: None,
            ordered: None,
            is_imported: true,
            is_kept: false,
        });
        let pem = IssuedPem::of(&pair).ok()?;
        let renewal = Renewal { jitter: Some(random()), ..Renewal::default() };
        let (of, issued) = (name.clone(), pem.clone());
        let keep = move |store: &Store| {
            store.save_certificate(&of, &issued)?;
            // The time that is told now is that after a restart.
            store.save_renewal(&of, &renewal)
        };
        let Err(error) = store.on_thread(keep).await else {
            return Some(Taken { imported, unkept: None });
        };
        self.log(
            Level::Error,
            format_args!(
                "certificate \"{name}\" from \"{}\" is served, but cannot be kept on disk: {error}; \
                 tried again every {} s",
                imported.source.display(),
                LOCAL_PAUSE.as_secs()
            ),
        );
        let report = (imported.variant, report.clone());
        let task = save_later(store.clone(), name, Some(pem), report);
        self.unkept.insert(imported.variant, task);
        Some(Taken { imported, unkept: Some(pair) })
    }

    /// Has those served and renewed that the disk does not have.
    pub(super) fn stand_by(&mut self, taken: &mut [Taken], known: &mut [Known]) {
        for Taken { imported, unkept } in taken {
            let Some(pair) = unkept.take() else { continue };
            let directory = &imported.directory;
            let issuer = self.config.issuers.iter().position(|i| i.directory == *directory);
            self.serve(imported.variant, Served { pair: Some(pair), issuer, stands_in: false });
            if let Some(known) = known.get_mut(imported.variant) {
                known.validity = Some(imported.validity);
            }
        }
    }

    /// Tells of each certificate what was done, and what happens next.
    pub(super) fn tell_imported(&mut self, taken: &[Taken]) {
        for Taken { imported, .. } in taken {
            let next = self.schedule().and_then(|schedule| schedule.renewal(imported.variant));
            let until = imported.validity.not_after;
            let next = next.map_or(until, |(time, _)| time);
            let name = self.config.variants.get(imported.variant).map_or("", |v| v.name.as_str());
            self.log(
                Level::Notice,
                format_args!(
                    "certificate \"{name}\" imported from \"{}\", valid until {until}, renewal at \
                     {next}",
                    imported.source.display()
                ),
            );
        }
    }
}
