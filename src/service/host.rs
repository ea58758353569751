//! What the service asks of the process that it runs in.

use crate::event::Event;
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use std::fmt;

/// Shared memory has no room for a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoRoom;

/// The process around the service: nginx's helper, or a test.
pub trait Host: Send + Sync + 'static {
    /// Writes one line to the error log.
    fn log(&self, level: Level, message: fmt::Arguments<'_>);

    /// Tells what has happened: a line of the error log, for a start.
    fn tell(&self, event: &Event) {
        self.log(event.level(), format_args!("acme_dns: {event}"));
    }

    /// Hands a certificate to the workers; `certificate` is an index into the configuration's. What
    /// they have already changes nothing.
    ///
    /// # Errors
    /// The shared zone is full.
    fn publish(&self, certificate: usize, material: &Material) -> Result<(), NoRoom>;

    /// Asks nginx to load its configuration again. That it does shows in the end of this service.
    ///
    /// # Errors
    /// It cannot be asked, as a message for the log.
    fn reload(&self) -> Result<(), String> {
        Err("there is nothing to reload here".to_owned())
    }

    /// What the workers have of a certificate, from this process or the one before it, by
    /// its index into the configuration's. `None` where that is nothing, or not known: then what
    /// is stapled to it has to be asked for anew after a reload.
    fn published(&self, _certificate: usize) -> Option<Material> {
        None
    }

    /// The service has ended by a fault, and its thread with it.
    fn died(&self) {}
}
