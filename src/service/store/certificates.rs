//! Certificates with their keys.
//!
//! `certs/<name>` is a relative link to a directory of a version, so one rename changes all of its
//! files. The version before stays, for who reads the files one after the other and for people.

use super::error::failed;
use super::x509::{chain_from_pem, dns_names, key_type, reason, validity};
use super::{Store, StoreError, files};
use acme_dns_core::key::KeyType;
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::schedule::Validity;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
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
}

/// Where a certificate is from.
#[derive(Deserialize, Serialize)]
struct IssuerFile {
    directory: String,
    profile: Option<String>,
}

/// A certificate from the disk.
#[derive(Debug)]
pub struct Stored {
    /// What a server needs of it.
    pub material: Material,
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
}

impl Store {
    /// Keeps a certificate: all of its files change together. The version before is kept too.
    ///
    /// # Errors
    /// A file cannot be written; the certificate is then the one that it was.
    pub fn save_certificate(&self, name: &str, issued: &IssuedPem) -> Result<(), StoreError> {
        let link = self.certs().join(name);
        let versions = self.certs().join(VERSIONS).join(name);
        files::ensure_directory(&versions)?;
        let mut numbers = version_numbers(&versions)?;
        let previous = if fs::symlink_metadata(&link).is_ok_and(|metadata| metadata.is_dir()) {
            numbers.push(adopt(&link, &versions, next(&numbers))?);
            numbers.last().copied()
        } else {
            linked_version(&link)
        };
        let number = next(&numbers);
        write_version(&versions.join(number.to_string()), issued)?;
        let target = Path::new(VERSIONS).join(name).join(number.to_string());
        files::swap_link(&link, &target)?;
        numbers.retain(|old| Some(*old) != previous);
        // What is not removed now is removed after the next save.
        numbers.iter().for_each(|old| {
            let _ = fs::remove_dir_all(versions.join(old.to_string()));
        });
        Ok(())
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
        let path = self.renewal_path(name)?;
        let Some(bytes) = files::read(&path)? else { return Ok(None) };
        let renewal = serde_json::from_slice(&bytes);
        renewal.map(Some).map_err(|e| StoreError::invalid(&path, e.to_string()))
    }

    /// In the version itself: the link may be swapped in between.
    fn renewal_path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let link = self.certs().join(name);
        Ok(version_of(&self.path, &link)?.unwrap_or(link).join(RENEWAL))
    }

    /// See [`load_certificate`].
    ///
    /// # Errors
    /// As of [`load_certificate`].
    pub fn load_certificate(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        load_certificate(&self.path, name)
    }
}

/// Reads a certificate and checks it: the files are complete, the key is the leaf's. A certificate
/// that has expired is read like any other. Creates nothing.
///
/// # Errors
/// A file is there and cannot be read, or they do not belong together.
pub fn load_certificate(state_path: &Path, name: &str) -> Result<Option<Stored>, StoreError> {
    let Some(files) = read_files(state_path, name)? else { return Ok(None) };
    let full_chain = files.directory.join(FULL_CHAIN);
    let key_path = files.directory.join(KEY);
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
    let issuer = read_issuer(&files.directory)?;
    Ok(Some(Stored {
        validity: validity(leaf).map_err(openssl)?,
        names: dns_names(leaf),
        material: material(&key, &chain).map_err(openssl)?,
        key: key_type,
        directory: issuer.as_ref().map(|issuer| issuer.directory.clone()),
        profile: issuer.and_then(|issuer| issuer.profile),
    }))
}

/// Where a version is from. What cannot be read is as good as nothing: the certificate is good.
fn read_issuer(version: &Path) -> Result<Option<IssuerFile>, StoreError> {
    let bytes = files::read(&version.join(ISSUER))?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Reads what a server needs of a certificate and decodes PEM, but does not look into it: for the
/// start of nginx with many certificates, where OpenSSL's parsing would take most of the time. Who
/// installs it checks it. Creates nothing.
///
/// # Errors
/// A file is there and cannot be read, or is not PEM.
pub fn load_material(state_path: &Path, name: &str) -> Result<Option<Material>, StoreError> {
    let Some(files) = read_files(state_path, name)? else { return Ok(None) };
    let path = files.directory.join(FULL_CHAIN);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&files.full_chain).collect();
    let chain = chain.map_err(|_| StoreError::invalid(&path, "it is not valid PEM"))?;
    if chain.is_empty() {
        return Err(StoreError::invalid(&path, "it holds no certificate in PEM"));
    }
    let path = files.directory.join(KEY);
    let mut der = PrivatePkcs8KeyDer::from_pem_slice(&files.key)
        .map_err(|_| StoreError::invalid(&path, "it holds no PKCS #8 private key in PEM"))?;
    let key = Zeroizing::new(der.secret_pkcs8_der().to_vec());
    der.zeroize();
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    Ok(Some(Material { pairs: vec![Pair { key, chain }] }))
}

/// The form for servers of a key and its chain.
pub(crate) fn material(
    key: &PKey<Private>,
    chain: &[X509],
) -> Result<Material, openssl::error::ErrorStack> {
    let key = Zeroizing::new(key.private_key_to_pkcs8()?);
    let chain = chain.iter().map(|certificate| certificate.to_der()).collect::<Result<_, _>>()?;
    Ok(Material { pairs: vec![Pair { key, chain }] })
}

struct Files {
    directory: PathBuf,
    full_chain: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

/// Reads both files of one version, even while another process makes new ones.
fn read_files(state_path: &Path, name: &str) -> Result<Option<Files>, StoreError> {
    let link = state_path.join(CERTS).join(name);
    let mut result = Ok(None);
    for _ in 0..READ_ATTEMPTS {
        let Some(directory) = version_of(state_path, &link)? else { return Ok(None) };
        let owner = fs::metadata(state_path).map_err(failed("stat", state_path))?.uid();
        result = read_version(directory, owner).map(Some);
        if !result.as_ref().is_err_and(StoreError::is_not_found) {
            break;
        }
    }
    result
}

/// The directory that a certificate's files are in.
fn version_of(state_path: &Path, link: &Path) -> Result<Option<PathBuf>, StoreError> {
    match fs::read_link(link) {
        Ok(target) => Ok(Some(state_path.join(CERTS).join(target))),
        // A plain directory, as a copy that follows links leaves it.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Some(link.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("readlink", link)(error)),
    }
}

fn read_version(directory: PathBuf, owner: u32) -> Result<Files, StoreError> {
    let read = |name: &str| {
        let path = directory.join(name);
        files::read_of(&path, owner)?
            .ok_or_else(|| failed("open", &path)(io::Error::from_raw_os_error(ENOENT)))
    };
    let (full_chain, key) = (read(FULL_CHAIN)?, read(KEY)?);
    Ok(Files { directory, full_chain, key })
}

/// `std` makes an error with this number print as the system's own.
const ENOENT: i32 = rustix::io::Errno::NOENT.raw_os_error();

fn write_version(path: &Path, issued: &IssuedPem) -> Result<(), StoreError> {
    let end = issued.fullchain.find(END_CERTIFICATE).map(|at| at + END_CERTIFICATE.len());
    let (leaf, chain) = issued.fullchain.split_at(end.unwrap_or(issued.fullchain.len()));
    let temporary = files::temporary(path);
    files::remove_leftover(&temporary)?;
    files::ensure_directory(&temporary)?;
    let issuer =
        IssuerFile { directory: issued.directory.clone(), profile: issued.profile.clone() };
    let issuer =
        serde_json::to_string(&issuer).map_err(|e| StoreError::invalid(path, e.to_string()))?;
    let contents = [
        (FULL_CHAIN, issued.fullchain.as_str()),
        (KEY, &issued.key),
        (LEAF, leaf),
        (CHAIN, chain),
        (ISSUER, &issuer),
    ];
    for (name, text) in contents {
        files::create(&temporary.join(name), text.as_bytes())?;
    }
    files::sync_directory(&temporary)?;
    files::rename(&temporary, path)
}

/// Makes a version of a plain directory that stands where the link should.
fn adopt(directory: &Path, versions: &Path, number: u64) -> Result<u64, StoreError> {
    let version = versions.join(number.to_string());
    fs::rename(directory, &version).map_err(failed("rename", &version))?;
    Ok(number)
}

fn version_numbers(versions: &Path) -> Result<Vec<u64>, StoreError> {
    Ok(files::list(versions)?.iter().filter_map(|name| name.parse().ok()).collect())
}

fn linked_version(link: &Path) -> Option<u64> {
    fs::read_link(link).ok()?.file_name()?.to_str()?.parse().ok()
}

fn next(numbers: &[u64]) -> u64 {
    numbers.iter().max().map_or(1, |last| last + 1)
}

#[cfg(test)]
mod tests;
