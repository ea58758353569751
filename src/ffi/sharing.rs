//! Contexts that several servers of `http` share, because their TLS settings are the same. The callbacks of such a
//! context are in `http_module`.
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

use super::bound::ServedBy;
use super::cycle::Cycle;
use super::openssl::Callbacks;
use ngx::ffi::{
    NGX_HTTP_MODULE, ngx_flag_t, ngx_http_module_t, ngx_http_ssl_srv_conf_t, ngx_module_t,
    ngx_str_t, ngx_uint_t,
};
use std::collections::HashMap;
use std::ffi::CStr;
use std::mem::offset_of;

type SslConf = ngx_http_ssl_srv_conf_t;

/// Number of servers with the same settings that have a context each before others share one: so few cannot be
/// felt, and a context keeps its certificate for the next handshake.
const OWN: usize = 64;

/// Settings that are texts, by their places in the structure.
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

/// SSL settings of a server as they stand in its block, to be compared. Those that are not there are inherited, by
/// all servers from the same level.
#[derive(Eq, Hash, PartialEq)]
struct SslKey {
    /// The structure without its texts. What else is pointed to is the same only if it is one thing.
    bytes: [u8; size_of::<SslConf>()],
    texts: [Option<Vec<u8>>; TEXTS.len()],
}

impl SslKey {
    fn of(sscf: &SslConf) -> Self {
        let start = (&raw const *sscf).cast::<u8>();
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

/// Lenders and borrowers of contexts.
#[derive(Default)]
pub(super) struct Sharing {
    /// Set if another module may rely on a context for each server; `None`: not looked yet.
    is_forbidden: Option<bool>,
    groups: HashMap<SslKey, Lending>,
    /// Each with its lender.
    borrowers: Vec<(*mut SslConf, *const SslConf)>,
}

/// State of the servers with the same settings.
#[derive(Default)]
struct Lending {
    own: usize,
    lender: Option<*const SslConf>,
}

impl Sharing {
    /// Chooses the context of a server that is not the default one of any address. `lent` are the callbacks
    /// of a context that others use too.
    ///
    /// # Safety
    /// `sscf` are the settings of a server of the cycle, which nginx is merging.
    pub(super) unsafe fn choose(
        &mut self,
        cycle: Cycle<'_>,
        sscf: *mut SslConf,
        http_sscf: &SslConf,
        lent: Callbacks,
    ) -> ServedBy {
        const OWN_CONTEXT: ServedBy = ServedBy::OwnContext { compresses: false };
        let is_forbidden =
            *self.is_forbidden.get_or_insert_with(|| cycle.modules().any(has_server_settings));
        // SAFETY: by this function's contract; nothing changes them meanwhile.
        let settings = unsafe { &*sscf };
        if is_forbidden || !is_like_others(settings, http_sscf) {
            return OWN_CONTEXT;
        }
        let lending = self.groups.entry(SslKey::of(settings)).or_default();
        if lending.own < OWN {
            lending.own += 1;
            return OWN_CONTEXT;
        }
        match lending.lender {
            Some(lender) => {
                self.borrowers.push((sscf, lender));
                ServedBy::BorrowedContext
            }
            None => {
                lending.lender = Some(sscf);
                ServedBy::LentContext(lent)
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

/// Tells whether nothing in the context of a server may differ from those of others with its settings.
fn is_like_others(sscf: &SslConf, http_sscf: &SslConf) -> bool {
    let number = |own: ngx_uint_t, inherited: ngx_uint_t| {
        [own, inherited].into_iter().find(|value| *value != ngx_uint_t::MAX).unwrap_or(0)
    };
    let flag = |own: ngx_flag_t, inherited: ngx_flag_t| {
        [own, inherited].into_iter().find(|value| *value >= 0).unwrap_or(0)
    };
    #[cfg(ngx_ssl_directive)]
    let is_on = flag(sscf.enable, http_sscf.enable) != 0;
    #[cfg(not(ngx_ssl_directive))]
    let is_on = false;
    // With `ssl on` nginx does without no list of certificates.
    !is_on
        && number(sscf.verify, http_sscf.verify) == 0
        && number(sscf.ocsp, http_sscf.ocsp) == 0
        && flag(sscf.reject_handshake, http_sscf.reject_handshake) == 0
}
