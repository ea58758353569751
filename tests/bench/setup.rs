//! What a part is given.

use std::time::Duration;

use testbed::nginx::build::NginxBuild;

/// How much shorter a quick run is.
const QUICKER: u32 = 20;

/// What is measured, and how long.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// nginx with the module.
    pub(crate) build: &'static NginxBuild,
    /// Only to see that everything works: the figures mean little.
    pub(crate) quick: bool,
}

impl Setup {
    /// How long something is measured.
    pub(crate) fn time(&self, usual: Duration) -> Duration {
        if self.quick { usual / QUICKER } else { usual }
    }

    /// How often something is done that takes long.
    pub(crate) fn times(&self, usual: usize) -> usize {
        if self.quick { 1 } else { usual }
    }
}
