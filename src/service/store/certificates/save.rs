//! Saving a certificate as a new version, and what is kept beside it.

use super::facts::IssuerFile;
use super::read::is_usable;
use super::versions::{linked_version, next, target, version, version_numbers};
use super::{
    CHAIN, Certificates, FULL_CHAIN, ISSUER, IssuedPem, KEY, LEAF, RENEWAL, REVOKED, Store,
    StoreError, VERSIONS, files,
};
use crate::store::Trust;
use crate::store::door::{MAX_FILE, Place};
use rustix::fs::FileType;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;

const END_CERTIFICATE: &str = "-----END CERTIFICATE-----\n";

impl Store {
    /// Keeps a certificate: all of its files change together. The version before is kept too. It may
    /// be called again after an error: what is kept already is not kept twice, which would take the
    /// place of the version before. One that is displaced, and good for names that this one does not have, is
    /// kept aside.
    ///
    /// # Errors
    /// A file cannot be written; the certificate is then the one that it was.
    pub fn save_certificate(&self, name: &str, issued: &IssuedPem) -> Result<(), StoreError> {
        self.keep_aside(name, issued)?;
        self.save(name, issued)
    }

    pub(super) fn save(&self, name: &str, issued: &IssuedPem) -> Result<(), StoreError> {
        let link = self.certs().join(name);
        let versions = self.certs().join(VERSIONS).join(name);
        files::ensure_directory(&versions)?;
        adopt(&link, &versions, name)?;
        let current = linked_version(&link, name)?;
        let is_kept = current.map(|number| holds(&version(&versions, number), issued));
        if let Some(Ok(true)) = is_kept {
            files::sync_directory(&versions)?;
            return files::sync_directory(&self.certs());
        }
        let numbers = version_numbers(&versions)?;
        let number = next(&numbers);
        let written = write_version(&version(&versions, number), issued)
            .and_then(|()| files::swap_link(&link, &target(name, number)));
        if written.is_err() && linked_version(&link, name).is_ok_and(|n| n != Some(number)) {
            // A full disk is tried again and again, and must not become fuller.
            let _ = files::remove_leftover(&version(&versions, number));
        }
        written?;
        let stay = is_kept
            .transpose()
            .and_then(|_| worth_keeping(&versions, &numbers, current))
            // What cannot be read now may be what is needed.
            .unwrap_or_else(|_| numbers.clone());
        for number in numbers.into_iter().filter(|number| !stay.contains(number)) {
            // What is not removed now is removed after the next save.
            let _ = files::remove_leftover(&version(&versions, number));
        }
        Ok(())
    }

    /// Keeps when a certificate is renewed, beside it, until it is replaced.
    ///
    /// # Errors
    /// The file cannot be written; what was there is still there.
    pub fn save_renewal(&self, name: &str, renewal: &impl Serialize) -> Result<(), StoreError> {
        let place = self.current(name)?.join(RENEWAL);
        let json = serde_json::to_vec(renewal).map_err(|e| place.invalid(e.to_string()))?;
        files::replace(&place, &json)
    }

    /// Reads the state of a certificate's renewal, if it was saved.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn load_renewal<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.current(name)?.join(RENEWAL).read_json()
    }

    /// Has certificates with these leaves (DER) never taken over under another name.
    ///
    /// # Errors
    /// The certificates cannot be listed, a mark cannot be written, or the pack cannot be removed.
    pub fn mark_revoked(&self, leaves: &[Vec<u8>]) -> Result<(), StoreError> {
        let Some(all) = Certificates::open(self.path(), &Trust::here())? else { return Ok(()) };
        self.without_pack(|| {
            for name in all.names()? {
                if all.leaf(&name).is_some_and(|leaf| leaves.contains(&leaf)) {
                    files::replace(&self.current(&name)?.join(REVOKED), b"")?;
                }
            }
            Ok(())
        })
    }
}

/// The version that was served, and if that one cannot be, the newest before it that can. What is
/// newer was never served. All of them, if it is not known which one was.
fn worth_keeping(
    versions: &Place,
    numbers: &[u64],
    current: Option<u64>,
) -> Result<Vec<u64>, StoreError> {
    let Some(current) = current else { return Ok(numbers.to_vec()) };
    let mut candidates: Vec<u64> = numbers.iter().copied().filter(|n| *n <= current).collect();
    candidates.sort_unstable();
    for number in candidates.into_iter().rev() {
        if is_usable(&version(versions, number))? {
            return Ok(vec![current, number]);
        }
    }
    Ok(vec![current])
}

/// The files of a version.
fn contents(issued: &IssuedPem) -> Result<Vec<(&'static str, Cow<'_, str>)>, serde_json::Error> {
    let IssuedPem { key, fullchain, directory, profile, ordered, is_imported } = issued;
    let end = fullchain.find(END_CERTIFICATE).map(|at| at + END_CERTIFICATE.len());
    let (leaf, chain) = fullchain.split_at(end.unwrap_or(fullchain.len()));
    let issuer = IssuerFile {
        directory: directory.clone(),
        profile: profile.clone(),
        ordered: ordered.clone(),
        is_imported: *is_imported,
    };
    let mut contents = vec![
        (FULL_CHAIN, fullchain.into()),
        (KEY, key.as_str().into()),
        (LEAF, leaf.into()),
        (CHAIN, chain.into()),
    ];
    // As with one that was put there by hand.
    if !directory.is_empty() {
        contents.push((ISSUER, serde_json::to_string(&issuer)?.into()));
    }
    Ok(contents)
}

fn write_version(place: &Place, issued: &IssuedPem) -> Result<(), StoreError> {
    let contents = contents(issued).map_err(|e| place.invalid(e.to_string()))?;
    let temporary = files::temporary(place);
    files::remove_leftover(&temporary)?;
    let write = || {
        files::ensure_directory(&temporary)?;
        for (name, text) in &contents {
            files::create(&temporary.join(name), text.as_bytes())?;
        }
        files::sync_directory(&temporary)?;
        files::rename(&temporary, place)
    };
    let written = write();
    if written.is_err() {
        // What matters is the first error; a leftover is swept at the next start.
        let _ = files::remove_leftover(&temporary);
    }
    written
}

/// Tells whether a version is whole and the same.
fn holds(version: &Place, issued: &IssuedPem) -> Result<bool, StoreError> {
    let contents = contents(issued).map_err(|e| version.invalid(e.to_string()))?;
    for (name, text) in &contents {
        match version.join(name).read(MAX_FILE) {
            Ok(Some(kept)) if *kept == *text.as_bytes() => {}
            Err(error) if !error.is_about_content() => return Err(error),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Makes a version of what stands where the link should, such as a plain directory. There is no
/// moment at which its files are not there, unless the file system cannot exchange two names.
fn adopt(link: &Place, versions: &Place, name: &str) -> Result<(), StoreError> {
    let Some(stat) = link.stat()? else { return Ok(()) };
    if FileType::from_raw_mode(stat.st_mode).is_symlink() {
        return Ok(());
    }
    let number = next(&version_numbers(versions)?);
    let (version, target) = (version(versions, number), target(name, number));
    files::make_link(&version, &target)?;
    if files::exchange(link, &version)? {
        return Ok(());
    }
    files::remove(&version)?;
    files::rename(link, &version)?;
    files::swap_link(link, &target)
}
