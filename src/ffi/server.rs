//! Servers of http, stream and mail: the directives in them, and the merge that binds a certificate to a server.
//!
//! A server that gets one of our certificates is given an empty list of certificates, so that nginx
//! builds its `SSL_CTX` without loading anything; servers of `http` may use the one of another
//! ([`sharing`](super::sharing)). What happens when all of nginx.conf has been read is in `bound`; what differs
//! between http, stream and mail is in their modules.

use super::bound::{BoundServer, ServedBy};
use super::callback::callback;
use super::certificate::Fallback;
use super::conf::core_conf;
use super::module_ctx::ConfRef;
use super::nginx::{CONF_ERROR, CONF_OK};
use super::parser::{Parser, duplicate};
use super::pool::to_c;
use super::served::Served;
use super::ssl_conf::SslSettings;
use acme_dns_core::config::Location;
use acme_dns_core::config::binding::{Choosing, Request, Wanted};
use acme_dns_core::config::server::{ServerNames, StandIn};
use ngx::ffi::ngx_command_t;
use std::cell::{Cell, OnceCell};
use std::ffi::{c_char, c_void};
use std::ptr::{self, NonNull};

const NO_MEMORY: &str = "out of memory";

/// Configuration of each of the three modules for a server, and for the block above.
#[derive(Default)]
pub(super) struct SrvConf {
    request: OnceCell<(Request, Location)>,
    fallback: OnceCell<Fallback>,
    pub(super) served: Cell<Option<NonNull<Served>>>,
}

/// Server while it is merged, as its module sees it.
pub(super) trait MergedServer {
    /// Describes it.
    ///
    /// # Errors
    /// nginx lacks what a certificate needs.
    fn describe(&self) -> Result<ServerBlock, String>;

    /// Finds the default server whose certificate its clients get if it has none; `None` if it is a
    /// default server itself, or would lack what nginx insists on.
    fn default_server(&self) -> Option<Location> {
        None
    }

    /// Chooses its context, if our callbacks are to serve its certificate.
    fn choose_context(&self) -> ServedBy {
        ServedBy::OwnContext { compresses: false }
    }
}

/// Description of a server.
pub(super) struct ServerBlock {
    /// The name of its module, which tells its sessions from those of other modules.
    pub(super) kind: &'static str,
    pub(super) ssl: SslSettings,
    /// The settings of the block above, such as `http`.
    pub(super) parent_ssl: Option<SslSettings>,
    /// The names of `server_name`; a regular expression begins with `~`.
    pub(super) names: Vec<String>,
    /// The place of its block.
    pub(super) location: Location,
    /// Set if an `acme_dns` of the block above concerns it.
    pub(super) inherits: bool,
}

impl ServerBlock {
    /// Looks for a setting in the server, then in the block above.
    fn inherited<T>(&self, setting: impl FnMut(SslSettings) -> Option<T>) -> Option<T> {
        [Some(self.ssl), self.parent_ssl].into_iter().flatten().find_map(setting)
    }
}

callback! {
    /// Makes the configuration of a server, or of the block above.
    pub(super) fn create_srv_conf(cf: Parser) -> *mut c_void {
        to_c(cf.pool().boxed(SrvConf::default()))
    } ?= ptr::null_mut()
}

callback! {
    /// Reads `acme_dns`.
    pub(super) fn set_acme_dns(
        cf: Parser,
        _command: *mut ngx_command_t,
        srv_conf: ConfRef<SrvConf>,
    ) -> *mut c_char {
        cf.read(|_, args| {
            let request = (Request::parse(args)?, cf.location());
            srv_conf.request.set(request).map_err(|_| duplicate("acme_dns"))
        })
    } ?= CONF_ERROR
}

callback! {
    /// Reads `acme_dns_fallback`.
    pub(super) fn set_fallback(
        cf: Parser,
        _command: *mut ngx_command_t,
        srv_conf: ConfRef<SrvConf>,
    ) -> *mut c_char {
        cf.read(|_, args| {
            let fallback = match args {
                ["self_signed"] => Fallback::SelfSigned,
                ["reject"] => Fallback::Reject,
                _ => return Err(format!("invalid parameter \"{}\"", args.join(" ")).into()),
            };
            srv_conf.fallback.set(fallback).map_err(|_| duplicate("acme_dns_fallback"))
        })
    } ?= CONF_ERROR
}

/// Binds a certificate to a server that wants one. Called for each server, before the SSL module's own merge.
pub(super) fn merge(
    cf: &Parser,
    parent: &SrvConf,
    child: &SrvConf,
    server: &impl MergedServer,
) -> *mut c_char {
    let own = child.request.get();
    let Some((request, directive)) = own.or(parent.request.get()) else { return CONF_OK };
    let described = server.describe().map_err(|message| format!("{message} in {directive}"));
    let result = described.and_then(|block| match request {
        Request::Off => Ok(()),
        Request::On(_) | Request::Sni(_) => {
            let heir = own.is_none().then(|| block.location.clone());
            let fallback = child.fallback.get().or(parent.fallback.get());
            let fallback = fallback.copied().unwrap_or_default();
            let bound = Binder { cf, server, block, request, directive, heir }.bind(fallback)?;
            child.served.set(bound);
            Ok(())
        }
    });
    result.map_or_else(|message| cf.fail_at(&message), |()| CONF_OK)
}

/// Server that wants a certificate, while it is decided whether it gets one.
struct Binder<'a, S> {
    cf: &'a Parser,
    server: &'a S,
    block: ServerBlock,
    request: &'a Request,
    /// The place of the directive.
    directive: &'a Location,
    /// The place of the server, if it inherits the directive.
    heir: Option<Location>,
}

/// Bearer of a server's certificate.
enum Bearer {
    /// Our callbacks.
    Callbacks,
    /// Its own `ssl_certificate`, which names our variables.
    Variables,
}

impl<S: MergedServer> Binder<'_, S> {
    /// Binds the server, in four steps: it has been described, it is decided whether it gets a certificate, its
    /// context is chosen, the certificate is attached. `None`: it gets none of ours.
    fn bind(self, fallback: Fallback) -> Result<Option<NonNull<Served>>, String> {
        let Some(bearer) = self.decide()? else { return Ok(None) };
        let own_names = self.block.names.iter().map(String::as_str);
        let (names, choosing) = match self.request {
            Request::On(wanted) => {
                let names = ServerNames::of(wanted, own_names);
                if !self.can_certify(wanted, &names)? {
                    return Ok(None);
                }
                (names, None)
            }
            Request::Sni(choosing) => {
                (ServerNames::of(&Wanted::default(), own_names), Some(choosing))
            }
            Request::Off => return Ok(None),
        };
        let served_by = match bearer {
            Bearer::Variables if choosing.is_some() => {
                return Err(self.at_fault(
                    "\"ssl_certificate\" with a variable of this module has no use beside \"acme_dns sni\"",
                ));
            }
            Bearer::Variables => ServedBy::Variables,
            Bearer::Callbacks => self.choose_context()?,
        };
        self.attach(names, served_by, fallback, choosing).map(Some)
    }

    /// Gives the place to which a person is sent.
    fn place(&self) -> &Location {
        self.heir.as_ref().unwrap_or(self.directive)
    }

    fn at_fault(&self, message: &str) -> String {
        format!("{message} in {}", self.place())
    }

    /// Decides whether the server gets a certificate of ours. One of its own takes precedence, unless it is ours.
    fn decide(&self) -> Result<Option<Bearer>, String> {
        let ServerBlock { ssl, parent_ssl, inherits, .. } = &self.block;
        let parent_ssl = parent_ssl.filter(|_| self.heir.is_some());
        let given = [Some(*ssl), parent_ssl].into_iter().flatten();
        let bearer = match given.into_iter().find(SslSettings::has_certificates) {
            None => Bearer::Callbacks,
            Some(given) if given.uses_variable() => Bearer::Variables,
            Some(_) => return Ok(None),
        };
        if self.heir.is_some() && !inherits {
            return Ok(None);
        }
        match bearer {
            Bearer::Callbacks if ssl.has_keys() => Err(self.at_fault(
                "\"ssl_certificate_key\" without \"ssl_certificate\" beside \"acme_dns\"",
            )),
            bearer => Ok(Some(bearer)),
        }
    }

    /// Tells whether there is something to certify, as far as it is known before all has been read: a name of a
    /// certificate may be that of a domains file.
    fn can_certify(&self, wanted: &Wanted, names: &ServerNames) -> Result<bool, String> {
        if wanted.name.is_some() {
            return Ok(true);
        }
        let Some(place) = &self.heir else {
            return names.mistake().map_or(Ok(true), |mistake| Err(self.at_fault(&mistake)));
        };
        if !names.certified.is_empty() {
            return Ok(true);
        }
        let Some(default) = self.server.default_server() else { return Ok(true) };
        let stand_in = StandIn::DefaultServer(default);
        self.cf.warn_at(&names.nothing_to_certify(&stand_in, place, self.directive));
        Ok(false)
    }

    /// Chooses the context, and sets what has nginx build it without a certificate.
    fn choose_context(&self) -> Result<ServedBy, String> {
        let ssl = self.block.ssl;
        let commands = self.block.inherited(|ssl| ssl.certificate_commands());
        for command in commands.unwrap_or_default() {
            self.cf.warn_at(&self.at_fault(&format!(
                "\"ssl_conf_command {command}\" has no effect beside \"acme_dns\", which serves a \
                 certificate of its own,"
            )));
        }
        let served_by = if self.block.inherited(|ssl| ssl.compresses()) == Some(true) {
            ssl.take_compression();
            ServedBy::OwnContext { compresses: true }
        } else {
            self.server.choose_context()
        };
        match served_by {
            // Without a list nginx builds no context.
            ServedBy::BorrowedContext => ssl.set_no_context(),
            _ => ssl.set_no_certificates(self.cf.pool()).ok_or_else(|| self.at_fault(NO_MEMORY))?,
        }
        Ok(served_by)
    }

    /// Attaches certificates to the server, and adds the server to those of the configuration.
    fn attach(
        self,
        names: ServerNames,
        served_by: ServedBy,
        fallback: Fallback,
        choosing: Option<&Choosing>,
    ) -> Result<NonNull<Served>, String> {
        let served = self.cf.pool().boxed(Served::new(fallback, &names.certified, choosing));
        let conf = core_conf(self.cf.cycle());
        let (Some(served), Some(mut conf)) = (served, conf) else {
            return Err(self.at_fault(NO_MEMORY));
        };
        conf.servers.push(BoundServer {
            request: self.request.clone(),
            names,
            directive: self.directive.clone(),
            heir: self.heir,
            served,
            ssl: self.block.ssl,
            served_by,
            kind: self.block.kind,
        });
        Ok(served)
    }
}
