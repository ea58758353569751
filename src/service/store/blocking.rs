//! Files, from the one thread that must not wait for them.

use super::{Store, StoreError};

impl Store {
    /// Does something with files on another thread: a disk may take its time, and what else is under
    /// way goes on.
    pub(crate) async fn on_thread<T: Send + 'static>(
        &self,
        action: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let done = tokio::task::spawn_blocking(move || action(&store)).await;
        // A task that did not end by itself panicked, or the runtime is shutting down.
        done.unwrap_or_else(|error| Err(StoreError::invalid(self.path(), error.to_string())))
    }
}
