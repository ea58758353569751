//! The table of the types of providers. A new type is a file beside this one, a variant of
//! [`ProviderKind`] and a line in [`TYPES`]; types of the library have a table of their own, [`super::library`].

use super::acme_dns::{self, AcmeDnsSettings};
use super::cloudflare::{self, CloudflareSettings};
use super::duckdns::{self, DuckDnsSettings};
use super::exec::{self, ExecSettings};
use super::fields::{Form, ProgramFile, Values};
use super::httpreq::{self, HttpReqSettings};
use super::library::{LibrarySettings, LibraryType, library_types};
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
    /// A type of the library that `acme-dns-providers` calls.
    Library(LibrarySettings),
}

impl ProviderKind {
    /// Gives the word of the type in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cloudflare(_) => cloudflare::FORM.name,
            Self::Rfc2136(_) => rfc2136::FORM.name,
            Self::PowerDns(_) => powerdns::FORM.name,
            Self::AcmeDns(_) => acme_dns::FORM.name,
            Self::DuckDns(_) => duckdns::FORM.name,
            Self::HttpReq(_) => httpreq::FORM.name,
            Self::Exec(_) => exec::FORM.name,
            Self::Library(settings) => settings.kind.name,
        }
    }

    /// Lists the files that are carried out.
    #[must_use]
    pub fn program_files(&self) -> Vec<ProgramFile> {
        match self {
            Self::Exec(settings) => settings.files(),
            _ => Vec::new(),
        }
    }
}

/// Types of our own.
const TYPES: &[Type] = &[
    Type::own(cloudflare::FORM, |values| cloudflare::build(values).map(ProviderKind::Cloudflare)),
    Type::own(rfc2136::FORM, |values| rfc2136::build(values).map(ProviderKind::Rfc2136)),
    Type::own(powerdns::FORM, |values| powerdns::build(values).map(ProviderKind::PowerDns)),
    Type::own(acme_dns::FORM, |values| acme_dns::build(values).map(ProviderKind::AcmeDns)),
    Type::own(duckdns::FORM, |values| duckdns::build(values).map(ProviderKind::DuckDns)),
    Type::own(httpreq::FORM, |values| httpreq::build(values).map(ProviderKind::HttpReq)),
    Type::own(exec::FORM, |values| exec::build(values).map(ProviderKind::Exec)),
];

/// A type of provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub(super) form: Form,
    origin: Origin,
}

/// Maker of the settings of a type.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Own(fn(Values) -> Option<ProviderKind>),
    Library(&'static LibraryType),
}

/// Lists all types, our own first.
pub(super) fn types() -> impl Iterator<Item = Type> {
    let of_library =
        library_types().map(|row| Type { form: row.form(), origin: Origin::Library(row) });
    TYPES.iter().copied().chain(of_library)
}

impl Type {
    const fn own(form: Form, build: fn(Values) -> Option<ProviderKind>) -> Self {
        Self { form, origin: Origin::Own(build) }
    }

    /// Finds a type by its word in the configuration.
    pub(super) fn find(name: &str) -> Option<Self> {
        types().find(|kind| kind.form.words().any(|word| word == name))
    }

    /// Gives the row of a type of the library.
    pub(super) fn library(&self) -> Option<&'static LibraryType> {
        match self.origin {
            Origin::Own(_) => None,
            Origin::Library(row) => Some(row),
        }
    }

    /// Makes the settings out of values that [`Form::check`] has passed.
    pub(super) fn build(&self, values: Values) -> Option<ProviderKind> {
        match self.origin {
            Origin::Own(build) => build(values),
            Origin::Library(row) => Some(ProviderKind::Library(row.build(values))),
        }
    }
}
