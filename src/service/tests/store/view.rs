//! Content of a state path, as its readers see it, and whether it is in order.

use crate::fixtures::{Fixtures, NAME};
use acme_dns_service::store::{Certificates, Store, Trust, load_certificate, load_material};
use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Reads all, one line for each kind of file. A damaged file is a line with its error.
pub(crate) fn view(store: &Store) -> Vec<String> {
    let path = store.path();
    let mut lines = vec![
        certificate(path),
        packed(path),
        line("renewal", store.load_renewal::<serde_json::Value>(NAME)),
        line("progress", store.load_progress(NAME)),
        line("account", store.load_account("ca").map(|a| a.map(|a| (a.url, a.contacts, a.key)))),
        line("key", store.load_account_key("ca")),
        line("new key", store.load_new_account_key("ca")),
        line("staging", store.load_account("ca/staging").map(|a| a.map(|a| (a.url, a.key)))),
        line("journal", store.journal_all()),
        line("actions", store.actions_all()),
    ];
    for directory in ["accounts", "journal", "orders", "actions"] {
        let mut names = names(&path.join(directory));
        // An account's directory may be there before its files are.
        names.retain(|name| directory != "accounts" || name.contains('~'));
        for name in names {
            let content = fs::read(path.join(directory).join(&name)).ok();
            lines.push(format!("{directory}/{name} {content:?}"));
        }
    }
    lines
}

fn certificate(path: &Path) -> String {
    let stored = load_certificate(path, NAME);
    let material = load_material(path, NAME);
    match (stored, material) {
        (Ok(Some(stored)), Ok(Some(material))) => {
            assert!(stored.material == material, "both loaders read the same");
            let chain = &stored.material.pairs[0].chain[0];
            let serial = openssl::x509::X509::from_der(chain).unwrap();
            let serial = serial.serial_number().to_bn().unwrap();
            format!(
                "certificate {serial} {:?} {:?}",
                stored.facts.traits.directory, stored.facts.traits.profile
            )
        }
        (Ok(None), Ok(None)) => "no certificate".to_owned(),
        (Err(error), _) => without_number(&error.to_string().replace(&*path.to_string_lossy(), "")),
        (stored, _) => panic!("the loaders differ: {stored:?}"),
    }
}

/// The pack is never there by halves.
fn packed(path: &Path) -> String {
    let Ok(Some(all)) = Certificates::open(path, &Trust::Everyone) else { return String::new() };
    let packed = all.packed().unwrap_or_else(|error| panic!("{error}"));
    let found =
        packed.map(|packed| packed.certificate(NAME).map(|found| found.facts.traits.validity));
    format!("pack {found:?}")
}

/// An error names the version, which is another one after the operation.
fn without_number(error: &str) -> String {
    error.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn line<T: Debug, E: ToString>(what: &str, read: Result<T, E>) -> String {
    match read {
        Ok(value) => format!("{what} {value:?}"),
        Err(error) => format!("{what} {}", error.to_string()),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns what is not as it should be: modes, unfinished files, and a good certificate that is gone.
pub(crate) fn faults(
    path: &Path,
    fixtures: &Fixtures,
    good: Option<usize>,
    group: Option<u32>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let certificates = path.join("certs");
    for entry in everything(path) {
        let metadata = fs::symlink_metadata(&entry).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let group = group.filter(|_| entry == path || entry.starts_with(&certificates));
        let path = entry;
        let expected = match (group, metadata.is_dir()) {
            (None, true) => 0o700,
            (None, false) => 0o600,
            (Some(_), true) if !path.starts_with(&certificates) => 0o710,
            (Some(_), true) => 0o750,
            (Some(_), false) => 0o640,
        };
        if group.is_some_and(|group| metadata.gid() != group) && !metadata.is_symlink() {
            faults.push(format!("{} is of another group", path.display()));
        }
        if !metadata.is_symlink() && mode != expected {
            faults.push(format!("{} has mode {mode:o}", path.display()));
        }
        if path.file_name().unwrap().to_string_lossy().starts_with(".tmp-") {
            faults.push(format!("{} is left", path.display()));
        }
    }
    if let Some(number) = good {
        let issued = fixtures.issued(number);
        let versions = path.join("certs/.versions").join(NAME);
        let mut places: Vec<_> = names(&versions).iter().map(|name| versions.join(name)).collect();
        places.push(path.join("certs").join(NAME));
        let holds = |place: &PathBuf, file: &str, text: &str| {
            fs::read_to_string(place.join(file)).is_ok_and(|kept| kept == text)
        };
        let is_kept = places.iter().any(|place| {
            holds(place, "fullchain.pem", &issued.fullchain)
                && holds(place, "privkey.pem", &issued.key)
        });
        if !is_kept {
            faults.push(format!("the good certificate {number} is gone"));
        }
    }
    faults
}

pub(crate) fn everything(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    for name in names(path) {
        let path = path.join(name);
        let is_directory = fs::symlink_metadata(&path).unwrap().is_dir();
        all.extend(if is_directory { everything(&path) } else { vec![path] });
    }
    all
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
