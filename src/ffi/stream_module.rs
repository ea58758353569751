//! The stream module: servers of `stream`, and the variables.
//!
//! nginx may have no stream module, or one in a shared object that is loaded later: what is used of it
//! is looked up by name when nginx calls a function of this module, and then it is there.

use super::bindings::stream::{
    NGX_STREAM_MAIN_CONF, NGX_STREAM_MODULE, NGX_STREAM_SRV_CONF, ngx_stream_conf_ctx_t,
    ngx_stream_core_main_conf_t, ngx_stream_core_srv_conf_t, ngx_stream_module_t,
    ngx_stream_session_t, ngx_stream_variable_t, ngx_stream_variable_value_t,
};
#[cfg(ngx_stream_server_name)]
use super::bindings::stream::{
    ngx_stream_conf_addr_t, ngx_stream_conf_port_t, ngx_stream_server_name_t,
    ngx_stream_ssl_srv_conf_t as SslConf,
};
#[cfg(not(ngx_stream_server_name))]
use super::bindings::stream::{ngx_stream_listen_t, ngx_stream_ssl_conf_t as SslConf};
use super::catch::guard;
use super::directives::command;
#[cfg(ngx_stream_server_name)]
use super::nginx::lossy_text;
use super::nginx::{CONF_ERROR, Conf, ERROR, OK, elements, place, symbol};
use super::owner::owner_of;
use super::server::{
    self, Context, Server, ServerConf, Ssl, at, create, create_srv_conf, merge, set_fallback,
    ssl_settings,
};
use super::variables;
#[cfg(ngx_stream_server_name)]
use acme_dns_core::config::Location;
use ngx::ffi::{
    NGX_CONF_1MORE, NGX_CONF_TAKE1, ngx_command_t, ngx_conf_t, ngx_int_t, ngx_module_t, ngx_str_t,
    ngx_uint_t,
};
use std::collections::HashSet;
use std::ffi::{CStr, c_char, c_void};
use std::mem::offset_of;
use std::ptr;

const SERVER: usize = offset_of!(ngx_stream_conf_ctx_t, srv_conf);

static mut COMMANDS: [ngx_command_t; 3] = {
    let server = NGX_STREAM_MAIN_CONF | NGX_STREAM_SRV_CONF;
    [
        command(c"acme_dns", server | NGX_CONF_1MORE, set_acme_dns, SERVER),
        command(c"acme_dns_fallback", server | NGX_CONF_TAKE1, set_fallback, SERVER),
        ngx_command_t::empty(),
    ]
};

static mut CONTEXT: ngx_stream_module_t = ngx_stream_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: None,
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: Some(create_srv_conf),
    merge_srv_conf: Some(merge_srv_conf),
};

/// The module, as nginx has it.
pub(super) static mut NGX_STREAM_ACME_DNS_MODULE: ngx_module_t = ngx_module_t {
    ctx: (&raw mut CONTEXT).cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_STREAM_MODULE as _,
    ..ngx_module_t::default()
};

/// What a `listen ... ssl` leads to: a server, or in older versions its context.
#[cfg(ngx_stream_server_name)]
type Target = *const ngx_stream_core_srv_conf_t;
#[cfg(not(ngx_stream_server_name))]
type Target = *const ngx_stream_conf_ctx_t;

/// What this module keeps for the `stream` block.
#[derive(Default)]
struct MainConf {
    /// The SSL settings at the level of `stream`. While nginx merges servers, its context leads to
    /// theirs.
    level: Option<*mut SslConf>,
    has_variables: bool,
    tls_servers: Option<HashSet<Target>>,
}

/// # Safety
/// The parser is inside `stream`.
unsafe fn context<'a>(conf: &Conf) -> &'a ngx_stream_conf_ctx_t {
    // SAFETY: a live parser; inside `stream` its context is this structure.
    let cf = unsafe { &*conf.as_ptr() };
    // SAFETY: as above.
    unsafe { &*cf.ctx.cast::<ngx_stream_conf_ctx_t>() }
}

fn own_index() -> usize {
    // SAFETY: nginx sets the index before it creates any configuration.
    unsafe { NGX_STREAM_ACME_DNS_MODULE.ctx_index }
}

/// The index of another module of `stream`; `None` where nginx lacks it.
fn index(module: &CStr) -> Option<usize> {
    let module = symbol::<ngx_module_t>(module)?;
    // SAFETY: a module of nginx or of a loaded object.
    Some(unsafe { module.as_ref() }.ctx_index)
}

/// The SSL settings of a level; `None` in an nginx without SSL for streams.
///
/// # Safety
/// The context is live and being configured.
unsafe fn ssl_conf<'a>(context: &ngx_stream_conf_ctx_t) -> Option<&'a mut SslConf> {
    let index = index(c"ngx_stream_ssl_module")?;
    // SAFETY: the SSL module made it.
    Some(unsafe { at::<SslConf>(context.srv_conf, index) })
}

fn ssl(conf: &mut SslConf) -> Ssl {
    #[cfg(ngx_stream_stapling)]
    let stapling = &raw const conf.stapling;
    #[cfg(not(ngx_stream_stapling))]
    let stapling = ptr::null();
    #[cfg(ngx_certificate_compression)]
    let compression = &raw mut conf.certificate_compression;
    #[cfg(not(ngx_certificate_compression))]
    let compression = ptr::null_mut();
    ssl_settings!(conf, stapling, compression)
}

unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is what nginx gave.
    unsafe { create(cf, MainConf::default()) }
}

/// Notes the SSL settings of `stream`.
unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: `cf` is what nginx gave.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: nginx calls this inside `stream`.
        let context = unsafe { context(&conf) };
        // SAFETY: `create_main_conf` made it.
        let main = unsafe { at::<MainConf>(context.main_conf, own_index()) };
        // SAFETY: the context is live and being configured.
        main.level = unsafe { ssl_conf(context) }.map(|conf| &raw mut *conf);
        OK
    })
}

/// nginx's `ngx_stream_add_variable`.
type AddVariable =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_str_t, ngx_uint_t) -> *mut ngx_stream_variable_t;

/// Registers the variables, at the first `acme_dns`: before the configuration is read nginx's own module
/// may not be ready, as it comes after this one where it is loaded later.
///
/// # Safety
/// The parser is inside `stream`.
unsafe fn add_variables(conf: &Conf) -> Option<()> {
    // SAFETY: by this function's contract.
    let context = unsafe { context(conf) };
    // SAFETY: `create_main_conf` made it.
    let main = unsafe { at::<MainConf>(context.main_conf, own_index()) };
    if std::mem::replace(&mut main.has_variables, true) {
        return Some(());
    }
    let function = symbol::<c_void>(c"ngx_stream_add_variable")?.as_ptr();
    // SAFETY: the function of this name has this type.
    let add_variable = unsafe { std::mem::transmute::<*mut c_void, AddVariable>(function) };
    let add = |name, data| {
        // SAFETY: the parser is inside `stream`, the name a string of its pool.
        let variable = unsafe { add_variable(conf.as_ptr(), name, 0) };
        // SAFETY: null, or a variable of the configuration.
        let variable = unsafe { variable.as_mut() }?;
        variable.get_handler = Some(get_variable);
        variable.data = data;
        Some(())
    };
    // SAFETY: the parser's pool is live.
    unsafe { variables::register(conf.pool(), add) }
}

unsafe extern "C" fn get_variable(
    session: *mut ngx_stream_session_t,
    value: *mut ngx_stream_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx gives a live session.
    let session = unsafe { &*session };
    // SAFETY: `create_srv_conf` made it.
    let server = unsafe { at::<ServerConf>(session.srv_conf, own_index()) };
    // SAFETY: a session has a connection.
    let pool = unsafe { (*session.connection).pool };
    // A server without a certificate has that of the default server.
    // SAFETY: its connection is live too.
    let binding = server.binding.or_else(|| unsafe { owner_of(session.connection) });
    // SAFETY: the value is nginx's; the binding belongs to the session's server, and a process has one
    // thread that answers.
    unsafe { variables::fill(value, data, binding, pool) }
}

/// As [`server::set_acme_dns`], with the variables.
unsafe extern "C" fn set_acme_dns(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    server: *mut c_void,
) -> *mut c_char {
    let added = guard(None, || {
        // SAFETY: `cf` is what nginx gave.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: the directive stands inside `stream`.
        unsafe { add_variables(&conf) }
    });
    if added.is_none() {
        return CONF_ERROR;
    }
    // SAFETY: nginx gives what `create_srv_conf` made.
    unsafe { server::set_acme_dns(cf, command, server) }
}

/// Called for each server, before the SSL module's own.
unsafe extern "C" fn merge_srv_conf(
    cf: *mut ngx_conf_t,
    parent: *mut c_void,
    child: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx merges inside `stream`.
    let describe = |conf: &Conf| unsafe { describe(conf) };
    // SAFETY: `cf` is what nginx gave, `create_srv_conf` made the two.
    unsafe { merge(cf, parent, child, describe) }
}

/// What the shared part has to know of a server.
///
/// # Safety
/// nginx is merging a server.
unsafe fn describe<'a>(conf: &Conf) -> Result<Server<'a>, String> {
    const NO_SSL: &str = "\"acme_dns\" in \"stream\" needs an nginx with the stream SSL module";
    // SAFETY: by this function's contract.
    let context = unsafe { context(conf) };
    // SAFETY: by this function's contract.
    let ssl_conf = unsafe { ssl_conf(context) }.ok_or(NO_SSL)?;
    let core = index(c"ngx_stream_core_module").ok_or(NO_SSL)?;
    // SAFETY: the core module made it.
    let server = unsafe { at::<ngx_stream_core_srv_conf_t>(context.srv_conf, core) };
    // SAFETY: the core module made it.
    let core = unsafe { at::<ngx_stream_core_main_conf_t>(context.main_conf, core) };
    // SAFETY: `create_main_conf` made it.
    let main = unsafe { at::<MainConf>(context.main_conf, own_index()) };
    let level = main.level;
    #[cfg(ngx_stream_server_name)]
    // SAFETY: the settings of `stream`, which live as long as the cycle.
    let rejects_handshake = unsafe { rejects_handshakes(ssl_conf, level) };
    #[cfg(not(ngx_stream_server_name))]
    let rejects_handshake = false;
    // SAFETY: by this function's contract.
    let names = unsafe { names(server) };
    #[cfg(ngx_stream_server_name)]
    let target = ptr::from_ref(server);
    #[cfg(not(ngx_stream_server_name))]
    let target = ptr::from_ref(context);
    // SAFETY: by this function's contract all `listen` directives have been read.
    let servers = main.tls_servers.get_or_insert_with(|| unsafe { tls_servers(core) });
    let inherits = !rejects_handshake && servers.contains(&target);
    Ok(Server {
        kind: "STREAM",
        ssl: ssl(ssl_conf),
        // SAFETY: the settings of `stream`, which are not those of a server.
        level: level.map(|level| ssl(unsafe { &mut *level })),
        names,
        // SAFETY: the name of the file is a string of the pool that ends in NUL.
        location: unsafe { place(server.file_name, server.line) },
        inherits,
        #[cfg(ngx_stream_server_name)]
        // SAFETY: by this function's contract.
        default: Box::new(move || unsafe { default_server(core, target, level) }),
        #[cfg(not(ngx_stream_server_name))]
        default: Box::new(|| None),
        context: Box::new(|| Context::Own),
    })
}

/// The names of a server; a regular expression begins with `~`.
///
/// # Safety
/// nginx is merging this server.
#[cfg(ngx_stream_server_name)]
unsafe fn names(server: &ngx_stream_core_srv_conf_t) -> Vec<String> {
    // SAFETY: the core module keeps the names in this array.
    let list = unsafe { elements::<ngx_stream_server_name_t>(&raw const server.server_names) };
    let mut names = Vec::with_capacity(list.len());
    for name in list {
        // SAFETY: names are strings of the pool.
        let text = unsafe { lossy_text(name.name) };
        #[cfg(ngx_pcre)]
        let mark = if name.regex.is_null() { "" } else { "~" };
        #[cfg(not(ngx_pcre))]
        let mark = "";
        names.push(format!("{mark}{text}"));
    }
    // A server without `server_name` has the empty name.
    names.retain(|name| !name.is_empty());
    names
}

/// Servers of streams have no names before nginx 1.25.5.
///
/// # Safety
/// None.
#[cfg(not(ngx_stream_server_name))]
unsafe fn names(_: &ngx_stream_core_srv_conf_t) -> Vec<String> {
    Vec::new()
}

/// As [`super::http_module`] has it: the default server whose certificate clients get.
///
/// # Safety
/// All `listen` directives have been read, and `level` are the settings of `stream`.
#[cfg(ngx_stream_server_name)]
unsafe fn default_server(
    core: &ngx_stream_core_main_conf_t,
    server: Target,
    level: Option<*mut SslConf>,
) -> Option<Location> {
    let mut found = None;
    // SAFETY: null, or an array of ports.
    for port in unsafe { elements::<ngx_stream_conf_port_t>(core.ports) } {
        // SAFETY: an array of addresses.
        let addresses = unsafe { elements::<ngx_stream_conf_addr_t>(&raw const port.addrs) };
        for address in addresses.iter().filter(|address| address.opt.ssl() == 1) {
            // SAFETY: an array of servers.
            let servers = unsafe { elements::<Target>(&raw const address.servers) };
            if !servers.contains(&server) {
                continue;
            }
            // SAFETY: nginx gives every address a server, which lives as long as the cycle.
            let default = unsafe { &*address.default_server };
            // SAFETY: a server has a context.
            let context = unsafe { &*default.ctx };
            // SAFETY: it is live and being configured.
            let settings = unsafe { ssl_conf(context) }?;
            // SAFETY: by this function's contract.
            if ptr::eq(default, server) || unsafe { rejects_handshakes(settings, level) } {
                return None;
            }
            // SAFETY: the name of the file is a string of the pool that ends in NUL.
            found.get_or_insert_with(|| unsafe { place(default.file_name, default.line) });
        }
    }
    found
}

/// Tells whether a server rejects handshakes, as it says itself or inherits.
///
/// # Safety
/// `level` are the settings of `stream`, which live as long as the cycle.
#[cfg(ngx_stream_server_name)]
unsafe fn rejects_handshakes(own: &SslConf, level: Option<*mut SslConf>) -> bool {
    // SAFETY: by this function's contract.
    let level = level.map(|level| unsafe { (*level).reject_handshake });
    let mut values = std::iter::once(own.reject_handshake).chain(level);
    values.find(|value| *value >= 0) == Some(1)
}

/// # Safety
/// All `listen` directives have been read.
#[cfg(ngx_stream_server_name)]
unsafe fn tls_servers(core: &ngx_stream_core_main_conf_t) -> HashSet<Target> {
    let mut found = HashSet::new();
    // SAFETY: null, or an array of ports.
    for port in unsafe { elements::<ngx_stream_conf_port_t>(core.ports) } {
        // SAFETY: an array of addresses.
        for address in unsafe { elements::<ngx_stream_conf_addr_t>(&raw const port.addrs) } {
            if address.opt.ssl() == 1 {
                // SAFETY: an array of servers.
                found.extend(unsafe { elements::<Target>(&raw const address.servers) });
            }
        }
    }
    found
}

/// # Safety
/// All `listen` directives have been read.
#[cfg(not(ngx_stream_server_name))]
unsafe fn tls_servers(core: &ngx_stream_core_main_conf_t) -> HashSet<Target> {
    // SAFETY: an array of listening sockets.
    let sockets = unsafe { elements::<ngx_stream_listen_t>(&raw const core.listen) };
    let tls = sockets.iter().filter(|socket| socket.ssl() == 1);
    tls.map(|socket| socket.ctx.cast_const()).collect()
}
