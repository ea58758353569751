//! What other clients have: their certificates and keys, and the keys of their accounts.
//!
//! A module for each client knows where its files lie and what they say of the CA. What is common is
//! here: a tree is read once, however many certificates are looked for, and only what is served is
//! read with its key. The trees belong to root, so it is the master that reads them, when a
//! configuration is loaded; nothing is ever written there.

mod acme_sh;
mod certbot;
mod dehydrated;
mod lego;
mod nginx;
mod search;
#[cfg(test)]
mod tests;
mod tree;
mod uacme;

pub use search::certificates;

use acme_dns_core::config::{Config, Import, ImportFormat, SecretId};
use acme_dns_core::schedule::Validity;
use openssl::sha::sha256;
use std::fs::File;
use std::path::{Path, PathBuf};
use tree::{List, Tree};
use url::Url;

/// What was found for a configuration, without any key.
#[derive(Clone, Debug, Default)]
pub struct Imports {
    /// The certificates that were published.
    pub certificates: Vec<Imported>,
    /// The accounts.
    pub accounts: Vec<ImportedAccount>,
}

/// A certificate that was found for a variant.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The variant, as an index into the configuration's.
    pub variant: usize,
    /// The certificate, as [`fingerprint`] has it.
    pub fingerprint: [u8; 32],
    /// Its dates.
    pub validity: Validity,
    /// The URL of the directory of the CA that it is from.
    pub directory: String,
    /// Where it was found.
    pub source: PathBuf,
}

/// The key of an account that was found for an issuer.
#[derive(Clone, Debug)]
pub struct ImportedAccount {
    /// The issuer, as an index into the configuration's.
    pub issuer: usize,
    /// The key, in PEM or as a JWK.
    pub key: SecretId,
    /// Where it was found.
    pub source: PathBuf,
}

/// Tells a certificate (DER) from others.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    sha256(certificate)
}

/// Where the keys of accounts at an issuer's CA may lie, the best first. `issuer` is an index into the
/// configuration's.
#[must_use]
pub fn account_keys(config: &Config, issuer: usize) -> Vec<PathBuf> {
    let directory = config.issuers.get(issuer).and_then(|i| Url::parse(&i.directory).ok());
    let Some(directory) = directory else { return Vec::new() };
    let wanted = Wanted { directory: &directory, is_only: config.issuers.len() == 1 };
    config.imports.iter().flat_map(|import| accounts(import, &wanted)).collect()
}

/// Opens one of the [`account_keys`]; `None` if it is not there.
///
/// # Errors
/// It cannot be opened, or must not be: its tree belongs to somebody who could not read it.
pub fn open_account_key(config: &Config, path: &Path) -> Result<Option<File>, String> {
    let mut refused = Ok(None);
    for import in &config.imports {
        let opened = Tree::open(&import.path).and_then(|tree| tree.open_file(path));
        match opened {
            Ok(Some((file, _))) => return Ok(Some(file)),
            Ok(None) => {}
            Err(error) => refused = Err(error),
        }
    }
    refused
}

/// The CA whose account is looked for.
struct Wanted<'a> {
    /// The URL of its directory.
    directory: &'a Url,
    /// Whether it is the only one of the configuration: what does not say where it is from is taken
    /// for it then.
    is_only: bool,
}

/// The files of a certificate in a tree.
#[derive(Debug)]
struct Candidate {
    chain: PathBuf,
    /// What belongs behind the chain, if that has the leaf alone.
    issuers: Option<PathBuf>,
    key: PathBuf,
    /// Where it is from; an error if that cannot be read.
    origin: Result<Origin, String>,
}

/// What a tree says of the CA.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Origin {
    /// Nothing.
    Unknown,
    /// The URL of its directory.
    Directory(Url),
    /// The URL of something else of it.
    Server(Url),
}

impl Origin {
    fn is(&self, directory: &Url) -> bool {
        match self {
            Self::Unknown => true,
            Self::Directory(url) => url == directory,
            Self::Server(url) => url.origin() == directory.origin(),
        }
    }
}

fn candidates(import: &Import, tree: &Tree) -> List<Candidate> {
    let list = match import.format {
        ImportFormat::AcmeSh => acme_sh::certificates,
        ImportFormat::Certbot => certbot::certificates,
        ImportFormat::Dehydrated => dehydrated::certificates,
        ImportFormat::Lego => lego::certificates,
        ImportFormat::Nginx => nginx::certificates,
        ImportFormat::Uacme => uacme::certificates,
    };
    list(tree)
}

fn accounts(import: &Import, wanted: &Wanted<'_>) -> Vec<PathBuf> {
    let list: fn(&Tree, &Wanted<'_>) -> List<PathBuf> = match import.format {
        ImportFormat::AcmeSh => acme_sh::accounts,
        ImportFormat::Certbot => certbot::accounts,
        ImportFormat::Dehydrated => dehydrated::accounts,
        ImportFormat::Lego => lego::accounts,
        ImportFormat::Nginx => nginx::accounts,
        ImportFormat::Uacme => uacme::accounts,
    };
    // Where a directory cannot be read, the search for certificates says so.
    let tree = Tree::open(&import.path);
    tree.and_then(|tree| list(&tree, wanted)).unwrap_or_default()
}
