//! No panic crosses into C.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; a panic in it gives `failure`. The panic's message is on standard error, which
/// nginx redirects to the error log.
pub(super) fn guard<T>(failure: T, body: impl FnOnce() -> T) -> T {
    // Unwind safety: what a panic may leave half-written is one configuration, which is refused, or
    // one handshake, which fails.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(failure)
}
