//! The mail module: servers of `mail`, with `listen ... ssl` or `starttls`.
//!
//! As with streams, what is used of nginx's mail module is looked up by name. It has no names for its
//! clients to ask for, and no variables.

use super::bindings::mail::{
    NGX_MAIL_MAIN_CONF, NGX_MAIL_MODULE, NGX_MAIL_SRV_CONF, ngx_mail_conf_ctx_t,
    ngx_mail_core_srv_conf_t, ngx_mail_module_t, ngx_mail_ssl_conf_t,
};
use super::directives::command;
use super::nginx::{Conf, lossy_text, place, symbol};
use super::server::{
    Context, Server, Ssl, at, block, create_srv_conf, merge, set_acme_dns, set_fallback,
    ssl_settings,
};
use ngx::ffi::{NGX_CONF_1MORE, NGX_CONF_TAKE1, ngx_command_t, ngx_conf_t, ngx_module_t};
use std::ffi::{CStr, c_char, c_void};
use std::mem::offset_of;
use std::ptr;

const SERVER: usize = offset_of!(ngx_mail_conf_ctx_t, srv_conf);

static mut COMMANDS: [ngx_command_t; 3] = {
    let server = NGX_MAIL_MAIN_CONF | NGX_MAIL_SRV_CONF;
    [
        command(c"acme_dns", server | NGX_CONF_1MORE, set_acme_dns, SERVER),
        command(c"acme_dns_fallback", server | NGX_CONF_TAKE1, set_fallback, SERVER),
        ngx_command_t::empty(),
    ]
};

static mut CONTEXT: ngx_mail_module_t = ngx_mail_module_t {
    protocol: ptr::null_mut(),
    create_main_conf: None,
    init_main_conf: None,
    create_srv_conf: Some(create_srv_conf),
    merge_srv_conf: Some(merge_srv_conf),
};

/// The module, as nginx has it.
pub(super) static mut NGX_MAIL_ACME_DNS_MODULE: ngx_module_t = ngx_module_t {
    ctx: (&raw mut CONTEXT).cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_MAIL_MODULE as _,
    ..ngx_module_t::default()
};

/// # Safety
/// The parser is inside `mail`.
unsafe fn context<'a>(conf: &Conf) -> &'a ngx_mail_conf_ctx_t {
    // SAFETY: a live parser; inside `mail` its context is this structure.
    let cf = unsafe { &*conf.as_ptr() };
    // SAFETY: as above.
    unsafe { &*cf.ctx.cast::<ngx_mail_conf_ctx_t>() }
}

/// The index of another module of `mail`; `None` where nginx lacks it.
fn index(module: &CStr) -> Option<usize> {
    let module = symbol::<ngx_module_t>(module)?;
    // SAFETY: a module of nginx or of a loaded object.
    Some(unsafe { module.as_ref() }.ctx_index)
}

/// The SSL settings of a level; `None` in an nginx without SSL for mail.
///
/// # Safety
/// The context is live and being configured.
unsafe fn ssl_conf<'a>(context: &ngx_mail_conf_ctx_t) -> Option<&'a mut ngx_mail_ssl_conf_t> {
    let index = index(c"ngx_mail_ssl_module")?;
    // SAFETY: the SSL module made it.
    Some(unsafe { at::<ngx_mail_ssl_conf_t>(context.srv_conf, index) })
}

fn ssl(conf: &mut ngx_mail_ssl_conf_t) -> Ssl {
    ssl_settings!(conf, ptr::null(), ptr::null_mut())
}

/// Called for each server, before the SSL module's own.
unsafe extern "C" fn merge_srv_conf(
    cf: *mut ngx_conf_t,
    parent: *mut c_void,
    child: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx merges inside `mail`.
    let describe = |conf: &Conf| unsafe { describe(conf) };
    // SAFETY: `cf` is what nginx gave, `create_srv_conf` made the two.
    unsafe { merge(cf, parent, child, describe) }
}

/// What the shared part has to know of a server.
///
/// # Safety
/// nginx is merging a server.
unsafe fn describe<'a>(conf: &Conf) -> Result<Server<'a>, String> {
    const NO_SSL: &str = "\"acme_dns\" in \"mail\" needs an nginx with the mail SSL module";
    // SAFETY: by this function's contract.
    let context = unsafe { context(conf) };
    // SAFETY: by this function's contract.
    let ssl_conf = unsafe { ssl_conf(context) }.ok_or(NO_SSL)?;
    let core = index(c"ngx_mail_core_module").ok_or(NO_SSL)?;
    // SAFETY: the core module made it.
    let server = unsafe { at::<ngx_mail_core_srv_conf_t>(context.srv_conf, core) };
    // nginx's own merge comes later where its module is loaded after this one.
    // SAFETY: by this function's contract.
    let mail = unsafe { mail(conf) };
    // SAFETY: the core module made it.
    let above = mail.map(|mail| unsafe { at::<ngx_mail_core_srv_conf_t>(mail.srv_conf, core) });
    let names = [Some(server.server_name), above.map(|above| above.server_name)];
    let name = names.into_iter().flatten().find(|name| name.len > 0);
    // SAFETY: strings of the pool.
    let names = name.map(|name| unsafe { lossy_text(name) }.into_owned()).into_iter().collect();
    // nginx builds a context for servers that speak TLS only, and for others nothing is asked.
    // SAFETY: the context is live and being configured.
    let level = mail.and_then(|mail| unsafe { self::ssl_conf(mail) }).map(ssl);
    Ok(Server {
        kind: "MAIL",
        ssl: ssl(ssl_conf),
        level,
        names,
        // SAFETY: the name of the file is a string of the pool that ends in NUL.
        location: unsafe { place(server.file_name, server.line) },
        inherits: true,
        default: Box::new(|| None),
        context: Box::new(|| Context::Own),
    })
}

/// The context of `mail`.
///
/// # Safety
/// The parser is inside `mail`.
unsafe fn mail<'a>(conf: &Conf) -> Option<&'a ngx_mail_conf_ctx_t> {
    let module = symbol::<ngx_module_t>(c"ngx_mail_module")?;
    // SAFETY: a module of nginx or of a loaded object.
    let index = unsafe { module.as_ref() }.index;
    // SAFETY: by this function's contract.
    Some(unsafe { block::<ngx_mail_conf_ctx_t>(conf, index) })
}
