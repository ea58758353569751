//! Everything that the service tells: each event as a value, with its level and its line of the log.
//!
//! Whoever has something to say makes an [`Event`] and gives it to [`Host::tell`](crate::host::Host::tell).
//! The log is one listener; a status page, hooks and metrics can be others, and tests compare the values.
//! All sentences of the log are in this folder, one file for each subject, and nowhere else. Not here:
//! errors of an operation, which are texts in an event, and what `nginx -t` says of a configuration.

mod account;
mod action;
mod certificate;
mod certificates;
mod domains;
mod files;
mod fleet;
mod listener;
mod next;
mod nginx;
mod order;
mod origin;
mod persist;
mod process;
mod provider;
mod records;
pub mod reference;
mod reload;
mod renewal_request;
mod request;
mod staple;
mod state;
mod visibility;

pub use account::AccountEvent;
pub use action::ActionEvent;
pub use certificate::CertificateEvent;
pub use certificates::{CertificatesEvent, Culprit, OrderParties};
pub use domains::DomainsEvent;
pub use files::FilesEvent;
pub use fleet::FleetEvent;
pub use listener::ListenerEvent;
pub use next::{Ca, NextAttempt, Sooner};
pub use nginx::{Meanwhile, NginxEvent};
pub use order::OrderEvent;
pub use origin::OriginEvent;
pub use persist::PersistEvent;
pub use process::ProcessEvent;
pub use provider::ProviderEvent;
pub use records::RecordsEvent;
pub use reload::{Cause, ReloadEvent};
pub use renewal_request::RenewalRequestEvent;
pub use request::RequestEvent;
pub use staple::StapleEvent;
pub use state::StateEvent;
pub use visibility::VisibilityEvent;

use acme_dns_core::level::Level;
use std::fmt;

/// Something that has happened, or is about to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The life of a certificate, by its name.
    Certificate(String, CertificateEvent),
    /// Several certificates at once.
    Certificates(CertificatesEvent),
    /// The files of a certificate, by its name.
    Files(String, FilesEvent),
    /// The origin of a certificate that was not ordered under its name, by that name.
    Origin(String, OriginEvent),
    /// A step of an order or of a question to a CA.
    Order(Subject, OrderEvent),
    /// The account with an issuer.
    Account(Subject, AccountEvent),
    /// TXT records and their journal.
    Records(Subject, RecordsEvent),
    /// TXT records that stay, of dns-persist-01.
    Persist(Subject, PersistEvent),
    /// The view that the servers of a zone have of TXT records.
    Visibility(Subject, VisibilityEvent),
    /// A DNS provider.
    Provider(ProviderEvent),
    /// A request to a CA or a DNS provider.
    Request(Subject, RequestEvent),
    /// A certificate's OCSP response, by the certificate's name.
    Staple(String, StapleEvent),
    /// Somebody who is told of certificates: a hook, a webhook or an export, as the log calls it.
    Listener(String, ListenerEvent),
    /// A watched domains file.
    Domains(DomainsEvent),
    /// A file in `actions/`, by its name.
    Action(String, ActionEvent),
    /// A renewal of a certificate, by its name, that was asked for at the status page.
    RenewalRequest(String, RenewalRequestEvent),
    /// Certificates that are shared with other hosts.
    Fleet(FleetEvent),
    /// A reload of nginx.
    Reload(ReloadEvent),
    /// The state path, its lock and its files.
    State(StateEvent),
    /// The process and the thread of the service.
    Process(ProcessEvent),
    /// A process of nginx itself.
    Nginx(NginxEvent),
}

impl Event {
    /// Severity of the line.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Certificate(_, event) => event.level(),
            Self::Certificates(event) => event.level(),
            Self::Files(_, event) => event.level(),
            Self::Origin(_, event) => event.level(),
            Self::Order(_, event) => event.level(),
            Self::Account(_, event) => event.level(),
            Self::Records(_, event) => event.level(),
            Self::Persist(_, event) => event.level(),
            Self::Visibility(_, event) => event.level(),
            Self::Provider(event) => event.level(),
            Self::Request(_, event) => event.level(),
            Self::Staple(_, event) => event.level(),
            Self::Listener(_, event) => event.level(),
            Self::Domains(event) => event.level(),
            Self::Action(_, event) => event.level(),
            Self::RenewalRequest(_, event) => event.level(),
            Self::Fleet(event) => event.level(),
            Self::Reload(event) => event.level(),
            Self::State(event) => event.level(),
            Self::Process(event) => event.level(),
            Self::Nginx(event) => event.level(),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(name, event) => event.write(f, name),
            Self::Certificates(event) => write!(f, "{event}"),
            Self::Files(name, event) => event.write(f, name),
            Self::Origin(name, event) => event.write(f, name),
            Self::Order(subject, event) => write!(f, "{subject}{event}"),
            Self::Account(subject, event) => write!(f, "{subject}{event}"),
            Self::Records(subject, event) => write!(f, "{subject}{event}"),
            Self::Persist(subject, event) => write!(f, "{subject}{event}"),
            Self::Visibility(subject, event) => write!(f, "{subject}{event}"),
            Self::Provider(event) => write!(f, "{event}"),
            Self::Request(subject, event) => write!(f, "{subject}{event}"),
            Self::Staple(name, event) => event.write(f, name),
            Self::Listener(name, event) => write!(f, "{name} {event}"),
            Self::Domains(event) => write!(f, "{event}"),
            Self::Action(name, event) => event.write(f, name),
            Self::RenewalRequest(name, event) => event.write(f, name),
            Self::Fleet(event) => write!(f, "{event}"),
            Self::Reload(event) => write!(f, "{event}"),
            Self::State(event) => write!(f, "{event}"),
            Self::Process(event) => write!(f, "{event}"),
            Self::Nginx(event) => write!(f, "{event}"),
        }
    }
}

/// Subject of a line: what stands before the colon.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// The service as a whole; nothing stands before the line.
    Service,
    /// A certificate, by its name.
    Certificate(String),
    /// An issuer, by its name.
    Issuer(String),
    /// The staging environment of an issuer.
    Staging(String),
    /// A DNS provider, by its name.
    Provider(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => Ok(()),
            Self::Certificate(name) => write!(f, "certificate \"{name}\": "),
            Self::Issuer(name) => write!(f, "issuer \"{name}\": "),
            Self::Staging(name) => write!(f, "staging of issuer \"{name}\": "),
            Self::Provider(name) => write!(f, "provider \"{name}\": "),
        }
    }
}

/// Names of a list, as far as a line has room for them.
fn listed(names: &[String]) -> String {
    acme_dns_core::text::list(names)
}

/// The same in quotes.
fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    listed(&names)
}
