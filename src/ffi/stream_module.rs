//! The stream module: its tables, the merge of servers of `stream`, and its variables. What it has in common with
//! `http` and `mail` is in `server`.
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
use super::callback::callback;
use super::directives::command;
use super::module_ctx::{ConfRef, conf_at, conf_ptr_at, find_module};
#[cfg(ngx_stream_server_name)]
use super::nginx::lossy_text;
use super::nginx::{CONF_ERROR, ERROR, OK, elements, place, symbol};
use super::parser::Parser;
use super::pool::{NgxPool, to_c};
use super::server::{
    self, MergedServer, ServerBlock, SrvConf, create_srv_conf, merge, set_fallback,
};
use super::ssl_conf::{SslSettings, ssl_settings};
use super::variables;
use acme_dns_core::config::Location;
use ngx::ffi::{
    NGX_CONF_1MORE, NGX_CONF_TAKE1, ngx_command_t, ngx_conf_t, ngx_int_t, ngx_module_t, ngx_str_t,
    ngx_uint_t,
};
use std::cell::{Cell, OnceCell};
use std::collections::HashSet;
use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::ptr;

const SRV_CONF: usize = offset_of!(ngx_stream_conf_ctx_t, srv_conf);

static mut COMMANDS: [ngx_command_t; 3] = {
    let server = NGX_STREAM_MAIN_CONF | NGX_STREAM_SRV_CONF;
    [
        command(c"acme_dns", server | NGX_CONF_1MORE, set_acme_dns, SRV_CONF),
        command(c"acme_dns_fallback", server | NGX_CONF_TAKE1, set_fallback, SRV_CONF),
        ngx_command_t::empty(),
    ]
};

static mut MODULE_CTX: ngx_stream_module_t = ngx_stream_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: None,
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: Some(create_srv_conf),
    merge_srv_conf: Some(merge_srv_conf),
};

/// The module, as nginx has it.
pub(super) static mut NGX_STREAM_ACME_DNS_MODULE: ngx_module_t = ngx_module_t {
    ctx: (&raw mut MODULE_CTX).cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_STREAM_MODULE as _,
    ..ngx_module_t::default()
};

/// Server that a `listen ... ssl` leads to, in older versions its context.
#[cfg(ngx_stream_server_name)]
type Listener = *const ngx_stream_core_srv_conf_t;
#[cfg(not(ngx_stream_server_name))]
type Listener = *const ngx_stream_conf_ctx_t;

/// Configuration of this module for the `stream` block.
#[derive(Default)]
struct StreamMainConf {
    /// The SSL settings of `stream` itself. While nginx merges servers, its context leads to theirs.
    stream_sscf: Cell<Option<*mut SslConf>>,
    has_variables: Cell<bool>,
    listeners: OnceCell<HashSet<Listener>>,
}

/// Context of `stream`, or of a server in it.
#[derive(Clone, Copy)]
struct StreamCtx<'a>(&'a ngx_stream_conf_ctx_t);

impl<'a> StreamCtx<'a> {
    /// # Safety
    /// The parser is inside `stream`.
    unsafe fn of(cf: &'a Parser) -> Self {
        // SAFETY: by this function's contract the context is this structure, and lives as long as the cycle.
        Self(unsafe { &*cf.ctx().cast::<ngx_stream_conf_ctx_t>() })
    }

    fn main_conf(self) -> &'a StreamMainConf {
        // SAFETY: `create_main_conf` made it.
        unsafe { conf_at(self.0.main_conf, own_index()) }
    }

    /// Gives `None` in an nginx without streams.
    fn stream_cmcf(self) -> Option<&'a ngx_stream_core_main_conf_t> {
        let core = find_module(c"ngx_stream_core_module")?;
        // SAFETY: nginx's core module of streams made it.
        Some(unsafe { conf_at(self.0.main_conf, core.ctx_index) })
    }

    /// Gives `None` in an nginx without streams.
    fn stream_cscf(self) -> Option<&'a ngx_stream_core_srv_conf_t> {
        let core = find_module(c"ngx_stream_core_module")?;
        // SAFETY: nginx's core module of streams made it.
        Some(unsafe { conf_at(self.0.srv_conf, core.ctx_index) })
    }

    /// Gives `None` in an nginx without SSL for streams.
    fn stream_sscf(self) -> Option<*mut SslConf> {
        let ssl = find_module(c"ngx_stream_ssl_module")?;
        // SAFETY: nginx's SSL module of streams made it.
        Some(unsafe { conf_ptr_at(self.0.srv_conf, ssl.ctx_index) })
    }

    /// Tells whether the server rejects handshakes, as it says itself or inherits from `stream_sscf`.
    #[cfg(ngx_stream_server_name)]
    fn rejects_handshakes(self, stream_sscf: Option<*mut SslConf>) -> bool {
        let settings = self.stream_sscf().into_iter().chain(stream_sscf);
        // SAFETY: both live as long as the cycle.
        let mut values = settings.map(|settings| unsafe { (*settings).reject_handshake });
        values.find(|value| *value >= 0) == Some(1)
    }

    #[cfg(not(ngx_stream_server_name))]
    fn rejects_handshakes(self, _: Option<*mut SslConf>) -> bool {
        false
    }
}

fn own_index() -> usize {
    // SAFETY: nginx sets the index before it creates any configuration.
    unsafe { NGX_STREAM_ACME_DNS_MODULE.ctx_index }
}

callback! {
    fn create_main_conf(cf: Parser) -> *mut c_void {
        to_c(cf.pool().boxed(StreamMainConf::default()))
    } ?= ptr::null_mut()
}

callback! {
    /// Notes the SSL settings of `stream`.
    fn preconfiguration(cf: Parser) -> ngx_int_t {
        // SAFETY: nginx calls this inside `stream`.
        let ctx = unsafe { StreamCtx::of(&cf) };
        ctx.main_conf().stream_sscf.set(ctx.stream_sscf());
        OK
    } ?= ERROR
}

/// nginx's `ngx_stream_add_variable`.
type AddVariable =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_str_t, ngx_uint_t) -> *mut ngx_stream_variable_t;

/// Registers the variables, at the first `acme_dns`: before the configuration is read nginx's own module
/// may not be ready, as it comes after this one where it is loaded later.
fn add_variables(cf: &Parser, main_conf: &StreamMainConf) -> Option<()> {
    if main_conf.has_variables.replace(true) {
        return Some(());
    }
    let function = symbol::<c_void>(c"ngx_stream_add_variable")?.as_ptr();
    // SAFETY: the function of this name has this type.
    let add_variable = unsafe { std::mem::transmute::<*mut c_void, AddVariable>(function) };
    let add = |name, data| {
        // SAFETY: the parser is inside `stream`, the name a string of its pool.
        let variable = unsafe { add_variable(cf.as_ptr(), name, 0) };
        // SAFETY: null, or a variable of the configuration.
        let variable = unsafe { variable.as_mut() }?;
        variable.get_handler = Some(get_variable);
        variable.data = data;
        Some(())
    };
    variables::register(cf.pool(), add)
}

callback! {
    fn get_variable(
        session: *mut ngx_stream_session_t,
        value: *mut ngx_stream_variable_value_t,
        data: usize,
    ) -> ngx_int_t {
        // SAFETY: nginx gives a live session.
        let session = unsafe { &*session };
        // SAFETY: `create_srv_conf` made it.
        let srv_conf = unsafe { conf_at::<SrvConf>(session.srv_conf, own_index()) };
        let served = (srv_conf.served.get(), session.connection.cast_const());
        // SAFETY: the connection of a live session is live.
        let pool = unsafe { (*session.connection).pool };
        // SAFETY: the pool of a live connection.
        let pool = unsafe { NgxPool::new(pool) };
        // SAFETY: the value is nginx's; the certificates belong to the session's server, and a process has one
        // thread that answers.
        unsafe { variables::fill(value, data, served, pool) }
    } ?= ERROR
}

callback! {
    /// Reads `acme_dns` as [`server::set_acme_dns`] does, once the variables are there.
    fn set_acme_dns(
        cf: Parser,
        command: *mut ngx_command_t,
        srv_conf: *mut c_void,
    ) -> *mut c_char {
        // SAFETY: the directive stands inside `stream`.
        let ctx = unsafe { StreamCtx::of(&cf) };
        if add_variables(&cf, ctx.main_conf()).is_none() {
            return CONF_ERROR;
        }
        // SAFETY: nginx gave all three to this callback, which takes the same.
        unsafe { server::set_acme_dns(cf.as_ptr(), command, srv_conf) }
    } ?= CONF_ERROR
}

callback! {
    /// Merges the configuration of each server, before the SSL module does.
    fn merge_srv_conf(
        cf: Parser,
        parent: ConfRef<SrvConf>,
        child: ConfRef<SrvConf>,
    ) -> *mut c_char {
        // SAFETY: nginx merges inside `stream`.
        let ctx = unsafe { StreamCtx::of(&cf) };
        merge(&cf, &parent, &child, &StreamServer(ctx))
    } ?= CONF_ERROR
}

/// Server of `stream` that is being merged.
struct StreamServer<'a>(StreamCtx<'a>);

impl StreamServer<'_> {
    fn is_listener(&self, cmcf: &ngx_stream_core_main_conf_t) -> bool {
        #[cfg(ngx_stream_server_name)]
        let own = self.0.stream_cscf().map_or(ptr::null(), ptr::from_ref);
        #[cfg(not(ngx_stream_server_name))]
        let own = ptr::from_ref(self.0.0);
        self.0.main_conf().listeners.get_or_init(|| tls_listeners(cmcf)).contains(&own)
    }
}

impl MergedServer for StreamServer<'_> {
    fn describe(&self) -> Result<ServerBlock, String> {
        const NO_SSL: &str = "\"acme_dns\" in \"stream\" needs an nginx with the stream SSL module";
        let sscf = self.0.stream_sscf().ok_or(NO_SSL)?;
        let cscf = self.0.stream_cscf().ok_or(NO_SSL)?;
        let cmcf = self.0.stream_cmcf().ok_or(NO_SSL)?;
        let stream_sscf = self.0.main_conf().stream_sscf.get();
        Ok(ServerBlock {
            kind: "STREAM",
            ssl: ssl(sscf),
            parent_ssl: stream_sscf.map(ssl),
            names: names(cscf),
            location: location(cscf),
            inherits: self.is_listener(cmcf) && !self.0.rejects_handshakes(stream_sscf),
        })
    }

    #[cfg(ngx_stream_server_name)]
    fn default_server(&self) -> Option<Location> {
        let stream_sscf = self.0.main_conf().stream_sscf.get();
        default_server(self.0.stream_cmcf()?, self.0.stream_cscf()?, stream_sscf)
    }
}

/// Finds the SSL settings of a cycle that is being configured.
fn ssl(sscf: *mut SslConf) -> SslSettings {
    // SAFETY: the SSL module made it, and nothing else refers to it while nginx calls us.
    let sscf = unsafe { &mut *sscf };
    #[cfg(ngx_stream_stapling)]
    let stapling = &raw const sscf.stapling;
    #[cfg(not(ngx_stream_stapling))]
    let stapling = ptr::null();
    #[cfg(ngx_certificate_compression)]
    let compression = &raw mut sscf.certificate_compression;
    #[cfg(not(ngx_certificate_compression))]
    let compression = ptr::null_mut();
    ssl_settings!(sscf, stapling, compression)
}

/// Reads the names of a server; a regular expression begins with `~`.
#[cfg(ngx_stream_server_name)]
fn names(cscf: &ngx_stream_core_srv_conf_t) -> Vec<String> {
    // SAFETY: the core module keeps the names in this array.
    let list = unsafe { elements::<ngx_stream_server_name_t>(&raw const cscf.server_names) };
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

/// Gives nothing: servers of streams have no names before nginx 1.25.5.
#[cfg(not(ngx_stream_server_name))]
fn names(_: &ngx_stream_core_srv_conf_t) -> Vec<String> {
    Vec::new()
}

/// Reads the place of a server's block.
fn location(cscf: &ngx_stream_core_srv_conf_t) -> Location {
    // SAFETY: the name of the file is a string of the pool that ends in NUL.
    unsafe { place(cscf.file_name, cscf.line) }
}

/// Finds the default server whose certificate clients get, as `http_ctx` does for `http`.
#[cfg(ngx_stream_server_name)]
fn default_server(
    cmcf: &ngx_stream_core_main_conf_t,
    server: &ngx_stream_core_srv_conf_t,
    stream_sscf: Option<*mut SslConf>,
) -> Option<Location> {
    let mut found = None;
    for address in addresses(cmcf).filter(|address| address.opt.ssl() == 1) {
        if !servers(address).contains(&ptr::from_ref(server)) {
            continue;
        }
        // SAFETY: nginx gives every address a server, which lives as long as the cycle.
        let default = unsafe { &*address.default_server };
        // SAFETY: a server has a context, which lives as long as it.
        let ctx = StreamCtx(unsafe { &*default.ctx });
        if ptr::eq(default, server) || ctx.rejects_handshakes(stream_sscf) {
            return None;
        }
        found.get_or_insert_with(|| location(default));
    }
    found
}

/// Finds what the `listen ... ssl` lead to, which have all been read.
#[cfg(ngx_stream_server_name)]
fn tls_listeners(cmcf: &ngx_stream_core_main_conf_t) -> HashSet<Listener> {
    let tls = addresses(cmcf).filter(|address| address.opt.ssl() == 1);
    tls.flat_map(servers).copied().collect()
}

#[cfg(ngx_stream_server_name)]
fn addresses(cmcf: &ngx_stream_core_main_conf_t) -> impl Iterator<Item = &ngx_stream_conf_addr_t> {
    // SAFETY: null, or the core module's array of ports.
    let ports = unsafe { elements::<ngx_stream_conf_port_t>(cmcf.ports) };
    // SAFETY: a port's array of addresses.
    ports.iter().flat_map(|port| unsafe { elements(&raw const port.addrs) })
}

#[cfg(ngx_stream_server_name)]
fn servers(address: &ngx_stream_conf_addr_t) -> &[Listener] {
    // SAFETY: an address's array of servers.
    unsafe { elements(&raw const address.servers) }
}

/// Finds what the `listen ... ssl` lead to, which have all been read.
#[cfg(not(ngx_stream_server_name))]
fn tls_listeners(cmcf: &ngx_stream_core_main_conf_t) -> HashSet<Listener> {
    // SAFETY: an array of listening sockets.
    let sockets = unsafe { elements::<ngx_stream_listen_t>(&raw const cmcf.listen) };
    let tls = sockets.iter().filter(|socket| socket.ssl() == 1);
    tls.map(|socket| socket.ctx.cast_const()).collect()
}
