//! Somebody who is told what an attempt leaves on disk.

use async_trait::async_trait;

/// Witness of the orders and of the journal: whoever is to go on with an attempt when this process ends.
///
/// The attempt waits for it before it goes on, so that nothing exists at a CA or a DNS provider that only this host
/// knows of.
#[async_trait(?Send)]
pub trait Witness {
    /// Takes note that the order of a certificate on disk, or its entries in the journal, have changed.
    async fn note(&self, certificate: &str);
}
