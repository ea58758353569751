//! Waiting until the CA can see TXT records.
//!
//! Some providers read a record set and write it as a whole. Another host that has read it before our write may
//! write it back long after our provider has looked whether its records stay: then they are gone, and no server
//! will ever show them. So the provider looks again from time to time while an order waits.

use super::ObtainerState;
use super::error::ObtainError;
use super::teller::Teller;
use crate::dns::{TxtRecord, Zone};
use crate::propagation::ZoneServers;
use acme_dns_core::level::Level;
use futures_util::future::{Either, select};
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// Time after which a provider looks for records that no server may ever show; it doubles with each look.
const SECOND_LOOK: Duration = Duration::from_secs(10);

impl ObtainerState {
    /// Waits until the servers of a zone have records that were written there.
    ///
    /// # Errors
    /// They do not have them in time.
    pub(super) async fn wait_for_records(
        &self,
        provider: &str,
        zone: &Zone,
        records: &[TxtRecord],
        teller: &Teller,
    ) -> Result<(), ObtainError> {
        let client = self.provider(provider)?;
        let pairs: Vec<(String, String)> =
            records.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
        let servers = client.name_servers(zone);
        let asked = ZoneServers { zone: &zone.name, servers: servers.as_deref() };
        let tell = |event| teller.visibility(event);
        let mut waiting = pin!(self.checker.wait_for(asked, &pairs, &tell));
        let mut pause = SECOND_LOOK;
        loop {
            if let Ok(waited) = timeout(pause, &mut waiting).await {
                return Ok(waited?);
            }
            let looking = pin!(async {
                if let Err(error) = client.restore(zone, records).await {
                    teller.step_failed(Level::Info, &error);
                }
            });
            if let Either::Left((waited, looking)) = select(&mut waiting, looking).await {
                // A write that is under way must not come after the removal.
                looking.await;
                return Ok(waited?);
            }
            pause = pause.saturating_mul(2);
        }
    }
}
