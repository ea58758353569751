//! acme.sh's `--config-home`.
//!
//! ```text
//! NAME/fullchain.cer NAME.key NAME.conf        conf: Le_API='URL'
//! NAME_ecc/fullchain.cer NAME.key NAME.conf    the same with an ECDSA key
//! ca/HOST/PATH/account.key                     ca/HOST/account.key of old versions
//! ```

use super::tree::{List, Tree, directory, value};
use super::{ImportCandidate, ImportOrigin, TargetCa};
use std::path::PathBuf;
use url::Position;

pub(super) fn certificates(root: &Tree) -> List<ImportCandidate> {
    let candidate = |name: String| {
        let (directory_of, domain) = (root.join(&name), name.strip_suffix("_ecc").unwrap_or(&name));
        let conf = root.text(&directory_of.join(format!("{domain}.conf")));
        let api = |text: String| value(&text, "Le_API").map_or(ImportOrigin::Unknown, directory);
        ImportCandidate {
            chain: directory_of.join("fullchain.cer").into(),
            issuers: None,
            key: directory_of.join(format!("{domain}.key")).into(),
            origin: conf.map(api),
        }
    };
    let is_certificate = |name: &String| root.join(name).join("fullchain.cer").exists();
    Ok(root.names(root.path())?.into_iter().filter(is_certificate).map(candidate).collect())
}

pub(super) fn accounts(root: &Tree, wanted: &TargetCa<'_>) -> List<PathBuf> {
    let url = &wanted.directory;
    // It leaves the port out.
    let host = root.join("ca").join(&url[Position::BeforeHost..Position::AfterHost]);
    let path = url[Position::BeforePath..Position::AfterPath].trim_matches('/');
    Ok(vec![host.join(path).join("account.key"), host.join("account.key")])
}
