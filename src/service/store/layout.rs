//! Names of the files and directories in the state path, which nothing but the store knows.
//!
//! ```text
//! lock                          flock of the working helper
//! accounts/<issuer>/            account.json, account_key.pem; account_key.new.pem while it changes
//! accounts/<issuer>/staging/    the same, in the CA's staging environment
//! certs/<name>                  link to .versions/<name>/<number>/, with fullchain.pem privkey.pem
//!                               cert.pem chain.pem issuer.json renewal.json
//! certs/.versions/<name>/       the version that is served, and the one before
//! certs/<name>~<digits>         link to what has lost its name to another certificate, and is still good
//! orders/<name>.json            how far the attempts have come
//! orders/<name>.order           the order that is under way
//! actions/                      what a person asks for
//! journal/<name>.json           TXT records that are up, or may be
//! programs/<number>/            home directory of a program that runs
//! packs/certificates            what a start needs of all certificates, made of their files
//! hooks/<number>/               the same, of a hook
//! notices/<name>.json           what hooks and others were told of a certificate
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

pub(super) const LOCK: &str = "lock";
pub(super) const ACCOUNTS: &str = "accounts";
/// Directory that a group may read, besides the user of the service.
pub(super) const CERTS: &str = "certs";
pub(super) const VERSIONS: &str = ".versions";
pub(super) const ORDERS: &str = "orders";
pub(super) const JOURNAL: &str = "journal";
pub(super) const ACTIONS: &str = "actions";
pub(super) const PROGRAMS: &str = "programs";
pub(super) const HOOKS: &str = "hooks";
pub(super) const PACKS: &str = "packs";
pub(super) const NOTICES: &str = "notices";

/// File with what a start needs of all certificates.
pub(super) const PACK: &str = "certificates";

/// Files of an account.
pub(super) const ACCOUNT: &str = "account.json";
pub(super) const ACCOUNT_KEY: &str = "account_key.pem";
pub(super) const NEW_ACCOUNT_KEY: &str = "account_key.new.pem";

/// Files of a version of a certificate.
pub(super) const FULL_CHAIN: &str = "fullchain.pem";
pub(super) const KEY: &str = "privkey.pem";
pub(super) const LEAF: &str = "cert.pem";
pub(super) const CHAIN: &str = "chain.pem";
pub(super) const ISSUER: &str = "issuer.json";
pub(super) const RENEWAL: &str = "renewal.json";
/// Mark of a certificate that was revoked.
pub(super) const REVOKED: &str = "revoked";

/// End of the name of what was set aside, for a person to look at.
pub(super) const ASIDE: &str = ".invalid";

/// Path of the directory of all certificates.
#[must_use]
pub fn certificates_path(state_path: &Path) -> PathBuf {
    state_path.join(CERTS)
}

/// Path of the file with what a start needs of all certificates.
pub(crate) fn pack_path(state_path: &Path) -> PathBuf {
    state_path.join(PACKS).join(PACK)
}

/// Path of the directory of home directories of programs.
#[must_use]
pub fn programs_path(state_path: &Path) -> PathBuf {
    state_path.join(PROGRAMS)
}

/// Path of the directory of home directories of hooks.
#[must_use]
pub(crate) fn hooks_path(state_path: &Path) -> PathBuf {
    state_path.join(HOOKS)
}

/// Path of the link to the files of a certificate. It is made anew with each version.
pub(crate) fn certificate_path(state_path: &Path, name: &str) -> PathBuf {
    certificates_path(state_path).join(name)
}

/// Path of the file with a certificate and its chain.
pub(crate) fn full_chain_path(state_path: &Path, name: &str) -> PathBuf {
    certificate_path(state_path, name).join(FULL_CHAIN)
}

/// Finds the certificate that a file belongs to, by its link or by its version. `path` is relative to
/// [`certificates_path`].
pub(crate) fn certificate_of(path: &Path) -> Option<&str> {
    let mut names = path.iter();
    let first = names.next()?;
    let name = if first == VERSIONS { names.next()? } else { first };
    OsStr::to_str(name)
}
