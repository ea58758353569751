//! nginx as the service sees it: the service's `Host`, by the relay, shared memory and `reload`.

use super::child;
use super::growth;
use super::heap;
use super::memory::{SharedMemory, SlotReader};
use super::nginx::{is_logged, log, process, update_time};
use super::public_area::Area;
use super::relay::Relay;
use super::reload;
use super::requests::Requests;
use super::writer::Writer;
use acme_dns_core::config::Config;
use acme_dns_core::config::watched::Addition;
use acme_dns_core::id::{CertificateId, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_core::status::{EngineRecord, Figure, HelperState, Plan, SharedVariant};
use acme_dns_service::event::Event;
use acme_dns_service::host::{Host, NoRoom};
use acme_dns_service::mark::line;
use ngx::ffi::NGX_PROCESS_HELPER;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// Process around the service.
pub(super) struct NginxHost {
    pub(super) memory: Arc<SharedMemory>,
    pub(super) config: Arc<Config>,
    /// Records, and the public records beside them.
    pub(super) writer: Mutex<Writer>,
    pub(super) area: Area,
    /// Requests of workers, if any can make some.
    pub(super) requests: Option<Arc<Requests>>,
    /// Way of its lines to the manager; none where the service is a thread of nginx.
    pub(super) relay: Option<Arc<Relay>>,
}

impl Host for NginxHost {
    fn tell(&self, event: &Event) {
        let level = event.level();
        if !is_logged(level) {
            return;
        }
        let line = line(event);
        match &self.relay {
            Some(relay) => relay.send(level, &line),
            None => {
                // The event loop of this process sleeps, and its cached time with it.
                update_time();
                log(level, &line);
            }
        }
    }

    fn listens(&self, level: Level) -> bool {
        is_logged(level)
    }

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = writer.write(certificate, &material.encode()).map_err(|_| NoRoom)?;
        if is_new || !self.area.shows(&self.config, certificate) {
            self.area.show_served(&self.config, certificate, material);
        }
        Ok(())
    }

    fn published(&self, certificate: CertificateId) -> Option<Material> {
        let (_, record) = SlotReader::new(&self.memory, certificate).read()?;
        Material::decode(&record).ok()
    }

    fn admit(&self, addition: &Addition) -> Result<(), NoRoom> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.config.certificates.added_ids().len();
        writer.add(number, &addition.encode()).map_err(|_| NoRoom)
    }

    fn show_names(&self, certificate: CertificateId) -> Result<(), NoRoom> {
        let _alone = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        growth::show_names(&self.config, &self.memory, certificate).map_err(|_| NoRoom)
    }

    fn hide_names(&self, certificate: CertificateId) -> Result<(), NoRoom> {
        let _alone = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        growth::hide_names(&self.config, &self.memory, certificate).map_err(|_| NoRoom)
    }

    fn reload(&self) -> Result<(), String> {
        reload::request()
    }

    fn show_plan(&self, variant: VariantId, plan: &Plan) {
        let _alone = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.area.show_plan(variant, plan);
    }

    fn shown_plan(&self, variant: VariantId) -> Option<Plan> {
        self.area.shown_plan(variant)
    }

    fn add(&self, figure: Figure, number: u64) {
        self.area.add(figure, number);
    }

    fn note(&self, figure: Figure, number: u64) {
        self.area.note(figure, number);
    }

    fn show_life(&self, state: HelperState) {
        self.area.show_life(state);
        if state == HelperState::Working {
            heap::tidy_after_start();
        }
    }

    fn show_engine(&self, record: &EngineRecord) {
        let _alone = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.area.show_engine(record);
    }

    fn show_shared(&self, variant: VariantId, record: &SharedVariant) {
        let _alone = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.area.show_shared(variant, record);
    }

    fn shown_shared(&self, variant: VariantId) -> Option<SharedVariant> {
        self.area.shown_shared(variant)
    }

    fn hears_requests(&self) -> bool {
        self.requests.is_some()
    }

    fn take_requests(&self, most: usize) -> Vec<CertificateId> {
        self.requests.as_ref().map_or_else(Vec::new, |requests| requests.take(most))
    }

    fn prepare_program(&self, command: &mut Command) {
        child::prepare(command);
    }

    fn died(&self) {
        if process() == NGX_PROCESS_HELPER {
            // The manager notices, and the master starts both anew. Not `exit()`: this is not the process's
            // main thread.
            // SAFETY: ends the process.
            unsafe { libc::_exit(1) };
        }
    }
}
