//! Many servers of `http` whose TLS settings are the same use one `SSL_CTX`.
//!
//! A context takes OpenSSL a tenth of a millisecond and some 16 KB, which thousands of servers can feel.
//! nginx turns to the context of a server once a client has named it (`ngx_http_ssl_servername`), and
//! of what is in a context with our callback only the certificate belongs to a single server. So when
//! [`OWN`] servers have had a context each, the next one with the same settings lends its own to all that
//! follow, and the callback asks the connection for its server.
//!
//! A context of its own has always:
//! - a default server: connections begin with it, and their sessions and ticket keys are in it;
//! - a server that asks clients for certificates, or that rejects handshakes;
//! - a server that compresses its certificate: OpenSSL keeps what it has compressed in the context;
//! - every server beside a module that is not nginx's and has settings of servers: Lua's wants to find a
//!   context where it merges them, others hang data of a server on its context, such as those for
//!   Certificate Transparency.

use super::catch::guard;
use super::certificate::{Binding, FAIL, NO_STAPLE};
use super::http_module;
use super::nginx::modules;
use super::server::Context;
use ngx::ffi::{
    NGX_HTTP_MODULE, SSL, SSL_get_ex_data, ngx_connection_t, ngx_cycle_t, ngx_flag_t,
    ngx_http_connection_t, ngx_http_module_t, ngx_http_ssl_srv_conf_t, ngx_module_t,
    ngx_ssl_connection_index, ngx_str_t, ngx_uint_t,
};
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;

type SslConf = ngx_http_ssl_srv_conf_t;

/// How many servers with the same settings have a context each before others share one: so few cannot be
/// felt, and a context keeps its certificate for the next handshake.
const OWN: usize = 64;

/// The settings that are texts, by their places in the structure.
const TEXTS: [usize; 9] = [
    offset_of!(SslConf, ciphers),
    offset_of!(SslConf, client_certificate),
    offset_of!(SslConf, crl),
    offset_of!(SslConf, dhparam),
    offset_of!(SslConf, ecdh_curve),
    offset_of!(SslConf, ocsp_responder),
    offset_of!(SslConf, stapling_file),
    offset_of!(SslConf, stapling_responder),
    offset_of!(SslConf, trusted_certificate),
];

/// The TLS settings of a server as they stand in its block. Those that are not there are inherited, by
/// all servers from the same level.
#[derive(Eq, Hash, PartialEq)]
struct Settings {
    /// The structure without its texts. What else is pointed to is the same only if it is one thing.
    bytes: [u8; size_of::<SslConf>()],
    texts: [Option<Vec<u8>>; TEXTS.len()],
}

impl Settings {
    fn of(server: &SslConf) -> Self {
        let start = (&raw const *server).cast::<u8>();
        let mut bytes = [0; size_of::<SslConf>()];
        // SAFETY: the structure has this size, and nginx has it from memory that it has set to zero.
        unsafe { start.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        let texts = TEXTS.map(|place| {
            // SAFETY: in the structure.
            let text = unsafe { start.add(place) }.cast::<ngx_str_t>();
            // SAFETY: this is the place of a string.
            let text = unsafe { text.read() };
            let pointer = place + offset_of!(ngx_str_t, data);
            bytes.iter_mut().skip(pointer).take(size_of::<*mut u8>()).for_each(|byte| *byte = 0);
            (!text.data.is_null()).then(|| text.as_bytes().to_vec())
        });
        Self { bytes, texts }
    }
}

/// nginx's own modules with settings of servers, and ours.
const KNOWN: [&CStr; 5] = [
    c"ngx_http_core_module",
    c"ngx_http_ssl_module",
    c"ngx_http_v2_module",
    c"ngx_http_v3_module",
    c"ngx_http_acme_dns_module",
];

/// Who lends a context, and who borrows it.
#[derive(Default)]
pub(super) struct Sharing {
    /// Set if another module may rely on a context for each server; `None`: not looked yet.
    is_forbidden: Option<bool>,
    groups: HashMap<Settings, Group>,
    /// Each with its lender.
    borrowers: Vec<(*mut SslConf, *const SslConf)>,
}

/// Servers with the same settings.
#[derive(Default)]
struct Group {
    own: usize,
    lender: Option<*const SslConf>,
}

impl Sharing {
    /// Whose context a server that is not the default one of any address is to have. `level` are the
    /// settings of `http`.
    ///
    /// # Safety
    /// The cycle is live and is being configured.
    pub(super) unsafe fn context(
        &mut self,
        cycle: *const ngx_cycle_t,
        server: &mut SslConf,
        level: &SslConf,
    ) -> Context {
        let is_forbidden = *self.is_forbidden.get_or_insert_with(|| {
            // SAFETY: by this function's contract.
            unsafe { modules(cycle) }.any(has_server_settings)
        });
        if is_forbidden || !is_like_others(server, level) {
            return Context::Own;
        }
        let group = self.groups.entry(Settings::of(server)).or_default();
        if group.own < OWN {
            group.own += 1;
            return Context::Own;
        }
        match group.lender {
            Some(lender) => {
                self.borrowers.push((server, lender));
                Context::Borrowed
            }
            None => {
                group.lender = Some(server);
                Context::Lent
            }
        }
    }

    /// Gives the borrowers their contexts, which the lenders now have.
    ///
    /// # Safety
    /// All servers have been merged, and the SSL module has not yet looked at them as a whole.
    pub(super) unsafe fn lend(self) {
        for (borrower, lender) in self.borrowers {
            // SAFETY: the structure belongs to the cycle's pool; nothing else refers to it now.
            let borrower = unsafe { &mut *borrower };
            // SAFETY: as above; the two are different structures.
            let lender = unsafe { &*lender };
            // The lender's pool frees it, which is the borrower's too.
            borrower.ssl.ctx = lender.ssl.ctx;
            borrower.ssl.buffer_size = lender.ssl.buffer_size;
            borrower.certificates = lender.certificates;
            borrower.certificate_keys = lender.certificate_keys;
        }
    }
}

/// Tells whether a module has settings of servers and is not known: it may have put them into a context.
fn has_server_settings(module: &ngx_module_t) -> bool {
    if module.type_ != NGX_HTTP_MODULE as usize {
        return false;
    }
    // SAFETY: a module of this type has this structure.
    let Some(http) = (unsafe { module.ctx.cast::<ngx_http_module_t>().as_ref() }) else {
        return false;
    };
    // SAFETY: the name of a module is a string that ends in NUL.
    let name = unsafe { CStr::from_ptr(module.name) };
    http.merge_srv_conf.is_some() && !KNOWN.contains(&name)
}

/// Whether nothing in the context of a server may differ from those of others with its settings.
fn is_like_others(server: &SslConf, level: &SslConf) -> bool {
    let number = |own: ngx_uint_t, inherited: ngx_uint_t| {
        [own, inherited].into_iter().find(|value| *value != ngx_uint_t::MAX).unwrap_or(0)
    };
    let flag = |own: ngx_flag_t, inherited: ngx_flag_t| {
        [own, inherited].into_iter().find(|value| *value >= 0).unwrap_or(0)
    };
    #[cfg(ngx_ssl_directive)]
    let is_on = flag(server.enable, level.enable) != 0;
    #[cfg(not(ngx_ssl_directive))]
    let is_on = false;
    // With `ssl on` nginx does without no list of certificates.
    !is_on
        && number(server.verify, level.verify) == 0
        && number(server.ocsp, level.ocsp) == 0
        && flag(server.reject_handshake, level.reject_handshake) == 0
}

/// As [`Binding::serve`], for whichever server the client has named.
///
/// # Safety
/// `ssl` is a live connection of nginx's http; a process has one thread that handshakes.
pub(super) unsafe extern "C" fn certificate_callback(ssl: *mut SSL, _: *mut c_void) -> c_int {
    guard(FAIL, || {
        // SAFETY: by this function's contract.
        unsafe { binding_of(ssl) }.map_or(FAIL, |binding| binding.serve(ssl))
    })
}

/// As [`Binding::give_staple`], for whichever server the client has named.
///
/// # Safety
/// As for [`certificate_callback`].
pub(super) unsafe extern "C" fn status_callback(ssl: *mut SSL, _: *mut c_void) -> c_int {
    guard(NO_STAPLE, || {
        // SAFETY: by this function's contract.
        unsafe { binding_of(ssl) }.map_or(NO_STAPLE, |binding| binding.give_staple(ssl))
    })
}

/// What the server has that nginx has chosen for a connection.
///
/// # Safety
/// As for [`certificate_callback`].
unsafe fn binding_of<'a>(ssl: *const SSL) -> Option<&'a mut Binding> {
    // SAFETY: nginx sets the index when it starts.
    let index = unsafe { ngx_ssl_connection_index };
    // SAFETY: nginx has the connection at this index.
    let connection = unsafe { SSL_get_ex_data(ssl, index) };
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
    let context = unsafe { http.conf_ctx.as_ref() }?;
    // SAFETY: nginx gives the contexts of servers; what is kept for one is only read here.
    let server = unsafe { http_module::server(context) };
    // SAFETY: the binding belongs to the cycle's pool; by this function's contract nothing else refers to it.
    unsafe { server.binding?.as_mut() }
}
