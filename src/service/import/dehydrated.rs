//! dehydrated's `BASEDIR`.
//!
//! ```text
//! config, conf.d/*.sh                      CA=, BASEDIR=, CERTDIR=, ACCOUNTDIR=
//! certs/NAME/fullchain.pem privkey.pem     links to what was issued last
//! accounts/BASE64URL-OF-CA/account_key.pem
//! ```
//!
//! A certificate does not say which CA it is from: the configuration does, or the only account.

use super::tree::{List, Tree, directory, value};
use super::{ImportCandidate, ImportOrigin, TargetCa};
use acme_dns_core::config::issuer::known_directory;
use acme_dns_core::encoding::from_base64;
use std::path::{Path, PathBuf};
use url::Url;

/// The CA where the configuration names none.
const DEFAULT: &str = "letsencrypt";

pub(super) fn certificates(root: &Tree) -> List<ImportCandidate> {
    let config = config(root)?;
    let origin = origin(root, &config);
    let directory = place(root, &config, "CERTDIR", "certs");
    let candidate = |name: String| {
        let directory = directory.join(name);
        ImportCandidate {
            chain: directory.join("fullchain.pem").into(),
            issuers: None,
            key: directory.join("privkey.pem").into(),
            origin: Ok(origin.clone()),
        }
    };
    Ok(root.names(&directory)?.into_iter().map(candidate).collect())
}

pub(super) fn accounts(root: &Tree, wanted: &TargetCa<'_>) -> List<PathBuf> {
    let directory = place(root, &config(root)?, "ACCOUNTDIR", "accounts");
    let of_ca = |name: &String| account_of(name).as_ref() == Some(&wanted.directory);
    let names = root.names(&directory)?.into_iter().filter(of_ca);
    Ok(names.map(|name| directory.join(name).join("account_key.pem")).collect())
}

/// All of the configuration: what is said later counts.
fn config(root: &Tree) -> Result<String, String> {
    let mut all = root.text(&root.join("config"))?;
    let more = root.join("conf.d");
    for name in root.names(&more)?.iter().filter(|name| name.ends_with(".sh")) {
        all.push('\n');
        all.push_str(&root.text(&more.join(name))?);
    }
    Ok(all)
}

/// A directory that can be configured. Where it is not there, as in a copy of the tree or when it is
/// mounted elsewhere, the usual one.
fn place(root: &Tree, config: &str, variable: &str, usual: &str) -> PathBuf {
    let base = value(config, "BASEDIR").filter(|base| base.starts_with('/'));
    let base = base.map_or(root.path(), Path::new);
    let configured = value(config, variable).map(|path| {
        let path = ["${BASEDIR}/", "$BASEDIR/"].iter().find_map(|start| path.strip_prefix(start));
        base.join(path.or(value(config, variable)).unwrap_or_default())
    });
    let configured = configured.unwrap_or_else(|| base.join(usual));
    if configured.is_dir() { configured } else { root.join(usual) }
}

/// The CA of all certificates.
fn origin(root: &Tree, config: &str) -> ImportOrigin {
    if let Some(name) = value(config, "CA") {
        return ca(name);
    }
    let names = root.names(&place(root, config, "ACCOUNTDIR", "accounts")).unwrap_or_default();
    let accounts: Vec<Url> = names.iter().filter_map(|name| account_of(name)).collect();
    match accounts.as_slice() {
        [only] => ImportOrigin::Directory(only.clone()),
        _ if config.is_empty() => ImportOrigin::Unknown,
        _ => ca(DEFAULT),
    }
}

/// A CA by its URL, or by dehydrated's name for it.
fn ca(text: &str) -> ImportOrigin {
    let url = match text {
        "buypass" => "https://api.buypass.com/acme/directory",
        "buypass-test" => "https://api.test4.buypass.no/acme/directory",
        name => known_directory(&name.replace("-test", "-staging")).unwrap_or(text),
    };
    directory(url)
}

/// The CA of a directory of accounts: its name is that of the CA with a newline, in base64url.
fn account_of(name: &str) -> Option<Url> {
    let url = from_base64(name)?;
    Url::parse(std::str::from_utf8(&url).ok()?.trim()).ok()
}
