//! Hooks, webhooks and exports: who is told what of certificates, when, and when again.
//!
//! ```text
//! Host::tell -> mapping (Event to Told) -> bounded inbox -> Desk: limits, notes on disk
//!   -> a queue for each listener -> program, request or files; again until it succeeds
//! ```
//!
//! Nothing here is in the way of an order or a swap: telling an event costs a push into the inbox, and what
//! finds no room there is counted and dropped. New files are not: which listener has which certificate is
//! kept in the state path ([`Notes`](crate::store::Notes)) and compared at each start.

mod certificate;
mod desk;
mod export;
mod failure;
mod hook;
mod limits;
mod mapping;
mod memory;
mod queue;
mod teller;
mod webhook;

pub use desk::{Desk, DeskSettings};
pub use queue::Timing;

use crate::event::Event;
use crate::host::{Host, overheard};
use mapping::Told;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// So many events wait for the desk. It takes them as fast as it can write to the disk.
const ROOM: usize = 4096;

/// Events that the desk has not heard yet.
pub struct Inbox {
    host: Arc<dyn Host>,
    told: mpsc::Receiver<Told>,
    dropped: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

/// Puts an ear between the service and its host.
#[must_use]
pub fn overhear(host: Arc<dyn Host>) -> (Arc<dyn Host>, Inbox) {
    let (sender, told) = mpsc::channel(ROOM);
    let dropped = Arc::<AtomicUsize>::default();
    let inbox = Inbox { host: Arc::clone(&host), told, dropped: Arc::clone(&dropped) };
    let ear = move |event: &Event| {
        if let Some(told) = mapping::read(event)
            && sender.try_send(told).is_err()
        {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    };
    (overheard(host, ear), inbox)
}
