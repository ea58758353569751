//! Servers that one of our certificates is bound to, or all, from the merge of their settings until their contexts
//! have our callbacks.
//!
//! The decision that a server is bound is in `server`, its certificates are in `served`.

use super::certificate::{Delivery, Fallback, ServerCertificate};
use super::openssl::{Callbacks, SslCtx};
use super::owner::set_owner;
use super::served::{CALLBACKS, Served};
use super::session::{bind_sessions_to_names, set_session_context};
use super::ssl_conf::SslSettings;
use acme_dns_core::config::Location;
use acme_dns_core::config::binding::{Choosing, Request};
use acme_dns_core::config::draft::{BindingId, Draft};
use acme_dns_core::config::server::{ServerNames, StandIn};
use std::collections::HashMap;
use std::ptr::{self, NonNull};

/// Means by which a server serves its certificate.
#[derive(Clone, Copy)]
pub(super) enum ServedBy {
    /// Its own `ssl_certificate`, which names our variables.
    Variables,
    /// Our callbacks, in a context that no other server uses.
    OwnContext { compresses: bool },
    /// Callbacks that find the server of a connection, in its context, which other servers use too.
    LentContext(Callbacks),
    /// The callbacks of the server whose context it uses.
    BorrowedContext,
}

/// Server with one of our certificates, or all.
pub(super) struct BoundServer {
    pub(super) request: Request,
    /// Names that a certificate for it could hold. If the certificate is that of a domains file they do not matter.
    pub(super) names: ServerNames,
    /// The place of the directive.
    pub(super) directive: Location,
    /// The place of the server, if it inherits the directive.
    pub(super) heir: Option<Location>,
    /// Belongs to the cycle's pool.
    pub(super) served: NonNull<Served>,
    pub(super) ssl: SslSettings,
    pub(super) served_by: ServedBy,
    /// The name of its module, which tells its sessions from those of other modules.
    pub(super) kind: &'static str,
}

impl BoundServer {
    /// Looks at what is served, or changes it, before any connection does.
    pub(super) fn with_served<T>(&self, action: impl FnOnce(&mut Served) -> T) -> T {
        let mut served = self.served;
        // SAFETY: it belongs to the pool of the cycle that this server belongs to. While a configuration is loaded
        // no connection uses it, and no `action` looks at another server.
        action(unsafe { served.as_mut() })
    }

    /// Looks at the server's own certificate, or changes it.
    pub(super) fn with_certificate<T>(
        &self,
        action: impl FnOnce(&mut ServerCertificate) -> T,
    ) -> T {
        self.with_served(|served| action(&mut served.own))
    }

    /// Gives the place to which a person is sent.
    pub(super) fn place(&self) -> &Location {
        self.heir.as_ref().unwrap_or(&self.directive)
    }

    /// Tells how the server chooses a certificate by name. `None`: it does not, or does not speak TLS.
    pub(super) fn choosing(&self) -> Option<&Choosing> {
        match &self.request {
            Request::Sni(choosing) => self.ssl.context().map(|_| choosing),
            Request::On(_) | Request::Off => None,
        }
    }

    /// Tells whether OCSP responses are stapled to what our callbacks serve.
    pub(super) fn wants_staple(&self) -> bool {
        !matches!(self.served_by, ServedBy::Variables) && self.ssl.wants_staple()
    }

    /// Asks for the certificate, now that nginx has built the context of every server that speaks TLS:
    /// an inherited `acme_dns` does not concern others.
    pub(super) fn request(
        &self,
        draft: &mut Draft,
        warn: impl Fn(&str),
    ) -> Result<Option<BindingId>, String> {
        let Self { request, names, directive, heir, .. } = self;
        let Request::On(wanted) = request else { return Ok(None) };
        if heir.is_some() && self.ssl.context().is_none() {
            return Ok(None);
        }
        let place = self.place();
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
        if self.wants_staple() {
            draft.want_staple(id);
        }
        if self.ssl.context().is_some_and(SslCtx::verifies_clients) {
            draft.keep_own(id);
        }
        Ok(Some(id))
    }

    /// Gives what clients get if there is no certificate for the server.
    pub(super) fn stand_in(&self) -> StandIn {
        match (self.served_by, self.with_certificate(|certificate| certificate.fallback)) {
            (ServedBy::Variables, _) => StandIn::EmptyVariable,
            (_, Fallback::Reject) => StandIn::Rejection,
            (_, Fallback::SelfSigned) => StandIn::SelfSigned,
        }
    }

    /// Puts our callbacks into the context, and a session id context: nginx makes that of the certificates that it
    /// has loaded, and there are none. `alike` counts the servers with the same names. `binds`: sessions are to be
    /// bound to names.
    pub(super) fn install(&self, alike: &mut HashMap<String, usize>, binds: bool) {
        let Some(context) = self.ssl.context() else { return };
        let delivery = match self.served_by {
            ServedBy::Variables => {
                set_owner(context, self.served);
                Delivery::Variables
            }
            ServedBy::OwnContext { compresses } => {
                set_owner(context, self.served);
                self.install_own(context, alike);
                if binds {
                    bind_sessions_to_names(context, self.kind);
                }
                // A compressed certificate is the same for all connections, with no place for a staple:
                // nginx does not have both either.
                if self.with_served(|served| served.chooses()) {
                    Delivery::EachConnection(context)
                } else if compresses && !self.ssl.wants_staple() {
                    context.allow_compression();
                    Delivery::CompressedContext(context)
                } else {
                    Delivery::Context(context)
                }
            }
            ServedBy::LentContext(callbacks) => {
                // SAFETY: these callbacks find their server without data.
                unsafe { self.set_callbacks(context, callbacks, None) };
                set_session_context(context, self.kind, 0);
                Delivery::EachConnection(context)
            }
            ServedBy::BorrowedContext => Delivery::EachConnection(context),
        };
        self.with_certificate(|certificate| certificate.delivery = delivery);
    }

    fn install_own(&self, context: SslCtx, alike: &mut HashMap<String, usize>) {
        // SAFETY: it is what these callbacks expect, and belongs to the pool of the context's cycle.
        unsafe { self.set_callbacks(context, CALLBACKS, Some(self.served)) };
        let names = self.with_served(|served| match served.chooses() {
            true => "sni".to_owned(),
            false => served.own.names.join(","),
        });
        let text = format!("{} {names}", self.kind);
        let before = alike.entry(text.clone()).or_default();
        set_session_context(context, &text, *before);
        *before += 1;
    }

    /// # Safety
    /// `data` is what the callbacks expect, and lives as long as the context.
    unsafe fn set_callbacks(
        &self,
        context: SslCtx,
        callbacks: Callbacks,
        data: Option<NonNull<Served>>,
    ) {
        let data = data.map_or(ptr::null_mut(), |data| data.as_ptr().cast());
        // SAFETY: by this function's contract.
        unsafe { context.set_certificate_callback(callbacks, data) };
        if self.ssl.wants_staple() {
            // SAFETY: by this function's contract.
            unsafe { context.set_status_callback(callbacks, data) };
        }
    }
}
