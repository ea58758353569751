//! Taking over what the master has found in the trees of other clients.
//!
//! The certificates are in shared memory already, where the master has put them: there they are taken
//! from, so that no key goes any other way. The keys of accounts come as secrets do. From then on the
//! state path has them, and nothing is looked for any more.

use super::clock::{LOCAL_PAUSE, random};
use super::secrets::Secrets;
use super::served::{Served, ServedVariant};
use super::site::Site;
use super::unsaved::Unsaved;
use crate::acme::account_key;
use crate::event::{AccountEvent, Event, OriginEvent, Subject};
use crate::import::{ImportedAccount, ImportedCertificate, Imports, fingerprint};
use crate::store::{IssuedPem, Store, StoreError, has_account, is_kept};
use acme_dns_core::id::{Table, VariantId};
use acme_dns_core::material::{Pair, Source};
use acme_dns_core::schedule::{Known, Renewal, Schedule};
use secrecy::ExposeSecret;

/// Certificate that was taken over from another client.
pub(super) struct TakenOver {
    imported: ImportedCertificate,
    /// The disk has refused it; it is served all the same.
    unsaved: Option<Pair>,
}

/// Saves what was found and is not in the state path, where a helper before may have put it.
pub(super) async fn import(
    site: &Site,
    secrets: &Secrets,
    imports: Imports,
    unsaved: &mut Unsaved,
) -> Vec<TakenOver> {
    for account in imports.accounts {
        import_account(site, secrets, &account);
    }
    let mut taken_over = Vec::new();
    for imported in imports.certificates {
        taken_over.extend(import_certificate(site, imported, unsaved).await);
    }
    taken_over
}

/// Saves the key of an account, by which the account is found from then on, as after a crash.
fn import_account(site: &Site, secrets: &Secrets, account: &ImportedAccount) {
    let name = &site.issuer(account.issuer).name;
    if has_account(site.store.path(), name) {
        return;
    }
    let key = account_key(secrets.get(account.key).expose_secret());
    let saved = key.and_then(|key| {
        site.store.save_account_key(name, &key).map_err(|error: StoreError| error.to_string())
    });
    let event = match saved {
        Ok(()) => AccountEvent::Imported { source: account.source.clone() },
        Err(why) => AccountEvent::NotImported { source: account.source.clone(), why },
    };
    site.tell(&Event::Account(Subject::Issuer(name.clone()), event));
}

async fn import_certificate(
    site: &Site,
    imported: ImportedCertificate,
    unsaved: &mut Unsaved,
) -> Option<TakenOver> {
    let variant = imported.variant;
    let name = site.name(variant).to_owned();
    if is_kept(site.store.path(), &name) {
        return None;
    }
    let pair = published(site, &imported)?;
    let pem = IssuedPem::of(&pair).ok()?;
    let renewal = Renewal { jitter: Some(random()), ..Renewal::default() };
    let (of, issued) = (name.clone(), pem.clone());
    let save = move |store: &Store| {
        store.save_certificate(&of, &issued)?;
        // The time that is told now is that after a restart.
        store.save_renewal(&of, &renewal)
    };
    let Err(error) = site.store.on_thread(save).await else {
        return Some(TakenOver { imported, unsaved: None });
    };
    let (source, why) = (imported.source.clone(), error.to_string());
    site.tell_origin(variant, OriginEvent::ImportedUnsaved { source, why, retry: LOCAL_PAUSE });
    unsaved.save_later(variant, Some(pem));
    Some(TakenOver { imported, unsaved: Some(pair) })
}

/// Finds a certificate in shared memory. Without it shared memory is full, and the master has said so.
fn published(site: &Site, imported: &ImportedCertificate) -> Option<Pair> {
    let certificate = site.variant(imported.variant).0.certificate;
    let pairs = site.host.published(certificate)?.pairs.into_iter();
    let is_it = |pair: &Pair| {
        pair.chain.first().is_some_and(|leaf| fingerprint(leaf) == imported.fingerprint)
    };
    let pair = pairs.into_iter().find(is_it)?;
    let source = Source {
        directory: imported.directory.clone(),
        profile: None,
        ordered: None,
        is_imported: true,
        is_kept: false,
    };
    Some(Pair { staple: None, source: Some(source), ..pair })
}

/// Has those served and renewed that the disk does not have.
pub(super) fn serve_unsaved(
    site: &Site,
    served: &mut Served,
    taken_over: &mut [TakenOver],
    known: &mut Table<VariantId, Known>,
) {
    for TakenOver { imported, unsaved } in taken_over {
        let Some(pair) = unsaved.take() else { continue };
        let (variant, issuer) = (imported.variant, site.issuer_with(Some(&imported.directory)));
        served.set(variant, ServedVariant { pair: Some(pair.into()), issuer, stands_in: false });
        known[variant].validity = Some(imported.validity);
    }
}

/// Tells of each certificate where it is from, and when it is renewed.
pub(super) fn tell(site: &Site, schedule: &Schedule, taken_over: &[TakenOver]) {
    for TakenOver { imported, .. } in taken_over {
        let until = imported.validity.not_after;
        let renewal = schedule.renewal(imported.variant).map_or(until, |(time, _)| time);
        let source = imported.source.clone();
        let event = OriginEvent::Imported { source, until, renewal };
        site.tell_origin(imported.variant, event);
    }
}
