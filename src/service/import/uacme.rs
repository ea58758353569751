//! uacme's `--confdir`.
//!
//! ```text
//! NAME/cert.pem                            with its chain
//! private/NAME/key.pem
//! private/key.pem                          of the account
//! ```
//!
//! Nothing says which CA any of it is from. The account is taken where there is only one issuer.

use super::tree::{List, Tree};
use super::{ImportCandidate, ImportOrigin, TargetCa};
use std::path::PathBuf;

pub(super) fn certificates(root: &Tree) -> List<ImportCandidate> {
    let candidate = |name: &String| ImportCandidate {
        chain: root.join(name).join("cert.pem").into(),
        issuers: None,
        key: root.join("private").join(name).join("key.pem").into(),
        origin: Ok(ImportOrigin::Unknown),
    };
    Ok(root.names(root.path())?.iter().map(candidate).collect())
}

pub(super) fn accounts(root: &Tree, wanted: &TargetCa<'_>) -> List<PathBuf> {
    let path = wanted.is_only.then(|| root.join("private/key.pem"));
    Ok(path.into_iter().collect())
}
