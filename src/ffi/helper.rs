//! The process that works: nginx's cache manager process, with one thread of ours.
//!
//! nginx starts it because the state path has a `manager`, runs it as the worker user, respawns it,
//! and asks it to leave on reload and stop. The thread begins in the first call of `manager`, which
//! only this process makes. In single process mode there is no helper, and the thread runs beside
//! the event loop.

use super::catch::guard;
use super::core_module::{CoreConf, core_conf, zone_full};
use super::nginx::{cycle, log, process};
use super::reload;
use super::zone::Slot;
use acme_dns_core::config::{Config, SecretId};
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_service::host::Host;
use acme_dns_service::service::{Service, Settings};
use ngx::ffi::{NGX_PROCESS_HELPER, ngx_msec_t, ngx_parent, ngx_setproctitle, ngx_time_update};
use std::ffi::c_void;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Arc, Mutex, Once, PoisonError};

/// How long nginx may leave `manager` alone; the thread does not depend on it.
const MANAGER_INTERVAL: ngx_msec_t = 3600 * 1000;

static SERVICE: Mutex<Option<Service>> = Mutex::new(None);

/// Called by nginx in the cache manager process, first as soon as its event loop runs.
pub(super) unsafe extern "C" fn manager(_: *mut c_void) -> ngx_msec_t {
    guard(MANAGER_INTERVAL, || {
        // SAFETY: this process has one cycle, which is live.
        if let Some(core) = unsafe { core_conf(cycle()) } {
            let mut title = *b"acme dns process\0";
            // SAFETY: nginx copies the string.
            unsafe { ngx_setproctitle(title.as_mut_ptr().cast()) };
            start(core);
        }
        MANAGER_INTERVAL
    })
}

/// Makes this process leave with its master, even if the master is killed.
pub(super) fn follow_master() {
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    // SAFETY: set by nginx before the fork.
    let master = unsafe { ngx_parent };
    // SAFETY: a plain system call.
    if unsafe { libc::getppid() } != master {
        // It died before the request above.
        // SAFETY: a signal to this process.
        unsafe { libc::raise(libc::SIGTERM) };
    }
}

/// Starts the thread, once in a process.
pub(super) fn start(core: &CoreConf) {
    static AT_EXIT: Once = Once::new();
    let Some(ready) = core.ready() else { return };
    let mut service = SERVICE.lock().unwrap_or_else(PoisonError::into_inner);
    if service.is_some() {
        return;
    }
    AT_EXIT.call_once(|| {
        // A helper leaves by `exit()` without calling any module.
        // SAFETY: the handler is a function of this object, which is never unloaded (build.rs).
        unsafe { libc::atexit(stop) };
    });
    let host = NginxHost { config: Arc::clone(&ready.config), slots: Arc::clone(&ready.slots) };
    let settings = Settings {
        config: Arc::clone(&ready.config),
        secrets: (0..).map_while(|id| core.vault.secret(SecretId(id))).collect(),
        loading: ready.loading,
        facts: ready.facts.clone(),
        imports: ready.imports.clone(),
        certs_group: None,
        watch: ready.watch.clone(),
    };
    let blocked = BlockedSignals::new();
    match Service::start(settings, Arc::new(host)) {
        Ok(started) => *service = Some(started),
        Err(error) => log(Level::Error, &format!("acme_dns: cannot start a thread: {error}")),
    }
    drop(blocked);
}

/// Starts the thread anew with the configuration in force, if it runs in this process.
pub(super) fn restart(core: &CoreConf) {
    let running = SERVICE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(running) = running {
        running.stop();
        start(core);
    }
}

extern "C" fn stop() {
    guard((), || {
        let running = SERVICE.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.stop();
        }
    });
}

/// While this lives, threads are started with all signals blocked: nginx handles them in its own.
struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    fn new() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut old = MaybeUninit::uninit();
        // SAFETY: `sigfillset` initializes the set.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: both are sets of the right size; the call initializes the second.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) };
        // SAFETY: initialized by the call, which cannot fail with a valid first argument.
        Self(unsafe { old.assume_init() })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set came from `pthread_sigmask`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// nginx, as the service sees it.
struct NginxHost {
    config: Arc<Config>,
    slots: Arc<Vec<Option<Slot>>>,
}

impl Host for NginxHost {
    fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        // The event loop of this process sleeps, and its cached time with it.
        // SAFETY: nginx guards the update with a lock.
        unsafe { ngx_time_update() };
        log(level, &message.to_string());
    }

    fn publish(&self, certificate: usize, material: &Material) -> Result<(), String> {
        let name = self.config.certificates.get(certificate).map_or("", |c| c.name.as_str());
        let slot = self.slots.get(certificate).copied().flatten();
        slot.ok_or(())
            .and_then(|slot| slot.publish(material).map_err(|_| ()))
            .map_err(|()| zone_full(name))
    }

    fn published(&self, certificate: usize) -> Option<Material> {
        let (_, record) = self.slots.get(certificate).copied().flatten()?.read()?;
        Material::decode(&record).ok()
    }

    fn reload(&self) -> Result<(), String> {
        reload::request()
    }

    fn died(&self) {
        if process() == NGX_PROCESS_HELPER {
            // The master starts a new one. Not `exit()`: this is not the process's main thread.
            // SAFETY: ends the process.
            unsafe { libc::_exit(1) };
        }
    }
}
