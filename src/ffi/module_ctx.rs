//! Configurations of modules, where nginx keeps them for http, stream and mail: a context
//! (`ngx_http_conf_ctx_t` and its like) has tables, `main_conf` and `srv_conf`, with an entry for each module.
//!
//! Which entries there are, and of which types, each of our modules says in its `Ctx`.

use super::callback::FromC;
use super::nginx::symbol;
use ngx::ffi::ngx_module_t;
use std::ffi::{CStr, c_void};
use std::ops::Deref;
use std::ptr::NonNull;

/// Configuration of this module for a block, as nginx gives it to a callback.
///
/// It is only read: what a directive sets is in cells.
pub(super) struct ConfRef<T>(NonNull<T>);

impl<T> FromC for ConfRef<T> {
    type Raw = *mut c_void;

    unsafe fn from_c(raw: *mut c_void) -> Self {
        // SAFETY: a module registers, beside this callback, the one that makes a `T` for each block: nginx has
        // no block without it.
        Self(unsafe { NonNull::new_unchecked(raw.cast()) })
    }
}

impl<T> Deref for ConfRef<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: it belongs to the cycle's pool, and the cycle outlives the callback.
        unsafe { self.0.as_ref() }
    }
}

/// Gives the entry of a module in a table of a context.
///
/// # Safety
/// The table is that of a live context, and `index` the `ctx_index` of a module of its kind, whose entry is a `T`.
pub(super) unsafe fn conf_ptr_at<T>(table: *mut *mut c_void, index: usize) -> *mut T {
    // SAFETY: a table has an entry for each module.
    let entry = unsafe { table.add(index) };
    // SAFETY: as above.
    unsafe { *entry }.cast::<T>()
}

/// Gives the entry as [`conf_ptr_at`] does, for reading.
///
/// # Safety
/// As for [`conf_ptr_at`], and the entry lives, unchanged but for cells, for `'a`.
pub(super) unsafe fn conf_at<'a, T>(table: *mut *mut c_void, index: usize) -> &'a T {
    // SAFETY: by this function's contract.
    let conf = unsafe { conf_ptr_at::<T>(table, index) };
    // SAFETY: as above; every module makes a configuration for each block that it has.
    unsafe { &*conf }
}

/// Finds a module that nginx may have in a shared object or not at all.
pub(super) fn find_module(name: &CStr) -> Option<&'static ngx_module_t> {
    let module = symbol::<ngx_module_t>(name)?;
    // SAFETY: a module of nginx or of an object that nginx does not unload while it uses the module.
    Some(unsafe { module.as_ref() })
}
