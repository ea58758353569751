//! Turns of those who write to a zone of a provider.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// A lock, which [`OwnedMutexGuard`] wants to be shared by threads.
type Lock = std::sync::Arc<Mutex<()>>;

/// The writers of all zones. Two blocks of one type may have the same zone, so that they share this.
#[derive(Default)]
pub struct Writers(RefCell<HashMap<(&'static str, Rc<str>), Lock>>);

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writers").finish_non_exhaustive()
    }
}

impl Writers {
    /// Waits until nobody else writes to a zone of a type of provider. Others wait until the guard is dropped.
    pub(super) async fn turn(&self, kind: &'static str, zone: &str) -> OwnedMutexGuard<()> {
        let lock = Lock::clone(self.0.borrow_mut().entry((kind, zone.into())).or_default());
        lock.lock_owned().await
    }
}
