//! Trees of other clients in the directory of a test, one file of tests for each question.

use super::{ImportedCertificate, account_files, certificates, fingerprint};
use crate::event::Event;
use crate::x509::testing::{Ca, NOW, key, pem};
use acme_dns_core::config::{Config, Import, ImportFormat, Issuer};
use acme_dns_core::id::IssuerId;
use acme_dns_core::key::KeyType;
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use acme_dns_core::time::UnixTime;
use openssl::pkey::{PKey, Private};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

mod choice;
mod layouts;
mod trees;
mod web_servers;

const REAL: &str = "https://ca.example:14000/acme/dir";
const OTHER: &str = "https://staging.example/dir";
const REAL_CA: IssuerId = IssuerId::new(0);
const OTHER_CA: IssuerId = IssuerId::new(1);
const DAY: i64 = 86_400;

/// Paths and contents of files.
type Files<'a> = &'a [(&'a str, &'a str)];

/// Two issuers, and one certificate of the first.
fn config(imports: &[(ImportFormat, &Path)], names: &[&str], keys: &[KeyType]) -> Config {
    let import =
        |(format, path): &(ImportFormat, &Path)| Import { format: *format, path: path.into() };
    let mut config = Config::with_state_path("nowhere");
    let (real, other) =
        (Issuer::with_directory("real", REAL), Issuer::with_directory("other", OTHER));
    config.issuers = vec![real, other].into();
    config.add_certificate("wanted", names, keys);
    config.imports = imports.iter().map(import).collect();
    config
}

/// Certificates that were found, and lines of the log.
type Found = (Vec<(ImportedCertificate, Pair)>, Vec<(Level, String)>);

fn search(config: &Config) -> Found {
    let variants: Vec<_> = config.variants.ids().collect();
    let mut told = Vec::new();
    let mut tell = |event: &Event| told.push((event.level(), event.to_string()));
    let found = certificates(config, &variants, UnixTime(NOW), &mut tell);
    (found, told)
}

/// Finds the files with keys of accounts for an issuer.
fn account_keys(config: &Config, issuer: IssuerId) -> Vec<PathBuf> {
    account_files(config, issuer).into_iter().map(|file| file.path).collect()
}

/// A chain of two with its key, in PEM.
struct Made {
    chain: String,
    leaf: String,
    issuer: String,
    key: String,
    private: PKey<Private>,
    fingerprint: [u8; 32],
}

fn make_with(private: PKey<Private>, names: &[&str], validity: (i64, i64)) -> Made {
    let ca = Ca::new("Test CA", None);
    let certificate = ca.issue(&private, names, validity);
    Made {
        chain: pem(&[&certificate, &ca.certificate]),
        leaf: pem(&[&certificate]),
        issuer: pem(&[&ca.certificate]),
        key: String::from_utf8(private.private_key_to_pem_pkcs8().unwrap()).unwrap(),
        private,
        fingerprint: fingerprint(&certificate.to_der().unwrap()),
    }
}

fn make(names: &[&str], days: i64) -> Made {
    make_with(key(), names, (-DAY, days * DAY))
}

/// A directory with these files.
fn tree(files: Files<'_>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), files);
    dir
}

fn write(root: &Path, files: Files<'_>) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The tree of dehydrated with these certificates.
fn dehydrated(certificates: &[(&str, &Made)]) -> TempDir {
    let dir = tree(&[]);
    for (name, made) in certificates {
        let directory = format!("certs/{name}");
        let [chain, key] = ["fullchain", "privkey"].map(|file| format!("{directory}/{file}.pem"));
        write(dir.path(), &[(&chain, &made.chain), (&key, &made.key)]);
    }
    dir
}

const ONE_KEY: [KeyType; 1] = [KeyType::EcdsaP256];

/// Searches one tree for `a.test`, with one type of key.
fn search_in(format: ImportFormat, path: &Path) -> Found {
    search(&config(&[(format, path)], &["a.test"], &ONE_KEY))
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// Gives a tree to a user who is not root.
fn give(path: &Path) {
    lchown(path, Some(65_534), Some(65_534)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}
