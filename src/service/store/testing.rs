//! Certificates on disk, for tests.

use super::IssuedPem;
use crate::x509::testing::{Ca, key, pem};
use openssl::pkey::{PKey, Private};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The URL of the directory that certificates of tests are from.
pub(crate) const DIRECTORY: &str = "https://ca.example/directory";

/// Gives a sign of life for the holder of a state path's lock; one at another second is another one.
pub(crate) fn give_sign(state_path: &Path, second: u64) {
    let lock = File::options().write(true).open(state_path.join("lock")).unwrap();
    lock.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
}

/// A new key with a chain of two for `names`.
pub(crate) fn issued(names: &[&str]) -> IssuedPem {
    issued_with(&key(), names, (-3600, 86_400))
}

/// A chain of two for a key and `names`, valid from and to these seconds around [`NOW`].
pub(crate) fn issued_with(
    key: &PKey<Private>,
    names: &[&str],
    (from, to): (i64, i64),
) -> IssuedPem {
    let ca = Ca::new("Test CA", None);
    let leaf = ca.issue(key, names, (from, to));
    IssuedPem {
        key: String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap().into(),
        fullchain: pem(&[&leaf, &ca.certificate]),
        directory: DIRECTORY.to_owned(),
        profile: None,
        ordered: None,
        is_imported: false,
    }
}
