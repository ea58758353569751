//! Files of other ACME clients: their certificates and keys, and the keys of their accounts.
//!
//! A module for each client knows where its files lie and what they say of the CA. What is common is
//! here: a tree is read once, however many certificates are looked for, and only what is served is
//! read with its key. The trees belong to root, so it is the master that reads them, when a
//! configuration is loaded; nothing is ever written there.

mod acme_sh;
mod caddy;
mod certbot;
mod dehydrated;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod lego;
mod nginx;
mod search;
#[cfg(test)]
mod tests;
mod traefik;
mod tree;
mod uacme;

use acme_dns_core::id::{IssuerId, VariantId};
pub use search::certificates;

use acme_dns_core::config::{Config, Import, ImportFormat, SecretId};
use acme_dns_core::schedule::Validity;
use openssl::sha::sha256;
use std::fs::File;
use std::path::{Path, PathBuf};
use tree::{List, Tree};
use url::Url;
use zeroize::Zeroizing;

/// Certificates and accounts that were found for a configuration, without any key.
#[derive(Clone, Debug, Default)]
pub struct Imports {
    /// The certificates that were published.
    pub certificates: Vec<ImportedCertificate>,
    /// The accounts.
    pub accounts: Vec<ImportedAccount>,
}

/// A certificate that was found for a variant.
#[derive(Clone, Debug)]
pub struct ImportedCertificate {
    /// The variant.
    pub variant: VariantId,
    /// The certificate, as [`fingerprint`] has it.
    pub fingerprint: [u8; 32],
    /// Its dates.
    pub validity: Validity,
    /// The URL of the directory of the CA that it is from.
    pub directory: String,
    /// The file or directory that it was found in.
    pub source: PathBuf,
}

/// The key of an account that was found for an issuer.
#[derive(Clone, Debug)]
pub struct ImportedAccount {
    /// The issuer.
    pub issuer: IssuerId,
    /// The key, in PEM or as a JWK.
    pub key: SecretId,
    /// The file or directory that it was found in.
    pub source: PathBuf,
}

/// Tells a certificate (DER) from others.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    sha256(certificate)
}

/// A file that may hold the key of an account.
#[derive(Clone, Debug)]
pub struct ImportedAccountFile {
    /// Its path.
    pub path: PathBuf,
    /// The issuer, and the `acme_dns_import` that it was found by: an index into the configuration's.
    issuer: IssuerId,
    import: usize,
}

/// Lists the files with keys of accounts at an issuer's CA, the best first.
#[must_use]
pub fn account_files(config: &Config, issuer: IssuerId) -> Vec<ImportedAccountFile> {
    let Some(wanted) = TargetCa::of(config, issuer) else { return Vec::new() };
    let files = |(import, settings)| {
        let paths = accounts(settings, &wanted).into_iter();
        paths.map(move |path| ImportedAccountFile { path, issuer, import })
    };
    config.imports.iter().enumerate().flat_map(files).collect()
}

/// The key of an account as another client has it, which was not parsed.
pub struct ImportedKey {
    /// The file that it is in.
    pub file: File,
    /// The key, in PEM, where the file holds more.
    pub pem: Option<Zeroizing<Vec<u8>>>,
}

/// Opens one of the [`account_files`]; `None` if there is no key.
///
/// # Errors
/// It cannot be opened, or must not be: its tree belongs to somebody who could not read it.
pub fn open_account_key(
    config: &Config,
    ImportedAccountFile { path, issuer, import }: &ImportedAccountFile,
) -> Result<Option<ImportedKey>, String> {
    let Some(import) = config.imports.get(*import) else { return Ok(None) };
    let tree = open(import)?;
    let Some((file, _)) = tree.open_file(path)? else { return Ok(None) };
    if import.format != ImportFormat::Traefik {
        return Ok(Some(ImportedKey { file, pem: None }));
    }
    let Some(wanted) = TargetCa::of(config, *issuer) else { return Ok(None) };
    let pem = traefik::account_key(&tree, path, &wanted)?;
    Ok(pem.map(|pem| ImportedKey { file, pem: Some(pem) }))
}

/// The CA whose account is looked for.
struct TargetCa<'a> {
    /// The URL of its directory.
    directory: Url,
    /// Set if it is the only one of the configuration: what does not say where it is from is taken
    /// for it then.
    is_only: bool,
    /// The contacts that it is told, as URLs.
    contacts: &'a [String],
}

impl<'a> TargetCa<'a> {
    /// Looks up an issuer of the configuration.
    fn of(config: &'a Config, issuer: IssuerId) -> Option<Self> {
        let settings = config.issuers.get(issuer)?;
        let directory = Url::parse(&settings.directory).ok()?;
        let is_only = config.issuers.len() == 1;
        Some(Self { directory, is_only, contacts: &settings.contacts })
    }
}

/// A certificate in a tree.
struct ImportCandidate {
    chain: PemPart,
    /// Rest of the chain, where the chain's own file has the leaf alone.
    issuers: Option<PathBuf>,
    key: PemPart,
    /// Its origin; an error if that cannot be read.
    origin: Result<ImportOrigin, String>,
}

/// A part of a certificate, in PEM.
enum PemPart {
    /// A file of its own.
    File(PathBuf),
    /// An entry of a file with many of them.
    Entry {
        /// That file.
        file: PathBuf,
        /// The part itself.
        pem: Zeroizing<Vec<u8>>,
    },
}

impl PemPart {
    /// Gives the file that it is in.
    fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Entry { file: path, .. } => path,
        }
    }
}

impl From<PathBuf> for PemPart {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

/// The CA that something in a tree is from, as far as the tree says so.
#[derive(Clone, Debug, Eq, PartialEq)]
enum ImportOrigin {
    /// Nothing.
    Unknown,
    /// The URL of its directory.
    Directory(Url),
    /// The URL of something else of it.
    Server(Url),
}

impl ImportOrigin {
    fn is(&self, directory: &Url) -> bool {
        match self {
            Self::Unknown => true,
            Self::Directory(url) => url == directory,
            Self::Server(url) => url.origin() == directory.origin(),
        }
    }
}

fn candidates(import: &Import, tree: &Tree) -> List<ImportCandidate> {
    let list = match import.format {
        ImportFormat::AcmeSh => acme_sh::certificates,
        ImportFormat::Caddy => caddy::certificates,
        ImportFormat::Certbot => certbot::certificates,
        ImportFormat::Dehydrated => dehydrated::certificates,
        ImportFormat::Lego => lego::certificates,
        ImportFormat::Nginx => nginx::certificates,
        ImportFormat::Traefik => return traefik::certificates(tree, &import.path),
        ImportFormat::Uacme => uacme::certificates,
    };
    list(tree)
}

fn accounts(import: &Import, wanted: &TargetCa<'_>) -> Vec<PathBuf> {
    let list: &dyn Fn(&Tree, &TargetCa<'_>) -> List<PathBuf> = match import.format {
        ImportFormat::AcmeSh => &acme_sh::accounts,
        ImportFormat::Caddy => &caddy::accounts,
        ImportFormat::Certbot => &certbot::accounts,
        ImportFormat::Dehydrated => &dehydrated::accounts,
        ImportFormat::Lego => &lego::accounts,
        ImportFormat::Nginx => &nginx::accounts,
        ImportFormat::Traefik => &|tree, wanted| traefik::accounts(tree, &import.path, wanted),
        ImportFormat::Uacme => &uacme::accounts,
    };
    // Where a directory cannot be read, the search for certificates says so.
    open(import).and_then(|tree| list(&tree, wanted)).unwrap_or_default()
}

/// Opens the tree of a client. A lone file is one in its directory.
fn open(import: &Import) -> Result<Tree, String> {
    let path = import.path.as_path();
    let is_file = import.format == ImportFormat::Traefik && !path.is_dir();
    Tree::open(path.parent().filter(|_| is_file).unwrap_or(path))
}
