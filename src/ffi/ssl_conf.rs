//! The SSL settings of a server or of the block above it, in whichever module's structure they are
//! (`http_sscf` and its like): what is read there, and the few fields that are set so that nginx builds a context
//! without a certificate.
//!
//! Decisions that follow from them are in `server`.

use super::nginx::{elements, text};
use super::openssl::SslCtx;
use super::pool::NgxPool;
use ngx::ffi::{ngx_array_t, ngx_flag_t, ngx_keyval_t, ngx_ssl_t, ngx_str_t};

/// Variable that holds a certificate, for those who write `ssl_certificate` themselves.
pub(super) const CERTIFICATE_VARIABLE: &str = "acme_dns_certificate";

/// Commands of `ssl_conf_command` that would give a server a certificate (SSL_CONF_cmd(3)).
const CERTIFICATE_COMMANDS: [&str; 2] = ["Certificate", "PrivateKey"];

/// SSL settings of a cycle that is being configured, by their places.
#[derive(Clone, Copy)]
pub(super) struct SslSettings {
    pub(super) certificates: *mut *mut ngx_array_t,
    pub(super) certificate_keys: *mut *mut ngx_array_t,
    /// `ssl_conf_command`
    pub(super) commands: *const *mut ngx_array_t,
    pub(super) ssl: *const ngx_ssl_t,
    /// `ssl_stapling`; null where the module has no such directive.
    pub(super) stapling: *const ngx_flag_t,
    /// `ssl_certificate_compression`; null where the module has no such directive.
    pub(super) compression: *mut ngx_flag_t,
}

/// Finds the SSL settings in a structure with the names that all modules use for them.
macro_rules! ssl_settings {
    ($conf:expr, $stapling:expr, $compression:expr) => {{
        let conf = &mut *$conf;
        $crate::ffi::ssl_conf::SslSettings {
            certificates: &raw mut conf.certificates,
            certificate_keys: &raw mut conf.certificate_keys,
            commands: &raw const conf.conf_commands,
            ssl: &raw const conf.ssl,
            stapling: $stapling,
            compression: $compression,
        }
    }};
}
pub(super) use ssl_settings;

impl SslSettings {
    fn certificates(&self) -> *const ngx_array_t {
        // SAFETY: a field of the cycle's structure, which nginx sets and reads in this thread only.
        unsafe { *self.certificates }
    }

    fn keys(&self) -> *const ngx_array_t {
        // SAFETY: as above.
        unsafe { *self.certificate_keys }
    }

    /// Tells whether `ssl_certificate` is given here.
    pub(super) fn has_certificates(&self) -> bool {
        !is_unset(self.certificates())
    }

    /// Tells whether `ssl_certificate_key` is given here.
    pub(super) fn has_keys(&self) -> bool {
        !is_unset(self.keys())
    }

    /// Tells whether the certificate is taken from our variables.
    pub(super) fn uses_variable(&self) -> bool {
        let lists = [self.certificates(), self.keys()];
        let lists = lists.into_iter().filter(|list| !is_unset(*list));
        // SAFETY: lists of strings of the pool.
        let mut words = lists.flat_map(|list| unsafe { elements::<ngx_str_t>(list) });
        // SAFETY: as above.
        words.any(|word| unsafe { text(*word) }.is_some_and(is_variable))
    }

    /// Gives the commands for OpenSSL that name a certificate or a key; `None` if no command is given here.
    pub(super) fn certificate_commands(&self) -> Option<Vec<String>> {
        // SAFETY: as in `certificates`.
        let commands = unsafe { *self.commands };
        if is_unset(commands) {
            return None;
        }
        // SAFETY: null, or a list of the pool.
        let commands = unsafe { elements::<ngx_keyval_t>(commands) };
        // OpenSSL does not look at the case.
        let is_ours =
            |name: &&str| CERTIFICATE_COMMANDS.iter().any(|c| c.eq_ignore_ascii_case(name));
        // SAFETY: as above.
        let names = commands.iter().filter_map(|command| unsafe { text(command.key) });
        Some(names.filter(is_ours).map(str::to_owned).collect())
    }

    /// Gives the context that nginx has built; `None` for a server that does not speak TLS.
    pub(super) fn context(&self) -> Option<SslCtx> {
        // SAFETY: as in `certificates`.
        let context = unsafe { (*self.ssl).ctx };
        // SAFETY: null, or a context of the cycle, which outlives all that is kept of these settings.
        unsafe { SslCtx::new(context) }
    }

    /// Tells whether certificates are to be compressed; `None` if it is not said here.
    pub(super) fn compresses(&self) -> Option<bool> {
        // SAFETY: null, or as in `certificates`.
        let value = unsafe { self.compression.as_ref() };
        value.filter(|value| **value >= 0).map(|value| *value == 1)
    }

    /// Turns compression off for nginx, which would look for the certificates now, and warn that there are none.
    pub(super) fn take_compression(&self) {
        // SAFETY: null, or as in `certificates`.
        if let Some(value) = unsafe { self.compression.as_mut() } {
            *value = 0;
        }
    }

    /// Tells whether staples are to be sent.
    pub(super) fn wants_staple(&self) -> bool {
        // SAFETY: null, or as in `certificates`.
        let stapling = unsafe { self.stapling.as_ref() };
        stapling == Some(&1)
    }

    /// Has nginx build a context without a certificate. `None`: out of memory.
    pub(super) fn set_no_certificates(&self, pool: NgxPool<'_>) -> Option<()> {
        self.set_lists(pool.empty_array::<ngx_str_t>()?);
        Some(())
    }

    /// Has nginx build no context.
    pub(super) fn set_no_context(&self) {
        self.set_lists(std::ptr::null_mut());
    }

    fn set_lists(&self, list: *mut ngx_array_t) {
        // SAFETY: as in `certificates`.
        unsafe { *self.certificates = list };
        // SAFETY: as above.
        unsafe { *self.certificate_keys = list };
    }
}

/// Tells whether nginx has `NGX_CONF_UNSET_PTR` here.
fn is_unset(array: *const ngx_array_t) -> bool {
    array.addr() == usize::MAX
}

fn is_variable(text: &str) -> bool {
    text.contains(&format!("${CERTIFICATE_VARIABLE}"))
        || text.contains(&format!("${{{CERTIFICATE_VARIABLE}"))
}
