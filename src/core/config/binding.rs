//! The directive `acme_dns`: what a server asks for.

use super::text::{invalid_parameter, is_file_name};
use crate::key::KeyType;
use crate::name::{Name, NameError};
use std::num::NonZeroUsize;

/// The most certificates that a process keeps ready for a server with `acme_dns sni`, if it does not say.
const KEPT_READY: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// The arguments of one `acme_dns`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// `acme_dns off`.
    Off,
    /// `acme_dns on` or names, with parameters.
    On(Wanted),
    /// `acme_dns sni`, with parameters.
    Sni(Choosing),
}

/// Choice among all certificates of the configuration by the name that a client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Choosing {
    /// The parameter `default=`: the certificate for clients that ask for no name, or for one that no certificate
    /// covers.
    pub default: Option<String>,
    /// The parameter `cache=`: so many certificates each process keeps ready.
    pub kept_ready: NonZeroUsize,
}

/// Certificate as a server asks for it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// The names given; none means those of `server_name`.
    pub names: Vec<Name>,
    /// The parameter `issuer=`, one or more.
    pub issuers: Vec<String>,
    /// The parameter `provider=`.
    pub provider: Option<String>,
    /// The parameter `key=`: at most one of each algorithm.
    pub keys: Vec<KeyType>,
    /// The parameter `reuse_key=`.
    pub reuses_key: Option<bool>,
    /// The parameter `name=`.
    pub name: Option<String>,
}

impl Request {
    /// Reads the arguments of the directive.
    ///
    /// # Errors
    /// A name cannot be certified, or a parameter is unknown, repeated or has a bad value.
    pub fn parse(args: &[&str]) -> Result<Self, String> {
        if let Some(("sni", parameters)) = args.split_first().map(|(first, rest)| (*first, rest)) {
            return Choosing::parse(parameters).map(Self::Sni);
        }
        let mut wanted = Wanted::default();
        let mut switch = None;
        for arg in args {
            match (*arg, arg.split_once('=')) {
                ("on" | "off", _) if switch.is_none() && wanted.names.is_empty() => {
                    switch = Some(*arg);
                }
                (_, Some((key, value))) => wanted.set(arg, key, value)?,
                (_, None) if switch.is_some() => return Err(invalid_parameter(arg)),
                (name, None) => wanted.add(name)?,
            }
        }
        match switch {
            Some("off") if wanted == Wanted::default() => Ok(Self::Off),
            Some("off") => Err("\"acme_dns off\" takes no parameters".to_owned()),
            Some(_) => Ok(Self::On(wanted)),
            None if wanted.names.is_empty() => {
                Err("\"acme_dns\" directive needs \"on\", \"off\", \"sni\" or names".to_owned())
            }
            None => Ok(Self::On(wanted)),
        }
    }
}

impl Choosing {
    fn parse(parameters: &[&str]) -> Result<Self, String> {
        let (mut default, mut kept_ready) = (None, None);
        for parameter in parameters {
            let is_first = match parameter.split_once('=') {
                Some(("default", name)) if is_file_name(name) => {
                    default.replace(name.to_owned()).is_none()
                }
                Some(("cache", number)) => {
                    let number = number.parse().map_err(|_| invalid_parameter(parameter))?;
                    kept_ready.replace(number).is_none()
                }
                _ => false,
            };
            if !is_first {
                return Err(invalid_parameter(parameter));
            }
        }
        Ok(Self { default, kept_ready: kept_ready.unwrap_or(KEPT_READY) })
    }
}

impl Wanted {
    pub(super) fn set(&mut self, parameter: &str, key: &str, value: &str) -> Result<(), String> {
        let is_first = match key {
            "issuer" => self.issuers.is_empty(),
            "provider" => self.provider.is_none(),
            "name" => self.name.is_none() && is_file_name(value),
            "key" => self.keys.is_empty(),
            "reuse_key" => self.reuses_key.is_none() && matches!(value, "on" | "off"),
            _ => false,
        };
        if !is_first || value.is_empty() {
            return Err(invalid_parameter(parameter));
        }
        match key {
            "issuer" => self.issuers = issuers(parameter, value)?,
            "provider" => self.provider = Some(value.to_owned()),
            "name" => self.name = Some(value.to_owned()),
            "key" => self.keys = keys(parameter, value)?,
            _ => self.reuses_key = Some(value == "on"),
        }
        Ok(())
    }

    fn add(&mut self, name: &str) -> Result<(), String> {
        let names = expand(name).map_err(|why| format!("\"{name}\" cannot be certified: {why}"))?;
        for name in names {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
        Ok(())
    }
}

/// The value of `issuer=`: names with commas between them, each once.
fn issuers(parameter: &str, value: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for name in value.split(',') {
        if name.is_empty() || names.iter().any(|other| other == name) {
            return Err(invalid_parameter(parameter));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// The value of `key=`: types with commas between them.
fn keys(parameter: &str, value: &str) -> Result<Vec<KeyType>, String> {
    let mut keys: Vec<KeyType> = Vec::new();
    for text in value.split(',') {
        let key = KeyType::parse(text).ok_or_else(|| {
            format!("invalid key type \"{text}\", known types are {}", KeyType::known())
        })?;
        let algorithm = key.algorithm();
        if keys.iter().any(|other| other.algorithm() == algorithm) {
            return Err(format!("\"{parameter}\" has two types of {algorithm} keys"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// nginx's `.example.com` stands for the domain and all below it.
///
/// # Errors
/// It cannot be certified.
pub(super) fn expand(text: &str) -> Result<Vec<Name>, NameError> {
    match text.strip_prefix('.') {
        Some(domain) => Ok(vec![Name::parse(domain)?, Name::parse(&format!("*.{domain}"))?]),
        None => Ok(vec![Name::parse(text)?]),
    }
}
