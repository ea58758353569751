//! nginx's own configuration of `http` and of a server in it, by nginx's names: `cmcf` and `cscf` of the core
//! module, `sscf` of the SSL module. What this module keeps there is in `http_module`.

use super::module_ctx::{conf_at, conf_ptr_at};
use super::nginx::{elements, lossy_text, place};
use super::parser::Parser;
use acme_dns_core::config::Location;
use ngx::ffi::{
    ngx_http_conf_addr_t, ngx_http_conf_ctx_t, ngx_http_conf_port_t, ngx_http_core_loc_conf_t,
    ngx_http_core_main_conf_t, ngx_http_core_module, ngx_http_core_srv_conf_t,
    ngx_http_server_name_t, ngx_http_ssl_module, ngx_http_ssl_srv_conf_t,
};
use std::collections::HashSet;
use std::ptr;

/// Context of `http`, or of a server in it.
#[derive(Clone, Copy)]
pub(super) struct HttpCtx<'a>(&'a ngx_http_conf_ctx_t);

impl<'a> HttpCtx<'a> {
    /// # Safety
    /// nginx has made the context, for a cycle that is live.
    pub(super) unsafe fn new(ctx: &'a ngx_http_conf_ctx_t) -> Self {
        Self(ctx)
    }

    /// Gives the context that a parser is in.
    ///
    /// # Safety
    /// The parser is inside `http`.
    pub(super) unsafe fn of(cf: &'a Parser) -> Self {
        // SAFETY: by this function's contract the context is this structure, and lives as long as the cycle.
        Self(unsafe { &*cf.ctx().cast::<ngx_http_conf_ctx_t>() })
    }

    /// Gives what a module keeps for the `http` block.
    ///
    /// # Safety
    /// `index` is that of a module of `http`, which keeps a `T` there.
    pub(super) unsafe fn main_conf_of<T>(self, index: usize) -> &'a T {
        // SAFETY: the context is nginx's; the rest is this function's contract.
        unsafe { conf_at(self.0.main_conf, index) }
    }

    /// Gives what nginx's core module keeps for the location, to be changed while it is configured.
    pub(super) unsafe fn location_conf(self) -> *mut ngx_http_core_loc_conf_t {
        // SAFETY: nginx sets the index before it creates any configuration.
        let index = unsafe { ngx_http_core_module.ctx_index };
        // SAFETY: the context is nginx's, and its core module has an entry for each location.
        unsafe { conf_ptr_at(self.0.loc_conf, index) }
    }

    /// Gives what a module keeps for the server.
    ///
    /// # Safety
    /// As for [`Self::main_conf_of`].
    pub(super) unsafe fn srv_conf_of<T>(self, index: usize) -> &'a T {
        // SAFETY: the context is nginx's; the rest is this function's contract.
        unsafe { conf_at(self.0.srv_conf, index) }
    }

    pub(super) fn http_cmcf(self) -> &'a ngx_http_core_main_conf_t {
        // SAFETY: nginx's core module made it.
        unsafe { self.main_conf_of(core_index()) }
    }

    pub(super) fn http_cscf(self) -> &'a ngx_http_core_srv_conf_t {
        // SAFETY: nginx's core module made it.
        unsafe { self.srv_conf_of(core_index()) }
    }

    pub(super) fn http_sscf(self) -> *mut ngx_http_ssl_srv_conf_t {
        // SAFETY: nginx's SSL module made it.
        unsafe { conf_ptr_at(self.0.srv_conf, ssl_index()) }
    }

    /// Tells whether the server rejects handshakes, as it says itself or inherits from `http_sscf`.
    pub(super) fn rejects_handshakes(
        self,
        http_sscf: Option<*mut ngx_http_ssl_srv_conf_t>,
    ) -> bool {
        let settings = std::iter::once(self.http_sscf()).chain(http_sscf);
        // SAFETY: both live as long as the cycle.
        let mut values = settings.map(|settings| unsafe { (*settings).reject_handshake });
        values.find(|value| *value >= 0) == Some(1)
    }
}

fn core_index() -> usize {
    // SAFETY: nginx sets the index before it creates any configuration.
    unsafe { ngx_http_core_module.ctx_index }
}

fn ssl_index() -> usize {
    // SAFETY: as above.
    unsafe { ngx_http_ssl_module.ctx_index }
}

/// Reads the names of a server; a regular expression begins with `~`.
pub(super) fn names(cscf: &ngx_http_core_srv_conf_t) -> Vec<String> {
    // SAFETY: the core module keeps the names in this array.
    let list = unsafe { elements::<ngx_http_server_name_t>(&raw const cscf.server_names) };
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

/// Tells whether a name is a regular expression, which an nginx without PCRE does not know.
#[cfg_attr(not(ngx_pcre), allow(unused_variables, reason = "see above"))]
fn is_regex(name: &ngx_http_server_name_t) -> bool {
    #[cfg(ngx_pcre)]
    return !name.regex.is_null();
    #[cfg(not(ngx_pcre))]
    false
}

/// Reads the place of a server's block.
pub(super) fn location(cscf: &ngx_http_core_srv_conf_t) -> Location {
    // SAFETY: the name of the file is a string of the pool that ends in NUL.
    unsafe { place(cscf.file_name, cscf.line) }
}

/// Servers by what the `listen` directives say of them.
pub(super) struct Listeners {
    /// Servers that a `listen ... ssl` or `quic` leads to.
    pub(super) tls: HashSet<*const ngx_http_core_srv_conf_t>,
    /// Servers that an address has for connections that name none.
    pub(super) default: HashSet<*const ngx_http_core_srv_conf_t>,
}

impl Listeners {
    /// Looks at all `listen` directives, which have been read.
    pub(super) fn of(cmcf: &ngx_http_core_main_conf_t) -> Self {
        let mut found = Self { tls: HashSet::new(), default: HashSet::new() };
        for address in addresses(cmcf) {
            found.default.insert(address.default_server);
            if is_tls(address) {
                found.tls.extend(servers(address));
            }
        }
        found
    }
}

/// Finds the default server that clients of a server get the certificate of if it has none, the first of
/// several; `None` if it is one itself, or if one rejects handshakes: nginx then wants a certificate.
pub(super) fn default_server(
    cmcf: &ngx_http_core_main_conf_t,
    server: &ngx_http_core_srv_conf_t,
    http_sscf: Option<*mut ngx_http_ssl_srv_conf_t>,
) -> Option<Location> {
    let mut found = None;
    for address in addresses(cmcf).filter(|address| is_tls(address)) {
        if !servers(address).contains(&ptr::from_ref(server)) {
            continue;
        }
        // SAFETY: nginx gives every address a server, which lives as long as the cycle.
        let default = unsafe { &*address.default_server };
        // SAFETY: a server has a context, which lives as long as it.
        let ctx = unsafe { &*default.ctx };
        // SAFETY: as above.
        let ctx = unsafe { HttpCtx::new(ctx) };
        if ptr::eq(default, server) || ctx.rejects_handshakes(http_sscf) {
            return None;
        }
        found.get_or_insert_with(|| location(default));
    }
    found
}

fn addresses(cmcf: &ngx_http_core_main_conf_t) -> impl Iterator<Item = &ngx_http_conf_addr_t> {
    // SAFETY: null, or the core module's array of ports.
    let ports = unsafe { elements::<ngx_http_conf_port_t>(cmcf.ports) };
    // SAFETY: a port's array of addresses.
    ports.iter().flat_map(|port| unsafe { elements(&raw const port.addrs) })
}

fn servers(address: &ngx_http_conf_addr_t) -> &[*const ngx_http_core_srv_conf_t] {
    // SAFETY: an address's array of servers.
    unsafe { elements(&raw const address.servers) }
}

fn is_tls(address: &ngx_http_conf_addr_t) -> bool {
    #[cfg(ngx_http_v3)]
    if address.opt.quic() == 1 {
        return true;
    }
    address.opt.ssl() == 1
}
