//! Settings of a part.

use std::time::Duration;

use testbed::nginx::build::NginxBuild;

/// Factor that a quick run is shorter by.
const QUICKER: u32 = 20;

/// Parts that are measured, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// nginx with the module.
    pub(crate) build: &'static NginxBuild,
    /// Only to see that everything works: the figures mean little.
    pub(crate) quick: bool,
}

impl Setup {
    /// Returns the time that something is measured.
    pub(crate) fn time(&self, usual: Duration) -> Duration {
        if self.quick { usual / QUICKER } else { usual }
    }

    /// Returns how often something is done that takes long.
    pub(crate) fn times(&self, usual: usize) -> usize {
        if self.quick { 1 } else { usual }
    }
}
