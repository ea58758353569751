//! Certificates with their keys.
//!
//! `certs/<name>` is a relative link to a directory of a version, so one rename changes all of its
//! files. The version before stays, for who reads the files one after the other and for people; if
//! it cannot be used, so does the newest one that can.

use super::error::failed;
use super::files::Directory;
use super::glance::{Glance, glance};
use super::x509::{chain_from_pem, dns_names, key_type, reason, validity};
use super::{Store, StoreError, files};
use acme_dns_core::key::KeyType;
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::schedule::Validity;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use rustix::fs::Stat;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

pub(super) const CERTS: &str = "certs";
pub(super) const VERSIONS: &str = ".versions";

const FULL_CHAIN: &str = "fullchain.pem";
const KEY: &str = "privkey.pem";
const LEAF: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
const ISSUER: &str = "issuer.json";
const RENEWAL: &str = "renewal.json";

const END_CERTIFICATE: &str = "-----END CERTIFICATE-----\n";

/// How often a reader begins anew when versions change under it.
const READ_ATTEMPTS: usize = 3;

/// What is kept of an issued certificate.
#[derive(Clone)]
pub struct IssuedPem {
    /// The private key, PKCS #8 in PEM.
    pub key: Zeroizing<String>,
    /// The certificates in PEM, the leaf first, each ended by a newline.
    pub fullchain: String,
    /// The URL of the directory of the CA that issued it.
    pub directory: String,
    /// The profile that was wanted.
    pub profile: Option<String>,
    /// Whether it was taken over from another client.
    pub is_imported: bool,
}

/// Where a certificate is from.
#[derive(Deserialize, Serialize)]
struct IssuerFile {
    directory: String,
    profile: Option<String>,
    #[serde(default, rename = "imported", skip_serializing_if = "std::ops::Not::not")]
    is_imported: bool,
}

/// What is known of a certificate on disk, without its key.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The file that this was read from.
    pub imprint: Imprint,
    /// Its dates; it may have expired.
    pub validity: Validity,
    /// The DNS names that it holds, sorted.
    pub names: Vec<String>,
    /// The type of its key.
    pub key: KeyType,
    /// The URL of the directory of the CA that issued it; not known of one that was put there by
    /// hand.
    pub directory: Option<String>,
    /// The profile that was wanted.
    pub profile: Option<String>,
    /// Whether it was taken over from another client, or put there by hand: it is wanted as it is, until it
    /// is renewed.
    pub is_imported: bool,
}

/// Tells a file from any that takes its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Imprint {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
}

impl Imprint {
    /// That of the certificate that is on disk now; `None` if there is none.
    #[must_use]
    pub fn of(state_path: &Path, name: &str) -> Option<Self> {
        let path = state_path.join(CERTS).join(name).join(FULL_CHAIN);
        rustix::fs::stat(path).ok().map(|stat| Self::new(&stat))
    }

    fn new(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
        }
    }
}

/// A certificate from the disk.
#[derive(Debug)]
pub struct Stored {
    /// What a server needs of it.
    pub material: Material,
    /// What is to be known of it.
    pub facts: Facts,
    /// Why it cannot be read where the certificate is from. The certificate is good all the same.
    pub issuer_error: Option<StoreError>,
}

impl Store {
    /// Keeps a certificate: all of its files change together. The version before is kept too. It may
    /// be called again after an error: what is kept already is not kept twice, which would take the
    /// place of the version before.
    ///
    /// # Errors
    /// A file cannot be written; the certificate is then the one that it was.
    pub fn save_certificate(&self, name: &str, issued: &IssuedPem) -> Result<(), StoreError> {
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
            .and_then(|_| self.worth_keeping(&versions, &numbers, current))
            // What cannot be read now may be what is needed.
            .unwrap_or_else(|_| numbers.clone());
        for number in numbers.into_iter().filter(|number| !stay.contains(number)) {
            // What is not removed now is removed after the next save.
            let _ = files::remove_leftover(&version(&versions, number));
        }
        Ok(())
    }

    /// The version that was served, and if that one cannot be, the newest before it that can. What is
    /// newer was never served. All of them, if it is not known which one was.
    fn worth_keeping(
        &self,
        versions: &Path,
        numbers: &[u64],
        current: Option<u64>,
    ) -> Result<Vec<u64>, StoreError> {
        let Some(current) = current else { return Ok(numbers.to_vec()) };
        let owner = fs::metadata(&self.path).map_err(failed("stat", &self.path))?.uid();
        let mut candidates: Vec<u64> = numbers.iter().copied().filter(|n| *n <= current).collect();
        candidates.sort_unstable();
        for number in candidates.into_iter().rev() {
            if is_usable(version(versions, number), owner)? {
                return Ok(vec![current, number]);
            }
        }
        Ok(vec![current])
    }

    /// Keeps when a certificate is renewed, beside it, until it is replaced.
    ///
    /// # Errors
    /// The file cannot be written; what was there is still there.
    pub fn save_renewal(&self, name: &str, renewal: &impl Serialize) -> Result<(), StoreError> {
        let path = self.renewal_path(name)?;
        let json =
            serde_json::to_vec(renewal).map_err(|e| StoreError::invalid(&path, e.to_string()))?;
        files::replace(&path, &json)
    }

    /// When a certificate is renewed, if that is kept.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn load_renewal<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        files::read_json(&self.certs().join(name).join(RENEWAL))
    }

    /// In the version itself: the link may be swapped in between.
    fn renewal_path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let link = self.certs().join(name);
        let version = match fs::read_link(&link) {
            Ok(target) => self.certs().join(target),
            // A plain directory, as a copy that follows links leaves it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => link,
            Err(error) if error.kind() == io::ErrorKind::NotFound => link,
            Err(error) => return Err(failed("readlink", &link)(error)),
        };
        Ok(version.join(RENEWAL))
    }

    /// See [`load_certificate`].
    ///
    /// # Errors
    /// As of [`load_certificate`].
    pub fn load_certificate(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        load_certificate(&self.path, name)
    }
}

/// Whether there is anything in the place of a certificate, good or not.
#[must_use]
pub fn is_kept(state_path: &Path, name: &str) -> bool {
    fs::symlink_metadata(state_path.join(CERTS).join(name)).is_ok()
}

/// Reads a certificate and checks it: the files are complete, the key is the leaf's. A certificate
/// that has expired is read like any other. Creates nothing.
///
/// # Errors
/// A file is there and cannot be read, or they do not belong together.
pub fn load_certificate(state_path: &Path, name: &str) -> Result<Option<Stored>, StoreError> {
    let Some(certificates) = Certificates::open(state_path, &Trust::Everyone)? else {
        return Ok(None);
    };
    let Some(files) = certificates.read(name)? else { return Ok(None) };
    let glance = decode(&files).ok().and_then(|material| at_a_glance(material).ok());
    let (material, glance) = glance.map_or_else(|| parse(&files), Ok)?;
    let (issuer, issuer_error) = match files.directory.read_json(ISSUER) {
        Ok(issuer) => (issuer, None),
        Err(error) => (None, Some(error)),
    };
    Ok(Some(Stored { material, facts: facts(files.imprint, glance, issuer), issuer_error }))
}

/// Whom a reader trusts as the owner of files in the state path, besides root and the owner of the
/// state path itself.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Everybody: the reader is not root, and can be made to read nothing that others cannot.
    Everyone,
    /// These users.
    Owners(Vec<u32>),
}

/// The certificates of a state path, to be read one after the other.
#[derive(Debug)]
pub struct Certificates {
    owners: RefCell<BTreeSet<u32>>,
    directory: Directory,
    /// Who owns the state path.
    owner: u32,
}

impl Certificates {
    /// Opens them. `None`: there never was one. Creates nothing.
    ///
    /// # Errors
    /// The state path cannot be read.
    pub fn open(state_path: &Path, _trust: &Trust) -> Result<Option<Self>, StoreError> {
        let directory = match Directory::open(&state_path.join(CERTS)) {
            Err(error) if error.is_not_found() => return Ok(None),
            directory => directory?,
        };
        let owner = fs::metadata(state_path).map_err(failed("stat", state_path))?.uid();
        Ok(Some(Self { owners: RefCell::default(), directory, owner }))
    }

    /// Whether something that was read belongs to another user than this one, who may then be unable
    /// to read it.
    #[must_use]
    pub fn is_foreign_to(&self, uid: u32) -> bool {
        self.owners.borrow().iter().any(|owner| *owner != uid)
    }

    /// Reads what a server needs of a certificate, and what is to be known of it if that shows at a
    /// glance. It does not look into it with OpenSSL, whose parsing would take most of the time of a
    /// start with many certificates; who installs it checks it.
    ///
    /// # Errors
    /// A file is there and cannot be read, or is not PEM.
    pub fn load_quickly(
        &self,
        name: &str,
    ) -> Result<Option<(Material, Option<Facts>)>, StoreError> {
        let Some(files) = self.read(name)? else { return Ok(None) };
        let (material, glance) = match at_a_glance(any_material(&files)?) {
            Ok((material, glance)) => (material, glance),
            Err(material) => return Ok(Some((material, None))),
        };
        // The helper reads it again where it cannot be read here, and says so.
        let issuer = files.directory.read_json(ISSUER).ok();
        let imprint = files.imprint;
        Ok(Some((material, issuer.map(|issuer| facts(imprint, glance, issuer)))))
    }

    /// Reads both files of one version, even while another process makes new ones.
    fn read(&self, name: &str) -> Result<Option<Files>, StoreError> {
        let mut result = Ok(None);
        for _ in 0..READ_ATTEMPTS {
            let version = self.directory.open_in(name);
            result = version.and_then(|version| read_version(version, self.owner)).map(Some);
            if !result.as_ref().is_err_and(StoreError::is_not_found) {
                break;
            }
            let link = self.directory.path().join(name);
            match fs::symlink_metadata(&link) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed("lstat", &link)(error)),
            }
        }
        result
    }
}

fn facts(imprint: Imprint, glance: Glance, issuer: Option<IssuerFile>) -> Facts {
    let Glance { key, validity, names } = glance;
    // What was put there by hand is another client's too.
    let is_imported = issuer.as_ref().is_none_or(|issuer| issuer.is_imported);
    let (directory, profile) = issuer.map_or((None, None), |i| (Some(i.directory), i.profile));
    Facts { imprint, validity, names, key, directory, profile, is_imported }
}

/// The same material, if it cannot be seen at a glance.
fn at_a_glance(material: Material) -> Result<(Material, Glance), Material> {
    let pair = material.pairs.first();
    let seen = pair.and_then(|pair| glance(pair.chain.iter().map(Vec::as_slice), &pair.key));
    match seen {
        Some(glance) => Ok((material, glance)),
        None => Err(material),
    }
}

/// Looks into the files with OpenSSL, which knows all forms of keys.
fn parse(files: &Files) -> Result<(Material, Glance), StoreError> {
    let full_chain = files.directory.path().join(FULL_CHAIN);
    let key_path = files.directory.path().join(KEY);
    let invalid = |reason: String| StoreError::invalid(&full_chain, reason);
    let chain = chain_from_pem(&files.full_chain).map_err(invalid)?;
    let key = PKey::private_key_from_pem_callback(&files.key, |_| Ok(0))
        .map_err(|_| StoreError::invalid(&key_path, "it holds no private key in PEM"))?;
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
    let material = material(&key, &chain).map_err(openssl)?;
    Ok((material, Glance { key: key_type, validity, names }))
}

/// Reads what a server needs of a certificate and decodes PEM, but does not look into it.
///
/// # Errors
/// A file is there and cannot be read, or is not PEM.
pub fn load_material(state_path: &Path, name: &str) -> Result<Option<Material>, StoreError> {
    let Some(certificates) = Certificates::open(state_path, &Trust::Everyone)? else {
        return Ok(None);
    };
    certificates.read(name)?.map(|files| any_material(&files)).transpose()
}

/// What was put there by hand may have its key in another form than ours.
fn any_material(files: &Files) -> Result<Material, StoreError> {
    decode(files).or_else(|_| parse(files).map(|(material, _)| material))
}

fn decode(files: &Files) -> Result<Material, StoreError> {
    let path = files.directory.path().join(FULL_CHAIN);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&files.full_chain).collect();
    let chain = chain.map_err(|_| StoreError::invalid(&path, "it is not valid PEM"))?;
    if chain.is_empty() {
        return Err(StoreError::invalid(&path, "it holds no certificate in PEM"));
    }
    let path = files.directory.path().join(KEY);
    let mut der = PrivatePkcs8KeyDer::from_pem_slice(&files.key)
        .map_err(|_| StoreError::invalid(&path, "it holds no PKCS #8 private key in PEM"))?;
    let key = Zeroizing::new(der.secret_pkcs8_der().to_vec());
    der.zeroize();
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    Ok(Material { pairs: vec![Pair { key, chain, staple: None }] })
}

/// The form for servers of a key and its chain.
pub(crate) fn material(
    key: &PKey<Private>,
    chain: &[X509],
) -> Result<Material, openssl::error::ErrorStack> {
    let key = Zeroizing::new(key.private_key_to_pkcs8()?);
    let chain = chain.iter().map(|certificate| certificate.to_der()).collect::<Result<_, _>>()?;
    Ok(Material { pairs: vec![Pair { key, chain, staple: None }] })
}

struct Files {
    directory: Directory,
    /// Of the full chain.
    imprint: Imprint,
    full_chain: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

fn read_version(directory: Directory, owner: u32) -> Result<Files, StoreError> {
    let read = |name: &str| {
        directory.read_of(name, owner)?.ok_or_else(|| {
            failed("open", &directory.path().join(name))(io::Error::from_raw_os_error(ENOENT))
        })
    };
    let ((full_chain, stat), (key, _)) = (read(FULL_CHAIN)?, read(KEY)?);
    Ok(Files { directory, imprint: Imprint::new(&stat), full_chain, key })
}

/// `std` makes an error with this number print as the system's own.
const ENOENT: i32 = rustix::io::Errno::NOENT.raw_os_error();

/// The files of a version.
fn contents(issued: &IssuedPem) -> Result<[(&'static str, Cow<'_, str>); 5], serde_json::Error> {
    let IssuedPem { key, fullchain, directory, profile, is_imported } = issued;
    let end = fullchain.find(END_CERTIFICATE).map(|at| at + END_CERTIFICATE.len());
    let (leaf, chain) = fullchain.split_at(end.unwrap_or(fullchain.len()));
    let issuer = IssuerFile {
        directory: directory.clone(),
        profile: profile.clone(),
        is_imported: *is_imported,
    };
    Ok([
        (FULL_CHAIN, fullchain.into()),
        (KEY, key.as_str().into()),
        (LEAF, leaf.into()),
        (CHAIN, chain.into()),
        (ISSUER, serde_json::to_string(&issuer)?.into()),
    ])
}

fn write_version(path: &Path, issued: &IssuedPem) -> Result<(), StoreError> {
    let contents = contents(issued).map_err(|e| StoreError::invalid(path, e.to_string()))?;
    let temporary = files::temporary(path);
    files::remove_leftover(&temporary)?;
    let write = || {
        files::ensure_directory(&temporary)?;
        for (name, text) in &contents {
            files::create(&temporary.join(name), text.as_bytes())?;
        }
        files::sync_directory(&temporary)?;
        files::rename(&temporary, path)
    };
    let written = write();
    if written.is_err() {
        // What matters is the first error; a leftover is swept at the next start.
        let _ = files::remove_leftover(&temporary);
    }
    written
}

/// Whether a version is whole and the same.
fn holds(version: &Path, issued: &IssuedPem) -> Result<bool, StoreError> {
    let contents = contents(issued).map_err(|e| StoreError::invalid(version, e.to_string()))?;
    for (name, text) in &contents {
        match files::read(&version.join(name)) {
            Ok(Some(kept)) if *kept == *text.as_bytes() => {}
            Err(error) if !error.is_about_content() => return Err(error),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether a version can be served.
fn is_usable(version: PathBuf, owner: u32) -> Result<bool, StoreError> {
    let files = Directory::open(&version).and_then(|version| read_version(version, owner));
    match files.and_then(|files| parse(&files)) {
        Ok(_) => Ok(true),
        Err(error) if error.is_about_content() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a version of what stands where the link should, such as a plain directory. There is no
/// moment at which its files are not there, unless the file system cannot exchange two names.
fn adopt(link: &Path, versions: &Path, name: &str) -> Result<(), StoreError> {
    match fs::symlink_metadata(link) {
        Ok(metadata) if !metadata.is_symlink() => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("lstat", link)(error)),
    }
    let number = next(&version_numbers(versions)?);
    let (version, target) = (version(versions, number), target(name, number));
    symlink(&target, &version).map_err(failed("symlink", &version))?;
    if files::exchange(link, &version)? {
        return Ok(());
    }
    files::remove(&version)?;
    files::rename(link, &version)?;
    files::swap_link(link, &target)
}

fn version(versions: &Path, number: u64) -> PathBuf {
    versions.join(number.to_string())
}

/// What the link of a version holds.
fn target(name: &str, number: u64) -> PathBuf {
    version(&Path::new(VERSIONS).join(name), number)
}

/// The numbers of versions. Others than we would write are somebody else's.
fn version_numbers(versions: &Path) -> Result<Vec<u64>, StoreError> {
    let number = |name: &String| name.parse::<u32>().ok().filter(|n| n.to_string() == *name);
    Ok(files::list(versions)?.iter().filter_map(number).map(u64::from).collect())
}

/// The version that a link leads to; `None` if there is no link, or it leads elsewhere.
fn linked_version(link: &Path, name: &str) -> Result<Option<u64>, StoreError> {
    let target = match fs::read_link(link) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("readlink", link)(error)),
    };
    let number = target.strip_prefix(VERSIONS).and_then(|target| target.strip_prefix(name));
    Ok(number.ok().and_then(|number| number.to_str()?.parse().ok()))
}

fn next(numbers: &[u64]) -> u64 {
    numbers.iter().max().map_or(1, |last| last + 1)
}

#[cfg(test)]
mod tests;
