//! The master's part of `acme_dns_import`, which has the rights to read other clients' files. How those are read
//! is in the service's `import`.
//!
//! Certificates are published like those of the state path, and the service takes them from shared
//! memory. Keys of accounts are none of the workers' business: they go into the vault unparsed.

use super::conf::Ready;
use super::nginx::{now, tell, tell_event};
use super::privileges::{self, Ids};
use super::vault::Vault;
use acme_dns_core::config::{Certificate, Config};
use acme_dns_core::id::{IssuerId, VariantId};
use acme_dns_core::material::Pair;
use acme_dns_service::event::NginxEvent;
use acme_dns_service::import::{self, ImportedAccount, Imports};
use acme_dns_service::store;
use std::collections::HashMap;

/// Pairs that were found for variants.
pub(super) type Pairs = HashMap<VariantId, Pair>;

/// Looks for what the configuration wants and the state path does not have.
pub(super) fn read(ready: &mut Ready, vault: &mut Vault) -> Pairs {
    let config = &ready.config;
    if config.imports.is_empty() {
        return Pairs::new();
    }
    let is_missing = |variant: &VariantId| {
        let variant = config.variants.get(*variant);
        variant.is_some_and(|variant| !store::is_kept(&config.state_path, &variant.name))
    };
    let owner = ready.identity.owner_of_files();
    let missing: Vec<VariantId> =
        privileges::with_files_of(owner, || config.variants.ids().filter(is_missing).collect());
    let found = if missing.is_empty() {
        Vec::new()
    } else {
        import::certificates(config, &missing, now(), &mut tell_event)
    };
    let accounts =
        config.issuers.ids().filter_map(|issuer| account(config, owner, issuer, vault)).collect();
    let (certificates, pairs): (Vec<_>, Pairs) =
        found.into_iter().map(|(it, pair)| (it.clone(), (it.variant, pair))).unzip();
    ready.imports = Imports { certificates, accounts };
    pairs
}

/// Tells whether something was found for a certificate.
pub(super) fn has(pairs: &Pairs, certificate: &Certificate) -> bool {
    certificate.variants.clone().any(|variant| pairs.contains_key(&variant))
}

/// Finds the account for an issuer that has none yet.
fn account(
    config: &Config,
    owner: Option<Ids>,
    issuer: IssuerId,
    vault: &mut Vault,
) -> Option<ImportedAccount> {
    let settings = config.issuers.get(issuer)?;
    let is_given = settings.account_key.is_some() || settings.external_account.is_some();
    let has_account = || store::has_account(&config.state_path, &settings.name);
    if is_given || privileges::with_files_of(owner, has_account) {
        return None;
    }
    let mut refused = None;
    for file in import::account_files(config, issuer) {
        let key = import::open_account_key(config, &file);
        let key = key.and_then(|key| key.map(|key| vault.account_key(key, &file.path)).transpose());
        match key {
            Ok(Some(key)) => return Some(ImportedAccount { issuer, key, source: file.path }),
            Ok(None) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    tell(NginxEvent::AccountNotImported { issuer: settings.name.clone(), why: refused? });
    None
}
