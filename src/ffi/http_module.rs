//! The http module: `server` blocks, and the variables.

use super::catch::guard;
use super::directives::{command, definitions};
use super::nginx::{Conf, ERROR, OK, elements, text};
use super::server::{
    Server, ServerConf, Ssl, at, create, create_srv_conf, merge, set_acme_dns, set_fallback,
    ssl_settings,
};
use super::variables;
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
use std::mem::offset_of;
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
    postconfiguration: None,
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
    level: Option<Ssl>,
    /// The servers that a `listen ... ssl` or `quic` leads to.
    tls_servers: Option<HashSet<*const ngx_http_core_srv_conf_t>>,
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
        main.level = Some(unsafe { ssl(context) }.0);
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
    // SAFETY: the value is nginx's; the binding belongs to the server of the request, and a process has
    // one thread that answers.
    unsafe { variables::fill(value, data, server.binding, request.pool) }
}

/// The SSL settings of a level, and whether it rejects handshakes.
///
/// # Safety
/// The context is live and being configured.
unsafe fn ssl(context: &ngx_http_conf_ctx_t) -> (Ssl, bool) {
    // SAFETY: the SSL module made it.
    let conf = unsafe { at::<ngx_http_ssl_srv_conf_t>(context.srv_conf, ssl_index()) };
    #[cfg(ngx_certificate_compression)]
    let compression = &raw mut conf.certificate_compression;
    #[cfg(not(ngx_certificate_compression))]
    let compression = ptr::null_mut();
    (ssl_settings!(conf, &raw const conf.stapling, compression), conf.reject_handshake == 1)
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
    let (ssl, rejects_handshake) = unsafe { ssl(context) };
    // SAFETY: the core module made it.
    let server = unsafe { at::<ngx_http_core_srv_conf_t>(context.srv_conf, core_index()) };
    // SAFETY: `create_main_conf` made it.
    let main = unsafe { at::<MainConf>(context.main_conf, own_index()) };
    // SAFETY: by this function's contract.
    let names = unsafe { names(server) }?;
    let level = main.level;
    let inherits = move || {
        // SAFETY: by this function's contract.
        !rejects_handshake && unsafe { main.is_tls(context, server) }
    };
    Ok(Server { kind: "HTTP", ssl, level, names, inherits: Box::new(inherits) })
}

/// The names of a server; a regular expression begins with `~`.
///
/// # Safety
/// nginx is merging this server.
unsafe fn names(server: &ngx_http_core_srv_conf_t) -> Result<Vec<String>, String> {
    // SAFETY: the core module keeps the names in this array.
    let list = unsafe { elements::<ngx_http_server_name_t>(&raw const server.server_names) };
    let mut names = Vec::with_capacity(list.len());
    for name in list {
        // SAFETY: names are strings of the pool.
        let text = unsafe { text(name.name) }.ok_or("invalid UTF-8 in \"server_name\"")?;
        // nginx strips the `~` of a regular expression.
        let mark = if is_regex(name) { "~" } else { "" };
        names.push(format!("{mark}{text}"));
    }
    // A server without `server_name` has the empty name.
    names.retain(|name| !name.is_empty());
    Ok(names)
}

/// An nginx without PCRE knows no regular expressions.
#[cfg_attr(not(ngx_pcre), allow(unused_variables, reason = "see above"))]
fn is_regex(name: &ngx_http_server_name_t) -> bool {
    #[cfg(ngx_pcre)]
    return !name.regex.is_null();
    #[cfg(not(ngx_pcre))]
    false
}

impl MainConf {
    /// Whether a `listen ... ssl` or `quic` leads to this server.
    ///
    /// # Safety
    /// nginx is merging servers in this context.
    unsafe fn is_tls(
        &mut self,
        context: &ngx_http_conf_ctx_t,
        server: &ngx_http_core_srv_conf_t,
    ) -> bool {
        let servers = self.tls_servers.get_or_insert_with(|| {
            // SAFETY: the core module made it.
            let core = unsafe { at::<ngx_http_core_main_conf_t>(context.main_conf, core_index()) };
            // SAFETY: by this function's contract.
            unsafe { tls_servers(core) }
        });
        servers.contains(&ptr::from_ref(server))
    }
}

/// # Safety
/// All `listen` directives have been read.
unsafe fn tls_servers(
    core: &ngx_http_core_main_conf_t,
) -> HashSet<*const ngx_http_core_srv_conf_t> {
    let mut found = HashSet::new();
    // SAFETY: null, or an array of ports.
    for port in unsafe { elements::<ngx_http_conf_port_t>(core.ports) } {
        // SAFETY: an array of addresses.
        for address in unsafe { elements::<ngx_http_conf_addr_t>(&raw const port.addrs) } {
            if is_tls_address(address) {
                // SAFETY: an array of servers.
                let servers = unsafe {
                    elements::<*const ngx_http_core_srv_conf_t>(&raw const address.servers)
                };
                found.extend(servers);
            }
        }
    }
    found
}

fn is_tls_address(address: &ngx_http_conf_addr_t) -> bool {
    #[cfg(ngx_http_v3)]
    if address.opt.quic() == 1 {
        return true;
    }
    address.opt.ssl() == 1
}
