//! Traefik's `acme.json`, of its versions 2 and 3: one file with everything, or a directory that has it.
//!
//! ```text
//! { RESOLVER: {
//!     "Account": { "Registration": { "uri": URL }, "PrivateKey": RSA key, PKCS #1 in base64 },
//!     "Certificates": [ { "certificate": chain, "key": key, PEM in base64 } ] } }
//! ```
//!
//! The account's URL tells the host of the CA.

use super::tree::{List, Tree, server};
use super::{ImportCandidate, ImportOrigin, PemPart, TargetCa};
use acme_dns_core::encoding::from_base64;
use acme_dns_core::pem::LINE;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The file in a directory that is given instead.
const NAME: &str = "acme.json";

/// The largest file that is read: thousands of certificates.
const MAX: u64 = 64 << 20;

/// All of the file. Keys are borrowed from it: base64 has nothing that JSON would escape.
type Resolvers<'a> = BTreeMap<String, Option<Resolver<'a>>>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resolver<'a> {
    #[serde(borrow)]
    account: Option<Account<'a>>,
    #[serde(borrow)]
    certificates: Option<Vec<Entry<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Account<'a> {
    registration: Option<Registration>,
    private_key: Option<&'a str>,
}

#[derive(Deserialize)]
struct Registration {
    uri: Option<String>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    certificate: &'a str,
    key: &'a str,
}

impl Resolver<'_> {
    fn origin(&self) -> ImportOrigin {
        let registration = self.account.as_ref().and_then(|account| account.registration.as_ref());
        let uri = registration.and_then(|registration| registration.uri.as_deref());
        uri.map_or(ImportOrigin::Unknown, server)
    }

    /// Tells whether its account is known to be at a CA.
    fn is_at(&self, wanted: &TargetCa<'_>) -> bool {
        match self.origin() {
            ImportOrigin::Unknown => wanted.is_only,
            origin => origin.is(&wanted.directory),
        }
    }
}

pub(super) fn certificates(root: &Tree, path: &Path) -> List<ImportCandidate> {
    let file = file(path);
    with(root, &file, |resolvers| {
        let mut found = Vec::new();
        for resolver in resolvers.values().flatten() {
            let origin = resolver.origin();
            for entry in resolver.certificates.iter().flatten() {
                // What is not base64 is found to be no PEM.
                let part = |base64| PemPart::Entry { file: file.clone(), pem: decode(base64) };
                found.push(ImportCandidate {
                    chain: part(entry.certificate),
                    issuers: None,
                    key: part(entry.key),
                    origin: Ok(origin.clone()),
                });
            }
        }
        found
    })
}

pub(super) fn accounts(root: &Tree, path: &Path, wanted: &TargetCa<'_>) -> List<PathBuf> {
    let file = file(path);
    let has_account = |resolvers: &Resolvers<'_>| key_of(resolvers, wanted).is_some();
    let is_there = with(root, &file, has_account)?;
    Ok(is_there.then_some(file).into_iter().collect())
}

/// Reads the key of the account at a CA, in PEM; `None` if there is none.
pub(super) fn account_key(
    root: &Tree,
    path: &Path,
    wanted: &TargetCa<'_>,
) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    with(root, path, |resolvers| key_of(resolvers, wanted).map(armored))
}

fn key_of<'a>(resolvers: &Resolvers<'a>, wanted: &TargetCa<'_>) -> Option<&'a str> {
    let mut resolvers = resolvers.values().flatten().filter(|resolver| resolver.is_at(wanted));
    resolvers.find_map(|resolver| resolver.account.as_ref()?.private_key)
}

fn file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(NAME) } else { path.to_owned() }
}

/// Reads the file for as long as `act` takes. Traefik wants it to be there before it has anything: an empty one.
fn with<T: Default>(
    root: &Tree,
    path: &Path,
    act: impl FnOnce(&Resolvers<'_>) -> T,
) -> Result<T, String> {
    let json = root.read_up_to(path, MAX)?.unwrap_or_default();
    if json.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    let resolvers = serde_json::from_slice(&json).map_err(|_| {
        format!("\"{}\" cannot be used: it is no \"{NAME}\" of Traefik 2 or 3", path.display())
    })?;
    Ok(act(&resolvers))
}

fn decode(base64: &str) -> Zeroizing<Vec<u8>> {
    from_base64(base64).unwrap_or_default()
}

/// Puts PKCS #1 into PEM.
fn armored(base64: &str) -> Zeroizing<Vec<u8>> {
    const BEGIN: &[u8] = b"-----BEGIN RSA PRIVATE KEY-----\n";
    const END: &[u8] = b"-----END RSA PRIVATE KEY-----\n";
    let body = base64.len() + base64.len() / LINE + 1;
    // Allocated once: a growing vector would leave copies of the key behind.
    let mut pem = Zeroizing::new(Vec::with_capacity(BEGIN.len() + body + END.len()));
    pem.extend_from_slice(BEGIN);
    for line in base64.as_bytes().chunks(LINE) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(END);
    pem
}
