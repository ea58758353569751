//! The http module: its tables, the merge of `server` blocks, and its variables.
//!
//! What all three kinds of servers have in common is in `server`, what nginx itself knows of `http` in `http_ctx`,
//! and how servers come to use one `SSL_CTX` in `sharing`.

use super::bound::ServedBy;
use super::callback::{callback, guard};
use super::conf::core_conf;
use super::cycle::Cycle;
use super::directives::{DEFINITIONS, command, table};
use super::http_ctx::{HttpCtx, Listeners, default_server, location, names};
use super::module_ctx::{ConfRef, conf_at};
use super::nginx::{CONF_ERROR, ERROR, OK};
use super::openssl::{Callbacks, FAIL, Handshake, NO_STAPLE};
use super::parser::{Parser, duplicate};
use super::pool::{NgxPool, to_c};
use super::served::Served;
use super::server::{
    MergedServer, ServerBlock, SrvConf, create_srv_conf, merge, set_acme_dns, set_fallback,
};
use super::sharing::Sharing;
use super::ssl_conf::{SslSettings, ssl_settings};
use super::status_conf::{Shown, StatusConf};
use super::status_request::StatusRequest;
use super::variables;
use acme_dns_core::config::Location;
use ngx::ffi::{
    NGX_CONF_1MORE, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE2, NGX_HTTP_LOC_CONF,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_MODULE, NGX_HTTP_SRV_CONF, SSL_get_ex_data, ngx_command_t,
    ngx_connection_t, ngx_http_add_variable, ngx_http_conf_ctx_t, ngx_http_connection_t,
    ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_finalize_request, ngx_http_module_t,
    ngx_http_request_t, ngx_http_ssl_srv_conf_t, ngx_http_variable_value_t, ngx_int_t,
    ngx_module_t, ngx_ssl_connection_index,
};
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;
use std::ptr;

const SRV_CONF: usize = offset_of!(ngx_http_conf_ctx_t, srv_conf);
const LOC_CONF: usize = offset_of!(ngx_http_conf_ctx_t, loc_conf);

static mut COMMANDS: [ngx_command_t; DEFINITIONS + 4] = {
    let location = NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE1 | NGX_CONF_TAKE2;
    let server = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF;
    let own = [
        command(c"acme_dns", server | NGX_CONF_1MORE, set_acme_dns, SRV_CONF),
        command(c"acme_dns_fallback", server | NGX_CONF_TAKE1, set_fallback, SRV_CONF),
        command(c"acme_dns_status", location, set_status, LOC_CONF),
    ];
    table(NGX_HTTP_MAIN_CONF, &own)
};

static mut MODULE_CTX: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: Some(create_srv_conf),
    merge_srv_conf: Some(merge_srv_conf),
    create_loc_conf: Some(create_loc_conf),
    merge_loc_conf: None,
};

/// The module, as nginx has it.
pub(super) static mut NGX_HTTP_ACME_DNS_MODULE: ngx_module_t = ngx_module_t {
    ctx: (&raw mut MODULE_CTX).cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as _,
    ..ngx_module_t::default()
};

/// Configuration of this module for the `http` block.
#[derive(Default)]
struct HttpMainConf {
    /// The SSL settings of `http` itself. While nginx merges servers, its context leads to theirs.
    http_sscf: Cell<Option<*mut ngx_http_ssl_srv_conf_t>>,
    listeners: OnceCell<Listeners>,
    sharing: RefCell<Sharing>,
}

fn own_index() -> usize {
    // SAFETY: nginx sets the index before it creates any configuration.
    unsafe { NGX_HTTP_ACME_DNS_MODULE.ctx_index }
}

impl<'a> HttpCtx<'a> {
    fn main_conf(self) -> &'a HttpMainConf {
        // SAFETY: `create_main_conf` made it.
        unsafe { self.main_conf_of(own_index()) }
    }

    fn srv_conf(self) -> &'a SrvConf {
        // SAFETY: `create_srv_conf` made it.
        unsafe { self.srv_conf_of(own_index()) }
    }
}

callback! {
    fn create_main_conf(cf: Parser) -> *mut c_void {
        to_c(cf.pool().boxed(HttpMainConf::default()))
    } ?= ptr::null_mut()
}

callback! {
    /// Registers the variables, and notes the SSL settings of `http`.
    fn preconfiguration(cf: Parser) -> ngx_int_t {
        // SAFETY: nginx calls this inside `http`.
        let ctx = unsafe { HttpCtx::of(&cf) };
        ctx.main_conf().http_sscf.set(Some(ctx.http_sscf()));
        let add = |name, data| {
            // SAFETY: the parser is inside `http`, the name a string of its pool.
            let variable = unsafe { ngx_http_add_variable(cf.as_ptr(), name, 0) };
            // SAFETY: null, or a variable of the configuration.
            let variable = unsafe { variable.as_mut() }?;
            variable.get_handler = Some(get_variable);
            variable.data = data;
            Some(())
        };
        variables::register(cf.pool(), add).map_or(ERROR, |()| OK)
    } ?= ERROR
}

callback! {
    fn get_variable(
        request: *mut ngx_http_request_t,
        value: *mut ngx_http_variable_value_t,
        data: usize,
    ) -> ngx_int_t {
        // SAFETY: nginx gives a live request.
        let request = unsafe { &*request };
        // SAFETY: `create_srv_conf` made it.
        let srv_conf = unsafe { conf_at::<SrvConf>(request.srv_conf, own_index()) };
        let served = (srv_conf.served.get(), request.connection.cast_const());
        // SAFETY: the pool of a live request.
        let pool = unsafe { NgxPool::new(request.pool) };
        // SAFETY: the value is nginx's; the certificates belong to the server of the request, whose connection is
        // live, and a process has one thread that answers.
        unsafe { variables::fill(value, data, served, pool) }
    } ?= ERROR
}

callback! {
    /// Makes the configuration of a location, or of the block above.
    fn create_loc_conf(cf: Parser) -> *mut c_void {
        to_c(cf.pool().boxed(StatusConf::default()))
    } ?= ptr::null_mut()
}

callback! {
    /// Reads `acme_dns_status`.
    fn set_status(
        cf: Parser,
        _command: *mut ngx_command_t,
        conf: ConfRef<StatusConf>,
    ) -> *mut c_char {
        cf.read(|_, args| {
            let shown = Shown::parse(args)?;
            if conf.shown.replace(Some(shown)).is_some() {
                return Err(duplicate("acme_dns_status"));
            }
            if let Some(mut core) = core_conf(cf.cycle()) {
                core.status.get_or_insert_with(|| cf.location());
                core.takes_requests |= shown.takes_requests;
            }
            // SAFETY: nginx reads the directive inside `http`.
            let context = unsafe { HttpCtx::of(&cf) };
            // SAFETY: its core module has an entry for each location.
            let location = unsafe { context.location_conf() };
            // SAFETY: that entry, which nothing else refers to while nginx calls us.
            unsafe { (*location).handler = Some(show_status) };
            Ok(())
        })
    } ?= CONF_ERROR
}

callback! {
    /// Responds with the status.
    fn show_status(request: *mut ngx_http_request_t) -> ngx_int_t {
        // SAFETY: nginx gives a live request to a content handler.
        match unsafe { status_request(request) } {
            Some((request, shown)) => request.respond(shown, Some(take_form)),
            None => ERROR,
        }
    } ?= ERROR
}

callback! {
    /// Takes the form of a request for the status, once its body is there.
    fn take_form(request: *mut ngx_http_request_t) {
        let end = guard(ERROR, || {
            // SAFETY: nginx gives the live request whose body it has read.
            match unsafe { status_request(request) } {
                Some((request, shown)) => request.take_form(shown),
                None => ERROR,
            }
        });
        // SAFETY: as above; nothing refers to it any more.
        unsafe { ngx_http_finalize_request(request, end) };
    } ?= ()
}

/// Finds what belongs to a request for the status.
///
/// # Safety
/// The request is live, in a location of the cycle in force, and nothing else refers to it.
unsafe fn status_request<'a>(
    request: *mut ngx_http_request_t,
) -> Option<(StatusRequest<'a>, Shown)> {
    // SAFETY: by this function's contract.
    let request = unsafe { &mut *request };
    // SAFETY: `create_loc_conf` made it.
    let conf = unsafe { conf_at::<StatusConf>(request.loc_conf, own_index()) };
    // SAFETY: nginx sets the index before it creates any configuration.
    let core = unsafe { ngx_http_core_module.ctx_index };
    // SAFETY: nginx's core module made it.
    let location = unsafe { conf_at::<ngx_http_core_loc_conf_t>(request.loc_conf, core) };
    // SAFETY: nginx's main thread, which loads no configuration meanwhile.
    let cycle = unsafe { Cycle::current() };
    // SAFETY: as above.
    let status = unsafe { StatusRequest::new(request, location, cycle) };
    Some((status, conf.shown.get()?))
}

callback! {
    /// Merges the configuration of each server, before the SSL module does.
    fn merge_srv_conf(
        cf: Parser,
        parent: ConfRef<SrvConf>,
        child: ConfRef<SrvConf>,
    ) -> *mut c_char {
        // SAFETY: nginx merges inside `http`.
        let ctx = unsafe { HttpCtx::of(&cf) };
        merge(&cf, &parent, &child, &HttpServer { cf: &cf, ctx })
    } ?= CONF_ERROR
}

callback! {
    /// Lends contexts, when all servers have been merged and before the SSL module looks at them.
    fn postconfiguration(cf: Parser) -> ngx_int_t {
        // SAFETY: nginx calls this inside `http`.
        let ctx = unsafe { HttpCtx::of(&cf) };
        // SAFETY: this is the moment.
        unsafe { ctx.main_conf().sharing.take().lend() };
        OK
    } ?= ERROR
}

/// Server of `http` that is being merged.
struct HttpServer<'a> {
    cf: &'a Parser,
    ctx: HttpCtx<'a>,
}

impl HttpServer<'_> {
    fn listeners(&self) -> &Listeners {
        self.ctx.main_conf().listeners.get_or_init(|| Listeners::of(self.ctx.http_cmcf()))
    }
}

impl MergedServer for HttpServer<'_> {
    fn describe(&self) -> Result<ServerBlock, String> {
        let cscf = self.ctx.http_cscf();
        let http_sscf = self.ctx.main_conf().http_sscf.get();
        let speaks_tls = self.listeners().tls.contains(&ptr::from_ref(cscf));
        Ok(ServerBlock {
            kind: "HTTP",
            ssl: ssl(self.ctx.http_sscf()),
            parent_ssl: http_sscf.map(ssl),
            names: names(cscf),
            location: location(cscf),
            inherits: speaks_tls && !self.ctx.rejects_handshakes(http_sscf),
        })
    }

    fn default_server(&self) -> Option<Location> {
        let http_sscf = self.ctx.main_conf().http_sscf.get();
        default_server(self.ctx.http_cmcf(), self.ctx.http_cscf(), http_sscf)
    }

    fn choose_context(&self) -> ServedBy {
        let main_conf = self.ctx.main_conf();
        let is_default = self.listeners().default.contains(&ptr::from_ref(self.ctx.http_cscf()));
        let Some(http_sscf) = main_conf.http_sscf.get().filter(|_| !is_default) else {
            return ServedBy::OwnContext { compresses: false };
        };
        // SAFETY: the SSL module's settings of `http`, which live as long as the cycle.
        let http_sscf = unsafe { &*http_sscf };
        let mut sharing = main_conf.sharing.borrow_mut();
        // SAFETY: those of the server that nginx is merging.
        unsafe { sharing.choose(self.cf.cycle(), self.ctx.http_sscf(), http_sscf, CALLBACKS) }
    }
}

/// Finds the SSL settings of a cycle that is being configured.
fn ssl(sscf: *mut ngx_http_ssl_srv_conf_t) -> SslSettings {
    // SAFETY: the SSL module made it, and nothing else refers to it while nginx calls us.
    let sscf = unsafe { &mut *sscf };
    #[cfg(ngx_certificate_compression)]
    let compression = &raw mut sscf.certificate_compression;
    #[cfg(not(ngx_certificate_compression))]
    let compression = ptr::null_mut();
    ssl_settings!(sscf, &raw const sscf.stapling, compression)
}

/// The callbacks of a context that several servers use.
const CALLBACKS: Callbacks =
    Callbacks { certificate: certificate_callback, status: status_callback };

callback! {
    /// Serves the certificate of whichever server the client has named.
    fn certificate_callback(handshake: Handshake, _data: *mut c_void) -> c_int {
        with_named_server(&handshake, |it| it.of(&handshake).serve(&handshake)).unwrap_or(FAIL)
    } ?= FAIL
}

callback! {
    /// Gives the staple of the certificate of whichever server the client has named.
    fn status_callback(handshake: Handshake, _data: *mut c_void) -> c_int {
        let given = with_named_server(&handshake, |it| it.of(&handshake).give_staple(&handshake));
        given.unwrap_or(NO_STAPLE)
    } ?= NO_STAPLE
}

/// Finds the certificates of the server that nginx has chosen for a connection of `http`.
fn with_named_server<T>(handshake: &Handshake, action: impl FnOnce(&mut Served) -> T) -> Option<T> {
    // SAFETY: nginx sets the index when it starts.
    let index = unsafe { ngx_ssl_connection_index };
    // SAFETY: nginx has the connection at this index.
    let connection = unsafe { SSL_get_ex_data(handshake.as_ptr(), index) };
    // SAFETY: as above.
    let connection = unsafe { connection.cast::<ngx_connection_t>().as_ref() }?;
    // SAFETY: a connection with an `SSL` has this structure.
    if unsafe { connection.ssl.as_ref() }?.handshaked() == 1 {
        // The data may be a request now.
        return None;
    }
    // SAFETY: until the end of the handshake the data is this structure.
    let http = unsafe { connection.data.cast::<ngx_http_connection_t>().as_ref() }?;
    // SAFETY: the context of a server lives as long as its cycle.
    let ctx = unsafe { http.conf_ctx.as_ref() }?;
    // SAFETY: as above.
    let ctx = unsafe { HttpCtx::new(ctx) };
    let mut served = ctx.srv_conf().served.get()?;
    // SAFETY: it belongs to the cycle's pool, and a process has one thread that handshakes.
    Some(action(unsafe { served.as_mut() }))
}
