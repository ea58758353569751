//! The http module: it binds `server` blocks to certificates.
//!
//! nginx is given a certificate that consists of a variable ([`PLACEHOLDER`]). So it builds the
//! server's `SSL_CTX` without loading anything; our callback then takes the place of nginx's, and
//! the variable is never evaluated.

use super::catch::guard;
use super::certificate::{Binding, certificate_callback};
use super::core_module::core_conf;
use super::directives::{command, definitions};
use super::nginx::{
    CONF_ERROR, CONF_OK, Conf, ERROR, OK, array_of_one, elements, pool_box, pool_string, text,
};
use acme_dns_core::config::Location;
use acme_dns_core::config::binding::{Request, Wanted, server_names};
use acme_dns_core::config::draft::without_redundant;
use acme_dns_core::name::Name;
use ngx::ffi::{
    NGX_CONF_1MORE, NGX_CONF_TAKE1, NGX_HTTP_MAIN_CONF, NGX_HTTP_MODULE, NGX_HTTP_SRV_CONF,
    SSL_CTX_set_cert_cb, ngx_array_t, ngx_command_t, ngx_conf_t, ngx_http_add_variable,
    ngx_http_conf_addr_t, ngx_http_conf_ctx_t, ngx_http_conf_port_t, ngx_http_core_main_conf_t,
    ngx_http_core_module, ngx_http_core_srv_conf_t, ngx_http_module_t, ngx_http_request_t,
    ngx_http_server_name_t, ngx_http_ssl_module, ngx_http_ssl_srv_conf_t,
    ngx_http_variable_value_t, ngx_int_t, ngx_module_t,
};
use std::collections::HashSet;
use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::ptr;

/// Stands where `ssl_certificate` would. The name of the certificate follows, so that servers with
/// different certificates get different session id contexts.
const PLACEHOLDER: &str = "data:$acme_dns_certificate:";

const VARIABLE: &str = "acme_dns_certificate";

const SERVER: usize = offset_of!(ngx_http_conf_ctx_t, srv_conf);

static mut COMMANDS: [ngx_command_t; 8] = {
    let [a, b, c, d, e] = definitions(NGX_HTTP_MAIN_CONF);
    let server = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF;
    [
        a,
        b,
        c,
        d,
        e,
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
struct MainConf {
    /// The SSL module's settings at the level of `http`.
    ssl: *const ngx_http_ssl_srv_conf_t,
    /// The servers that a `listen ... ssl` or `quic` leads to.
    tls_servers: Option<HashSet<*const ngx_http_core_srv_conf_t>>,
}

/// What this module keeps for a `server`, and for the level of `http`.
#[derive(Default)]
struct ServerConf {
    request: Option<(Request, Location)>,
    rejects: Option<bool>,
    binding: Option<*mut Binding>,
}

/// The configuration of a module at the level that the context points to.
///
/// # Safety
/// The context is live; `index` is the module's, and `T` its type of configuration. Nothing else
/// refers to it while the result is used.
unsafe fn at<'a, T>(confs: *mut *mut c_void, index: usize) -> &'a mut T {
    // SAFETY: a context has an entry for each module.
    let entry = unsafe { confs.add(index) };
    // SAFETY: as above.
    let conf = unsafe { *entry }.cast::<T>();
    // SAFETY: every module makes a configuration for each level that it has.
    unsafe { &mut *conf }
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

/// # Safety
/// `cf` is what nginx gave to a callback.
unsafe fn create<T>(cf: *mut ngx_conf_t, value: T) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: by this function's contract.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: the parser's pool is live.
        unsafe { pool_box(conf.pool(), value) }.cast()
    })
}

unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is what nginx gave.
    unsafe { create(cf, MainConf { ssl: ptr::null(), tls_servers: None }) }
}

unsafe extern "C" fn create_srv_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is what nginx gave.
    unsafe { create(cf, ServerConf::default()) }
}

/// Registers the variable of the placeholder, and notes the SSL settings of `http`.
unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: `cf` is what nginx gave.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: nginx calls this inside `http`.
        let context = unsafe { context(&conf) };
        // SAFETY: `create_main_conf` made it.
        let main = unsafe { at::<MainConf>(context.main_conf, own_index()) };
        // SAFETY: the SSL module made it.
        main.ssl = unsafe { at::<ngx_http_ssl_srv_conf_t>(context.srv_conf, ssl_index()) };
        // SAFETY: the parser's pool is live.
        let Some(mut name) = (unsafe { pool_string(conf.pool(), VARIABLE) }) else { return ERROR };
        // SAFETY: the parser is inside `http`.
        let variable = unsafe { ngx_http_add_variable(cf, &raw mut name, 0) };
        // SAFETY: null, or a variable of the configuration.
        let Some(variable) = (unsafe { variable.as_mut() }) else { return ERROR };
        variable.get_handler = Some(no_value);
        OK
    })
}

/// The variable has no value: the private key must not be had in a log or a header.
unsafe extern "C" fn no_value(
    _: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx gives a value to fill in.
    let value = unsafe { &mut *value };
    value.set_not_found(1);
    OK
}

unsafe extern "C" fn set_acme_dns(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    server: *mut c_void,
) -> *mut c_char {
    let body = |conf: &Conf, args: &[&str], server: &mut ServerConf| {
        let request = (Request::parse(args)?, conf.location());
        match server.request.replace(request) {
            Some(_) => Err("\"acme_dns\" directive is duplicate".to_owned()),
            None => Ok(()),
        }
    };
    // SAFETY: nginx gives what `create_srv_conf` made.
    unsafe { set(cf, server, body) }
}

unsafe extern "C" fn set_fallback(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    server: *mut c_void,
) -> *mut c_char {
    let body = |_: &Conf, args: &[&str], server: &mut ServerConf| {
        let rejects = match args {
            ["self_signed"] => false,
            ["reject"] => true,
            _ => return Err(format!("invalid parameter \"{}\"", args.join(" "))),
        };
        match server.rejects.replace(rejects) {
            Some(_) => Err("\"acme_dns_fallback\" directive is duplicate".to_owned()),
            None => Ok(()),
        }
    };
    // SAFETY: nginx gives what `create_srv_conf` made.
    unsafe { set(cf, server, body) }
}

/// Runs the body of a setter of a server.
///
/// # Safety
/// `cf` is what nginx gave, `server` a `ServerConf` that nothing else refers to.
unsafe fn set(
    cf: *mut ngx_conf_t,
    server: *mut c_void,
    body: impl FnOnce(&Conf, &[&str], &mut ServerConf) -> Result<(), String>,
) -> *mut c_char {
    guard(CONF_ERROR, || {
        // SAFETY: by this function's contract.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: by this function's contract.
        let server = unsafe { &mut *server.cast::<ServerConf>() };
        let words = conf.words();
        let args = words.map(|words| words.get(1..).unwrap_or_default().to_vec());
        let result = args.and_then(|args| body(&conf, &args, server));
        result.map_or_else(|message| conf.fail(&message), |()| CONF_OK)
    })
}

/// Called for each server, before the SSL module's own.
unsafe extern "C" fn merge_srv_conf(
    cf: *mut ngx_conf_t,
    parent: *mut c_void,
    child: *mut c_void,
) -> *mut c_char {
    guard(CONF_ERROR, || {
        // SAFETY: `cf` is what nginx gave.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: `create_srv_conf` made it.
        let parent = unsafe { &*parent.cast::<ServerConf>() };
        // SAFETY: as above; the two are not the same.
        let child = unsafe { &mut *child.cast::<ServerConf>() };
        // SAFETY: nginx merges inside `http`.
        let result = unsafe { bind(&conf, parent, child) };
        result.map_or_else(|message| conf.fail_at(&message), |()| CONF_OK)
    })
}

/// Decides whether the server gets one of our certificates, and prepares its SSL settings.
///
/// # Safety
/// nginx is merging a server.
unsafe fn bind(conf: &Conf, parent: &ServerConf, child: &mut ServerConf) -> Result<(), String> {
    // SAFETY: by this function's contract.
    let context = unsafe { context(conf) };
    // SAFETY: the SSL module made it.
    let ssl = unsafe { at::<ngx_http_ssl_srv_conf_t>(context.srv_conf, ssl_index()) };
    // SAFETY: the core module made it.
    let server = unsafe { at::<ngx_http_core_srv_conf_t>(context.srv_conf, core_index()) };
    // SAFETY: `create_main_conf` made it.
    let main = unsafe { at::<MainConf>(context.main_conf, own_index()) };
    let inherited = child.request.is_none();
    let Some((Request::On(wanted), location)) = child.request.as_ref().or(parent.request.as_ref())
    else {
        return Ok(());
    };
    let at_fault = |message: String| format!("{message} in {location}");
    if !is_unset(ssl.certificates) {
        return Ok(());
    }
    if inherited {
        // SAFETY: noted in `preconfiguration`.
        let has_own = unsafe { main.ssl.as_ref() }.is_some_and(|ssl| !is_unset(ssl.certificates));
        // SAFETY: by this function's contract.
        let is_tls = unsafe { main.is_tls(context, server) };
        if has_own || !is_tls || ssl.reject_handshake == 1 {
            return Ok(());
        }
    }
    if !is_unset(ssl.certificate_keys) {
        return Err(at_fault(
            "\"ssl_certificate_key\" without \"ssl_certificate\" beside \"acme_dns\"".to_owned(),
        ));
    }
    // SAFETY: by this function's contract.
    let names = unsafe { names(conf, wanted, server, location, inherited) }.map_err(at_fault)?;
    let Some(names) = names.map(without_redundant) else { return Ok(()) };
    let rejects = child.rejects.or(parent.rejects).unwrap_or(false);
    let texts = names.iter().map(|name| name.as_str().to_owned()).collect();
    // SAFETY: the parser's pool is live.
    let binding = unsafe { pool_box(conf.pool(), Binding::new(texts, rejects)) };
    // SAFETY: the cycle is live; nginx merges in one thread.
    let core = unsafe { core_conf(conf.cycle()) }.filter(|_| !binding.is_null());
    let core = core.ok_or_else(|| at_fault("out of memory".to_owned()))?;
    let label = names.iter().map(Name::as_str).collect::<Vec<_>>().join(",");
    let id = core.draft.bind(wanted.clone(), names, location.clone()).map_err(at_fault)?;
    core.bindings.push((id, binding));
    child.binding = Some(binding);
    // SAFETY: the parser's pool is live.
    let array = unsafe { placeholder(conf, &label) };
    let array = array.ok_or_else(|| at_fault("out of memory".to_owned()))?;
    (ssl.certificates, ssl.certificate_keys) = (array, array);
    Ok(())
}

/// `NGX_CONF_UNSET_PTR`
fn is_unset(array: *const ngx_array_t) -> bool {
    array.addr() == usize::MAX
}

/// The names to certify; `None` where an inherited `on` meets a server that has none.
///
/// # Safety
/// nginx is merging this server.
unsafe fn names(
    conf: &Conf,
    wanted: &Wanted,
    server: &ngx_http_core_srv_conf_t,
    location: &Location,
    inherited: bool,
) -> Result<Option<Vec<Name>>, String> {
    if !wanted.names.is_empty() {
        return Ok(Some(wanted.names.clone()));
    }
    // SAFETY: the core module keeps the names in this array.
    let server_name_list =
        unsafe { elements::<ngx_http_server_name_t>(&raw const server.server_names) };
    let mut texts = Vec::with_capacity(server_name_list.len());
    for name in server_name_list {
        // SAFETY: names are strings of the pool.
        let text = unsafe { text(name.name) }.ok_or("invalid UTF-8 in \"server_name\"")?;
        // nginx strips the `~` of a regular expression.
        let mark = if is_regex(name) { "~" } else { "" };
        texts.push(format!("{mark}{text}"));
    }
    // A server without `server_name` has the empty name.
    texts.retain(|text| !text.is_empty());
    match server_names(texts.iter().map(String::as_str)) {
        Ok((names, left_out)) => {
            for name in left_out {
                conf.warn_at(&format!(
                    "\"{name}\" is left out of the certificate: it is a regular expression in {location}"
                ));
            }
            Ok((!names.is_empty() || !inherited).then_some(names))
        }
        // A catch-all server below an `acme_dns on` of `http` is no mistake; one bad name among
        // good ones is.
        Err(_) if inherited && !texts.iter().any(|text| server_names([text.as_str()]).is_ok()) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// An nginx without PCRE knows no regular expressions.
#[cfg_attr(not(ngx_pcre), allow(unused_variables, reason = "see above"))]
fn is_regex(name: &ngx_http_server_name_t) -> bool {
    #[cfg(ngx_pcre)]
    return !name.regex.is_null();
    #[cfg(not(ngx_pcre))]
    false
}

/// # Safety
/// The parser's pool is live.
unsafe fn placeholder(conf: &Conf, label: &str) -> Option<*mut ngx_array_t> {
    // SAFETY: by this function's contract.
    let text = unsafe { pool_string(conf.pool(), &format!("{PLACEHOLDER}{label}")) }?;
    // SAFETY: by this function's contract; the string lives in the same pool.
    unsafe { array_of_one(conf.pool(), text) }
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

/// Puts our callback in the place of nginx's, when every server has its `SSL_CTX`.
unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: `cf` is what nginx gave.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: nginx calls this inside `http`.
        let context = unsafe { context(&conf) };
        // SAFETY: the core module made it.
        let core = unsafe { at::<ngx_http_core_main_conf_t>(context.main_conf, core_index()) };
        // SAFETY: an array of servers.
        let servers = unsafe { elements::<*mut ngx_http_core_srv_conf_t>(&raw const core.servers) };
        for server in servers {
            // SAFETY: a server of this configuration.
            let server_context = unsafe { (**server).ctx };
            // SAFETY: every server has a context.
            let confs = unsafe { (*server_context).srv_conf };
            // SAFETY: `create_srv_conf` made it.
            let own = unsafe { at::<ServerConf>(confs, own_index()) };
            // SAFETY: the SSL module made it.
            let ssl = unsafe { at::<ngx_http_ssl_srv_conf_t>(confs, ssl_index()) };
            if let Some(binding) = own.binding.filter(|_| !ssl.ssl.ctx.is_null()) {
                let context = ssl.ssl.ctx;
                // SAFETY: the binding belongs to the cycle's pool; nothing else refers to it now.
                unsafe { (*binding).context = context };
                let data = binding.cast::<c_void>();
                // SAFETY: the context is live, and the binding lives as long as the context's cycle.
                unsafe { SSL_CTX_set_cert_cb(context, Some(certificate_callback), data) };
            }
        }
        OK
    })
}
