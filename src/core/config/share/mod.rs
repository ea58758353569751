//! The engine that several hosts share certificates on: the block `acme_dns_share TYPE { ... }`.
//!
//! The service's `share` decides what is shared, and when.

mod endpoint;
mod key;
#[cfg(test)]
mod tests;

pub use endpoint::Endpoint;
pub use key::{EncryptionKey, KeyError};

use super::provider::fields::{self, Field, Kind, Values};
use super::provider::mistakes::did_you_mean;
use super::secret::check_password;
use super::text::{arguments, duplicate, set_once, wrong_arguments};
use super::{Resources, SecretId, SecretSource};
use endpoint::Schemes;
use key::{check_encryption_key, check_private_key};

/// Beginning of all keys in the engine, where none is given.
const DEFAULT_PREFIX: &str = "acme_dns";

/// The longest prefix, in characters.
const MAX_PREFIX: usize = 200;

/// The highest number of a database: servers have 16 of them by default.
const MAX_DATABASE: u32 = 65_535;

/// Danger of a connection without TLS.
const PLAIN: &str = "whoever can listen there reads the password, and can remove what is shared";

/// Settings of blocks of all types.
const COMMON: &[Field] = &[
    Field::optional("prefix", Kind::Text(is_prefix, "prefix")),
    Field::optional("username", Kind::Text(is_user, "user name")),
    Field::optional("password", Kind::Secret(check_password)),
    Field::optional("certificate", Kind::Certificates),
    Field::optional("trusted_certificate", Kind::Certificates),
    Field::optional("plaintext", Kind::Consent(PLAIN)),
];

/// Settings of blocks of Redis.
const OF_REDIS: &[Field] = &[
    Field::optional("database", Kind::Number(is_database, "0 to 65535")),
    Field::optional("sentinel_master", Kind::Text(is_user, "name of a master")),
    Field::optional("sentinel_username", Kind::Text(is_user, "user name")),
    Field::optional("sentinel_password", Kind::Secret(check_password)),
];

/// Directives that are read in a way of their own.
const OWN: [&str; 4] = ["endpoint", "certificate_key", "encryption_key_file", "encryption_key"];

/// An engine that several hosts share certificates on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Share {
    /// Its type, with what only that has.
    pub kind: ShareKind,
    /// Its servers, at least one: others are asked when one is away.
    pub endpoints: Vec<Endpoint>,
    /// The beginning of all keys, without a slash at its end: whoever has the same shares.
    pub prefix: String,
    /// The user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<SecretId>,
    /// The certificate that it is to know us by.
    pub client_certificate: Option<ClientCertificate>,
    /// Certificates in PEM that are trusted besides the system's.
    pub trusted_certificate: Option<Vec<u8>>,
    /// The keys that records are encrypted with, at least one: the first encrypts, all decrypt.
    pub encryption_keys: Vec<SecretId>,
}

/// A type of engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ShareKind {
    /// etcd, by its JSON gateway.
    Etcd,
    /// Redis, or what speaks its protocol.
    Redis {
        /// The number of the database.
        database: u32,
        /// Set if the endpoints are Sentinels, which know the server.
        sentinel: Option<Sentinel>,
    },
}

/// Servers that know which Redis is the master.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sentinel {
    /// The name that they know it by.
    pub master: String,
    /// The user at the Sentinels.
    pub username: Option<String>,
    /// The password at the Sentinels.
    pub password: Option<SecretId>,
}

/// Certificate of a client, with its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// The certificate and its chain in PEM.
    pub certificate: Vec<u8>,
    /// The key in PEM.
    pub key: SecretId,
}

impl ShareKind {
    /// Gives the word that stands for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Etcd => Type::Etcd.name(),
            Self::Redis { .. } => Type::Redis.name(),
        }
    }
}

impl Share {
    /// Lists the secrets that it refers to.
    pub fn secrets(&self) -> impl Iterator<Item = SecretId> {
        let of_sentinel = match &self.kind {
            ShareKind::Redis { sentinel: Some(sentinel), .. } => sentinel.password,
            _ => None,
        };
        let key = self.client_certificate.as_ref().map(|certificate| certificate.key);
        let single = [self.password, of_sentinel, key].into_iter().flatten();
        single.chain(self.encryption_keys.iter().copied())
    }
}

/// Type of a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Type {
    Etcd,
    Redis,
}

impl Type {
    const ALL: [Self; 2] = [Self::Etcd, Self::Redis];

    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Redis => "redis",
        }
    }

    fn schemes(self) -> Schemes {
        match self {
            Self::Etcd => Schemes { tls: "https", plain: "http", port: None },
            Self::Redis => Schemes { tls: "rediss", plain: "redis", port: Some(6379) },
        }
    }

    fn fields(self) -> impl Iterator<Item = &'static Field> {
        let own = if self == Self::Redis { OF_REDIS } else { &[] };
        COMMON.iter().chain(own)
    }
}

/// Reader of the block, one directive after the other.
#[derive(Debug)]
pub struct ShareReader {
    kind: Type,
    endpoints: Vec<Endpoint>,
    certificate_key: Option<SecretId>,
    encryption_keys: Vec<SecretId>,
    values: Values,
}

impl ShareReader {
    /// Begins a block with the argument of its directive.
    ///
    /// # Errors
    /// There is no such type.
    pub fn new(name: &str) -> Result<Self, String> {
        let kind = Type::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| unknown_type(name))?;
        Ok(Self {
            kind,
            endpoints: Vec::new(),
            certificate_key: None,
            encryption_keys: Vec::new(),
            values: Values::default(),
        })
    }

    /// Reads one directive of the block.
    ///
    /// # Errors
    /// The directive is unknown, a duplicate, or has a bad value.
    pub fn set(
        &mut self,
        directive: &str,
        args: &[&str],
        resources: &mut dyn Resources,
    ) -> Result<(), String> {
        match directive {
            "endpoint" => self.set_endpoints(args),
            "certificate_key" => {
                let [path] = arguments(directive, args)?;
                let source = SecretSource::File(path.to_owned());
                let key = resources.secret(&source, check_private_key)?;
                set_once(&mut self.certificate_key, directive, key)
            }
            "encryption_key_file" | "encryption_key" => {
                self.set_encryption_keys(directive, args, resources)
            }
            _ => {
                let field = self.kind.fields().find(|field| field.is_set_by(directive));
                let field = field.ok_or_else(|| unknown_directive(self.kind, directive))?;
                self.values.read(field, directive, args, resources)
            }
        }
    }

    fn set_endpoints(&mut self, args: &[&str]) -> Result<(), String> {
        if !self.endpoints.is_empty() {
            return Err(duplicate("endpoint"));
        }
        if args.is_empty() {
            return Err(wrong_arguments("endpoint"));
        }
        for text in args {
            let endpoint = Endpoint::parse(text, self.kind.schemes())?;
            if self.endpoints.contains(&endpoint) {
                return Err(format!("endpoint \"{endpoint}\" is listed twice"));
            }
            self.endpoints.push(endpoint);
        }
        Ok(())
    }

    /// Reads the keys that records are encrypted with, the new one first.
    fn set_encryption_keys(
        &mut self,
        directive: &str,
        args: &[&str],
        resources: &mut dyn Resources,
    ) -> Result<(), String> {
        if !self.encryption_keys.is_empty() {
            return Err(duplicate(directive));
        }
        if args.is_empty() {
            return Err(wrong_arguments(directive));
        }
        for arg in args {
            let source = fields::secret_source(directive, arg)?;
            self.encryption_keys.push(resources.secret(&source, check_encryption_key)?);
        }
        Ok(())
    }

    /// Ends the block.
    ///
    /// # Errors
    /// A setting is missing, or others do not go together.
    pub fn finish(self) -> Result<Share, String> {
        let Self { kind, endpoints, certificate_key, encryption_keys, mut values } = self;
        let name = kind.name();
        let missing = |what: &str| format!("no {what} is defined for \"acme_dns_share {name}\"");
        if endpoints.is_empty() {
            return Err(missing("\"endpoint\""));
        }
        if encryption_keys.is_empty() {
            return Err(missing("\"encryption_key_file\" or \"encryption_key\""));
        }
        check_tls(&endpoints, &values, certificate_key.is_some())?;
        check_user(kind, &values)?;
        let kind = match kind {
            Type::Etcd => ShareKind::Etcd,
            Type::Redis => redis(&mut values, &endpoints)?,
        };
        let client_certificate = match (values.certificates("certificate"), certificate_key) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err(missing("\"certificate_key\"")),
            (None, Some(_)) => return Err(missing("\"certificate\"")),
        };
        let prefix = values.text("prefix").unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
        Ok(Share {
            kind,
            endpoints,
            prefix: prefix.trim_end_matches('/').to_owned(),
            username: values.text("username"),
            password: values.secret("password"),
            client_certificate,
            trusted_certificate: values.certificates("trusted_certificate"),
            encryption_keys,
        })
    }
}

/// Makes the settings of Redis.
fn redis(values: &mut Values, endpoints: &[Endpoint]) -> Result<ShareKind, String> {
    for setting in ["sentinel_username", "sentinel_password"] {
        if let (Some(word), None) = (values.set_by(setting), values.set_by("sentinel_master")) {
            return Err(format!("\"{word}\" makes no sense without \"sentinel_master\""));
        }
    }
    if let (Some(_), None) =
        (values.set_by("sentinel_username"), values.set_by("sentinel_password"))
    {
        return Err(
            "\"sentinel_username\" makes no sense without \"sentinel_password_file\"".to_owned()
        );
    }
    let database = values.number("database").unwrap_or_default();
    let master = values.text("sentinel_master");
    if master.is_none() && endpoints.len() > 1 {
        return Err(
            "several endpoints need \"sentinel_master\": only Sentinels know which of them is the master"
                .to_owned(),
        );
    }
    let is_plain = endpoints.iter().any(|endpoint| !endpoint.is_tls);
    if master.is_some() && is_plain && values.set_by("plaintext").is_none() {
        return Err(format!(
            "the master that Sentinels name may be on another machine, and has no TLS: {PLAIN}; use TLS, or set \
             \"plaintext on\""
        ));
    }
    let sentinel = master.map(|master| Sentinel {
        master,
        username: values.text("sentinel_username"),
        password: values.secret("sentinel_password"),
    });
    Ok(ShareKind::Redis { database, sentinel })
}

/// Checks that all endpoints are reached by TLS, or none, and what that needs.
fn check_tls(endpoints: &[Endpoint], values: &Values, has_key: bool) -> Result<(), String> {
    let plain = endpoints.iter().find(|endpoint| !endpoint.is_tls);
    let secure = endpoints.iter().find(|endpoint| endpoint.is_tls);
    if let (Some(plain), Some(secure)) = (plain, secure) {
        return Err(format!(
            "\"{secure}\" is reached by TLS and \"{plain}\" is not: all endpoints have to be alike"
        ));
    }
    let consent = values.set_by("plaintext");
    let far = endpoints.iter().find(|endpoint| !endpoint.is_tls && !endpoint.is_local);
    match (plain, far, consent) {
        (None, _, Some(_)) => Err("\"plaintext\" makes no sense with TLS".to_owned()),
        (_, Some(far), None) => Err(format!(
            "endpoint \"{far}\" has no TLS and is not on this machine: {PLAIN}; use TLS, or set \"plaintext on\""
        )),
        (Some(_), ..) => {
            let of_tls = ["certificate", "trusted_certificate"];
            let key = has_key.then_some("certificate_key");
            match of_tls.iter().find_map(|field| values.set_by(field)).or(key) {
                Some(word) => Err(format!("\"{word}\" makes no sense without TLS")),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Checks that user and password are both there. Redis has a user without a name.
fn check_user(kind: Type, values: &Values) -> Result<(), String> {
    match (values.set_by("username"), values.set_by("password")) {
        (Some(_), None) => {
            Err("\"username\" makes no sense without \"password_file\" or \"password\"".to_owned())
        }
        (None, Some(word)) if kind == Type::Etcd => {
            Err(format!("\"{word}\" makes no sense without \"username\""))
        }
        _ => Ok(()),
    }
}

fn unknown_type(name: &str) -> String {
    let names = || Type::ALL.into_iter().map(Type::name);
    let hint = did_you_mean(name, names().map(str::to_owned)).unwrap_or_else(|| {
        let names: Vec<String> = names().map(|name| format!("\"{name}\"")).collect();
        format!(", the types are {}", names.join(" and "))
    });
    format!("unknown share type \"{name}\"{hint}")
}

fn unknown_directive(kind: Type, directive: &str) -> String {
    if OF_REDIS.iter().any(|field| field.is_set_by(directive)) {
        return format!("\"{directive}\" is not a setting of type \"{}\"", kind.name());
    }
    let words = kind.fields().flat_map(Field::words).chain(OWN.map(str::to_owned));
    let hint = did_you_mean(directive, words).unwrap_or_default();
    format!("unknown directive \"{directive}\"{hint}")
}

fn is_prefix(text: &str) -> bool {
    let allowed =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'/');
    text.len() <= MAX_PREFIX && !text.trim_end_matches('/').is_empty() && text.bytes().all(allowed)
}

fn is_user(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_database(number: u32) -> bool {
    number <= MAX_DATABASE
}
