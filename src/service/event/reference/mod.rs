//! The table of all events, out of which docs/log.md is made: a row for each, with an example of its line, what it means
//! and what to do.
//!
//! The rows of a subject stand below its events. An event without a row, and a subject without rows, does not compile.

mod document;

pub use document::document;

use super::{
    AccountEvent, ActionEvent, CertificateEvent, CertificatesEvent, DomainsEvent, Event,
    FilesEvent, FleetEvent, ListenerEvent, NginxEvent, OrderEvent, OriginEvent, PersistEvent,
    ProcessEvent, ProviderEvent, RecordsEvent, ReloadEvent, RenewalRequestEvent, RequestEvent,
    StapleEvent, StateEvent, VisibilityEvent,
};
use acme_dns_core::level::Level;
use acme_dns_core::time::UnixTime;

/// Times of the examples: one of an attempt, of a renewal, and of an end.
pub(super) const SOON: UnixTime = UnixTime(1_803_895_200);
pub(super) const RENEWAL: UnixTime = UnixTime(1_806_573_600);
pub(super) const END: UnixTime = UnixTime(1_809_165_600);

/// Row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its identifier, which stays.
    pub id: &'static str,
    /// The event, with values as they may be.
    pub example: Event,
    /// Its meaning, and what happens by itself.
    pub meaning: &'static str,
    /// Advice to a person.
    pub remedy: Remedy,
}

/// Advice to a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// Nothing is to be done.
    Nothing,
    /// Something can be done, or is worth a look.
    Optional(&'static str),
    /// Without a person it stays as it is: the level is `error`.
    Needed(&'static str),
}

/// Events of a subject, with a row for each.
pub(super) trait Listed {
    /// Gives the rows.
    fn rows() -> Vec<Row>;
}

/// Gives an event its rows: an identifier, a variant with values, its meaning, and `nothing`, `may` or `must` with
/// what to do.
macro_rules! rows {
    ($sort:ident, $event:expr;
     $($id:literal: $variant:ident $({ $($fields:tt)* })? $(( $($values:tt)* ))?
       => $meaning:literal, $need:ident $($advice:literal)?;)*) => {
        impl $crate::event::reference::Listed for $sort {
            fn rows() -> Vec<$crate::event::reference::Row> {
                #[allow(unreachable_patterns, reason = "an event may have several rows")]
                let _has_rows = |event: Self| match event { $(Self::$variant { .. } => {})* };
                vec![$($crate::event::reference::Row {
                    id: $id,
                    example: ($event)(Self::$variant $({ $($fields)* })? $(( $($values)* ))?),
                    meaning: $meaning,
                    remedy: $crate::event::reference::remedy!($need $($advice)?),
                }),*]
            }
        }
    };
}

macro_rules! remedy {
    (nothing) => {
        $crate::event::reference::Remedy::Nothing
    };
    (may $advice:literal) => {
        $crate::event::reference::Remedy::Optional($advice)
    };
    (must $advice:literal) => {
        $crate::event::reference::Remedy::Needed($advice)
    };
}

pub(super) use {remedy, rows};

/// Subject of the table, with its rows.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// Its rows.
    pub rows: Vec<Row>,
}

macro_rules! sections {
    ($($variant:ident, $sort:ty: $title:literal;)*) => {
        /// Gives the table.
        #[must_use]
        pub fn sections() -> Vec<Section> {
            let _has_section = |event: Event| match event { $(Event::$variant { .. } => {})* };
            vec![$(Section { title: $title, rows: <$sort as Listed>::rows() }),*]
        }
    };
}

sections! {
    Certificate, CertificateEvent: "A certificate";
    Certificates, CertificatesEvent: "Several certificates";
    Files, FilesEvent: "The files of a certificate";
    Origin, OriginEvent: "Certificates taken over, imported, or written by another process";
    Order, OrderEvent: "Orders";
    Account, AccountEvent: "Accounts";
    Records, RecordsEvent: "TXT records";
    Persist, PersistEvent: "TXT records of dns-persist-01";
    Visibility, VisibilityEvent: "Servers of a DNS zone";
    Provider, ProviderEvent: "DNS providers";
    Request, RequestEvent: "Requests to CAs and DNS providers";
    Staple, StapleEvent: "OCSP responses";
    Listener, ListenerEvent: "Hooks, webhooks and exports";
    Domains, DomainsEvent: "Watched domains files";
    Action, ActionEvent: "Requests in actions/";
    RenewalRequest, RenewalRequestEvent: "Requests at the status page";
    Fleet, FleetEvent: "Certificates shared by several hosts";
    Reload, ReloadEvent: "Reloads";
    State, StateEvent: "The state path";
    Process, ProcessEvent: "The acme dns process";
    Nginx, NginxEvent: "Master, cache manager and workers";
}

impl Row {
    /// Severity of the example.
    #[must_use]
    pub fn level(&self) -> Level {
        self.example.level()
    }
}

#[cfg(test)]
mod tests;
