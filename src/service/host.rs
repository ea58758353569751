//! The process around the service, as the service sees it: one trait, which nginx's helper and tests implement.

use crate::event::Event;
use acme_dns_core::id::{CertificateId, VariantId};
use acme_dns_core::material::Material;
use acme_dns_core::status::{Figure, HelperState, Plan};
use std::process::Command;

/// Error: shared memory has no room for a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoRoom;

/// Process around the service: nginx's helper, or a test.
pub trait Host: Send + Sync + 'static {
    /// Tells an event to whoever listens; the error log is one of them.
    fn tell(&self, event: &Event);

    /// Hands a certificate to the workers. What they have already changes nothing.
    ///
    /// # Errors
    /// The shared zone is full.
    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom>;

    /// Asks nginx to load its configuration again. This service ends when it does.
    ///
    /// # Errors
    /// It cannot be asked, as a message for the log.
    fn reload(&self) -> Result<(), String> {
        Err("there is nothing to reload here".to_owned())
    }

    /// Returns what the workers have of a certificate, from this process or the one before it. `None` where
    /// that is nothing, or not known: then its staple has to be asked for anew after a reload.
    fn published(&self, _certificate: CertificateId) -> Option<Material> {
        None
    }

    /// Shows the plan for a variant to whoever asks the workers.
    fn show_plan(&self, _variant: VariantId, _plan: &Plan) {}

    /// Returns the plan that is shown for a variant, by this process or the one before it.
    fn shown_plan(&self, _variant: VariantId) -> Option<Plan> {
        None
    }

    /// Adds to a figure that is shown.
    fn add(&self, _figure: Figure, _number: u64) {}

    /// Sets a figure that is shown.
    fn note(&self, _figure: Figure, _number: u64) {}

    /// Shows that this process lives, and what it does.
    fn show_life(&self, _state: HelperState) {}

    /// Prepares a program that is about to be started as a process of its own: it is to have none of this
    /// process's descriptors and ways with signals, and to end with it.
    fn prepare_program(&self, _command: &mut Command) {}

    /// Notes that the service has ended by a fault, and its thread with it.
    fn died(&self) {}
}
