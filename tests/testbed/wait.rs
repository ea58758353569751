//! The one place of the testbed that sleeps: tests wait for conditions, not for times.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks at a condition: short beside what is measured, long beside what a look costs.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `probe` answers, and returns its answer.
///
/// # Errors
/// After `limit`, naming `what` was waited for.
pub fn until<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("waited {limit:?} in vain for {what}");
        }
        thread::sleep(PAUSE);
    }
}
