//! Certificates that a new one of the same name would displace.
//!
//! After an edit of the configuration a name may be another certificate's. What it has displaced can be good for
//! other names still: it is kept aside, as `NAME~` with eight hexadecimal digits, until it has expired, and
//! found there by its names.

use super::{Certificates, IssuedPem, VERSIONS, facts, files, is_kept};
use crate::store::door::entries_of;
use crate::store::{Store, StoreError, Trust};
use acme_dns_core::schedule::Renewal;
use acme_dns_core::stock::{Traits, covers};
use acme_dns_core::time::UnixTime;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest part of a name that is left, so that a file system can hold the whole.
const MAX_STEM: usize = 200;

impl Store {
    /// Keeps the certificate of a name aside if it is valid, and the new one does not do all that it does.
    pub(super) fn keep_aside(&self, name: &str, new: &IssuedPem) -> Result<(), StoreError> {
        // What cannot be read is not worth keeping.
        let Ok(Some(all)) = Certificates::open(self.path(), &Trust::here()) else { return Ok(()) };
        let Some(traits) = all.traits(name) else { return Ok(()) };
        let Some(leaf) = leaf_traits(new.fullchain.as_bytes()) else { return Ok(()) };
        if is_aside(name)
            || is_superseded(&traits, &leaf, new)
            || self.has_expired(name, &traits, now())
        {
            return Ok(());
        }
        let Ok(Some((aside, old))) = all.pem(name, traits) else { return Ok(()) };
        let is_new = !is_kept(self.path(), &aside);
        self.save(&aside, &old).inspect_err(|_| {
            if is_new {
                // Nothing may come by again that would finish it.
                let _ = self.remove_aside(&aside);
            }
        })?;
        if let Ok(Some(renewal)) = self.load_renewal::<Renewal>(name) {
            // Without it the certificate is judged by our clock alone.
            let _ = self.save_renewal(&aside, &renewal);
        }
        Ok(())
    }

    /// Tells whether a certificate has expired, by the clock of its CA where ours is known to be ahead of it.
    pub(crate) fn has_expired(&self, name: &str, traits: &Traits, now: UnixTime) -> bool {
        let renewal = self.load_renewal::<Renewal>(name).ok().flatten();
        // If ours was behind, it may have been set since.
        let ahead = renewal.map_or(0, |renewal| renewal.skew.max(0));
        traits.has_expired(now.shifted(-ahead))
    }

    /// Removes what a crash has left of certificates that were to be kept aside: nobody comes by to finish it.
    pub(in crate::store) fn sweep_aside(&self) -> Result<(), StoreError> {
        let versions = self.certs().join(VERSIONS);
        let directory = match versions.open_to_read() {
            Err(error) if error.is_not_found() => return Ok(()),
            directory => directory?,
        };
        let names = entries_of(&directory).map_err(versions.failed("readdir"))?;
        let names = names.iter().filter_map(|name| name.to_str());
        for name in names.filter(|name| is_aside(name) && !is_kept(self.path(), name)) {
            files::remove_leftover(&versions.join(name))?;
        }
        Ok(())
    }

    /// Removes what was kept aside.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove_aside(&self, name: &str) -> Result<(), StoreError> {
        if !is_aside(name) {
            return Ok(());
        }
        files::remove_leftover(&self.certs().join(name))?;
        files::remove_leftover(&self.certs().join(VERSIONS).join(name))
    }
}

impl Certificates {
    /// Reads a certificate as it is to be kept aside, and the name for that.
    fn pem(&self, name: &str, traits: Traits) -> Result<Option<(String, IssuedPem)>, StoreError> {
        let Some(files) = self.read(name)? else { return Ok(None) };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let (Some(key), Some(fullchain)) = (text(&files.key), text(&files.full_chain)) else {
            return Ok(None);
        };
        let hash = openssl::sha::sha256(&files.full_chain);
        let digits: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let stem: String = name.chars().take(MAX_STEM).collect();
        let Traits { directory, profile, is_imported, .. } = traits;
        let directory = directory.unwrap_or_default();
        let key = key.into();
        let pem = IssuedPem { key, fullchain, directory, profile, ordered: None, is_imported };
        Ok(Some((format!("{stem}~{digits}"), pem)))
    }
}

/// Tells whether a name is that of a certificate that was kept aside.
#[must_use]
pub fn is_aside(name: &str) -> bool {
    name.rsplit_once('~').is_some_and(|(_, digits)| {
        digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// Tells whether a new certificate does all that the old one does: has its names, is from the same CA, and has the same
/// type of key and profile. It may be another one that is wanted now, and the old one again tomorrow.
fn is_superseded(old: &Traits, leaf: &Traits, new: &IssuedPem) -> bool {
    let has_origin = old.directory.as_ref().is_none_or(|directory| {
        *directory == new.directory && (old.is_imported || old.profile == new.profile)
    });
    let has_key = old.key == leaf.key || old.directory.is_none() || old.is_imported;
    has_origin && has_key && old.names.iter().all(|name| covers(&leaf.names, name))
}

fn leaf_traits(fullchain: &[u8]) -> Option<Traits> {
    let leaf = CertificateDer::pem_slice_iter(fullchain).next()?.ok()?;
    facts::traits_of_leaf(&leaf, None)
}

fn now() -> UnixTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::default() + since_epoch
}
