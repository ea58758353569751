//! Caddy's data directory.
//!
//! ```text
//! certificates/ISSUER/NAME/NAME.crt NAME.key     wildcard_.example.com stands for *.example.com
//! certificates/ISSUER/NAME/NAME.json             issuer_data: ca, the directory of the CA, and url
//! acme/ISSUER/users/EMAIL/USER.key               of the account; "default" without an e-mail address
//! ```
//!
//! `ISSUER` is made of the URL of the directory, or is the name of a CA that is no ACME server, such as Caddy's own:
//! nothing of those is taken.

use super::tree::{List, Tree, directory, server};
use super::{ImportCandidate, ImportOrigin, TargetCa};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use url::{Position, Url};

pub(super) fn certificates(root: &Tree) -> List<ImportCandidate> {
    let mut found = Vec::new();
    for issuer in directories(root, &root.join("certificates"))? {
        for directory in directories(root, &issuer)? {
            let Some(name) = directory.file_name().and_then(|name| name.to_str()) else { continue };
            let file = |end: &str| directory.join(format!("{name}.{end}"));
            found.push(ImportCandidate {
                chain: file("crt").into(),
                issuers: None,
                key: file("key").into(),
                origin: origin(root, &file("json")),
            });
        }
    }
    Ok(found)
}

fn origin(root: &Tree, path: &Path) -> Result<ImportOrigin, String> {
    #[derive(Deserialize)]
    struct Resource {
        issuer_data: Option<IssuerData>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct IssuerData {
        ca: String,
        url: String,
    }
    let json = root.read(path)?.unwrap_or_default();
    let data = serde_json::from_slice(&json).ok().and_then(|Resource { issuer_data }| issuer_data);
    // Old versions did not keep the directory.
    let data = data.unwrap_or_default();
    let origin = if data.ca.is_empty() { server(&data.url) } else { directory(&data.ca) };
    match origin {
        ImportOrigin::Unknown => Err(format!("\"{}\" names no ACME CA", path.display())),
        origin => Ok(origin),
    }
}

/// Lists keys of accounts. One with a contact of the configuration comes first: others may be of earlier days.
pub(super) fn accounts(root: &Tree, wanted: &TargetCa<'_>) -> List<PathBuf> {
    let users = root.join("acme").join(issuer_name(&wanted.directory)).join("users");
    let mut users = directories(root, &users)?;
    users.sort_by_key(|user| !is_of(user, wanted.contacts));
    let mut keys = Vec::new();
    for user in users {
        let names = root.names(&user)?.into_iter().filter(|name| name.ends_with(".key"));
        keys.extend(names.map(|name| user.join(name)));
    }
    Ok(keys)
}

fn is_of(user: &Path, contacts: &[String]) -> bool {
    let email = user.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_it = |contact: &String| {
        contact.strip_prefix("mailto:").is_some_and(|address| address.eq_ignore_ascii_case(email))
    };
    contacts.iter().any(is_it)
}

/// The name of a CA in the tree: host, port and path of its directory, in characters that every file system takes.
fn issuer_name(directory: &Url) -> String {
    let authority = &directory[Position::BeforeHost..Position::AfterPort];
    let path = directory.path().trim_matches('/');
    let name = if path.is_empty() { authority.to_owned() } else { format!("{authority}-{path}") };
    let name = name.to_lowercase().replace([':', '/'], "-").replace('+', "_plus_");
    name.chars().filter(|c| c.is_alphanumeric() || "_@.-".contains(*c)).collect()
}

/// Lists the directories in a directory.
fn directories(root: &Tree, directory: &Path) -> List<PathBuf> {
    let paths = root.names(directory)?.into_iter().map(|name| directory.join(name));
    Ok(paths.filter(|path| path.is_dir()).collect())
}

#[cfg(test)]
mod tests {
    use super::issuer_name;
    use url::Url;

    #[test]
    fn a_ca_has_the_name_that_caddy_gives_it() {
        for (url, expected) in [
            (
                "https://acme-v02.api.letsencrypt.org/directory",
                "acme-v02.api.letsencrypt.org-directory",
            ),
            ("https://acme.zerossl.com/v2/DV90", "acme.zerossl.com-v2-dv90"),
            ("https://127.0.0.1:14000/dir", "127.0.0.1-14000-dir"),
            ("https://ca.example", "ca.example"),
            ("https://[::1]:14000/a+b/", "--1-14000-a_plus_b"),
        ] {
            assert_eq!(issuer_name(&Url::parse(url).unwrap()), expected);
        }
    }
}
