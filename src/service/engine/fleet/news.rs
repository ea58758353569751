//! News that the tasks of the fleet tell the loop, and waits that they ask of it.

use crate::share::{Change, ShareError};
use acme_dns_core::id::VariantId;
use acme_dns_core::time::UnixTime;
use std::time::Duration;

/// News of what is shared.
pub(in crate::engine) enum FleetNews {
    /// All that is shared; `is_news`: the engine was not in reach, as far as it was told.
    Loaded { changes: Vec<Change>, is_news: bool },
    /// Changes since.
    Changed(Vec<Change>),
    /// The engine is away, and is tried again after a pause.
    Away { error: ShareError, retry: Duration },
    /// The engine takes changes again.
    Writable,
    /// Another host may have the turn for a certificate that was ordered here.
    Lost { variant: VariantId },
    /// TXT records of another host that has gone are in the journal now.
    Inherited { variant: VariantId },
}

/// Wait for the turn, because another host has it, or the engine is away.
#[derive(Debug)]
pub(in crate::engine) struct Wait {
    /// Time at which it is looked at again.
    pub(in crate::engine) until: UnixTime,
    /// Lease whose end ends it before.
    pub(super) lease: Option<String>,
    /// News of it that were learned meanwhile.
    pub(in crate::engine) news: Option<Change>,
}

impl Wait {
    /// Makes one that time alone ends, or news of the certificate.
    pub(in crate::engine) fn until(until: UnixTime) -> Self {
        Self { until, lease: None, news: None }
    }
}
