//! certbot's `--config-dir`.
//!
//! ```text
//! live/NAME/fullchain.pem privkey.pem      links into archive/
//! renewal/NAME.conf                        server = URL
//! accounts/HOST[:PORT]/PATH/ID/private_key.json
//! ```

use super::tree::{List, directory, names, text, value};
use super::{Candidate, Origin, Wanted};
use std::path::{Path, PathBuf};
use url::Position;

pub(super) fn certificates(root: &Path) -> List<Candidate> {
    let live = root.join("live");
    let candidate = |name: String| {
        let renewal = text(&root.join("renewal").join(format!("{name}.conf")));
        let directory = |text: String| value(&text, "server").map_or(Origin::Unknown, directory);
        Candidate {
            chain: live.join(&name).join("fullchain.pem"),
            issuers: None,
            key: live.join(&name).join("privkey.pem"),
            origin: renewal.map(directory),
        }
    };
    Ok(names(&live)?.into_iter().map(candidate).collect())
}

pub(super) fn accounts(root: &Path, wanted: &Wanted<'_>) -> List<PathBuf> {
    let url = wanted.directory;
    let server = &url[Position::BeforeHost..Position::AfterPath];
    let directory = root.join("accounts").join(server.trim_end_matches('/'));
    Ok(names(&directory)?.iter().map(|id| directory.join(id).join("private_key.json")).collect())
}
