//! The core module: it owns what the directives define, shared memory and the helper process.

use super::catch::guard;
use super::conf::{CoreConf, Ready, core_conf};
use super::directives::{command, definitions, set_user};
use super::exports;
use super::helper;
use super::identity;
use super::import;
use super::memory::{Memory, Reader, Writer};
use super::nginx::{
    CONF_ERROR, CONF_OK, CoreSettings, ERROR, OK, add_manager, cycle as current_cycle, is_root,
    is_test, loading, log, log_once, log_to, pool_box, process, tell_test, text,
};
use super::privileges;
use super::registry;
use super::startup::Startup;
use super::vault::Vault;
use acme_dns_core::config::draft::{Draft, Finished};
use acme_dns_core::config::sharing::Shared;
use acme_dns_core::config::state_path::DefaultPath;
use acme_dns_core::config::{Config, Location, Reload, zone};
use acme_dns_core::level::Level;
use acme_dns_service::import::Imports;
use acme_dns_service::reload::{Paths, Watch};
use acme_dns_service::store::{User, check_state_path, create_state_path, is_kept};
use ngx::ffi::{
    NGX_CONF_TAKE12, NGX_CORE_MODULE, NGX_DIRECT_CONF, NGX_LOG_EMERG, NGX_LOG_WARN, NGX_MAIN_CONF,
    NGX_PROCESS_HELPER, NGX_PROCESS_SIGNALLER, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER,
    ngx_command_t, ngx_core_module_t, ngx_cycle_t, ngx_int_t, ngx_module_t, ngx_str_t, ngx_worker,
};
use std::collections::HashMap;
use std::env;
use std::ffi::{c_char, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::time::SystemTime;

static mut COMMANDS: [ngx_command_t; 10] = {
    let [a, b, c, d, e, f, g, h] = definitions(NGX_MAIN_CONF);
    let main = NGX_MAIN_CONF | NGX_DIRECT_CONF | NGX_CONF_TAKE12;
    [a, b, c, d, e, f, g, h, command(c"acme_dns_user", main, set_user, 0), ngx_command_t::empty()]
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

unsafe extern "C" fn create_conf(cycle: *mut ngx_cycle_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        let own = &raw const NGX_ACME_DNS_MODULE;
        // SAFETY: nginx gives a live cycle, and the module is this one.
        let checked = unsafe { registry::check(cycle, own) };
        if let Err(message) = checked {
            // SAFETY: the log of a live cycle.
            let cycle_log = unsafe { (*cycle).log };
            // SAFETY: as above.
            unsafe { log_to(cycle_log, NGX_LOG_EMERG, &message) };
            return ptr::null_mut();
        }
        // SAFETY: nginx gives a live cycle.
        let pool = unsafe { (*cycle).pool };
        let conf = CoreConf {
            since: SystemTime::now(),
            draft: Draft::default(),
            vault: Vault::new(),
            zone: None,
            user: None,
            certs_group: None,
            bindings: Vec::new(),
            ready: None,
            when_last: exports::forget_indices,
        };
        // SAFETY: the pool of a live cycle.
        let conf = unsafe { pool_box(pool, conf) };
        if !conf.is_null() {
            registry::add(cycle.addr(), conf.expose_provenance());
        }
        conf.cast()
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
    let old_default = default_path.is_old && !core.draft.has_state_path();
    // SAFETY: the log of a live cycle.
    let cycle_log = unsafe { (*cycle).log };
    // SAFETY: as above.
    let warn = |message: &str| unsafe { log_to(cycle_log, NGX_LOG_WARN, message) };
    let requests = core.bindings.iter().map(|bound| bound.request(&mut core.draft, warn));
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    let mut alike = HashMap::new();
    if core.draft.is_unused() {
        // Servers that have inherited the directive, and nothing to certify.
        core.bindings.iter().for_each(|bound| bound.install(&mut alike));
        return Ok(());
    }
    let mut finished = std::mem::take(&mut core.draft)
        .finish(default_path.path)
        .map_err(|error| error.to_string())?;
    // SAFETY: the cycle is live by this function's contract.
    let shared = unsafe { share(cycle, &mut finished, core.since) };
    if is_test() {
        shared.iter().for_each(|shared| tell_test(&format!("acme_dns: {shared}")));
    }
    for (bound, request) in core.bindings.iter().zip(requests) {
        // SAFETY: the binding belongs to the cycle's pool.
        let binding = unsafe { &mut *bound.binding };
        binding.certificate = request.and_then(|id| finished.certificate(id));
        if let Some(c) = binding.certificate.and_then(|i| finished.config.certificates.get(i)) {
            binding.name.clone_from(&c.name);
            binding.names = c.names.iter().map(|name| name.as_str().to_owned()).collect();
        }
        bound.install(&mut alike);
    }
    let config = finished.config;
    let room = room(core.zone.as_ref(), config.variants.len(), warn);
    check_state_path(&config.state_path).map_err(|error| {
        format!("state path \"{}\" cannot be used: {error}", config.state_path.display())
    })?;
    // SAFETY: nothing else refers to the settings here.
    let settings = unsafe { CoreSettings::of(cycle) }.ok_or(NO_MEMORY)?;
    let groups = core.certs_group;
    let identity =
        identity::decide(core.user.as_ref(), &settings, groups, &config.state_path, warn)?;
    core.vault.finish(identity.workers, warn);
    warn_of_lost_proxy(&settings, warn);
    let memory = Memory::new(config.certificates.len(), room);
    let memory = memory.map_err(|error| format!("acme_dns: no shared memory: {error}"))?;
    core.ready = Some(Ready {
        config: Arc::new(config),
        loading: loading(),
        facts: Vec::new(),
        imports: Imports::default(),
        watch: None,
        memory,
        identity,
        certs_group: core.certs_group,
        is_news: true,
        old_default,
        kept: None,
        shared,
    });
    Ok(())
}

/// Warns of an HTTP proxy that the environment names and that nginx does not pass on: the CA would be contacted
/// without it, where it cannot be reached at all.
fn warn_of_lost_proxy(settings: &CoreSettings<'_>, warn: impl Fn(&str)) {
    const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let is_set = |name: &&str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let (passed, lost): (Vec<&str>, Vec<&str>) =
        VARIABLES.into_iter().filter(is_set).partition(|name| settings.passes_on(name));
    if let ([], [name, ..]) = (passed.as_slice(), lost.as_slice()) {
        warn(&format!(
            "environment variable \"{name}\" names a proxy that is not used for certificates, because nginx does \
             not pass it on: add \"env {name};\" at the top of nginx.conf"
        ));
    }
}

/// Has servers share the certificates of others whose wildcards cover their names. Certificates that are there
/// already, or that the configuration reads, go on; with other clients' certificates to be taken over, all
/// are wanted.
///
/// # Safety
/// The cycle is live.
unsafe fn share(
    cycle: *mut ngx_cycle_t,
    finished: &mut Finished,
    since: SystemTime,
) -> Vec<Shared> {
    if !finished.config.imports.is_empty() || !finished.can_share() {
        return Vec::new();
    }
    let config = Config { reload: Reload::Auto, ..finished.config.clone() };
    // SAFETY: by this function's contract.
    let watch = unsafe { watch(cycle, &config, since) };
    if watch.by_variable {
        return Vec::new();
    }
    let state_path = config.state_path;
    finished.share(|name| watch.names.contains(name) || is_kept(&state_path, name))
}

/// Gives the room for the records of so many certificates, in bytes.
fn room(given: Option<&(zone::Zone, Location)>, count: usize, warn: impl Fn(&str)) -> usize {
    let Some((zone, location)) = given else { return zone::Zone::for_certificates(count).size };
    if !zone.suits(count) {
        warn(&format!(
            "zone \"{}\" may be too small for {count} certificates, leave out \
             \"acme_dns_shared_zone\" to have it sized automatically, in {location}",
            zone.name
        ));
    }
    zone.size
}

/// # Safety
/// The cycle is live.
unsafe fn default_state_path(cycle: *mut ngx_cycle_t) -> Option<DefaultPath> {
    // SAFETY: the cycle is live by this function's contract.
    let prefix = unsafe { (*cycle).prefix };
    // SAFETY: a string of the cycle's pool.
    let prefix = unsafe { text(prefix) }?;
    // What cannot be looked at is there, for all that is known.
    let is_there = |path: &Path| path.try_exists().unwrap_or(true);
    Some(DefaultPath::new(Path::new(prefix), is_there))
}

/// Called in the master when the configuration is in force. What goes wrong here is reported and not
/// returned: nginx would end, and with it all that it serves.
unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard(OK, || {
        if is_test() || process() == NGX_PROCESS_SIGNALLER {
            return OK;
        }
        // SAFETY: nginx gives a live cycle, and is at work on nothing else.
        let Some(core) = (unsafe { core_conf(cycle) }) else { return OK };
        if core.ready.is_some() {
            // SAFETY: nginx gives a live cycle, whose directories it has made.
            unsafe { put_into_force(cycle, core) };
        }
        // In single process mode a reload is seen here only.
        helper::restart_thread(core);
        OK
    })
}

/// Prepares all that the processes of a configuration need.
///
/// # Safety
/// The cycle is live, its directories have been made, and it is not the current one yet.
unsafe fn put_into_force(cycle: *mut ngx_cycle_t, core: &mut CoreConf) {
    let Some(ready) = &mut core.ready else { return };
    for shared in &ready.shared {
        log(Level::Notice, &format!("acme_dns: {shared}"));
    }
    let path = ready.config.state_path.clone();
    let user = ready.identity.user.map(|ids| User { uid: ids.uid, gid: ids.gid });
    if let Err(error) = create_state_path(&path, user) {
        log(Level::Error, &format!("acme_dns: no state path: {error}"));
    }
    // SAFETY: by this function's contract.
    if unsafe { add_manager(cycle, &path.to_string_lossy(), helper::manager) }.is_none() {
        log(Level::Error, "acme_dns: no helper process: out of memory");
    }
    // SAFETY: by this function's contract; nothing else refers to the settings.
    if let Some(mut settings) = unsafe { CoreSettings::of(cycle) }
        && settings.has_master()
    {
        ready.kept = privileges::keep_for_children(&mut settings);
    }
    // SAFETY: by this function's contract.
    let mut watch = unsafe { watch(cycle, &ready.config, core.since) };
    watch.add_secrets(core.vault.files());
    open_to_workers(ready, &watch);
    ready.watch = Some(watch);
    tell_what_is_missing(ready);
    for bound in &core.bindings {
        // SAFETY: the binding belongs to the cycle's pool; no worker runs with it yet.
        let binding = unsafe { &mut *bound.binding };
        binding.slot = binding.certificate.map(|index| Reader::new(&ready.memory, index));
    }
    // SAFETY: the current cycle is still the one before, if there is one, and live.
    let before = unsafe { core_conf(current_cycle()) }.and_then(|core| core.ready());
    ready.is_news = before.is_none_or(|before| before.config != ready.config);
    let mut writer = Writer::new(&ready.memory);
    let imported = import::read(ready, &mut core.vault);
    let owner = ready.identity.owner_of_files();
    let published = privileges::with_files_of(owner, || {
        Startup::new(ready, before, &core.bindings).publish(imported, &mut writer)
    });
    ready.facts = published.facts;
    ready.identity.has_foreign_files = published.has_foreign_files;
}

/// Workers open files with a variable in their names themselves: their group may read `certs/`.
fn open_to_workers(ready: &mut Ready, watch: &Watch) {
    let Some(workers) = ready.identity.workers.filter(|_| watch.by_variable) else { return };
    if ready.certs_group.is_some() || ready.identity.user == Some(workers) {
        return;
    }
    ready.certs_group = Some(workers.gid);
    log_once(
        Level::Notice,
        &format!(
            "acme_dns: the configuration names files in \"{}\" with a variable, which workers open: \
             their group may read certificates and their keys",
            ready.config.state_path.join("certs").display()
        ),
    );
}

/// Says once what does not protect secrets and certificates as it could, and what lies in a bad place.
fn tell_what_is_missing(ready: &Ready) {
    if ready.old_default {
        let (old, new) = (ready.config.state_path.display(), DefaultPath::of_packages());
        log_once(
            Level::Notice,
            &format!(
                "acme_dns: the state path is still \"{old}\"; the default is \"{new}\" now, to which you \
                 may move it while NGINX is stopped: mv {old} {new}"
            ),
        );
    }
    if let Some(line) = &ready.identity.missing {
        log_once(Level::Notice, line);
    }
    if !ready.memory.is_sealed() {
        log_once(
            Level::Notice,
            "acme_dns: this kernel cannot keep workers from writing to shared certificates, Linux 5.1 can",
        );
    }
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

/// Called in every process that nginx starts, with the rights that it keeps.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: nginx gives a live cycle, and this process has one thread.
        let Some(core) = (unsafe { core_conf(cycle) }) else { return OK };
        let prepared = match process() {
            NGX_PROCESS_WORKER => {
                core.vault.forget();
                Memory::give_up_all();
                // SAFETY: a number that nginx has set for this process.
                if core.ready.is_some() && unsafe { ngx_worker } == 0 {
                    helper::expect_service();
                }
                privileges::drop_in_worker()
            }
            // SAFETY: as above.
            NGX_PROCESS_HELPER => unsafe { helper::divide(core) },
            NGX_PROCESS_SINGLE => {
                helper::start_thread(core);
                Ok(())
            }
            // Those of other modules: they have no need of ours.
            _ => {
                core.vault.forget();
                Memory::give_up_all();
                if is_root() { Ok(()) } else { privileges::drop_all() }
            }
        };
        match prepared {
            Ok(()) => OK,
            Err(error) => {
                // With the rights of root it must not go on.
                log(Level::Error, &format!("acme_dns: a process cannot be prepared: {error}"));
                ERROR
            }
        }
    })
}
