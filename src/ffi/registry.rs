//! The configurations that this module has made, by their cycles.
//!
//! nginx keeps them by the module's index. But this object is never unloaded (build.rs), and keeps its
//! indices when a configuration without it is loaded, while nginx may give the same to another module:
//! what is found by an index in an old cycle need not be ours. So cycles are looked up here, and with the
//! last of them the indices are given back.

use super::core_module::{CoreConf, NGX_ACME_DNS_MODULE};
use super::exports::all_modules;
use super::nginx::modules;
use ngx::ffi::ngx_cycle_t;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// `NGX_MODULE_UNSET_INDEX`
const UNSET: usize = usize::MAX;

/// Cycles and configurations, as addresses.
static ALL: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Adds the configuration of a new cycle.
pub(super) fn add(cycle: *const ngx_cycle_t, conf: *const CoreConf) {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.push((cycle.expose_provenance(), conf.expose_provenance()));
}

/// Removes a configuration whose cycle ends.
pub(super) fn remove(conf: *const CoreConf) {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(_, known)| *known != conf.addr());
    if !all.is_empty() {
        return;
    }
    for module in all_modules() {
        // SAFETY: a module of this object, which belongs to no cycle any more.
        let module = unsafe { &mut *module };
        (module.index, module.ctx_index) = (UNSET, UNSET);
    }
}

/// The configuration of a cycle.
pub(super) fn find(cycle: *const ngx_cycle_t) -> Option<*const CoreConf> {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, conf) = all.iter().find(|(known, _)| *known == cycle.addr())?;
    Some(ptr::with_exposed_provenance(*conf))
}

/// Checks that no other module has our index. It can only be so in single process mode, where old cycles
/// live on with their connections.
///
/// # Safety
/// The cycle is live and is being configured.
pub(super) unsafe fn check(cycle: *const ngx_cycle_t) -> Result<(), String> {
    let own = &raw const NGX_ACME_DNS_MODULE;
    // SAFETY: nginx sets it before it creates any configuration.
    let index = unsafe { (*own).index };
    // SAFETY: by this function's contract.
    let mut others = unsafe { modules(cycle) }.filter(|module| !ptr::eq(*module, own));
    match others.any(|other| other.index == index) {
        false => Ok(()),
        true => Err("acme_dns: the module cannot be loaded again while connections of an older \
                     configuration last: restart NGINX"
            .to_owned()),
    }
}
