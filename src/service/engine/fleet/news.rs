//! News that the tasks of the fleet tell the loop.

use crate::share::{Change, ShareError};
use acme_dns_core::id::VariantId;
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
