//! The configurations that this module has made, by their cycles.
//!
//! nginx keeps them by the module's index. But this object is never unloaded (build.rs), and keeps its
//! indices when a configuration without it is loaded, while nginx may give the same to another module:
//! what is found by an index in an old cycle need not be ours. So cycles are looked up here, and with the
//! last of them the indices are given back.

use super::nginx::modules;
use ngx::ffi::{ngx_cycle_t, ngx_module_t};
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Cycles and configurations, as addresses.
static ALL: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Adds the configuration of a new cycle.
pub(super) fn add(cycle: usize, conf: usize) {
    ALL.lock().unwrap_or_else(PoisonError::into_inner).push((cycle, conf));
}

/// Removes a configuration whose cycle ends; gives whether it was the last one.
pub(super) fn remove(conf: usize) -> bool {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(_, known)| *known != conf);
    all.is_empty()
}

/// The configuration of a cycle.
pub(super) fn find(cycle: usize) -> Option<usize> {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().find(|(known, _)| *known == cycle).map(|(_, conf)| *conf)
}

/// Checks that no other module has the index of this one. It can only be so in single process mode, where
/// old cycles live on with their connections.
///
/// # Safety
/// The cycle is live and is being configured, and `own` is a module of this object.
pub(super) unsafe fn check(
    cycle: *const ngx_cycle_t,
    own: *const ngx_module_t,
) -> Result<(), String> {
    // SAFETY: by this function's contract; nginx sets it before it creates any configuration.
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
