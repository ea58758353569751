//! The certificates that a server serves: its own, or, with `acme_dns sni`, for each connection the one that covers the
//! name which the client asks for.
//!
//! OpenSSL calls [`CALLBACKS`] once for each full handshake. A name is looked up in the index, which all processes have
//! in shared memory, and its certificate among those that this process keeps ready. How a certificate is served then
//! is in `certificate`; which servers have our callbacks is decided in `server`, at configuration time.

use super::callback::callback;
use super::certificate::{Fallback, ServerCertificate};
use super::growth;
use super::memory::{SharedMemory, SlotReader};
use super::openssl::{CallbackData, Callbacks, FAIL, Handshake, NO_STAPLE};
use acme_dns_core::config::Config;
use acme_dns_core::config::binding::Choosing;
use acme_dns_core::id::CertificateId;
use acme_dns_core::name::Name;
use acme_dns_core::recent::Recent;
use std::ffi::c_int;
use std::sync::Arc;

/// The callbacks of a context that one server uses. Their data is that server's [`Served`].
pub(super) const CALLBACKS: Callbacks =
    Callbacks { certificate: certificate_callback, status: status_callback };

/// Certificates of a server.
pub(super) struct Served {
    /// The server's own; of one that chooses by name that for all other clients.
    pub(super) own: ServerCertificate,
    choice: Option<Choice>,
}

/// Choice among all certificates of a configuration.
struct Choice {
    /// Known when the configuration is in force. One without certificates has none.
    catalog: Option<Catalog>,
    /// Certificates that this process has read.
    kept_ready: Recent<CertificateId, ServerCertificate>,
}

/// Certificates of a configuration, with their index.
#[derive(Clone)]
pub(super) struct Catalog {
    pub(super) config: Arc<Config>,
    pub(super) memory: Arc<SharedMemory>,
}

impl Served {
    /// Makes that of a server with these names, which chooses by name if it is said how.
    pub(super) fn new(fallback: Fallback, names: &[Name], choosing: Option<&Choosing>) -> Self {
        let choice = |choosing: &Choosing| Choice {
            catalog: None,
            kept_ready: Recent::new(choosing.kept_ready),
        };
        let mut own = ServerCertificate::new(fallback);
        own.names = names.iter().map(|name| name.as_str().to_owned()).collect();
        Self { own, choice: choosing.map(choice) }
    }

    /// Tells whether the server chooses by name.
    pub(super) fn chooses(&self) -> bool {
        self.choice.is_some()
    }

    /// Puts the certificates of a configuration into force.
    pub(super) fn open(&mut self, catalog: &Catalog) {
        let slot = |id| SlotReader::new(&catalog.memory, id);
        self.own.slot = self.own.certificate.map(slot);
        if let Some(choice) = &mut self.choice {
            choice.catalog = Some(catalog.clone());
        }
    }

    /// Finds the certificate of a connection.
    pub(super) fn of(&mut self, connection: &Handshake) -> &mut ServerCertificate {
        let choice = self.choice.as_mut();
        let chosen = choice.and_then(|choice| {
            let name = connection.server_name()?;
            choice.choose(&name, &self.own)
        });
        match (chosen, &mut self.choice) {
            (Some(id), Some(choice)) => choice.ready(id, &self.own).unwrap_or(&mut self.own),
            _ => &mut self.own,
        }
    }
}

impl Choice {
    /// Chooses the certificate for a name: the first that is there and covers it, or else the first that is to cover
    /// it, which a self-signed one stands in for. `None`: no certificate is to cover it.
    fn choose(&mut self, name: &str, server: &ServerCertificate) -> Option<CertificateId> {
        let memory = Arc::clone(&self.catalog.as_ref()?.memory);
        let mut first = None;
        for id in memory.names()?.find(name) {
            if self.ready(id, server).is_some_and(|certificate| certificate.covers(name)) {
                return Some(id);
            }
            first.get_or_insert(id);
        }
        first
    }

    /// Gives a certificate, which is kept ready from now on.
    fn ready(
        &mut self,
        id: CertificateId,
        server: &ServerCertificate,
    ) -> Option<&mut ServerCertificate> {
        let Catalog { config, memory } = self.catalog.as_ref()?;
        if config.certificates.get(id).is_none() {
            growth::catch_up(config, memory);
        }
        let certificate = config.certificates.get(id)?;
        let make = || {
            let slot = SlotReader::new(memory, id);
            ServerCertificate::chosen((id, certificate), slot, server)
        };
        Some(self.kept_ready.get_or_insert_with(id, make))
    }
}

callback! {
    fn certificate_callback(handshake: Handshake, data: CallbackData<Served>) -> c_int {
        data.with(|served| served.of(&handshake).serve(&handshake))
    } ?= FAIL
}

callback! {
    fn status_callback(handshake: Handshake, data: CallbackData<Served>) -> c_int {
        data.with(|served| served.of(&handshake).give_staple(&handshake))
    } ?= NO_STAPLE
}
