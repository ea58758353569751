//! The readers of files of other clients, for the fuzzer of `tests/fuzz`.

use super::tree::Tree;
use super::{PemPart, TargetCa, caddy, traefik};
use crate::x509::keys;
use std::path::Path;
use url::Url;

/// Reads Traefik's file in a directory; gives its certificates, each as chain and key, and the account key, in PEM.
///
/// # Errors
/// It is none.
pub fn read_traefik(
    directory: &Path,
    ca: &Url,
) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, Option<Vec<u8>>), String> {
    let tree = Tree::open(directory)?;
    let pem = |part: &PemPart| {
        tree.read_part(part).map(|pem| pem.map_or_else(Vec::new, |it| it.to_vec()))
    };
    let candidates = traefik::certificates(&tree, directory)?;
    let pairs = candidates.iter().map(|it| Ok((pem(&it.chain)?, pem(&it.key)?)));
    let wanted = TargetCa { directory: ca.clone(), is_only: true, contacts: &[] };
    let account = match traefik::accounts(&tree, directory, &wanted)?.first() {
        Some(file) => traefik::account_key(&tree, file, &wanted)?,
        None => None,
    };
    if let Some(pem) = &account {
        // Any outcome will do but a panic.
        let _ = keys::private_key(pem);
    }
    Ok((pairs.collect::<Result<_, String>>()?, account.map(|pem| pem.to_vec())))
}

/// Reads Caddy's data directory; tells for each certificate whether it is from a CA.
///
/// # Errors
/// A directory cannot be read.
pub fn read_caddy(directory: &Path, ca: &Url) -> Result<Vec<Result<bool, String>>, String> {
    let tree = Tree::open(directory)?;
    let candidates = caddy::certificates(&tree)?;
    Ok(candidates.into_iter().map(|it| it.origin.map(|origin| origin.is(ca))).collect())
}
