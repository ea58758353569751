//! certbot's `--config-dir`.
//!
//! ```text
//! live/NAME/fullchain.pem privkey.pem      links into archive/
//! renewal/NAME.conf                        server = URL
//! accounts/HOST[:PORT]/PATH/ID/private_key.json
//! ```

use super::tree::{List, Tree, directory, value};
use super::{ImportCandidate, ImportOrigin, TargetCa};
use std::path::PathBuf;
use url::Position;

pub(super) fn certificates(root: &Tree) -> List<ImportCandidate> {
    let live = root.join("live");
    let candidate = |name: String| {
        let renewal = root.text(&root.join("renewal").join(format!("{name}.conf")));
        let directory =
            |text: String| value(&text, "server").map_or(ImportOrigin::Unknown, directory);
        ImportCandidate {
            chain: live.join(&name).join("fullchain.pem").into(),
            issuers: None,
            key: live.join(&name).join("privkey.pem").into(),
            origin: renewal.map(directory),
        }
    };
    Ok(root.names(&live)?.into_iter().map(candidate).collect())
}

pub(super) fn accounts(root: &Tree, wanted: &TargetCa<'_>) -> List<PathBuf> {
    let url = &wanted.directory;
    let server = &url[Position::BeforeHost..Position::AfterPath];
    let directory = root.join("accounts").join(server.trim_end_matches('/'));
    Ok(root
        .names(&directory)?
        .iter()
        .map(|id| directory.join(id).join("private_key.json"))
        .collect())
}
