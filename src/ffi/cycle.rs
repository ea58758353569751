//! nginx's cycle: a configuration while it is read and while it is in force, with the settings of nginx's core
//! module. What this module itself keeps of a cycle is in [`conf`](super::conf).

use super::callback::FromC;
use super::nginx::{core_module_index, current_cycle, log_to, text};
use super::pool::NgxPool;
use ngx::ffi::{
    NGX_LOG_EMERG, NGX_LOG_WARN, ngx_array_push, ngx_core_conf_t, ngx_cycle_t, ngx_module_t,
    ngx_msec_t, ngx_path_t, ngx_pcalloc, ngx_set_environment, ngx_str_t,
};
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Cycle that lives for `'a`.
#[derive(Clone, Copy)]
pub(super) struct Cycle<'a>(NonNull<ngx_cycle_t>, PhantomData<&'a ngx_cycle_t>);

impl FromC for Cycle<'_> {
    type Raw = *mut ngx_cycle_t;

    unsafe fn from_c(raw: *mut ngx_cycle_t) -> Self {
        // SAFETY: nginx gives a live cycle to a callback that takes one.
        unsafe { Self::new(raw) }
    }
}

impl<'a> Cycle<'a> {
    /// # Safety
    /// Not null; the cycle lives for the lifetime of the result, and only nginx's main thread uses it.
    pub(super) unsafe fn new(cycle: *mut ngx_cycle_t) -> Self {
        // SAFETY: by this function's contract.
        Self(unsafe { NonNull::new_unchecked(cycle) }, PhantomData)
    }

    /// Gives the cycle in force.
    ///
    /// # Safety
    /// Called in nginx's main thread, which does not load another configuration while the result is used.
    pub(super) unsafe fn current() -> Self {
        // SAFETY: nginx has a current cycle before it loads any module.
        unsafe { Self::new(current_cycle()) }
    }

    /// Identifies the cycle among those that live.
    pub(super) fn address(self) -> usize {
        self.0.addr().get()
    }

    fn as_ref(self) -> &'a ngx_cycle_t {
        // SAFETY: live, as `new` was promised; the reference is used for one field at a time.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn pool(self) -> NgxPool<'a> {
        // SAFETY: a cycle has a pool, which lives as long as it does.
        unsafe { NgxPool::new(self.as_ref().pool) }
    }

    /// Logs a mistake for which the configuration is refused.
    pub(super) fn emerg(self, message: &str) {
        // SAFETY: the log of a live cycle.
        unsafe { log_to(self.as_ref().log, NGX_LOG_EMERG, message) };
    }

    pub(super) fn warn(self, message: &str) {
        // SAFETY: the log of a live cycle.
        unsafe { log_to(self.as_ref().log, NGX_LOG_WARN, message) };
    }

    fn string(string: ngx_str_t) -> Option<&'a str> {
        // SAFETY: the callers give strings of the cycle's pool.
        unsafe { text(string) }
    }

    /// Gives the prefix of nginx's paths; `None` if it is not UTF-8, as for the next two.
    pub(super) fn prefix(self) -> Option<&'a str> {
        Self::string(self.as_ref().prefix)
    }

    /// Gives the path of nginx.conf.
    pub(super) fn conf_file(self) -> Option<&'a str> {
        Self::string(self.as_ref().conf_file)
    }

    /// Gives the directory of nginx.conf.
    pub(super) fn conf_prefix(self) -> Option<&'a str> {
        Self::string(self.as_ref().conf_prefix)
    }

    /// Gives the loaded modules.
    pub(super) fn modules(self) -> impl Iterator<Item = &'a ngx_module_t> {
        let mut next = self.as_ref().modules.cast_const();
        std::iter::from_fn(move || {
            // SAFETY: nginx's list ends with a null pointer, and is not read beyond it.
            let module = unsafe { *next };
            // SAFETY: null, or a module that stays loaded while the cycle lives.
            let module = unsafe { module.as_ref() }?;
            // SAFETY: this was not the end.
            next = unsafe { next.add(1) };
            Some(module)
        })
    }

    /// Gives what a core module, such as `ngx_http_module`, keeps of this cycle; null if nothing.
    ///
    /// # Safety
    /// `index` is that of a module.
    pub(super) unsafe fn core_module_conf(self, index: usize) -> *mut c_void {
        let configurations = self.as_ref().conf_ctx;
        if configurations.is_null() {
            return std::ptr::null_mut();
        }
        // SAFETY: nginx makes an entry for each module, and this is the index of one.
        let entry = unsafe { configurations.add(index) };
        // SAFETY: as above.
        unsafe { *entry }.cast()
    }

    /// Gives this process the environment that nginx gives its own: what `env` names. `None`: out of memory.
    pub(super) fn set_environment(self) -> Option<()> {
        // SAFETY: a live cycle, and a process with one thread.
        let environment = unsafe { ngx_set_environment(self.0.as_ptr(), std::ptr::null_mut()) };
        (!environment.is_null()).then_some(())
    }

    /// Gives the settings of nginx's core module; `None` before it has any.
    pub(super) fn core_settings(self) -> Option<CoreSettings<'a>> {
        // SAFETY: nginx's own index of its module.
        let settings = unsafe { self.core_module_conf(core_module_index()) };
        let settings = settings.cast::<ngx_core_conf_t>();
        NonNull::new(settings).map(|settings| CoreSettings(settings, PhantomData))
    }

    /// Has nginx start the process of a `manager`, without a directory that nginx would give to the workers'
    /// user. It looks for managers when it starts processes, long after it has made directories: this is for
    /// `init_module`. `None`: out of memory.
    pub(super) fn add_manager(
        self,
        name: &str,
        manager: unsafe extern "C" fn(*mut c_void) -> ngx_msec_t,
    ) -> Option<()> {
        // SAFETY: the pool of a live cycle; nginx gives zeroed memory or null.
        let path = unsafe { ngx_pcalloc(self.as_ref().pool, size_of::<ngx_path_t>()) };
        let path = path.cast::<ngx_path_t>();
        // SAFETY: all zero bits are a valid path.
        let fields = unsafe { path.as_mut() }?;
        fields.name = self.pool().string(name)?;
        fields.manager = Some(manager);
        // SAFETY: a field of a live cycle.
        let paths = unsafe { &raw mut (*self.0.as_ptr()).paths };
        // SAFETY: the array of the cycle's paths, which holds pointers.
        let entry = unsafe { ngx_array_push(paths) }.cast::<*mut ngx_path_t>();
        if entry.is_null() {
            return None;
        }
        // SAFETY: room for one pointer.
        unsafe { entry.write(path) };
        Some(())
    }
}

/// Settings of nginx's core module.
pub(super) struct CoreSettings<'a>(NonNull<ngx_core_conf_t>, PhantomData<&'a ngx_core_conf_t>);

impl CoreSettings<'_> {
    fn as_ref(&self) -> &ngx_core_conf_t {
        // SAFETY: the core module's, which live as long as their cycle.
        unsafe { self.0.as_ref() }
    }

    /// Gives the workers' user, where the master is root.
    pub(super) fn user(&self) -> u32 {
        self.as_ref().user
    }

    /// Gives the workers' group, where the master is root.
    pub(super) fn group(&self) -> u32 {
        self.as_ref().group
    }

    /// Gives the name of the workers' user, where the master is root.
    pub(super) fn user_name(&self) -> String {
        let settings = self.as_ref();
        if settings.username.is_null() {
            return settings.user.to_string();
        }
        // SAFETY: a string of nginx's that ends in NUL.
        unsafe { CStr::from_ptr(settings.username) }.to_string_lossy().into_owned()
    }

    /// Tells whether `master_process` is on.
    pub(super) fn has_master(&self) -> bool {
        self.as_ref().master != 0
    }

    /// Tells whether `env` passes a variable of the environment on to the processes of nginx.
    pub(super) fn passes_on(&self, variable: &str) -> bool {
        let env = &self.as_ref().env;
        if env.elts.is_null() {
            return false;
        }
        // SAFETY: nginx has an array of strings here.
        let names: &[ngx_str_t] = unsafe { env.as_slice() };
        names.iter().any(|name| name.as_bytes() == variable.as_bytes())
    }

    /// Takes away that children keep CAP_NET_RAW, and with it the duty to see to that.
    pub(super) fn take_transparent(&mut self) -> bool {
        // SAFETY: as in `as_ref`; in `init_module` nginx reads and writes nothing of it meanwhile.
        let settings = unsafe { self.0.as_mut() };
        std::mem::take(&mut settings.transparent) != 0
    }
}
