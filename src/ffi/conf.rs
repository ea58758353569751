//! The module's own data of each configuration of nginx, which nginx calls a cycle.
//!
//! `directives` and `server` fill it while nginx.conf is read, `init_conf` when it has been read, `init_module`
//! when it is in force.

use super::bound::BoundServer;
use super::cycle::Cycle;
use super::identity::{Identity, NamedUser};
use super::memory::SharedMemory;
use super::nginx::process;
use super::privileges::KeptCapabilities;
use super::programs::{LibraryBlock, PlacedExport, PlacedProgram};
use super::registry;
use super::requests::Requests;
use super::vault::Vault;
use acme_dns_core::config::draft::Draft;
use acme_dns_core::config::sharing::Shared;
use acme_dns_core::config::{Config, Listener, Location, zone};
use acme_dns_core::schedule::Loading;
use acme_dns_service::import::Imports;
use acme_dns_service::reload::Watch;
use acme_dns_service::store::PublishedFacts;
use ngx::ffi::NGX_PROCESS_WORKER;
use std::cell::{RefCell, RefMut};
use std::ptr;
use std::sync::Arc;
use std::time::SystemTime;

/// Configuration of the core module.
pub(super) struct CoreConf {
    /// Address of the cycle that it belongs to.
    cycle: usize,
    /// Time at which nginx began to read the configuration.
    pub(super) since: SystemTime,
    pub(super) draft: Draft,
    pub(super) vault: Vault,
    /// The zone, where one is given, and where it is given.
    pub(super) zone: Option<(zone::SharedZone, Location)>,
    /// `acme_dns_user`
    pub(super) user: Option<NamedUser>,
    /// The group that may read `certs/`: `acme_dns_state_path ... group=`.
    pub(super) certs_group: Option<u32>,
    /// Files that the service carries out.
    pub(super) programs: Vec<PlacedProgram>,
    /// `acme_dns_providers`
    pub(super) providers_program: Option<String>,
    /// The first provider that needs that program.
    pub(super) library: Option<LibraryBlock>,
    /// The first place of `acme_dns_status`.
    pub(super) status: Option<Location>,
    /// Set if one of these places takes requests.
    pub(super) takes_requests: bool,
    /// Files for other software.
    pub(super) exports: Vec<PlacedExport>,
    /// Those who are told of certificates.
    pub(super) listeners: Vec<Listener>,
    /// The servers that have one of our certificates.
    pub(super) servers: Vec<BoundServer>,
    pub(super) ready: Option<Ready>,
    /// Function to call when the last cycle that has this module ends.
    when_last: fn(),
}

/// Configuration that is complete.
pub(super) struct Ready {
    pub(super) config: Arc<Config>,
    /// Identifies this load: a helper that is started anew keeps it, a reload makes another.
    pub(super) loading: Loading,
    /// Facts of variants that were published from the disk.
    pub(super) facts: Arc<PublishedFacts>,
    /// Set if there is a pack of certificates that cannot be used.
    pub(super) has_bad_pack: bool,
    /// Number of certificates on disk that the pack does not have as they are.
    pub(super) unpacked: usize,
    /// Finds from the trees of other clients.
    pub(super) imports: Imports,
    /// Files of the state path that nginx reads; known when the configuration is in force.
    pub(super) watch: Option<Watch>,
    /// The certificates, for the workers.
    pub(super) memory: Arc<SharedMemory>,
    /// Requests of workers to the service, if any can make some; known when the configuration is in force.
    pub(super) requests: Option<Arc<Requests>>,
    /// User of the service.
    pub(super) identity: Identity,
    /// The group that may read `certs/`.
    pub(super) certs_group: Option<u32>,
    /// Set if the configuration differs from the one before, or is the first.
    pub(super) is_news: bool,
    /// Set if the state path is a default of earlier versions.
    pub(super) old_default: bool,
    /// Certificates that replace others.
    pub(super) shared: Vec<Shared>,
    /// Held while a configuration is in force whose service takes a user of its own.
    pub(super) kept: Option<KeptCapabilities>,
}

impl CoreConf {
    /// Makes the configuration of a new cycle. `None`: out of memory.
    pub(super) fn create(cycle: Cycle<'_>, when_last: fn()) -> Option<ptr::NonNull<RefCell<Self>>> {
        let conf = cycle.pool().boxed(RefCell::new(Self {
            cycle: cycle.address(),
            since: SystemTime::now(),
            draft: Draft::default(),
            vault: Vault::new(),
            zone: None,
            user: None,
            certs_group: None,
            programs: Vec::new(),
            providers_program: None,
            library: None,
            status: None,
            takes_requests: false,
            exports: Vec::new(),
            listeners: Vec::new(),
            servers: Vec::new(),
            ready: None,
            when_last,
        }))?;
        registry::add(cycle.address(), conf.as_ptr().expose_provenance());
        Some(conf)
    }

    pub(super) fn ready(&self) -> Option<&Ready> {
        self.ready.as_ref()
    }
}

impl Drop for CoreConf {
    fn drop(&mut self) {
        if process() == NGX_PROCESS_WORKER {
            // It ends, and all its memory with it: the pages that it shares with the master would be copied to be freed.
            self.ready.take().into_iter().for_each(leave);
        }
        if registry::remove(self.cycle) {
            (self.when_last)();
        }
    }
}

/// Leaves a configuration as it is until the process ends. The C library keeps its address, and not a variable of this
/// object, which nginx unloads before: what nobody knows the address of, valgrind calls lost.
fn leave(ready: Ready) {
    let ready = Box::into_raw(Box::new(ready));
    let mut key = 0;
    // SAFETY: the key is written there; without a destructor nothing is ever done with what it has.
    if unsafe { libc::pthread_key_create(&raw mut key, None) } == 0 {
        // SAFETY: a plain call with a key that was just made.
        unsafe { libc::pthread_setspecific(key, ready.cast()) };
    }
}

/// Gives the configuration of a cycle; `None` if this module is not one of it.
///
/// # Panics
/// Somebody else has it at this moment; the callback that asks for it fails.
pub(super) fn core_conf(cycle: Cycle<'_>) -> Option<RefMut<'_, CoreConf>> {
    let conf = registry::find(cycle.address())?;
    let conf = ptr::with_exposed_provenance_mut::<RefCell<CoreConf>>(conf);
    // SAFETY: what is registered lives until the pool of its cycle is destroyed, which outlives the result.
    unsafe { conf.as_ref() }.map(RefCell::borrow_mut)
}
