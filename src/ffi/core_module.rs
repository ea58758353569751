//! The core module: it owns what the directives define, shared memory and the helper process.

use super::catch::guard;
use super::directives::definitions;
use super::helper;
use super::import::{self, Pairs};
use super::nginx::{
    CONF_ERROR, CONF_OK, ERROR, OK, cycle as current_cycle, is_test, loading, log, log_to,
    pool_box, pool_string, process, text,
};
use super::reload;
use super::server::Bound;
use super::vault::Vault;
use super::zone::{Full, Slot, Zone};
use acme_dns_core::config::draft::Draft;
use acme_dns_core::config::{Certificate, Config, Location, zone};
use acme_dns_core::level::Level;
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::schedule::Loading;
use acme_dns_service::import::Imports;
use acme_dns_service::reload::{Paths, Watch};
use acme_dns_service::store::{Certificates, Facts, Trust};
use ngx::ffi::{
    NGX_CORE_MODULE, NGX_LOG_EMERG, NGX_LOG_WARN, NGX_MAIN_CONF, NGX_PROCESS_HELPER,
    NGX_PROCESS_SIGNALLER, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, ngx_add_path, ngx_command_t,
    ngx_conf_full_name, ngx_conf_t, ngx_core_module_t, ngx_cycle_t, ngx_int_t, ngx_module_t,
    ngx_path_t, ngx_pcalloc, ngx_shared_memory_add, ngx_shm_zone_t, ngx_str_t,
};
use std::collections::{HashMap, HashSet};
use std::ffi::{c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::time::SystemTime;

/// The state path below the prefix, where none is set.
const DEFAULT_STATE_PATH: &str = "acme_dns";

static mut COMMANDS: [ngx_command_t; 9] = {
    let [a, b, c, d, e, f, g, h] = definitions(NGX_MAIN_CONF);
    [a, b, c, d, e, f, g, h, ngx_command_t::empty()]
};

static mut CONTEXT: ngx_core_module_t = ngx_core_module_t {
    name: ngx_str_t { len: 8, data: c"acme_dns".as_ptr().cast_mut().cast() },
    create_conf: Some(create_conf),
    init_conf: Some(init_conf),
};

/// The module, as nginx has it.
pub(super) static mut NGX_ACME_DNS_MODULE: ngx_module_t = ngx_module_t {
    ctx: (&raw mut CONTEXT).cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_CORE_MODULE as _,
    init_module: Some(init_module),
    init_process: Some(init_process),
    ..ngx_module_t::default()
};

/// What this module keeps for each cycle.
pub(super) struct CoreConf {
    /// When nginx began to read the configuration.
    since: SystemTime,
    pub(super) draft: Draft,
    pub(super) vault: Vault,
    /// The zone, where one is given, and where it is given.
    pub(super) zone: Option<(zone::Zone, Location)>,
    /// The servers that asked for certificates.
    pub(super) bindings: Vec<Bound>,
    ready: Option<Ready>,
}

/// A configuration that is complete.
pub(super) struct Ready {
    pub(super) config: Arc<Config>,
    /// A helper that is started anew keeps it, a reload makes another.
    pub(super) loading: Loading,
    /// What is known of variants that were published from the disk, by their index.
    pub(super) facts: Vec<(usize, Facts)>,
    /// What was found in the trees of other clients.
    pub(super) imports: Imports,
    /// What nginx reads of the state path; known when the configuration is in force.
    pub(super) watch: Option<Watch>,
    /// For each certificate; `None` where the zone has no room.
    pub(super) slots: Arc<Vec<Option<Slot>>>,
    shared: Option<Zone>,
}

impl Ready {
    /// What a configuration before knew of the variants that were not read from the disk for this one.
    fn known_from(&self, before: &Self) -> Vec<(usize, Facts)> {
        // Of a certificate with two types of key, before or now, the slot may hold another pair than is
        // wanted: the helper reads it, and publishes it as it is to be.
        fn single(config: &Config, index: usize) -> Option<&str> {
            let (variant, certificate) = config.variant(index)?;
            (certificate.variants.len() == 1).then_some(variant.name.as_str())
        }
        let known = before.facts.iter();
        let known: HashMap<&str, &Facts> = known
            .filter_map(|(index, facts)| Some((single(&before.config, *index)?, facts)))
            .collect();
        let read: HashSet<usize> = self.facts.iter().map(|(index, _)| *index).collect();
        let others = (0..self.config.variants.len()).filter(|index| !read.contains(index));
        let known = |index| Some((index, (*known.get(single(&self.config, index)?)?).clone()));
        others.filter_map(known).collect()
    }
}

impl CoreConf {
    pub(super) fn ready(&self) -> Option<&Ready> {
        self.ready.as_ref()
    }
}

/// The configuration of a cycle.
///
/// # Safety
/// The cycle is live, and nothing else refers to its configuration while the result is used.
pub(super) unsafe fn core_conf<'a>(cycle: *mut ngx_cycle_t) -> Option<&'a mut CoreConf> {
    // SAFETY: nginx sets the index when it loads the module.
    let index = unsafe { NGX_ACME_DNS_MODULE.index };
    // SAFETY: the cycle is live by this function's contract.
    let contexts = unsafe { (*cycle).conf_ctx };
    if contexts.is_null() {
        return None;
    }
    // SAFETY: a cycle has a context for each loaded module.
    let entry = unsafe { contexts.add(index) };
    // SAFETY: as above.
    let conf = unsafe { *entry }.cast::<CoreConf>();
    // SAFETY: null, or what `create_conf` made; exclusive by this function's contract.
    unsafe { conf.as_mut() }
}

unsafe extern "C" fn create_conf(cycle: *mut ngx_cycle_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: nginx gives a live cycle.
        let pool = unsafe { (*cycle).pool };
        let conf = CoreConf {
            since: SystemTime::now(),
            draft: Draft::default(),
            vault: Vault::new(),
            zone: None,
            bindings: Vec::new(),
            ready: None,
        };
        // SAFETY: the pool of a live cycle.
        unsafe { pool_box(pool, conf) }.cast()
    })
}

/// Called when all of nginx.conf has been read.
unsafe extern "C" fn init_conf(cycle: *mut ngx_cycle_t, _: *mut c_void) -> *mut c_char {
    guard(CONF_ERROR, || {
        // SAFETY: nginx gives a live cycle, and is at work on nothing else.
        let Some(core) = (unsafe { core_conf(cycle) }) else { return CONF_OK };
        // SAFETY: nginx gives a live cycle.
        match unsafe { complete(cycle, core) } {
            Ok(()) => CONF_OK,
            Err(message) => {
                // SAFETY: the log of a live cycle.
                let cycle_log = unsafe { (*cycle).log };
                // SAFETY: as above.
                unsafe { log_to(cycle_log, NGX_LOG_EMERG, &message) };
                CONF_ERROR
            }
        }
    })
}

/// Resolves the configuration, and tells nginx of the state path and of the shared memory.
///
/// # Safety
/// The cycle is live and being configured.
unsafe fn complete(cycle: *mut ngx_cycle_t, core: &mut CoreConf) -> Result<(), String> {
    const NO_MEMORY: &str = "acme_dns: out of memory";
    // SAFETY: the cycle is live by this function's contract.
    let default_path = unsafe { default_state_path(cycle) }.ok_or(NO_MEMORY)?;
    // SAFETY: the log of a live cycle.
    let cycle_log = unsafe { (*cycle).log };
    // SAFETY: as above.
    let warn = |message: &str| unsafe { log_to(cycle_log, NGX_LOG_WARN, message) };
    let requests = core.bindings.iter().map(|bound| bound.request(&mut core.draft, warn));
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    if core.draft.is_unused() {
        return Ok(());
    }
    let finished =
        std::mem::take(&mut core.draft).finish(default_path).map_err(|error| error.to_string())?;
    for (bound, request) in core.bindings.iter().zip(requests) {
        // SAFETY: the binding belongs to the cycle's pool.
        let binding = unsafe { &mut *bound.binding };
        binding.certificate = request.and_then(|id| finished.certificate(id));
        if let Some(c) = binding.certificate.and_then(|i| finished.config.certificates.get(i)) {
            binding.name.clone_from(&c.name);
            binding.names = c.names.iter().map(|name| name.as_str().to_owned()).collect();
        }
        bound.install();
    }
    let count = finished.config.variants.len();
    // SAFETY: the cycle is live by this function's contract.
    let mut cf = unsafe { parser(cycle) };
    if let Some((zone, location)) = core.zone.as_ref().filter(|(zone, _)| !zone.suits(count)) {
        let message = format!(
            "zone \"{}\" may be too small for {count} certificates, leave out \
             \"acme_dns_shared_zone\" to have it sized automatically, in {location}",
            zone.name
        );
        // SAFETY: the log of a live cycle.
        unsafe { log_to(cf.log, NGX_LOG_WARN, &message) };
    }
    let given = core.zone.as_ref().map(|(zone, _)| zone.clone());
    let zone = given.unwrap_or_else(|| zone::Zone::for_certificates(count));
    // SAFETY: `cf` is a parser of a live cycle.
    unsafe { add_path(&mut cf, &finished.config) }?;
    // SAFETY: as above.
    unsafe { add_zone(&mut cf, &zone) }?;
    core.ready = Some(Ready {
        config: Arc::new(finished.config),
        loading: loading(),
        facts: Vec::new(),
        imports: Imports::default(),
        watch: None,
        slots: Arc::default(),
        shared: None,
    });
    Ok(())
}

/// # Safety
/// The cycle is live.
unsafe fn default_state_path(cycle: *mut ngx_cycle_t) -> Option<PathBuf> {
    // SAFETY: the cycle is live by this function's contract.
    let pool = unsafe { (*cycle).pool };
    // SAFETY: as above.
    let mut name = unsafe { pool_string(pool, DEFAULT_STATE_PATH) }?;
    // SAFETY: as above; the name is a string of the cycle's pool.
    if unsafe { ngx_conf_full_name(cycle, &raw mut name, 0) } != OK {
        return None;
    }
    // SAFETY: nginx left a string of the pool there.
    unsafe { text(name) }.map(PathBuf::from)
}

/// A parser for the functions of nginx that want one, when there is none any more.
///
/// # Safety
/// The cycle is live.
unsafe fn parser(cycle: *mut ngx_cycle_t) -> ngx_conf_t {
    // SAFETY: the cycle is live by this function's contract.
    let live = unsafe { &*cycle };
    ngx_conf_t {
        name: ptr::null_mut(),
        args: ptr::null_mut(),
        cycle,
        pool: live.pool,
        temp_pool: live.pool,
        conf_file: ptr::null_mut(),
        log: live.log,
        ctx: live.conf_ctx.cast(),
        module_type: NGX_CORE_MODULE as _,
        cmd_type: NGX_MAIN_CONF as _,
        handler: None,
        handler_conf: ptr::null_mut(),
    }
}

/// Gives nginx the state path, with the `manager` that makes it start a helper process.
///
/// # Safety
/// `cf` is a parser of a live cycle.
unsafe fn add_path(cf: &mut ngx_conf_t, config: &Config) -> Result<(), String> {
    let name = config.state_path.to_string_lossy();
    let invalid = || format!("invalid state path \"{name}\"");
    // SAFETY: by this function's contract.
    let path_name = unsafe { pool_string(cf.pool, &name) }.ok_or_else(invalid)?;
    // SAFETY: by this function's contract; nginx gives zeroed memory or null.
    let path = unsafe { ngx_pcalloc(cf.pool, size_of::<ngx_path_t>()) }.cast::<ngx_path_t>();
    // SAFETY: all zero bits are a valid path.
    let Some(fields) = (unsafe { path.as_mut() }) else { return Err(invalid()) };
    fields.name = path_name;
    fields.manager = Some(helper::manager);
    // Shown by nginx where two directives use the same path.
    fields.conf_file = c"acme_dns_state_path".as_ptr().cast_mut().cast();
    let mut path = path;
    // SAFETY: `path` belongs to the cycle's pool; nginx reports what is wrong.
    match unsafe { ngx_add_path(cf, &raw mut path) } {
        OK => Ok(()),
        _ => Err(format!("the state path \"{name}\" is used by another directive")),
    }
}

/// Gives nginx the zone of shared memory.
///
/// # Safety
/// `cf` is a parser of a live cycle.
unsafe fn add_zone(cf: &mut ngx_conf_t, zone: &zone::Zone) -> Result<(), String> {
    let failed = || format!("the zone \"{}\" is used by another directive", zone.name);
    // SAFETY: by this function's contract.
    let mut name = unsafe { pool_string(cf.pool, &zone.name) }.ok_or_else(failed)?;
    let tag = (&raw mut NGX_ACME_DNS_MODULE).cast::<c_void>();
    // SAFETY: by this function's contract; the name is a string of the cycle's pool.
    let shared = unsafe { ngx_shared_memory_add(cf, &raw mut name, zone.size, tag) };
    // SAFETY: null, or an entry of the cycle.
    let shared = unsafe { shared.as_mut() }.ok_or_else(failed)?;
    shared.init = Some(init_zone);
    // Not null: nginx gives it to the next cycle's `init`, as a sign that the memory is in use.
    shared.data = cf.cycle.cast();
    Ok(())
}

/// Called in the master when the memory is there, on a reload too.
unsafe extern "C" fn init_zone(zone: *mut ngx_shm_zone_t, _: *mut c_void) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: nginx gives a zone of a live cycle.
        let zone = unsafe { &*zone };
        let cycle = zone.data.cast::<ngx_cycle_t>();
        // SAFETY: the cycle that made this zone, in `add_zone`, is the one being started.
        let Some(core) = (unsafe { core_conf(cycle) }) else { return ERROR };
        let Some(ready) = &mut core.ready else { return ERROR };
        // SAFETY: the current cycle is still the old one, and live.
        let previous = unsafe { Zone::find(current_cycle(), zone) };
        // SAFETY: nginx has initialized the zone; its tag is this module's.
        match unsafe { Zone::open(zone, previous) } {
            Ok(shared) => {
                let names = ready.config.certificates.iter().map(|c| c.name.as_str());
                ready.slots = Arc::new(shared.slots(names));
                ready.shared = Some(shared);
            }
            // Too small even for its own tables: the certificates are served from nowhere, but
            // nginx starts, and everything else works.
            Err(_) => ready.slots = Arc::new(vec![None; ready.config.certificates.len()]),
        }
        OK
    })
}

/// Called in the master when the configuration is in force.
unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard(ERROR, || {
        if is_test() || process() == NGX_PROCESS_SIGNALLER {
            return OK;
        }
        // SAFETY: nginx gives a live cycle, and is at work on nothing else.
        let Some(core) = (unsafe { core_conf(cycle) }) else { return OK };
        if let Some(ready) = &mut core.ready {
            // SAFETY: nginx gives a live cycle.
            ready.watch = Some(unsafe { watch(cycle, &ready.config, core.since) });
            for bound in &core.bindings {
                // SAFETY: the binding belongs to the cycle's pool; no worker runs with it yet.
                let binding = unsafe { &mut *bound.binding };
                let slot = binding.certificate.and_then(|index| ready.slots.get(index));
                binding.slot = slot.copied().flatten();
            }
            let imported = import::read(ready, &mut core.vault);
            ready.facts = load_from_disk(ready, &core.bindings, imported);
            // SAFETY: the current cycle is still the one before, if there is one, and live.
            let before = unsafe { core_conf(current_cycle()) }.and_then(|core| core.ready());
            ready.facts.extend(before.map_or_else(Vec::new, |before| ready.known_from(before)));
            if let Some(shared) = ready.shared {
                shared.retain(ready.slots.iter().flatten().copied());
            }
        }
        // In single process mode a reload is seen here only.
        helper::restart(core);
        OK
    })
}

/// Looks what of the configuration reads files of the state path.
///
/// # Safety
/// The cycle is live.
unsafe fn watch(cycle: *mut ngx_cycle_t, config: &Config, since: SystemTime) -> Watch {
    // SAFETY: the cycle is live by this function's contract.
    let cycle = unsafe { &*cycle };
    // SAFETY: a string of the cycle's pool.
    let main = unsafe { text(cycle.conf_file) }.unwrap_or_default();
    // SAFETY: as above.
    let prefix = unsafe { text(cycle.conf_prefix) }.unwrap_or_default();
    Watch::scan(config, Paths { main: Path::new(main), prefix: Path::new(prefix) }, since)
}

/// Publishes what is on disk or was imported and not yet in shared memory, so that a start serves it before the
/// network is there; says once what is missing. Gives what is known of what was published.
fn load_from_disk(ready: &Ready, bindings: &[Bound], mut imported: Pairs) -> Vec<(usize, Facts)> {
    let mut known = Vec::new();
    let certificates = Certificates::open(&ready.config.state_path, &Trust::Everyone);
    let certificates = certificates.unwrap_or_else(|error| {
        log(Level::Error, &format!("acme_dns: no certificate on disk can be used: {error}"));
        None
    });
    for (index, (certificate, slot)) in
        ready.config.certificates.iter().zip(&*ready.slots).enumerate()
    {
        let name = &certificate.name;
        let Some(slot) = slot else {
            log(Level::Error, &zone_full(name));
            continue;
        };
        if slot.is_filled() && !import::has(&imported, certificate) {
            continue;
        }
        let (pairs, facts) =
            read_from_disk(&ready.config, certificates.as_ref(), certificate, &mut imported);
        if !pairs.is_empty() {
            match slot.publish(&Material { pairs }) {
                Ok(()) => known.extend(facts),
                Err(Full) => log(Level::Error, &zone_full(name)),
            }
            continue;
        }
        // SAFETY: the bindings belong to the cycle's pool, and no worker runs yet.
        let all = bindings.iter().map(|bound| unsafe { &*bound.binding });
        let users = all.filter(|binding| binding.certificate == Some(index));
        let what = match users.map(|binding| binding.rejects).max() {
            Some(true) => ", handshakes are rejected until it is issued",
            Some(false) => ", a self-signed one is served until it is issued",
            // Of a domains file, and used by no server.
            None => "",
        };
        log(Level::Notice, &format!("acme_dns: no certificate \"{name}\" yet{what}"));
    }
    known
}

/// What is on disk of the variants of a certificate, or was imported, and what is known of the former.
fn read_from_disk(
    config: &Config,
    certificates: Option<&Certificates>,
    certificate: &Certificate,
    imported: &mut Pairs,
) -> (Vec<Pair>, Vec<(usize, Facts)>) {
    let (mut pairs, mut known) = (Vec::new(), Vec::new());
    for index in certificate.variants.clone() {
        let name = config.variants.get(index).map_or("", |variant| variant.name.as_str());
        match certificates.map_or(Ok(None), |certificates| certificates.load_quickly(name)) {
            Ok(None) => pairs.extend(imported.remove(&index)),
            Ok(Some((material, facts))) => {
                pairs.extend(material.pairs);
                known.extend(facts.map(|facts| (index, facts)));
            }
            // Whether it can be used at all, the helper finds out.
            Err(error) => log(
                Level::Info,
                &format!("acme_dns: certificate \"{name}\" on disk is left to the helper: {error}"),
            ),
        }
    }
    (pairs, known)
}

/// What a full zone means, and what to do.
pub(super) fn zone_full(name: &str) -> String {
    format!(
        "acme_dns: certificate \"{name}\" cannot be published, the shared zone is full: \
         raise its size in \"acme_dns_shared_zone\", or leave the directive out"
    )
}

/// Called in every process that nginx starts, with the rights that it keeps.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: nginx gives a live cycle, and this process has one thread.
        let Some(core) = (unsafe { core_conf(cycle) }) else { return OK };
        match process() {
            NGX_PROCESS_WORKER => core.vault.forget(),
            NGX_PROCESS_HELPER => {
                helper::follow_master();
                reload::prepare();
            }
            NGX_PROCESS_SINGLE => helper::start(core),
            _ => {}
        }
        OK
    })
}
