//! The table of the types of providers. A new type is a file beside this one, a variant of
//! [`ProviderKind`] and a line in [`TYPES`].

use super::acme_dns::{self, AcmeDnsSettings};
use super::cloudflare::{self, CloudflareSettings};
use super::duckdns::{self, DuckDnsSettings};
use super::exec::{self, ExecSettings, ProgramFile};
use super::fields::{Form, Values};
use super::httpreq::{self, HttpReqSettings};
use super::powerdns::{self, PowerDnsSettings};
use super::rfc2136::{self, Rfc2136Settings};

/// The settings of a provider, by its type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ProviderKind {
    /// Cloudflare's API v4.
    Cloudflare(CloudflareSettings),
    /// Dynamic updates (RFC 2136).
    Rfc2136(Rfc2136Settings),
    /// PowerDNS's HTTP API.
    PowerDns(PowerDnsSettings),
    /// acme-dns.
    AcmeDns(AcmeDnsSettings),
    /// DuckDNS.
    DuckDns(DuckDnsSettings),
    /// The protocol `httpreq`.
    HttpReq(HttpReqSettings),
    /// A program of the user's.
    Exec(ExecSettings),
}

impl ProviderKind {
    /// Lists the files that are carried out.
    #[must_use]
    pub fn program_files(&self) -> Vec<ProgramFile> {
        match self {
            Self::Exec(settings) => settings.files(),
            _ => Vec::new(),
        }
    }
}

/// All types.
const TYPES: &[Type] = &[
    Type {
        form: &cloudflare::FORM,
        build: |values| cloudflare::build(values).map(ProviderKind::Cloudflare),
    },
    Type {
        form: &rfc2136::FORM,
        build: |values| rfc2136::build(values).map(ProviderKind::Rfc2136),
    },
    Type {
        form: &powerdns::FORM,
        build: |values| powerdns::build(values).map(ProviderKind::PowerDns),
    },
    Type {
        form: &acme_dns::FORM,
        build: |values| acme_dns::build(values).map(ProviderKind::AcmeDns),
    },
    Type {
        form: &duckdns::FORM,
        build: |values| duckdns::build(values).map(ProviderKind::DuckDns),
    },
    Type {
        form: &httpreq::FORM,
        build: |values| httpreq::build(values).map(ProviderKind::HttpReq),
    },
    Type { form: &exec::FORM, build: |values| exec::build(values).map(ProviderKind::Exec) },
];

/// Gives the blocks of all types.
pub(super) fn forms() -> impl Iterator<Item = &'static Form> {
    TYPES.iter().map(|kind| kind.form)
}

/// A type of provider.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) form: &'static Form,
    /// Makes the settings out of values that [`Form::check`] has passed.
    pub(super) build: fn(Values) -> Option<ProviderKind>,
}

impl Type {
    /// Finds a type by its word in the configuration.
    pub(super) fn find(name: &str) -> Result<&'static Self, String> {
        let is_it = |form: &Form| form.name == name || form.aliases.contains(&name);
        TYPES.iter().find(|kind| is_it(kind.form)).ok_or_else(|| {
            let known: Vec<String> =
                TYPES.iter().map(|kind| format!("\"{}\"", kind.form.name)).collect();
            let are = if known.len() == 1 { "type is" } else { "types are" };
            format!("unknown provider type \"{name}\", the known {are} {}", known.join(", "))
        })
    }
}
