//! The core module: its tables, and what nginx calls it for. It owns what the directives define, shared memory and
//! the helper process.
//!
//! The work after nginx.conf has been read is in `init_conf`, that of its coming into force in `init_module`.

use super::callback::callback;
use super::conf::{CoreConf, core_conf};
use super::cycle::Cycle;
use super::directives::{DEFINITIONS, providers_command, table, user_command};
use super::doctor;
use super::heap;
use super::helper;
use super::http_module::NGX_HTTP_ACME_DNS_MODULE;
use super::init_conf::complete;
use super::init_module::put_into_force;
#[cfg(ngx_mail)]
use super::mail_module::NGX_MAIL_ACME_DNS_MODULE;
use super::memory::SharedMemory;
use super::nginx::{
    CONF_ERROR, CONF_OK, ERROR, OK, is_first_worker, is_root, is_test, process, tell,
};
use super::pool::to_c;
use super::privileges;
use super::registry;
#[cfg(ngx_stream)]
use super::stream_module::NGX_STREAM_ACME_DNS_MODULE;
use acme_dns_service::event::NginxEvent;
use ngx::ffi::{
    NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_CORE_MODULE, NGX_DIRECT_CONF, NGX_MAIN_CONF,
    NGX_PROCESS_HELPER, NGX_PROCESS_SIGNALLER, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER,
    ngx_command_t, ngx_core_module_t, ngx_int_t, ngx_module_t, ngx_str_t,
};
use std::ffi::{c_char, c_void};
use std::io;
use std::ptr;

static mut COMMANDS: [ngx_command_t; DEFINITIONS + 3] = table(
    NGX_MAIN_CONF,
    &[
        user_command(NGX_MAIN_CONF | NGX_DIRECT_CONF | NGX_CONF_TAKE12),
        providers_command(NGX_MAIN_CONF | NGX_DIRECT_CONF | NGX_CONF_TAKE1),
    ],
);

static mut MODULE_CTX: ngx_core_module_t = ngx_core_module_t {
    name: ngx_str_t { len: 8, data: c"acme_dns".as_ptr().cast_mut().cast() },
    create_conf: Some(create_conf),
    init_conf: Some(init_conf),
};

/// The module, as nginx has it.
pub(super) static mut NGX_ACME_DNS_MODULE: ngx_module_t = ngx_module_t {
    ctx: (&raw mut MODULE_CTX).cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_CORE_MODULE as _,
    init_module: Some(init_module),
    init_process: Some(init_process),
    ..ngx_module_t::default()
};

callback! {
    fn create_conf(cycle: Cycle<'_>) -> *mut c_void {
        heap::use_all();
        match registry::check(cycle, &raw const NGX_ACME_DNS_MODULE) {
            Ok(()) => to_c(CoreConf::create(cycle, forget_indices)),
            Err(message) => {
                cycle.emerg(&message);
                ptr::null_mut()
            }
        }
    } ?= ptr::null_mut()
}

/// Gives the indices of our modules back, for nginx to give out new ones when it loads them again.
fn forget_indices() {
    /// `NGX_MODULE_UNSET_INDEX`
    const UNSET: usize = usize::MAX;
    let all = [
        &raw mut NGX_ACME_DNS_MODULE,
        &raw mut NGX_HTTP_ACME_DNS_MODULE,
        #[cfg(ngx_stream)]
        &raw mut NGX_STREAM_ACME_DNS_MODULE,
        #[cfg(ngx_mail)]
        &raw mut NGX_MAIL_ACME_DNS_MODULE,
    ];
    for module in all {
        // SAFETY: a module of this object, which belongs to no cycle any more.
        let module = unsafe { &mut *module };
        (module.index, module.ctx_index) = (UNSET, UNSET);
    }
}

callback! {
    /// Completes the configuration, when all of nginx.conf has been read.
    fn init_conf(cycle: Cycle<'_>, _conf: *mut c_void) -> *mut c_char {
        let Some(mut conf) = core_conf(cycle) else { return CONF_OK };
        match complete(cycle, &mut conf) {
            Ok(()) => CONF_OK,
            Err(message) => {
                cycle.emerg(&message);
                CONF_ERROR
            }
        }
    } ?= CONF_ERROR
}

callback! {
    /// Puts the configuration into force, in the master. A failure is reported and not returned: nginx would exit, and
    /// stop serving. `nginx -t` fails if the doctor was asked and has found a problem.
    fn init_module(cycle: Cycle<'_>) -> ngx_int_t {
        if process() == NGX_PROCESS_SIGNALLER {
            return OK;
        }
        let Some(mut conf) = core_conf(cycle) else { return OK };
        if is_test() {
            return if doctor::run(cycle, &conf) { OK } else { ERROR };
        }
        put_into_force(cycle, &mut conf);
        heap::tidy_at_fork();
        // In single process mode a reload is seen here only.
        helper::restart_thread(&mut conf);
        OK
    } ?= OK
}

callback! {
    /// Prepares a process that nginx has started, whichever it is.
    fn init_process(cycle: Cycle<'_>) -> ngx_int_t {
        let Some(mut conf) = core_conf(cycle) else { return OK };
        match prepare_process(&mut conf) {
            Ok(()) => OK,
            Err(error) => {
                // It must not continue with the rights of root.
                tell(NginxEvent::Unprepared { why: error.to_string() });
                ERROR
            }
        }
    } ?= ERROR
}

fn prepare_process(conf: &mut CoreConf) -> io::Result<()> {
    match process() {
        NGX_PROCESS_WORKER => {
            conf.vault.forget();
            SharedMemory::give_up_all();
            if conf.ready.is_some() && is_first_worker() {
                helper::expect_service();
            }
            privileges::drop_in_worker()
        }
        // SAFETY: nginx calls `init_process` before the process has another thread.
        NGX_PROCESS_HELPER => unsafe { helper::divide(conf) },
        NGX_PROCESS_SINGLE => {
            helper::start_thread(conf);
            Ok(())
        }
        // Those of other modules: they have no need of ours.
        _ => {
            conf.vault.forget();
            SharedMemory::give_up_all();
            if is_root() { Ok(()) } else { privileges::drop_all() }
        }
    }
}
