//! The configuration: its model, and how directives become that model.
//!
//! `ffi` hands over the arguments of each directive as text. [`issuer`], [`provider`],
//! [`propagation`], [`domains`], [`listener`], [`share`] and [`binding`] read one directive or block each, [`server`] the names of
//! a server; [`draft`] collects them and resolves what refers to what once the whole of nginx.conf has
//! been read. Every error is one line in nginx's voice, without the file and line that `ffi` adds.

pub mod binding;
mod challenge;
mod contact;
pub mod domains;
pub mod draft;
mod import;
pub mod issuer;
pub mod keys;
pub mod known_file;
pub mod listener;
pub mod propagation;
pub mod provider;
mod secret;
pub mod server;
pub mod share;
pub mod sharing;
pub mod state_path;
pub mod syntax;
#[cfg(any(test, feature = "testing"))]
mod testing;
#[cfg(test)]
mod tests;
mod text;
pub mod watched;
pub mod zone;

pub use challenge::ChallengeMethod;
pub use import::{Import, ImportFormat};
pub use listener::{Export, ExportForm, Hook, HookProtocol, Listener, Webhook};
pub use provider::{
    AcmeDnsCredentials, AcmeDnsSettings, CloudflareCredentials, CloudflareSettings, CommandLine,
    DnsServer, DuckDnsSettings, ExecProtocol, ExecSettings, HttpReqSettings, HttpReqUser,
    LibrarySettings, LibraryType, PowerDnsSettings, ProgramFile, Provider, ProviderKind,
    RequestLimit, Rfc2136Settings, SettingValue, TsigAlgorithm, Writes, library_types,
};
pub use secret::SecretCheck;
pub use share::{ClientCertificate, EncryptionKey, Endpoint, KeyError, Sentinel, Share, ShareKind};
pub use text::is_file_name;

use crate::growing::GrowingTable;
use crate::id::{CertificateId, IdRange, IssuerId, ProviderId, Table, VariantId};
use crate::index::NameIndex;
use crate::key::KeyType;
use crate::name::Name;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use watched::{WatchedDomains, WatchedLine};

/// Everything that the helper process needs to know. Secrets are not in here, only references.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The directory of accounts, certificates and journal.
    pub state_path: PathBuf,
    /// The certification authorities.
    pub issuers: Table<IssuerId, Issuer>,
    /// The DNS providers.
    pub providers: Table<ProviderId, Provider>,
    /// The program `acme-dns-providers`, where a provider needs it.
    pub providers_program: Option<String>,
    /// The certificates that are served, with those that watched domains files have added since.
    pub certificates: GrowingTable<CertificateId, Certificate>,
    /// Variants that are ordered for them: those of one certificate follow each other.
    pub variants: GrowingTable<VariantId, Variant>,
    /// The domains files that are watched.
    pub watched: Vec<WatchedDomains>,
    /// Settings of the wait for TXT records.
    pub propagation: Propagation,
    /// Condition for a reload of nginx after certificate files have changed.
    pub reload: Reload,
    /// Other clients whose certificates and accounts are taken over, in this order.
    pub imports: Vec<Import>,
    /// Those who are told of certificates: programs, URLs and files for other software.
    pub listeners: Vec<Listener>,
    /// The engine that certificates are shared on with other hosts.
    pub share: Option<Share>,
}

/// A certification authority: the block `acme_dns_issuer`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issuer {
    /// The name in the configuration, also the name of its directory of accounts.
    pub name: String,
    /// The URL of the ACME directory (RFC 8555 section 7.1.1).
    pub directory: String,
    /// The URL of the directory of the CA's staging environment, where failures cost nothing.
    pub staging: Option<String>,
    /// The account's contacts as URLs, such as `mailto:you@example.com`.
    pub contacts: Vec<String>,
    /// Certificates in PEM that are trusted for the directory's host, besides the system's.
    pub trusted_certificate: Option<Vec<u8>>,
    /// The profile to ask for (draft-ietf-acme-profiles).
    pub profile: Option<Profile>,
    /// The private key of the account, in PEM, where it is not made here.
    pub account_key: Option<SecretId>,
    /// Existing account at the CA that the ACME account is bound to (RFC 8555 section 7.3.4).
    pub external_account: Option<ExternalAccount>,
    /// The common name of the root that the chain should lead to, where the CA offers several.
    pub preferred_chain: Option<String>,
    /// The methods by which names are proven, at least one, the preferred ones first.
    pub challenges: Vec<ChallengeMethod>,
    /// The time for which records of dns-persist-01 are written; without an end if absent.
    pub persist: Option<Duration>,
}

/// The customer of a CA to whom an account belongs (RFC 8555 section 7.3.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalAccount {
    /// The key identifier that the CA gave.
    pub key_id: String,
    /// The MAC key that the CA gave, in base64url.
    pub mac_key: SecretId,
}

/// A certificate profile of a CA.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Profile {
    /// The name that the CA lists.
    pub name: String,
    /// Set if nothing is ordered where the CA does not list it.
    pub required: bool,
}

/// A certificate to serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// Its name, which is unique.
    pub name: String,
    /// The names that it holds, at least one.
    pub names: Vec<Name>,
    /// Its variants, at least one.
    pub variants: IdRange<VariantId>,
    /// Its CAs, at least one: the next one is for when those before keep failing.
    pub issuers: Vec<IssuerId>,
    /// The DNS provider of its names, but for those that are in zones of another.
    pub provider: ProviderId,
    /// Set if the provider has all of them, whoever has a zone.
    pub provider_is_given: bool,
    /// Set if a renewal keeps the key.
    pub reuses_key: bool,
    /// Set if a server that it is for has OCSP responses stapled to it (`ssl_stapling on`).
    pub staples: bool,
    /// Its line, if it is that of a watched domains file.
    pub line: Option<WatchedLine>,
}

/// A certificate with one type of key: what an order is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Variant {
    /// Its name: unique, and the name of its directory in the state path. That of a certificate's
    /// first variant is the certificate's.
    pub name: String,
    /// The type of its key.
    pub key: KeyType,
    /// The certificate that it is a variant of.
    pub certificate: CertificateId,
}

impl Config {
    /// A variant, with its certificate.
    pub fn variant(&self, id: VariantId) -> Option<(&Variant, &Certificate)> {
        let variant = self.variants.get(id)?;
        Some((variant, self.certificates.get(variant.certificate)?))
    }

    /// The certificate of a name.
    pub fn certificate_named(&self, name: &str) -> Option<CertificateId> {
        self.certificates.find(|certificate| certificate.name == name)
    }

    /// The index of all names that certificates hold, for those who choose one by its name.
    ///
    /// There is room for the names of certificates that may be added.
    pub fn name_index(&self, seed: u64) -> Vec<u64> {
        let names = self.certificates.iter().flat_map(|(id, certificate)| {
            certificate.names.iter().map(move |name| (name.as_str(), id))
        });
        let room = self.certificates.capacity() - self.certificates.len();
        NameIndex::build(names, seed, room * watched::INDEX_WORDS)
    }

    /// The provider that is to have a record of a certificate, by the record's name: the one of `provider=`,
    /// else the one with the longest zone that holds it, else the certificate's if that has no
    /// zones. `None` where all are bound to other zones.
    pub fn provider_of(&self, certificate: &Certificate, name: &str) -> Option<ProviderId> {
        let own = certificate.provider;
        if certificate.provider_is_given {
            return Some(own);
        }
        let is_free = self.providers.get(own).is_some_and(|provider| provider.zones.is_empty());
        draft::bound_provider(&self.providers, name).or_else(|| is_free.then_some(own))
    }
}

/// Condition for a reload of nginx after certificate files have changed: the directive
/// `acme_dns_reload`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reload {
    /// If the configuration reads files of that certificate.
    #[default]
    Auto,
    /// After every change.
    On,
    /// Never.
    Off,
}

impl Reload {
    /// Reads the argument of the directive.
    ///
    /// # Errors
    /// It is none of the three words.
    pub fn parse(value: &str) -> Result<Self, String> {
        match value {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(text::invalid_parameter(value)),
        }
    }
}

/// Settings of the wait for TXT records: the directive `acme_dns_propagation`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Propagation {
    /// Ask the zone's authoritative servers until all have the records.
    Check {
        /// Give up after this time.
        timeout: Duration,
        /// The pause between two rounds.
        interval: Duration,
        /// The resolvers that find the zone's servers; the system's if empty.
        resolvers: Vec<SocketAddr>,
        /// The port of the authoritative servers.
        port: u16,
    },
    /// Do not ask, wait for a fixed time.
    Off {
        /// The time to wait.
        delay: Duration,
    },
}

/// Refers to a secret that [`Resources::secret`] has read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SecretId(pub usize);

/// Source of a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretSource {
    /// The first line of a file.
    File(String),
    /// A variable of the master's environment.
    Environment(String),
}

/// Reads what a directive refers to while the configuration is read; the message of an error is
/// shown to the user as it is.
pub trait Resources {
    /// Shows a warning, at the place that is being read.
    fn warn(&mut self, message: &str);

    /// Reads a secret and keeps it, if it passes a check.
    ///
    /// # Errors
    /// The source is not there, cannot be read, is empty or fails the check.
    fn secret(&mut self, source: &SecretSource, check: SecretCheck) -> Result<SecretId, String>;

    /// Reads a MAC key in base64url and keeps it.
    ///
    /// # Errors
    /// The source is not there, cannot be read or holds something else.
    fn mac_key(&mut self, source: &SecretSource) -> Result<SecretId, String>;

    /// Reads a file that holds a private key on P-256 in PEM and keeps it.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    fn private_key(&mut self, path: &str) -> Result<SecretId, String>;

    /// Reads a file of certificates in PEM and checks that it holds at least one.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    fn certificates(&mut self, path: &str) -> Result<Vec<u8>, String>;
}

/// A place in the configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Location {
    /// The file as nginx names it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
