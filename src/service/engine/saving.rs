//! The disk's half of a commit ([`commit`](super::commit)): done by the attempt's task, on another thread.

use crate::store::{IssuedPem, Store, StoreError};

/// Result of saving a certificate that was issued.
#[derive(Debug)]
pub enum Saved {
    /// It is on disk, and nothing is left of the attempts.
    Completely,
    /// It is on disk, but something is left of the attempts.
    WithRemains(StoreError),
    /// The disk has refused it.
    Refused(StoreError),
}

/// Saves a certificate under the name of its variant, and forgets the order and the progress that have led to
/// it. The order stays as long as the certificate is not on disk: it holds the only other copy of the key.
pub fn save_issued(store: &Store, name: &str, pem: &IssuedPem) -> Saved {
    match store.save_certificate(name, pem) {
        Err(error) => Saved::Refused(error),
        Ok(()) => match forget_attempts(store, name) {
            Err(error) => Saved::WithRemains(error),
            Ok(()) => Saved::Completely,
        },
    }
}

/// Forgets the order and the progress of a certificate that is on disk.
pub(super) fn forget_attempts(store: &Store, name: &str) -> Result<(), StoreError> {
    store.remove_order(name)?;
    store.remove_progress(name)
}
