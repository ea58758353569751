//! nginx as the service sees it: the service's `Host`, by the relay, shared memory and `reload`.

use super::child;
use super::memory::{SlotReader, Writer};
use super::nginx::{is_logged, log, process, update_time};
use super::relay::Relay;
use super::reload;
use acme_dns_core::id::{CertificateId, Table};
use acme_dns_core::material::Material;
use acme_dns_service::event::Event;
use acme_dns_service::host::{Host, NoRoom};
use ngx::ffi::NGX_PROCESS_HELPER;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// Process around the service.
pub(super) struct NginxHost {
    pub(super) certificates: Table<CertificateId, SlotReader>,
    pub(super) writer: Mutex<Writer>,
    /// Way of its lines to the manager; none where the service is a thread of nginx.
    pub(super) relay: Option<Arc<Relay>>,
}

impl Host for NginxHost {
    fn tell(&self, event: &Event) {
        let (level, line) = (event.level(), || format!("acme_dns: {event}"));
        match &self.relay {
            Some(relay) if is_logged(level) => relay.send(level, &line()),
            Some(_) => {}
            None => {
                // The event loop of this process sleeps, and its cached time with it.
                update_time();
                log(level, &line());
            }
        }
    }

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write(certificate, &material.encode()).map_err(|_| NoRoom)
    }

    fn published(&self, certificate: CertificateId) -> Option<Material> {
        let (_, record) = self.certificates.get(certificate)?.read()?;
        Material::decode(&record).ok()
    }

    fn reload(&self) -> Result<(), String> {
        reload::request()
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
