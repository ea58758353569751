//! Reading certificates with their keys, at a glance or with OpenSSL.

use super::facts::{CertificateFacts, IssuerFile, PackedRenewal, facts};
use super::versions::{NO_VERSION, version_of};
use super::{
    CERTS, FULL_CHAIN, ISSUER, KEY, RENEWAL, REVOKED, Store, StoreError, certificate_path,
};
use crate::stamp::FileStamp;
use crate::store::Trust;
use crate::store::door::{
    Door, MAX_FILE, MAX_KEY, OpenDirectory, Place, entries_of, open_beneath, read_link_in,
};
use crate::store::error::failed;
use crate::x509::glance::{Glance, glance, glance_at_leaf, pkcs8};
use crate::x509::{
    chain_from_pem, dns_names, is_self_signed, key_type, keys, material, reason, validity,
};
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::pem;
use acme_dns_core::stock::Traits;
use rustix::fs::{AtFlags, OFlags, statat};
use rustix::io::Errno;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Number of times that a reader starts over when versions change under it.
const READ_ATTEMPTS: usize = 3;

/// A certificate from the disk.
#[derive(Debug)]
pub struct StoredCertificate {
    /// Keys and chains, for a server.
    pub material: Material,
    /// Facts about it.
    pub facts: CertificateFacts,
    /// Error in reading its origin. The certificate is good all the same.
    pub issuer_error: Option<StoreError>,
}

impl Store {
    /// See [`load_certificate`].
    ///
    /// # Errors
    /// As of [`load_certificate`].
    pub fn load_certificate(&self, name: &str) -> Result<Option<StoredCertificate>, StoreError> {
        load_certificate(self.path(), name)
    }
}

/// Tells whether there is anything in the place of a certificate, good or not.
#[must_use]
pub fn is_kept(state_path: &Path, name: &str) -> bool {
    fs::symlink_metadata(certificate_path(state_path, name)).is_ok()
}

/// Reads a certificate and checks it: the files are complete, the key is the leaf's. A certificate
/// that has expired is read like any other. Creates nothing.
///
/// # Errors
/// A file is there and cannot be read, or they do not belong together.
pub fn load_certificate(
    state_path: &Path,
    name: &str,
) -> Result<Option<StoredCertificate>, StoreError> {
    let Some(certificates) = Certificates::open(state_path, &Trust::here())? else {
        return Ok(None);
    };
    let Some(files) = certificates.read(name)? else { return Ok(None) };
    let glance = decode(&files).ok().and_then(|material| at_a_glance(material).ok());
    let (material, glance) = glance.map_or_else(|| parse(&files), Ok)?;
    let (issuer, issuer_error) = match files.directory.read_json(ISSUER, MAX_KEY) {
        Ok(issuer) => (issuer, None),
        Err(error) => (None, Some(error)),
    };
    let facts = facts(files.stamp, glance, issuer);
    let material = with_source(material, &facts);
    Ok(Some(StoredCertificate { material, facts, issuer_error }))
}

/// The certificates of a state path, to be read one after the other.
#[derive(Debug)]
pub struct Certificates {
    pub(super) door: Door,
    /// The directory of all, open: thousands of files are found faster than by their full names.
    directory: OwnedFd,
    /// Owners of the files that were read.
    pub(super) owners: RefCell<BTreeSet<u32>>,
}

impl Certificates {
    /// Opens them. `None`: there never was one. Creates nothing.
    ///
    /// # Errors
    /// The state path cannot be read.
    pub fn open(state_path: &Path, trust: &Trust) -> Result<Option<Self>, StoreError> {
        let door = match Door::open(state_path, trust.clone(), None) {
            Err(error) if error.is_not_found() => return Ok(None),
            door => door?,
        };
        match door.open_directory(Path::new(CERTS)) {
            Ok(directory) => Ok(Some(Self { door, directory, owners: RefCell::default() })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells whether something that was read belongs to another user than this one, who may then be unable
    /// to read it.
    #[must_use]
    pub fn is_foreign_to(&self, uid: u32) -> bool {
        self.owners.borrow().iter().any(|owner| *owner != uid)
    }

    /// Reads what a server needs of a certificate, and what is to be known of it. OpenSSL, whose parsing
    /// would take most of the time of a start with many certificates, sees nothing of it, and nothing
    /// is decrypted; who installs it checks it.
    ///
    /// # Errors
    /// Something is there and cannot be read at a glance: the service has to look, and may well find a
    /// good certificate.
    pub fn load_quickly(
        &self,
        name: &str,
    ) -> Result<Option<(Material, Option<CertificateFacts>)>, StoreError> {
        self.read(name)?.map(|files| self.at_a_glance(&files)).transpose()
    }

    /// Looks at files at a glance. Without facts where it cannot be read where the certificate is from.
    pub(super) fn at_a_glance(
        &self,
        files: &Files<'_>,
    ) -> Result<(Material, Option<CertificateFacts>), StoreError> {
        let key = files.directory.path().join(KEY);
        let unclear =
            |_| StoreError::invalid(&key, "its type, or that of its certificate, is unusual");
        let (material, glance) = at_a_glance(decode(files)?).map_err(unclear)?;
        // The service reads it again where it cannot be read here, and says so.
        let issuer = files.directory.read_json(ISSUER, MAX_KEY).ok();
        let Some(issuer) = issuer else { return Ok((material, None)) };
        let facts = facts(files.stamp, glance, issuer);
        Ok((with_source(material, &facts), Some(facts)))
    }

    /// Lists the names of all that there are, whether or not a configuration has them.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let failed = |error: Errno| failed("readdir", &self.path())(error.into());
        let flags = OFlags::RDONLY;
        let directory = open_beneath(&self.directory, Path::new(""), flags).map_err(failed)?;
        let names = entries_of(directory).map_err(failed)?;
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        // Versions lie there too, and what is being written.
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    }

    /// Reads the chain and the key as they are in their files. `None`: it is not there, or was revoked.
    pub(crate) fn read_pem(&self, name: &str) -> Result<Option<Pem>, StoreError> {
        let files = self.read(name)?;
        Ok(files.map(|Files { full_chain, key, .. }| Pem { full_chain, key }))
    }

    /// Reads a leaf, in DER.
    pub(crate) fn leaf(&self, name: &str) -> Option<Vec<u8>> {
        let directory = self.open_version(name).ok()?;
        let (full_chain, _) = directory.read(FULL_CHAIN, MAX_FILE).ok()??;
        Some(CertificateDer::pem_slice_iter(&full_chain).next()?.ok()?.to_vec())
    }

    /// Tells whether this leaf, in DER, lies there and was revoked.
    #[must_use]
    pub fn is_revoked(&self, name: &str, leaf: &[u8]) -> bool {
        self.open_version(name).is_ok_and(|directory| is_revoked(&directory))
            && self.leaf(name).is_some_and(|revoked| revoked == leaf)
    }

    /// Looks at a certificate without its key. `None`: it is not there, was revoked, or cannot be read at a glance.
    #[must_use]
    pub fn traits(&self, name: &str) -> Option<Traits> {
        let directory = self.open_version(name).ok()?;
        let (full_chain, stat) = directory.read(FULL_CHAIN, MAX_FILE).ok()??;
        let leaf = CertificateDer::pem_slice_iter(&full_chain).next()?.ok()?;
        let glance = glance_at_leaf(&leaf)?;
        if is_revoked(&directory) {
            return None;
        }
        let issuer = directory.read_json(ISSUER, MAX_KEY).ok()?;
        Some(facts(FileStamp::new(&stat), glance, issuer).traits)
    }

    /// Reads both files of one version, even while another process makes new ones.
    pub(super) fn read(&self, name: &str) -> Result<Option<Files<'_>>, StoreError> {
        let mut result = Ok(None);
        for _ in 0..READ_ATTEMPTS {
            result = self.open_version(name).and_then(|version| match is_revoked(&version) {
                true => Ok(None),
                false => read_version(version).map(Some),
            });
            if let Ok(Some(files)) = &result {
                self.owners.borrow_mut().extend(files.owners);
            }
            if !result.as_ref().is_err_and(StoreError::is_not_found) {
                break;
            }
            match statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => {}
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(failed("lstat", &self.path().join(name))(error.into())),
            }
        }
        result
    }

    /// Looks at a file of the version that is served, by no more than one question to the system. `None`: it is not there,
    /// or is not what may be read. What the file says is not to be trusted for its stamp alone, as the way to it was not
    /// checked.
    pub(crate) fn stamp(&self, name: &str, file: &str) -> Option<FileStamp> {
        let path = Path::new(name).join(file);
        let stat = statat(&self.directory, &path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        self.door.check(&stat, &path).is_ok().then(|| FileStamp::new(&stat))
    }

    /// Looks at the file with the chain, as [`Certificates::stamp`] does.
    pub(crate) fn chain_stamp(&self, name: &str) -> Option<FileStamp> {
        self.stamp(name, FULL_CHAIN)
    }

    /// Tells whether the state of a certificate's renewal is still the one that the pack has had.
    pub(crate) fn has_renewal(&self, name: &str, packed: &PackedRenewal) -> bool {
        let there = self.stamp(name, RENEWAL).map(FileStamp::words);
        match packed {
            PackedRenewal::Absent => there.is_none(),
            PackedRenewal::Saved(stamp, _) => there == Some(*stamp),
        }
    }

    /// Opens the version that is served, or the plain directory in its place.
    pub(super) fn open_version(&self, name: &str) -> Result<OpenDirectory<'_>, StoreError> {
        let path = self.path().join(name);
        let link = read_link_in(&self.directory, OsStr::new(name));
        let (path, relative) = match link.map_err(|e| failed("readlink", &path)(e.into()))? {
            None => (path, PathBuf::from(name)),
            Some(target) if version_of(&target, name).is_some() => {
                (self.path().join(&target), target)
            }
            Some(_) => return Err(StoreError::invalid(&path, NO_VERSION)),
        };
        match open_beneath(&self.directory, &relative, OFlags::PATH) {
            Ok(descriptor) => Ok(OpenDirectory::new(&self.door, descriptor, path)),
            Err(error) => Err(failed("open", &path)(error.into())),
        }
    }

    fn path(&self) -> PathBuf {
        self.door.path().join(CERTS)
    }
}

/// Notes in a pair from the disk where it is from.
fn with_source(mut material: Material, facts: &CertificateFacts) -> Material {
    material.pairs.iter_mut().for_each(|pair| pair.source = facts.source());
    material
}

/// Looks at a pair at a glance; gives the material back if that is not enough.
fn at_a_glance(material: Material) -> Result<(Material, Glance), Material> {
    let pair = material.pairs.first();
    let seen = pair.and_then(|pair| glance(pair.chain.iter().map(Vec::as_slice), &pair.key));
    match seen {
        Some(glance) => Ok((material, glance)),
        None => Err(material),
    }
}

/// Looks into the files with OpenSSL, which knows all forms of keys.
fn parse(files: &Files<'_>) -> Result<(Material, Glance), StoreError> {
    let full_chain = files.directory.path().join(FULL_CHAIN);
    let key_path = files.directory.path().join(KEY);
    let invalid = |reason: String| StoreError::invalid(&full_chain, reason);
    let chain = chain_from_pem(&files.full_chain).map_err(invalid)?;
    let key = keys::private_key(&files.key).map_err(|e| StoreError::invalid(&key_path, e))?;
    let openssl = |e| StoreError::invalid(&full_chain, reason(&e));
    let [leaf, ..] = chain.as_slice() else {
        return Err(invalid("it holds no certificate in PEM".to_owned()));
    };
    if !leaf.public_key().map_err(openssl)?.public_eq(&key) {
        let reason =
            format!("the key in \"{}\" is not that of the certificate", key_path.display());
        return Err(invalid(reason));
    }
    let Some(key_type) = key_type(&key) else {
        return Err(StoreError::invalid(&key_path, "the type of its key is not supported"));
    };
    let (validity, names) = (validity(leaf).map_err(openssl)?, dns_names(leaf));
    let is_self_signed = is_self_signed(leaf);
    let material = material(&key, &chain).map_err(openssl)?;
    Ok((material, Glance { key: key_type, validity, names, is_self_signed }))
}

/// Reads what a server needs of a certificate and decodes PEM, but does not look into it.
///
/// # Errors
/// A file is there and cannot be read, or is not PEM.
pub fn load_material(state_path: &Path, name: &str) -> Result<Option<Material>, StoreError> {
    let Some(certificates) = Certificates::open(state_path, &Trust::here())? else {
        return Ok(None);
    };
    let Some(files) = certificates.read(name)? else { return Ok(None) };
    // A key that was put there by hand may have a form that only OpenSSL knows.
    let material = decode(&files).or_else(|_| parse(&files).map(|(material, _)| material));
    let issuer = files.directory.read_json::<IssuerFile>(ISSUER, MAX_KEY).ok().flatten();
    let source = issuer.map(IssuerFile::into_source);
    let mut material = material?;
    material.pairs.iter_mut().for_each(|pair| pair.source.clone_from(&source));
    Ok(Some(material))
}

fn decode(files: &Files<'_>) -> Result<Material, StoreError> {
    let path = files.directory.path().join(FULL_CHAIN);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&files.full_chain).collect();
    let chain = chain.map_err(|_| StoreError::invalid(&path, "it is not valid PEM"))?;
    let [leaf, ..] = chain.as_slice() else {
        return Err(StoreError::invalid(&path, "it holds no certificate in PEM"));
    };
    let path = files.directory.path().join(KEY);
    let key = pem::decode(&files.key).map_err(|error| StoreError::invalid(&path, error))?;
    let key = pkcs8(key, leaf)
        .ok_or_else(|| StoreError::invalid(&path, "it is not the key of the certificate"))?;
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    Ok(Material { pairs: vec![Pair { key, chain, staple: None, source: None }] })
}

/// A certificate as it is in its files.
pub(crate) struct Pem {
    pub(crate) full_chain: Zeroizing<Vec<u8>>,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

pub(super) struct Files<'a> {
    pub(super) directory: OpenDirectory<'a>,
    /// Stamp of the full chain's file.
    stamp: FileStamp,
    pub(super) full_chain: Zeroizing<Vec<u8>>,
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) owners: [u32; 2],
}

/// Tells whether a version was revoked. It is as if it were not there.
pub(super) fn is_revoked(version: &OpenDirectory<'_>) -> bool {
    version.stat(REVOKED).is_ok_and(|mark| mark.is_some())
}

fn read_version(directory: OpenDirectory<'_>) -> Result<Files<'_>, StoreError> {
    let read = |name: &str, max| {
        directory.read(name, max)?.ok_or_else(|| {
            failed("open", &directory.path().join(name))(io::Error::from_raw_os_error(ENOENT))
        })
    };
    let (full_chain, stat) = read(FULL_CHAIN, MAX_FILE)?;
    let (key, key_stat) = read(KEY, MAX_KEY)?;
    let owners = [stat.st_uid, key_stat.st_uid];
    Ok(Files { directory, stamp: FileStamp::new(&stat), full_chain, key, owners })
}

/// `std` makes an error with this number print as the system's own.
const ENOENT: i32 = Errno::NOENT.raw_os_error();

/// Tells whether a version can be served.
pub(super) fn is_usable(version: &Place) -> Result<bool, StoreError> {
    let files = OpenDirectory::open(version).and_then(read_version);
    match files.and_then(|files| parse(&files)) {
        Ok(_) => Ok(true),
        Err(error) if error.is_about_content() => Ok(false),
        Err(error) => Err(error),
    }
}
