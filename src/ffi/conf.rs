//! The module's own data of each configuration of nginx, which nginx calls a cycle.

use super::identity::{Identity, NamedUser};
use super::memory::Memory;
use super::privileges::KeptForChildren;
use super::registry;
use super::server::Bound;
use super::vault::Vault;
use acme_dns_core::config::draft::Draft;
use acme_dns_core::config::sharing::Shared;
use acme_dns_core::config::{Config, Location, zone};
use acme_dns_core::schedule::Loading;
use acme_dns_service::import::Imports;
use acme_dns_service::reload::Watch;
use acme_dns_service::store::Facts;
use ngx::ffi::ngx_cycle_t;
use std::ptr;
use std::sync::Arc;
use std::time::SystemTime;

/// The module's own data of a cycle.
pub(super) struct CoreConf {
    /// Time at which nginx began to read the configuration.
    pub(super) since: SystemTime,
    pub(super) draft: Draft,
    pub(super) vault: Vault,
    /// The zone, where one is given, and where it is given.
    pub(super) zone: Option<(zone::Zone, Location)>,
    /// `acme_dns_user`
    pub(super) user: Option<NamedUser>,
    /// The group that may read `certs/`: `acme_dns_state_path ... group=`.
    pub(super) certs_group: Option<u32>,
    /// The servers that asked for certificates.
    pub(super) bindings: Vec<Bound>,
    pub(super) ready: Option<Ready>,
    /// Called with the end of the last cycle that has this module.
    pub(super) when_last: fn(),
}

/// A configuration that is complete.
pub(super) struct Ready {
    pub(super) config: Arc<Config>,
    /// A helper that is started anew keeps it, a reload makes another.
    pub(super) loading: Loading,
    /// Facts of variants that were published from the disk, by their index.
    pub(super) facts: Vec<(usize, Facts)>,
    /// Finds from the trees of other clients.
    pub(super) imports: Imports,
    /// Files of the state path that nginx reads; known when the configuration is in force.
    pub(super) watch: Option<Watch>,
    /// The certificates, for the workers.
    pub(super) memory: Arc<Memory>,
    /// Whom the service is to be.
    pub(super) identity: Identity,
    /// The group that may read `certs/`.
    pub(super) certs_group: Option<u32>,
    /// Set if the configuration differs from the one before, or is the first.
    pub(super) is_news: bool,
    /// Set if the state path is a default of earlier versions.
    pub(super) old_default: bool,
    /// Certificates that take the place of others.
    pub(super) shared: Vec<Shared>,
    /// While a configuration is in force whose service takes a user of its own.
    pub(super) kept: Option<KeptForChildren>,
}

impl CoreConf {
    pub(super) fn ready(&self) -> Option<&Ready> {
        self.ready.as_ref()
    }
}

impl Drop for CoreConf {
    fn drop(&mut self) {
        if registry::remove(ptr::from_ref(self).addr()) {
            (self.when_last)();
        }
    }
}

/// The configuration of a cycle.
///
/// # Safety
/// Nothing else refers to the cycle's configuration while the result is used.
pub(super) unsafe fn core_conf<'a>(cycle: *mut ngx_cycle_t) -> Option<&'a mut CoreConf> {
    let conf = ptr::with_exposed_provenance_mut::<CoreConf>(registry::find(cycle.addr())?);
    // SAFETY: what is registered lives until its cycle's pool is destroyed; exclusive by this function's
    // contract.
    unsafe { conf.as_mut() }
}
