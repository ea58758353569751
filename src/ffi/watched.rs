//! Checks of watched domains files, at configuration time: the service has to read them, and who can write them chooses
//! the names that certificates are obtained for.

use super::identity::Identity;
use super::nginx::is_root;
use acme_dns_core::config::Config;
use acme_dns_core::text::errno;
use acme_dns_service::domains::domains_files;
use acme_dns_service::program::{User, check_writers_of};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bits of a mode for others: reading a file, and going through a directory or listing it.
const READ: u32 = 0o4;
const SEARCH: u32 = 0o1;

/// Checks that the service can read all watched files, and warns if the workers can write to them.
///
/// # Errors
/// The first that it cannot read.
pub(super) fn check(
    config: &Config,
    identity: &Identity,
    warn: impl Fn(&str),
) -> Result<(), String> {
    let workers = identity.workers.map(|ids| User { uid: ids.uid, name: &identity.workers_name });
    for watched in &config.watched {
        let path = &watched.path;
        let files = domains_files(path).unwrap_or_default();
        for file in files.iter().chain([path]) {
            if is_root() {
                check_readable(file, identity)?;
            }
            if let Err(why) = check_writers_of(file, workers) {
                warn(&format!(
                    "{why}: whoever can write to a watched domains file chooses the names of certificates"
                ));
                break;
            }
        }
    }
    Ok(())
}

/// Checks that the service will be able to read a file or directory, and to reach it.
fn check_readable(path: &Path, identity: &Identity) -> Result<(), String> {
    let denied = |at: &Path| {
        let (path, name) = (path.display(), &identity.name);
        format!(
            "user \"{name}\" cannot read watched domains file \"{path}\": permission denied at \"{}\"",
            at.display()
        )
    };
    let path_of = |path: &Path| {
        path.canonicalize()
            .map_err(|e| format!("stat() \"{}\" failed ({})", path.display(), errno(&e)))
    };
    let real = path_of(path)?;
    for at in real.ancestors() {
        let Ok(found) = fs::metadata(at) else { continue };
        let needed = match (at == real, found.is_dir()) {
            (true, true) => READ | SEARCH,
            (true, false) => READ,
            (false, _) => SEARCH,
        };
        if !is_allowed(&found, needed, identity) {
            return Err(denied(at));
        }
    }
    Ok(())
}

/// Tells whether a mode gives the service these bits. Access lists are not looked at.
fn is_allowed(found: &Metadata, needed: u32, identity: &Identity) -> bool {
    let Some(user) = identity.user else { return true };
    let shift = if found.uid() == user.uid {
        6
    } else if found.gid() == user.gid || identity.groups.contains(&found.gid()) {
        3
    } else {
        0
    };
    (found.mode() >> shift) & needed == needed
}
