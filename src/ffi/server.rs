//! What the http, the stream and the mail module have in common: they bind servers to certificates.
//!
//! A server that gets one of our certificates is given an empty list of certificates, so that nginx
//! builds its `SSL_CTX` without loading anything; servers of `http` may use the one of another
//! ([`sharing`]). When all of nginx.conf has been read, each such context gets our callback
//! ([`Bound::install`]), and a session id context: nginx makes that of the certificates that it has
//! loaded, and there are none.

use super::catch::guard;
use super::certificate::{Binding, certificate_callback, status_callback};
use super::conf::core_conf;
use super::nginx::{CONF_ERROR, CONF_OK, Conf, array_of_none, elements, pool_box, text};
use super::owner::set_owner;
use super::session::set_session_context;
use super::sharing;
use acme_dns_core::config::Location;
use acme_dns_core::config::binding::{Request, Wanted};
use acme_dns_core::config::draft::{BindingId, Draft};
use acme_dns_core::config::server::{ServerNames, StandIn};
use ngx::ffi::{
    SSL, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB_ARG, SSL_CTX,
    SSL_CTX_callback_ctrl, SSL_CTX_clear_options, SSL_CTX_ctrl, SSL_CTX_get_verify_mode,
    SSL_CTX_set_cert_cb, ngx_array_t, ngx_command_t, ngx_conf_t, ngx_flag_t, ngx_keyval_t,
    ngx_ssl_t, ngx_str_t,
};
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// The variable that holds a certificate, for those who write `ssl_certificate` themselves.
pub(super) const CERTIFICATE_VARIABLE: &str = "acme_dns_certificate";

/// `SSL_OP_NO_TX_CERTIFICATE_COMPRESSION` of OpenSSL 3.2; older versions have no such option.
const NO_TX_CERTIFICATE_COMPRESSION: u64 = 1 << 32;

/// The SSL settings of a server or of a level above it, in whichever module's structure they are.
#[derive(Clone, Copy)]
pub(super) struct Ssl {
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

/// The SSL settings in a structure with the names that all modules use for them.
macro_rules! ssl_settings {
    ($conf:expr, $stapling:expr, $compression:expr) => {{
        let conf = &mut *$conf;
        $crate::ffi::server::Ssl {
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

impl Ssl {
    /// The lists of certificates and keys.
    fn lists(&self) -> [*const ngx_array_t; 2] {
        // SAFETY: the structure is one of the cycle's, which is being configured.
        let certificates = unsafe { *self.certificates };
        // SAFETY: as above.
        let keys = unsafe { *self.certificate_keys };
        [certificates, keys]
    }

    fn has_certificates(&self) -> bool {
        !is_unset(self.lists()[0])
    }

    /// Whether the certificate is taken from our variables.
    fn uses_variable(&self) -> bool {
        let lists = self.lists();
        let lists = lists.iter().filter(|list| !is_unset(**list));
        // SAFETY: lists of strings of the pool.
        let mut words = lists.flat_map(|list| unsafe { elements::<ngx_str_t>(*list) });
        // SAFETY: as above.
        words.any(|word| unsafe { text(*word) }.is_some_and(is_variable))
    }

    /// The commands for OpenSSL that name a certificate or a key; `None` if no command is given here.
    fn certificate_commands(&self) -> Option<Vec<String>> {
        // SAFETY: the structure is one of the cycle's, which is being configured.
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

    /// The context that nginx has built; `None` for a server that does not speak TLS.
    fn context(&self) -> Option<*mut SSL_CTX> {
        // SAFETY: the structure is one of the cycle's, which is being configured.
        let context = unsafe { (*self.ssl).ctx };
        (!context.is_null()).then_some(context)
    }

    /// Whether certificates are to be compressed; `None` if it is not said here.
    fn compresses(&self) -> Option<bool> {
        // SAFETY: null, or a field of one of the cycle's structures.
        let value = unsafe { self.compression.as_ref() };
        value.filter(|value| **value >= 0).map(|value| *value == 1)
    }

    /// Whether staples are to be sent.
    pub(super) fn wants_staple(&self) -> bool {
        // SAFETY: null, or a field of one of the cycle's structures.
        let stapling = unsafe { self.stapling.as_ref() };
        stapling == Some(&1)
    }
}

/// Commands of `ssl_conf_command` that would give a server a certificate (SSL_CONF_cmd(3)).
const CERTIFICATE_COMMANDS: [&str; 2] = ["Certificate", "PrivateKey"];

/// `NGX_CONF_UNSET_PTR`
fn is_unset(array: *const ngx_array_t) -> bool {
    array.addr() == usize::MAX
}

fn is_variable(text: &str) -> bool {
    text.contains(&format!("${CERTIFICATE_VARIABLE}"))
        || text.contains(&format!("${{{CERTIFICATE_VARIABLE}"))
}

/// What each of the modules keeps for a server, and for the level above.
#[derive(Default)]
pub(super) struct ServerConf {
    request: Option<(Request, Location)>,
    rejects: Option<bool>,
    pub(super) binding: Option<*mut Binding>,
}

/// Whose `SSL_CTX` a server uses.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Context {
    /// One of its own.
    Own,
    /// One of its own, which other servers use too.
    Lent,
    /// That of another server.
    Borrowed,
}

/// A server that wants a certificate.
pub(super) struct Bound {
    wanted: Wanted,
    /// What a certificate for it could hold: of no matter if that of a line is meant.
    names: ServerNames,
    /// The place of the directive.
    directive: Location,
    /// The place of the server, if the directive stands in the level above.
    heir: Option<Location>,
    /// Belongs to the cycle's pool.
    pub(super) binding: *mut Binding,
    pub(super) ssl: Ssl,
    /// Whose context our callback is in; `None` if the server's own variables serve the certificate.
    context: Option<Context>,
    /// The name of its module, as in [`Server`].
    kind: &'static str,
}

/// A server while it is merged.
pub(super) struct Server<'a> {
    /// The name of its module, which tells its sessions from those of other modules.
    pub(super) kind: &'static str,
    pub(super) ssl: Ssl,
    /// The settings of the level above, such as `http`.
    pub(super) level: Option<Ssl>,
    /// The names of `server_name`; a regular expression begins with `~`.
    pub(super) names: Vec<String>,
    /// The place of its block.
    pub(super) location: Location,
    /// Whether an `acme_dns` of the level above concerns it.
    pub(super) inherits: bool,
    /// Finds the default server whose certificate its clients get if it has none; `None` if it is a
    /// default server itself, or would lack what nginx insists on.
    pub(super) default: Box<dyn FnOnce() -> Option<Location> + 'a>,
    /// Chooses its context, if our callback is to serve its certificate.
    pub(super) context: Box<dyn FnOnce() -> Context + 'a>,
}

/// Reads `acme_dns`.
///
/// # Safety
/// nginx gives a parser and what [`create_srv_conf`] has made.
pub(super) unsafe extern "C" fn set_acme_dns(
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
    // SAFETY: by this function's contract.
    unsafe { set(cf, server, body) }
}

/// Reads `acme_dns_fallback`.
///
/// # Safety
/// nginx gives a parser and what [`create_srv_conf`] has made.
pub(super) unsafe extern "C" fn set_fallback(
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
    // SAFETY: by this function's contract.
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

/// Makes a module's configuration of a level.
///
/// # Safety
/// `cf` is what nginx gave to a callback.
pub(super) unsafe fn create<T>(cf: *mut ngx_conf_t, value: T) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: by this function's contract.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: the parser's pool is live.
        unsafe { pool_box(conf.pool(), value) }.cast()
    })
}

/// Makes the configuration of a server, or of the level above.
///
/// # Safety
/// `cf` is what nginx gave.
pub(super) unsafe extern "C" fn create_srv_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: by this function's contract.
    unsafe { create(cf, ServerConf::default()) }
}

/// The configuration of a module at the level that the context points to.
///
/// # Safety
/// The context is live; `index` is the module's, and `T` its type of configuration. Nothing else
/// refers to it while the result is used.
pub(super) unsafe fn at<'a, T>(confs: *mut *mut c_void, index: usize) -> &'a mut T {
    // SAFETY: a context has an entry for each module.
    let entry = unsafe { confs.add(index) };
    // SAFETY: as above.
    let conf = unsafe { *entry }.cast::<T>();
    // SAFETY: every module makes a configuration for each level that it has.
    unsafe { &mut *conf }
}

/// The context of a block such as `http`, which its module keeps for the cycle.
///
/// # Safety
/// The block is being read, and `T` is the type of its contexts.
pub(super) unsafe fn block<'a, T>(conf: &Conf, module: usize) -> &'a T {
    // SAFETY: the cycle of a parser is live.
    let contexts = unsafe { (*conf.cycle()).conf_ctx };
    // SAFETY: a cycle has an entry for each module.
    unsafe { at::<T>(contexts.cast(), module) }
}

/// Called for each server, before the SSL module's own merge.
///
/// # Safety
/// `cf` is what nginx gave, `parent` and `child` are different structures of the module's;
/// `describe` is asked while the server is merged.
pub(super) unsafe fn merge<'a>(
    cf: *mut ngx_conf_t,
    parent: *mut c_void,
    child: *mut c_void,
    describe: impl FnOnce(&Conf) -> Result<Server<'a>, String>,
) -> *mut c_char {
    guard(CONF_ERROR, || {
        // SAFETY: by this function's contract.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: by this function's contract.
        let parent = unsafe { &*parent.cast::<ServerConf>() };
        // SAFETY: by this function's contract.
        let child = unsafe { &mut *child.cast::<ServerConf>() };
        let Some((_, directive)) = child.request.as_ref().or(parent.request.as_ref()) else {
            return CONF_OK;
        };
        let server = describe(&conf).map_err(|message| format!("{message} in {directive}"));
        let result = server.and_then(|server| bind(&conf, parent, child, server));
        result.map_or_else(|message| conf.fail_at(&message), |()| CONF_OK)
    })
}

/// Decides whether the server gets one of our certificates, and prepares its SSL settings.
fn bind(
    conf: &Conf,
    parent: &ServerConf,
    child: &mut ServerConf,
    server: Server<'_>,
) -> Result<(), String> {
    let inherited = child.request.is_none();
    let Some((Request::On(wanted), directive)) = child.request.as_ref().or(parent.request.as_ref())
    else {
        return Ok(());
    };
    let heir = inherited.then_some(server.location);
    let at_fault = |message: String| format!("{message} in {}", heir.as_ref().unwrap_or(directive));
    let ssl = server.ssl;
    let level = server.level.filter(|_| inherited);
    let mut is_served = true;
    // A certificate that is given goes before ours, unless it is ours.
    if let Some(given) = [Some(ssl), level].into_iter().flatten().find(Ssl::has_certificates) {
        if !given.uses_variable() {
            return Ok(());
        }
        is_served = false;
    }
    if inherited && !server.inherits {
        return Ok(());
    }
    if is_served && !is_unset(ssl.lists()[1]) {
        return Err(at_fault(
            "\"ssl_certificate_key\" without \"ssl_certificate\" beside \"acme_dns\"".to_owned(),
        ));
    }
    let names = ServerNames::of(wanted, server.names.iter().map(String::as_str));
    // What the name of a certificate means is known when all has been read.
    if wanted.name.is_none() {
        match &heir {
            None => names.mistake().map_or(Ok(()), |mistake| Err(at_fault(mistake)))?,
            Some(place) if names.certified.is_empty() => {
                if let Some(stand_in) = (server.default)().map(StandIn::DefaultServer) {
                    conf.warn_at(&names.nothing_to_certify(&stand_in, place, directive));
                    return Ok(());
                }
            }
            Some(_) => {}
        }
    }
    let rejects = child.rejects.or(parent.rejects).unwrap_or(false);
    // SAFETY: the parser's pool is live.
    let binding = unsafe { pool_box(conf.pool(), Binding::new(rejects)) };
    // SAFETY: the cycle is live; nginx merges in one thread.
    let core = unsafe { core_conf(conf.cycle()) }.filter(|_| !binding.is_null());
    let core = core.ok_or_else(|| at_fault("out of memory".to_owned()))?;
    let mut context = None;
    if is_served {
        let commands = [Some(ssl), server.level].into_iter().flatten();
        for command in
            commands.filter_map(|ssl| ssl.certificate_commands()).next().unwrap_or_default()
        {
            let place = heir.as_ref().unwrap_or(directive);
            conf.warn_at(&format!(
                "\"ssl_conf_command {command}\" has no effect beside \"acme_dns\", which serves a \
                 certificate of its own, in {place}"
            ));
        }
        let compresses = ssl.compresses().or(server.level.and_then(|level| level.compresses()));
        if compresses == Some(true) {
            // nginx would look for the certificates now, and warn that there are none.
            // SAFETY: a field of one of the cycle's structures, which nginx is merging.
            unsafe { *ssl.compression = 0 };
            // SAFETY: just made; nothing else refers to it.
            unsafe { (*binding).compresses = true };
        }
        let chosen = if compresses == Some(true) { Context::Own } else { (server.context)() };
        context = Some(chosen);
        let none = match chosen {
            // Without a list nginx builds no context.
            Context::Borrowed => Some(ptr::null_mut()),
            // SAFETY: the parser's pool is live.
            Context::Own | Context::Lent => unsafe { array_of_none::<ngx_str_t>(conf.pool()) },
        };
        let none = none.ok_or_else(|| at_fault("out of memory".to_owned()))?;
        // SAFETY: the structure is one of the cycle's, which nginx is merging.
        unsafe { *ssl.certificates = none };
        // SAFETY: as above.
        unsafe { *ssl.certificate_keys = none };
    }
    core.bindings.push(Bound {
        wanted: wanted.clone(),
        names,
        directive: directive.clone(),
        heir,
        binding,
        ssl,
        context,
        kind: server.kind,
    });
    child.binding = Some(binding);
    Ok(())
}

impl Bound {
    /// Asks for the certificate, now that nginx has built the context of every server that speaks TLS:
    /// an `acme_dns` of the level above does not concern others.
    pub(super) fn request(
        &self,
        draft: &mut Draft,
        warn: impl Fn(&str),
    ) -> Result<Option<BindingId>, String> {
        let Self { wanted, names, directive, heir, .. } = self;
        if heir.is_some() && self.ssl.context().is_none() {
            return Ok(None);
        }
        let place = heir.as_ref().unwrap_or(directive);
        let at_fault = |message: String| format!("{message} in {place}");
        let is_line = draft.names_line(wanted);
        match (heir, names.mistake()) {
            _ if is_line => {}
            (Some(_), _) if names.certified.is_empty() => {
                warn(&names.nothing_to_certify(&self.stand_in(), place, directive));
                return Ok(None);
            }
            (None, Some(mistake)) => {
                let name = wanted.name.as_deref().unwrap_or_default();
                return Err(at_fault(format!(
                    "{mistake}, and no domains file has a certificate \"{name}\""
                )));
            }
            _ => names.warnings(place).iter().for_each(|line| warn(line)),
        }
        let certified = names.certified.clone();
        let id = draft.bind(wanted.clone(), certified, place.clone(), directive.clone());
        let id = id.map_err(at_fault)?;
        if self.context.is_some() && self.ssl.wants_staple() {
            draft.want_staple(id);
        }
        // SAFETY: the context of a server that speaks TLS is live.
        if self.ssl.context().is_some_and(|c| unsafe { SSL_CTX_get_verify_mode(c) } != 0) {
            draft.keep_own(id);
        }
        Ok(Some(id))
    }

    /// What clients get if there is no certificate for the server.
    fn stand_in(&self) -> StandIn {
        // SAFETY: the binding belongs to the cycle's pool; nothing changes it now.
        let rejects = unsafe { (*self.binding).rejects };
        match self.context {
            None => StandIn::EmptyVariable,
            Some(_) if rejects => StandIn::Rejection,
            Some(_) => StandIn::SelfSigned,
        }
    }

    /// Puts our callback into the context. `alike` counts the servers with the same names.
    pub(super) fn install(&self, alike: &mut HashMap<String, usize>) {
        let Some(context) = self.ssl.context() else { return };
        if self.context.is_none_or(|whose| whose == Context::Own) {
            // SAFETY: the context is live, and the binding belongs to the pool of its cycle.
            unsafe { set_owner(context, self.binding) };
        }
        let Some(whose) = self.context else { return };
        // SAFETY: the binding belongs to the cycle's pool; nothing else refers to it now.
        let binding = unsafe { &mut *self.binding };
        binding.context = context;
        binding.owns_context = whose == Context::Own;
        match whose {
            Context::Own => self.install_own(context, binding, alike),
            Context::Lent => self.install_for_all(context),
            Context::Borrowed => {}
        }
    }

    /// Puts the callback into a context that others use too.
    fn install_for_all(&self, context: *mut SSL_CTX) {
        let callback = Some(sharing::certificate_callback as _);
        // SAFETY: the context is live.
        unsafe { SSL_CTX_set_cert_cb(context, callback, ptr::null_mut()) };
        if self.ssl.wants_staple() {
            set_status_callback(context, sharing::status_callback, ptr::null_mut());
        }
        set_session_context(context, self.kind, 0);
    }

    fn install_own(
        &self,
        context: *mut SSL_CTX,
        binding: &mut Binding,
        alike: &mut HashMap<String, usize>,
    ) {
        let data = self.binding.cast::<c_void>();
        // SAFETY: the context is live, and the binding lives as long as the context's cycle.
        unsafe { SSL_CTX_set_cert_cb(context, Some(certificate_callback), data) };
        if self.ssl.wants_staple() {
            set_status_callback(context, status_callback, data);
            // A compressed certificate is the same for all connections, with no place for a staple:
            // nginx does not have both either.
            binding.compresses = false;
        }
        if binding.compresses {
            // Set by nginx where the directive is off, which it now is.
            // SAFETY: the context is live.
            unsafe { SSL_CTX_clear_options(context, NO_TX_CERTIFICATE_COMPRESSION) };
        }
        let text = format!("{} {}", self.kind, binding.names.join(","));
        let before = alike.entry(text.clone()).or_default();
        set_session_context(context, &text, *before);
        *before += 1;
    }
}

/// OpenSSL's type of a function that gives the status of a certificate.
type StatusCallback = unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int;

/// Takes the place of nginx's own callback, which knows of no certificate here. The two calls are what
/// the macros `SSL_CTX_set_tlsext_status_cb` and `SSL_CTX_set_tlsext_status_arg` stand for.
fn set_status_callback(context: *mut SSL_CTX, status: StatusCallback, binding: *mut c_void) {
    // SAFETY: OpenSSL keeps callbacks of any type as this one.
    let callback = unsafe { std::mem::transmute::<StatusCallback, unsafe extern "C" fn()>(status) };
    let command = SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB as c_int;
    // SAFETY: the context is live, and this command takes a callback of the type above.
    unsafe { SSL_CTX_callback_ctrl(context, command, Some(callback)) };
    let command = SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB_ARG as c_int;
    // SAFETY: null, or a binding that lives as long as the context's cycle.
    unsafe { SSL_CTX_ctrl(context, command, 0, binding) };
}
