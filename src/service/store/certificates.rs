//! Certificates with their keys.
//!
//! `certs/<name>` is a relative link to a directory of a version, so one rename changes all of its
//! files. The version before stays, for who reads the files one after the other and for people; if
//! it cannot be used, so does the newest one that can.

use super::door::{
    Directory, Door, MAX_FILE, MAX_KEY, Place, SHARED, Trust, entries_of, open_beneath,
    read_link_in,
};
use super::error::failed;
use super::{Store, StoreError, files};
use crate::x509::glance::{Glance, glance, glance_at_leaf, pkcs8};
use crate::x509::{
    chain_from_pem, dns_names, is_self_signed, key_type, keys, material, reason, validity,
};
use acme_dns_core::material::{Material, Pair, Source};
use acme_dns_core::stock::Traits;
use openssl::pkey::PKey;
use openssl::x509::X509;
use rustix::fs::{AtFlags, FileType, OFlags, statat};
use rustix::io::Errno;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

mod aside;
mod facts;

pub use aside::is_aside;
pub use facts::{CertsStamp, Facts, Imprint, traits_of};
use facts::{IssuerFile, facts};

pub(super) const CERTS: &str = SHARED;
pub(super) const VERSIONS: &str = ".versions";

const FULL_CHAIN: &str = "fullchain.pem";
const KEY: &str = "privkey.pem";
const LEAF: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
const ISSUER: &str = "issuer.json";
const RENEWAL: &str = "renewal.json";
/// Beside a certificate that was revoked.
const REVOKED: &str = "revoked";

const END_CERTIFICATE: &str = "-----END CERTIFICATE-----\n";

/// What is wrong with a link in the place of a certificate.
const NO_VERSION: &str = "it is a symbolic link that leads elsewhere than to a version";

/// How often a reader begins anew when versions change under it.
const READ_ATTEMPTS: usize = 3;

/// What is kept of an issued certificate.
#[derive(Clone)]
pub struct IssuedPem {
    /// The private key, PKCS #8 in PEM.
    pub key: Zeroizing<String>,
    /// The certificates in PEM, the leaf first, each ended by a newline.
    pub fullchain: String,
    /// The URL of the directory of the CA that issued it; empty if it is not known.
    pub directory: String,
    /// The profile that was wanted.
    pub profile: Option<String>,
    /// The names that were ordered, sorted, where the CA has certified others than exactly these.
    pub ordered: Option<Vec<String>>,
    /// Whether it was taken over from another client.
    pub is_imported: bool,
}

impl IssuedPem {
    /// What is to be kept of a pair that is served.
    ///
    /// # Errors
    /// OpenSSL cannot read it.
    pub(crate) fn of(pair: &Pair) -> Result<Self, openssl::error::ErrorStack> {
        let key = PKey::private_key_from_pkcs8(&pair.key)?;
        let key = Zeroizing::new(key.private_key_to_pem_pkcs8()?);
        let mut fullchain = Vec::new();
        for certificate in &pair.chain {
            fullchain.extend(X509::from_der(certificate)?.to_pem()?);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let source = pair.source.as_ref();
        Ok(Self {
            key: Zeroizing::new(text(&key)),
            fullchain: text(&fullchain),
            directory: source.map_or_else(String::new, |source| source.directory.clone()),
            profile: source.and_then(|source| source.profile.clone()),
            ordered: source.and_then(|source| source.ordered.clone()),
            is_imported: source.is_none_or(|source| source.is_imported),
        })
    }

    /// Where a pair is from that is kept, or not, in this form.
    pub(crate) fn source(&self, is_kept: bool) -> Option<Source> {
        let (directory, profile) = (self.directory.clone(), self.profile.clone());
        let (ordered, is_imported) = (self.ordered.clone(), self.is_imported);
        let source = Source { directory, profile, ordered, is_imported, is_kept };
        (!source.directory.is_empty()).then_some(source)
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
    /// place of the version before. One that is displaced, and good for names that this one does not have, is
    /// kept aside.
    ///
    /// # Errors
    /// A file cannot be written; the certificate is then the one that it was.
    pub fn save_certificate(&self, name: &str, issued: &IssuedPem) -> Result<(), StoreError> {
        self.keep_aside(name, issued)?;
        self.save(name, issued)
    }

    fn save(&self, name: &str, issued: &IssuedPem) -> Result<(), StoreError> {
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

    /// When a certificate is renewed, if that is kept.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn load_renewal<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.current(name)?.join(RENEWAL).read_json()
    }

    /// Has certificates with these leaves (DER) never taken over under another name.
    ///
    /// # Errors
    /// The certificates cannot be listed, or a mark cannot be written.
    pub fn mark_revoked(&self, leaves: &[Vec<u8>]) -> Result<(), StoreError> {
        let Some(all) = Certificates::open(self.path(), &Trust::here())? else { return Ok(()) };
        for name in all.names()? {
            if all.leaf(&name).is_some_and(|leaf| leaves.contains(&leaf)) {
                files::replace(&self.current(&name)?.join(REVOKED), b"")?;
            }
        }
        Ok(())
    }

    /// The version that is served: the link may be swapped in between. A plain directory, as a copy
    /// that follows links leaves it, is one itself.
    fn current(&self, name: &str) -> Result<Place, StoreError> {
        let link = self.certs().join(name);
        match link.read_link()? {
            Some(target) if version_of(&target, name).is_some() => Ok(self.certs().join(target)),
            Some(_) => Err(link.invalid(NO_VERSION)),
            None => Ok(link),
        }
    }

    /// See [`load_certificate`].
    ///
    /// # Errors
    /// As of [`load_certificate`].
    pub fn load_certificate(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        load_certificate(self.path(), name)
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
    let facts = facts(files.imprint, glance, issuer);
    let material = with_source(material, &facts);
    Ok(Some(Stored { material, facts, issuer_error }))
}

/// The certificates of a state path, to be read one after the other.
#[derive(Debug)]
pub struct Certificates {
    door: Door,
    /// The directory of all, open: thousands of files are found faster than by their full names.
    directory: OwnedFd,
    /// Whose files were read.
    owners: RefCell<BTreeSet<u32>>,
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
    ) -> Result<Option<(Material, Option<Facts>)>, StoreError> {
        let Some(files) = self.read(name)? else { return Ok(None) };
        let key = files.directory.path().join(KEY);
        let unclear =
            |_| StoreError::invalid(&key, "its type, or that of its certificate, is unusual");
        let (material, glance) = at_a_glance(decode(&files)?).map_err(unclear)?;
        // The service reads it again where it cannot be read here, and says so.
        let issuer = files.directory.read_json(ISSUER, MAX_KEY).ok();
        let Some(issuer) = issuer else { return Ok(Some((material, None))) };
        let facts = facts(files.imprint, glance, issuer);
        Ok(Some((with_source(material, &facts), Some(facts))))
    }

    /// The names of all that there are, whether or not a configuration has them.
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

    /// Reads a leaf, in DER.
    fn leaf(&self, name: &str) -> Option<Vec<u8>> {
        let directory = self.open_version(name).ok()?;
        let (full_chain, _) = directory.read(FULL_CHAIN, MAX_FILE).ok()??;
        Some(CertificateDer::pem_slice_iter(&full_chain).next()?.ok()?.to_vec())
    }

    /// Whether this leaf, in DER, lies there and was revoked.
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
        Some(facts(Imprint::new(&stat), glance, issuer).traits())
    }

    /// Reads both files of one version, even while another process makes new ones.
    fn read(&self, name: &str) -> Result<Option<Files<'_>>, StoreError> {
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

    /// Opens the version that is served, or the plain directory in its place.
    fn open_version(&self, name: &str) -> Result<Directory<'_>, StoreError> {
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
            Ok(descriptor) => Ok(Directory::new(&self.door, descriptor, path)),
            Err(error) => Err(failed("open", &path)(error.into())),
        }
    }

    fn path(&self) -> PathBuf {
        self.door.path().join(CERTS)
    }
}

/// Notes in a pair from the disk where it is from.
fn with_source(mut material: Material, facts: &Facts) -> Material {
    material.pairs.iter_mut().for_each(|pair| pair.source = facts.source());
    material
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
    let key = keys::decode(&files.key).map_err(|error| StoreError::invalid(&path, error))?;
    let key = pkcs8(key, leaf)
        .ok_or_else(|| StoreError::invalid(&path, "it is not the key of the certificate"))?;
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    Ok(Material { pairs: vec![Pair { key, chain, staple: None, source: None }] })
}

struct Files<'a> {
    directory: Directory<'a>,
    /// Of the full chain.
    imprint: Imprint,
    full_chain: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    owners: [u32; 2],
}

/// Whether a version was revoked. It is as if it were not there.
fn is_revoked(version: &Directory<'_>) -> bool {
    version.read(REVOKED, MAX_KEY).is_ok_and(|mark| mark.is_some())
}

fn read_version(directory: Directory<'_>) -> Result<Files<'_>, StoreError> {
    let read = |name: &str, max| {
        directory.read(name, max)?.ok_or_else(|| {
            failed("open", &directory.path().join(name))(io::Error::from_raw_os_error(ENOENT))
        })
    };
    let (full_chain, stat) = read(FULL_CHAIN, MAX_FILE)?;
    let (key, key_stat) = read(KEY, MAX_KEY)?;
    let owners = [stat.st_uid, key_stat.st_uid];
    Ok(Files { directory, imprint: Imprint::new(&stat), full_chain, key, owners })
}

/// `std` makes an error with this number print as the system's own.
const ENOENT: i32 = Errno::NOENT.raw_os_error();

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

/// Whether a version is whole and the same.
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

/// Whether a version can be served.
fn is_usable(version: &Place) -> Result<bool, StoreError> {
    let files = Directory::open(version).and_then(read_version);
    match files.and_then(|files| parse(&files)) {
        Ok(_) => Ok(true),
        Err(error) if error.is_about_content() => Ok(false),
        Err(error) => Err(error),
    }
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

fn version(versions: &Place, number: u64) -> Place {
    versions.join(number.to_string())
}

/// What the link of a version holds.
fn target(name: &str, number: u64) -> PathBuf {
    Path::new(VERSIONS).join(name).join(number.to_string())
}

/// The numbers of versions. Others than we would write are somebody else's.
fn version_numbers(versions: &Place) -> Result<Vec<u64>, StoreError> {
    let number = |name: &String| name.parse::<u32>().ok().filter(|n| n.to_string() == *name);
    Ok(files::list(versions)?.iter().filter_map(number).map(u64::from).collect())
}

/// The version that a link leads to; `None` if there is no link, or it leads elsewhere.
fn linked_version(link: &Place, name: &str) -> Result<Option<u64>, StoreError> {
    Ok(link.read_link()?.and_then(|target| version_of(&target, name)))
}

/// The version that the target of a link is.
fn version_of(link: &Path, name: &str) -> Option<u64> {
    let number = link.strip_prefix(VERSIONS).and_then(|target| target.strip_prefix(name)).ok()?;
    let number = number.to_str()?.parse().ok()?;
    // Not by way of `..` or the like.
    (link == target(name, number)).then_some(number)
}

fn next(numbers: &[u64]) -> u64 {
    numbers.iter().max().map_or(1, |last| last + 1)
}

#[cfg(test)]
mod tests;
