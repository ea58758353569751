//! The http module: `server` blocks, and the variables.

use super::catch::guard;
use super::directives::{command, definitions};
use super::nginx::{Conf, ERROR, OK, elements, lossy_text, place};
use super::owner::owner_of;
use super::server::{
    Context, Server, ServerConf, Ssl, at, create, create_srv_conf, merge, set_acme_dns,
    set_fallback, ssl_settings,
};
use super::sharing::Sharing;
use super::variables;
use acme_dns_core::config::Location;
use ngx::ffi::{
    NGX_CONF_1MORE, NGX_CONF_TAKE1, NGX_HTTP_MAIN_CONF, NGX_HTTP_MODULE, NGX_HTTP_SRV_CONF,
    ngx_command_t, ngx_conf_t, ngx_http_add_variable, ngx_http_conf_addr_t, ngx_http_conf_ctx_t,
    ngx_http_conf_port_t, ngx_http_core_main_conf_t, ngx_http_core_module,
    ngx_http_core_srv_conf_t, ngx_http_module_t, ngx_http_request_t, ngx_http_server_name_t,
    ngx_http_ssl_module, ngx_http_ssl_srv_conf_t, ngx_http_variable_value_t, ngx_int_t,
    ngx_module_t,
};
use std::collections::HashSet;
use std::ffi::{c_char, c_void};
use std::mem::{self, offset_of};
use std::ptr;

const SERVER: usize = offset_of!(ngx_http_conf_ctx_t, srv_conf);

static mut COMMANDS: [ngx_command_t; 11] = {
    let [a, b, c, d, e, f, g, h] = definitions(NGX_HTTP_MAIN_CONF);
    let server = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF;
    [
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        command(c"acme_dns", server | NGX_CONF_1MORE, set_acme_dns, SERVER),
        command(c"acme_dns_fallback", server | NGX_CONF_TAKE1, set_fallback, SERVER),
        ngx_command_t::empty(),
    ]
};

static mut CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: Some(create_srv_conf),
    merge_srv_conf: Some(merge_srv_conf),
    create_loc_conf: None,
    merge_loc_conf: None,
};

/// The module, as nginx has it.
pub(super) static mut NGX_HTTP_ACME_DNS_MODULE: ngx_module_t = ngx_module_t {
    ctx: (&raw mut CONTEXT).cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as _,
    ..ngx_module_t::default()
};

/// What this module keeps for the `http` block.
#[derive(Default)]
struct MainConf {
    /// The SSL settings at the level of `http`. While nginx merges servers, its context leads to theirs.
    level: Option<*mut ngx_http_ssl_srv_conf_t>,
    listeners: Option<Listeners>,
    sharing: Sharing,
}

/// What the `listen` directives say of servers.
#[derive(Default)]
struct Listeners {
    /// Those that a `listen ... ssl` or `quic` leads to.
    tls: HashSet<*const ngx_http_core_srv_conf_t>,
    /// Those that an address has for connections that name no server.
    default: HashSet<*const ngx_http_core_srv_conf_t>,
}

/// # Safety
/// The parser is inside `http`.
unsafe fn context<'a>(conf: &Conf) -> &'a ngx_http_conf_ctx_t {
    // SAFETY: a live parser; inside `http` its context is this structure.
    let cf = unsafe { &*conf.as_ptr() };
    // SAFETY: as above.
    unsafe { &*cf.ctx.cast::<ngx_http_conf_ctx_t>() }
}

fn own_index() -> usize {
    // SAFETY: nginx sets the index before it creates any configuration.
    unsafe { NGX_HTTP_ACME_DNS_MODULE.ctx_index }
}

fn ssl_index() -> usize {
    // SAFETY: as above.
    unsafe { ngx_http_ssl_module.ctx_index }
}

fn core_index() -> usize {
    // SAFETY: as above.
    unsafe { ngx_http_core_module.ctx_index }
}

unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is what nginx gave.
    unsafe { create(cf, MainConf::default()) }
}

/// Registers the variables, and notes the SSL settings of `http`.
unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    let add = |name, data| {
        // SAFETY: the parser is inside `http`, the name a string of its pool.
        let variable = unsafe { ngx_http_add_variable(cf, name, 0) };
        // SAFETY: null, or a variable of the configuration.
        let variable = unsafe { variable.as_mut() }?;
        variable.get_handler = Some(get_variable);
        variable.data = data;
        Some(())
    };
    guard(ERROR, || {
        // SAFETY: `cf` is what nginx gave.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: nginx calls this inside `http`.
        let context = unsafe { context(&conf) };
        // SAFETY: `create_main_conf` made it.
        let main = unsafe { at::<MainConf>(context.main_conf, own_index()) };
        // SAFETY: the context is live and being configured.
        main.level = Some(unsafe { ssl_conf(context) });
        // SAFETY: the parser's pool is live.
        unsafe { variables::register(conf.pool(), add) }.map_or(ERROR, |()| OK)
    })
}

unsafe extern "C" fn get_variable(
    request: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx gives a live request.
    let request = unsafe { &*request };
    // SAFETY: `create_srv_conf` made it.
    let server = unsafe { at::<ServerConf>(request.srv_conf, own_index()) };
    // A server without a certificate has that of the default server.
    // SAFETY: its connection is live too.
    let binding = server.binding.or_else(|| unsafe { owner_of(request.connection) });
    // SAFETY: the value is nginx's; the binding belongs to the server of the request, and a process has
    // one thread that answers.
    unsafe { variables::fill(value, data, binding, request.pool) }
}

/// Called when all servers have been merged, before the SSL module looks at them.
unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: `cf` is what nginx gave.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: nginx calls this inside `http`.
        let context = unsafe { context(&conf) };
        // SAFETY: `create_main_conf` made it.
        let main = unsafe { at::<MainConf>(context.main_conf, own_index()) };
        // Nothing of it is asked any more.
        let MainConf { sharing, .. } = mem::take(main);
        // SAFETY: this is the moment.
        unsafe { sharing.lend() };
        OK
    })
}

/// What this module keeps for a server.
///
/// # Safety
/// The context is a server's, and nothing else refers to what is kept.
pub(super) unsafe fn server<'a>(context: &ngx_http_conf_ctx_t) -> &'a ServerConf {
    // SAFETY: `create_srv_conf` made it.
    unsafe { at::<ServerConf>(context.srv_conf, own_index()) }
}

/// The SSL module's settings of a level.
///
/// # Safety
/// The context is live and being configured.
unsafe fn ssl_conf(context: &ngx_http_conf_ctx_t) -> *mut ngx_http_ssl_srv_conf_t {
    // SAFETY: the SSL module made it.
    unsafe { at::<ngx_http_ssl_srv_conf_t>(context.srv_conf, ssl_index()) }
}

/// # Safety
/// The structure is live and being configured.
unsafe fn ssl(conf: *mut ngx_http_ssl_srv_conf_t) -> Ssl {
    // SAFETY: by this function's contract.
    let conf = unsafe { &mut *conf };
    #[cfg(ngx_certificate_compression)]
    let compression = &raw mut conf.certificate_compression;
    #[cfg(not(ngx_certificate_compression))]
    let compression = ptr::null_mut();
    ssl_settings!(conf, &raw const conf.stapling, compression)
}

/// Called for each server, before the SSL module's own.
unsafe extern "C" fn merge_srv_conf(
    cf: *mut ngx_conf_t,
    parent: *mut c_void,
    child: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx merges inside `http`.
    let describe = |conf: &Conf| unsafe { describe(conf) };
    // SAFETY: `cf` is what nginx gave, `create_srv_conf` made the two.
    unsafe { merge(cf, parent, child, describe) }
}

/// What the shared part has to know of a server.
///
/// # Safety
/// nginx is merging a server.
unsafe fn describe<'a>(conf: &Conf) -> Result<Server<'a>, String> {
    // SAFETY: by this function's contract.
    let context = unsafe { context(conf) };
    // SAFETY: by this function's contract.
    let ssl_conf = unsafe { ssl_conf(context) };
    // SAFETY: the core module made it.
    let server = unsafe { at::<ngx_http_core_srv_conf_t>(context.srv_conf, core_index()) };
    // SAFETY: `create_main_conf` made it.
    let main = unsafe { at::<MainConf>(context.main_conf, own_index()) };
    // SAFETY: the core module made it.
    let core = unsafe { at::<ngx_http_core_main_conf_t>(context.main_conf, core_index()) };
    // SAFETY: by this function's contract.
    let listeners = main.listeners.get_or_insert_with(|| unsafe { Listeners::of(core) });
    let key = ptr::from_ref(server);
    // SAFETY: by this function's contract.
    let rejects_handshake = unsafe { rejects_handshakes(context, main.level) };
    let is_default = listeners.default.contains(&key);
    let (cycle, level, sharing) = (conf.cycle(), main.level, &mut main.sharing);
    let choose = move || {
        let Some(level) = level.filter(|_| !is_default) else { return Context::Own };
        // SAFETY: the SSL module's settings of `http`, which live as long as the cycle.
        let level = unsafe { &*level };
        // SAFETY: those of the server; the two are different structures.
        let server = unsafe { &mut *ssl_conf };
        // SAFETY: the cycle of a parser is live and being configured.
        unsafe { sharing.context(cycle, server, level) }
    };
    Ok(Server {
        kind: "HTTP",
        // SAFETY: by this function's contract.
        ssl: unsafe { ssl(ssl_conf) },
        // SAFETY: as above.
        level: level.map(|level| unsafe { ssl(level) }),
        // SAFETY: as above.
        names: unsafe { names(server) },
        // SAFETY: the name of the file is a string of the pool that ends in NUL.
        location: unsafe { place(server.file_name, server.line) },
        inherits: !rejects_handshake && listeners.tls.contains(&key),
        // SAFETY: by this function's contract.
        default: Box::new(move || unsafe { default_server(core, key, level) }),
        context: Box::new(choose),
    })
}

/// The names of a server; a regular expression begins with `~`.
///
/// # Safety
/// nginx is merging this server.
unsafe fn names(server: &ngx_http_core_srv_conf_t) -> Vec<String> {
    // SAFETY: the core module keeps the names in this array.
    let list = unsafe { elements::<ngx_http_server_name_t>(&raw const server.server_names) };
    let mut names = Vec::with_capacity(list.len());
    for name in list {
        // SAFETY: names are strings of the pool.
        let text = unsafe { lossy_text(name.name) };
        // nginx strips the `~` of a regular expression.
        let mark = if is_regex(name) { "~" } else { "" };
        names.push(format!("{mark}{text}"));
    }
    // A server without `server_name` has the empty name.
    names.retain(|name| !name.is_empty());
    names
}

/// An nginx without PCRE knows no regular expressions.
#[cfg_attr(not(ngx_pcre), allow(unused_variables, reason = "see above"))]
fn is_regex(name: &ngx_http_server_name_t) -> bool {
    #[cfg(ngx_pcre)]
    return !name.regex.is_null();
    #[cfg(not(ngx_pcre))]
    false
}

impl Listeners {
    /// # Safety
    /// All `listen` directives have been read.
    unsafe fn of(core: &ngx_http_core_main_conf_t) -> Self {
        let mut found = Self::default();
        // SAFETY: null, or an array of ports.
        for port in unsafe { elements::<ngx_http_conf_port_t>(core.ports) } {
            // SAFETY: an array of addresses.
            for address in unsafe { elements::<ngx_http_conf_addr_t>(&raw const port.addrs) } {
                found.default.insert(address.default_server);
                if is_tls_address(address) {
                    // SAFETY: an array of servers.
                    let servers = unsafe {
                        elements::<*const ngx_http_core_srv_conf_t>(&raw const address.servers)
                    };
                    found.tls.extend(servers);
                }
            }
        }
        found
    }
}

/// Finds the default server that clients of a server get the certificate of if it has none, the first of
/// several; `None` if it is one itself, or if one rejects handshakes: nginx then wants a certificate.
///
/// # Safety
/// All `listen` directives have been read, and `level` are the settings of `http`.
unsafe fn default_server(
    core: &ngx_http_core_main_conf_t,
    server: *const ngx_http_core_srv_conf_t,
    level: Option<*mut ngx_http_ssl_srv_conf_t>,
) -> Option<Location> {
    let mut found = None;
    // SAFETY: null, or an array of ports.
    for port in unsafe { elements::<ngx_http_conf_port_t>(core.ports) } {
        // SAFETY: an array of addresses.
        let addresses = unsafe { elements::<ngx_http_conf_addr_t>(&raw const port.addrs) };
        for address in addresses.iter().filter(|address| is_tls_address(address)) {
            // SAFETY: an array of servers.
            let servers =
                unsafe { elements::<*const ngx_http_core_srv_conf_t>(&raw const address.servers) };
            if !servers.contains(&server) {
                continue;
            }
            // SAFETY: nginx gives every address a server, which lives as long as the cycle.
            let default = unsafe { &*address.default_server };
            // SAFETY: a server has a context, with the settings of each module.
            let context = unsafe { &*default.ctx };
            // SAFETY: as above.
            if ptr::eq(default, server) || unsafe { rejects_handshakes(context, level) } {
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
/// The context is that of a server, and `level` are the settings of `http`.
unsafe fn rejects_handshakes(
    context: &ngx_http_conf_ctx_t,
    level: Option<*mut ngx_http_ssl_srv_conf_t>,
) -> bool {
    // SAFETY: by this function's contract.
    let own = unsafe { ssl_conf(context) };
    let settings = std::iter::once(own).chain(level);
    // SAFETY: the settings live as long as the cycle.
    let mut values = settings.map(|settings| unsafe { (*settings).reject_handshake });
    values.find(|value| *value >= 0) == Some(1)
}

fn is_tls_address(address: &ngx_http_conf_addr_t) -> bool {
    #[cfg(ngx_http_v3)]
    if address.opt.quic() == 1 {
        return true;
    }
    address.opt.ssl() == 1
}
