//! The configurations that this module has made, by their cycles. What is in them is in `conf`.
//!
//! nginx keeps them by the module's index. But this object is never unloaded (build.rs), and keeps its
//! indices when a configuration without it is loaded, while nginx may give the same to another module:
//! what is found by an index in an old cycle need not be ours. So cycles are looked up here, and with the
//! last of them the indices are given back.

use super::cycle::Cycle;
use ngx::ffi::ngx_module_t;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Cycles and configurations, as addresses.
static ALL: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Adds the configuration of a new cycle.
pub(super) fn add(cycle: usize, conf: usize) {
    ALL.lock().unwrap_or_else(PoisonError::into_inner).push((cycle, conf));
}

/// Removes the configuration of a cycle that ends; tells whether it was the last one.
pub(super) fn remove(cycle: usize) -> bool {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(known, _)| *known != cycle);
    all.is_empty()
}

/// Finds the configuration of a cycle.
pub(super) fn find(cycle: usize) -> Option<usize> {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().find(|(known, _)| *known == cycle).map(|(_, conf)| *conf)
}

/// Checks that no other module has the index of this one. It can only be so in single process mode, where
/// old cycles live on with their connections.
pub(super) fn check(cycle: Cycle<'_>, own: *const ngx_module_t) -> Result<(), String> {
    let mut modules = cycle.modules();
    let Some(index) = modules.find(|module| ptr::eq(*module, own)).map(|own| own.index) else {
        return Ok(());
    };
    let mut others = cycle.modules().filter(|module| !ptr::eq(*module, own));
    match others.any(|other| other.index == index) {
        false => Ok(()),
        true => Err("acme_dns: the module cannot be loaded again while connections of an older \
                     configuration last: restart NGINX"
            .to_owned()),
    }
}
