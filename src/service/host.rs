//! The process around the service, as the service sees it: one trait, which nginx's helper and tests implement.

use crate::event::Event;
use acme_dns_core::config::watched::Addition;
use acme_dns_core::id::{CertificateId, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_core::status::{EngineRecord, Figure, HelperState, Plan, SharedVariant};
use std::process::Command;
use std::sync::Arc;

/// Error: shared memory has no room for a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoRoom;

/// Process around the service: nginx's helper, or a test.
pub trait Host: Send + Sync + 'static {
    /// Tells an event to whoever listens; the error log is one of them.
    fn tell(&self, event: &Event);

    /// Tells whether anybody reads the lines of a level. What nobody reads need not be made.
    fn listens(&self, _level: Level) -> bool {
        true
    }

    /// Hands a certificate to the workers. What they have already changes nothing.
    ///
    /// # Errors
    /// The shared zone is full.
    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom>;

    /// Has all processes know a certificate that is added to the configuration, as the next one behind all that there are.
    ///
    /// # Errors
    /// There is no room for one more.
    fn admit(&self, _addition: &Addition) -> Result<(), NoRoom> {
        Ok(())
    }

    /// Has a certificate be served to clients that ask for its names, where servers choose by name.
    ///
    /// # Errors
    /// There is no room for its names.
    fn show_names(&self, _certificate: CertificateId) -> Result<(), NoRoom> {
        Ok(())
    }

    /// Has a certificate not be served any more where servers choose by name.
    ///
    /// # Errors
    /// There is no room for what is served instead.
    fn hide_names(&self, _certificate: CertificateId) -> Result<(), NoRoom> {
        Ok(())
    }

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

    /// Shows the state of the engine that certificates are shared on.
    fn show_engine(&self, _record: &EngineRecord) {}

    /// Shows the hosts that have to do with a variant.
    fn show_shared(&self, _variant: VariantId, _record: &SharedVariant) {}

    /// Returns the hosts that are shown for a variant, by this process or the one before it.
    fn shown_shared(&self, _variant: VariantId) -> Option<SharedVariant> {
        None
    }

    /// Tells whether a worker can ask for renewals.
    fn hears_requests(&self) -> bool {
        false
    }

    /// Takes some of the certificates whose renewal workers have asked for. Nothing is known of who has said so.
    fn take_requests(&self, _most: usize) -> Vec<CertificateId> {
        Vec::new()
    }

    /// Prepares a program that is about to be started as a process of its own: it is to have none of this
    /// process's descriptors and ways with signals, and to end with it.
    fn prepare_program(&self, _command: &mut Command) {}

    /// Notes that the service has ended by a fault, and its thread with it.
    fn died(&self) {}
}

/// Host with an ear before it.
struct Overheard<Ear> {
    host: Arc<dyn Host>,
    ear: Ear,
}

/// Puts an ear before a host: it hears every event before the host does.
#[must_use]
pub fn overheard(
    host: Arc<dyn Host>,
    ear: impl Fn(&Event) + Send + Sync + 'static,
) -> Arc<dyn Host> {
    Arc::new(Overheard { host, ear })
}

// A method with a default that is not handed on would be lost without a word.
#[deny(clippy::missing_trait_methods)]
impl<Ear: Fn(&Event) + Send + Sync + 'static> Host for Overheard<Ear> {
    fn tell(&self, event: &Event) {
        (self.ear)(event);
        self.host.tell(event);
    }

    fn listens(&self, level: Level) -> bool {
        self.host.listens(level)
    }

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        self.host.publish(certificate, material)
    }

    fn admit(&self, addition: &Addition) -> Result<(), NoRoom> {
        self.host.admit(addition)
    }

    fn show_names(&self, certificate: CertificateId) -> Result<(), NoRoom> {
        self.host.show_names(certificate)
    }

    fn hide_names(&self, certificate: CertificateId) -> Result<(), NoRoom> {
        self.host.hide_names(certificate)
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

    fn show_engine(&self, record: &EngineRecord) {
        self.host.show_engine(record);
    }

    fn show_shared(&self, variant: VariantId, record: &SharedVariant) {
        self.host.show_shared(variant, record);
    }

    fn shown_shared(&self, variant: VariantId) -> Option<SharedVariant> {
        self.host.shown_shared(variant)
    }

    fn hears_requests(&self) -> bool {
        self.host.hears_requests()
    }

    fn take_requests(&self, most: usize) -> Vec<CertificateId> {
        self.host.take_requests(most)
    }

    fn prepare_program(&self, command: &mut Command) {
        self.host.prepare_program(command);
    }

    fn died(&self) {
        self.host.died();
    }
}
