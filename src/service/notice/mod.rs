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
use crate::host::{Host, NoRoom};
use acme_dns_core::id::{CertificateId, VariantId};
use acme_dns_core::material::Material;
use acme_dns_core::status::{Figure, HelperState, Plan};
use mapping::Told;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// So many events wait for the desk. It takes them as fast as it can write to the disk.
const ROOM: usize = 4096;

/// Host that has another listener besides the log.
struct Overheard {
    host: Arc<dyn Host>,
    inbox: mpsc::Sender<Told>,
    dropped: Arc<AtomicUsize>,
}

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
    let (inbox, told) = mpsc::channel(ROOM);
    let dropped = Arc::<AtomicUsize>::default();
    let overheard = Overheard { host: Arc::clone(&host), inbox, dropped: Arc::clone(&dropped) };
    (Arc::new(overheard), Inbox { host, told, dropped })
}

impl Host for Overheard {
    fn tell(&self, event: &Event) {
        self.host.tell(event);
        if let Some(told) = mapping::read(event)
            && self.inbox.try_send(told).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        self.host.publish(certificate, material)
    }

    fn reload(&self) -> Result<(), String> {
        self.host.reload()
    }

    fn published(&self, certificate: CertificateId) -> Option<Material> {
        self.host.published(certificate)
    }

    fn show_plan(&self, variant: VariantId, plan: &Plan) {
        self.host.show_plan(variant, plan);
    }

    fn shown_plan(&self, variant: VariantId) -> Option<Plan> {
        self.host.shown_plan(variant)
    }

    fn add(&self, figure: Figure, number: u64) {
        self.host.add(figure, number);
    }

    fn note(&self, figure: Figure, number: u64) {
        self.host.note(figure, number);
    }

    fn show_life(&self, state: HelperState) {
        self.host.show_life(state);
    }

    fn prepare_program(&self, command: &mut Command) {
        self.host.prepare_program(command);
    }

    fn died(&self) {
        self.host.died();
    }
}
