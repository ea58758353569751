//! lego's `--path`.
//!
//! ```text
//! certificates/NAME.crt NAME.key           NAME.issuer.crt where the chain was not wanted
//! certificates/NAME.json                   certUrl: where the CA has the certificate
//! accounts/HOST[_PORT]/EMAIL/keys/EMAIL.key
//! ```

use super::tree::{List, Tree, server};
use super::{ImportCandidate, ImportOrigin, TargetCa};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use url::Position;

pub(super) fn certificates(root: &Tree) -> List<ImportCandidate> {
    let directory = root.join("certificates");
    let names = root.names(&directory)?.into_iter();
    let names = names.filter(|name| !name.ends_with(".issuer.crt"));
    let names = names.filter_map(|name| Some(name.strip_suffix(".crt")?.to_owned()));
    let file = |name: &str, end: &str| directory.join(format!("{name}.{end}"));
    let candidate = |name: String| ImportCandidate {
        chain: file(&name, "crt").into(),
        issuers: Some(file(&name, "issuer.crt")),
        key: file(&name, "key").into(),
        origin: origin(root, &file(&name, "json")),
    };
    Ok(names.map(candidate).collect())
}

fn origin(root: &Tree, path: &Path) -> Result<ImportOrigin, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Resource {
        cert_url: Option<String>,
    }
    let Some(json) = root.read(path)? else { return Ok(ImportOrigin::Unknown) };
    let resource: Resource = serde_json::from_slice(&json)
        .map_err(|_| format!("\"{}\" does not say which CA it is from", path.display()))?;
    Ok(resource.cert_url.map_or(ImportOrigin::Unknown, |url| server(&url)))
}

pub(super) fn accounts(root: &Tree, wanted: &TargetCa<'_>) -> List<PathBuf> {
    let server = &wanted.directory[Position::BeforeHost..Position::AfterPort];
    let directory = root.join("accounts").join(server.replace(':', "_"));
    let key = |email: &String| directory.join(email).join(format!("keys/{email}.key"));
    Ok(root.names(&directory)?.iter().map(key).collect())
}
