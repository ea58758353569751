//! Failures to tell a notice.

use std::time::Duration;

/// Notice that was not told.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) why: String,
    /// The pause that the other side asks for.
    pub(super) retry_after: Option<Duration>,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { why, retry_after: None }
    }
}
