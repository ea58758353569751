//! The `state_path` of an issuer of the module `ngx_http_acme_module`.
//!
//! ```text
//! NAME-HASH.crt NAME-HASH.key
//! account.key
//! account.url                              the account's URL at the CA
//! ```

use super::tree::{List, Tree, server};
use super::{ImportCandidate, ImportOrigin, TargetCa};
use std::path::PathBuf;

pub(super) fn certificates(root: &Tree) -> List<ImportCandidate> {
    let origin = origin(root);
    let names = root.names(root.path())?.into_iter();
    let names = names.filter_map(|name| Some(name.strip_suffix(".crt")?.to_owned()));
    let candidate = |name: String| ImportCandidate {
        chain: root.join(format!("{name}.crt")).into(),
        issuers: None,
        key: root.join(format!("{name}.key")).into(),
        origin: origin.clone(),
    };
    Ok(names.map(candidate).collect())
}

pub(super) fn accounts(root: &Tree, wanted: &TargetCa<'_>) -> List<PathBuf> {
    let is_wanted = match origin(root)? {
        ImportOrigin::Unknown => wanted.is_only,
        origin => origin.is(&wanted.directory),
    };
    Ok(is_wanted.then(|| root.join("account.key")).into_iter().collect())
}

fn origin(root: &Tree) -> Result<ImportOrigin, String> {
    root.text(&root.join("account.url")).map(|url| server(url.trim()))
}
