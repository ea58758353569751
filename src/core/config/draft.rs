//! A configuration while it is read, and what can be checked only when all of it is there.

use super::binding::Wanted;
use super::text::MAX_FILE_NAME;
use super::{Certificate, Config, Issuer, Location, Propagation, Provider};
use crate::key::KeyType;
use crate::name::Name;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

/// How many names a CA puts into one certificate (Let's Encrypt's limit, the lowest of the known).
const MAX_NAMES: usize = 100;

/// Collects directives. An issuer may be defined behind the server that refers to it, so references
/// are resolved by [`Draft::finish`].
#[derive(Debug, Default)]
pub struct Draft {
    issuers: Vec<Issuer>,
    providers: Vec<Provider>,
    propagation: Option<Propagation>,
    state_path: Option<PathBuf>,
    bindings: Vec<Binding>,
}

#[derive(Debug)]
struct Binding {
    wanted: Wanted,
    names: Vec<Name>,
    location: Location,
}

/// Refers to what [`Draft::bind`] was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BindingId(usize);

/// A mistake that was found when all of the configuration had been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DraftError {
    /// What is wrong.
    pub message: String,
    /// The directive that it is about.
    pub location: Location,
}

impl fmt::Display for DraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.message, self.location)
    }
}

/// A configuration in which every reference is resolved.
#[derive(Debug)]
pub struct Finished {
    /// The configuration.
    pub config: Config,
    certificates: Vec<usize>,
}

impl Finished {
    /// The certificate of a binding, as an index into [`Config::certificates`].
    pub fn certificate(&self, binding: BindingId) -> Option<usize> {
        self.certificates.get(binding.0).copied()
    }
}

impl Draft {
    /// Adds an issuer.
    ///
    /// # Errors
    /// There is one of this name.
    pub fn add_issuer(&mut self, issuer: Issuer) -> Result<(), String> {
        if self.issuers.iter().any(|other| other.name == issuer.name) {
            return Err(format!("duplicate issuer \"{}\"", issuer.name));
        }
        self.issuers.push(issuer);
        Ok(())
    }

    /// Adds a provider.
    ///
    /// # Errors
    /// There is one of this name.
    pub fn add_provider(&mut self, provider: Provider) -> Result<(), String> {
        if self.providers.iter().any(|other| other.name == provider.name) {
            return Err(format!("duplicate provider \"{}\"", provider.name));
        }
        self.providers.push(provider);
        Ok(())
    }

    /// Sets how to wait for TXT records.
    ///
    /// # Errors
    /// It is set already.
    pub fn set_propagation(&mut self, propagation: Propagation) -> Result<(), String> {
        super::text::set_once(&mut self.propagation, "acme_dns_propagation", propagation)
    }

    /// Sets the directory of accounts, certificates and journal.
    ///
    /// # Errors
    /// It is set already.
    pub fn set_state_path(&mut self, path: PathBuf) -> Result<(), String> {
        super::text::set_once(&mut self.state_path, "acme_dns_state_path", path)
    }

    /// The directory of accounts, certificates and journal, where one is set.
    pub fn state_path(&self) -> Option<&PathBuf> {
        self.state_path.as_ref()
    }

    /// Whether nothing asks for a certificate.
    pub fn is_unused(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Notes that a server wants a certificate for these names.
    ///
    /// # Errors
    /// There are no names, or more than a CA takes.
    pub fn bind(
        &mut self,
        wanted: Wanted,
        names: Vec<Name>,
        location: Location,
    ) -> Result<BindingId, String> {
        match names.len() {
            0 => return Err("no names to certify for \"acme_dns\"".to_owned()),
            1..=MAX_NAMES => {}
            many => {
                return Err(format!(
                    "{many} names for one certificate, a CA takes {MAX_NAMES} at the most"
                ));
            }
        }
        self.bindings.push(Binding { wanted, names, location });
        Ok(BindingId(self.bindings.len() - 1))
    }

    /// Resolves every reference; `default_state_path` is used where none is set.
    ///
    /// # Errors
    /// A binding names an issuer or provider that is not defined, leaves out which of several it
    /// means, or two bindings disagree about a certificate.
    pub fn finish(mut self, default_state_path: PathBuf) -> Result<Finished, DraftError> {
        let bindings = std::mem::take(&mut self.bindings);
        let mut register = Register::default();
        let mut certificates = Vec::with_capacity(bindings.len());
        for binding in bindings {
            let location = binding.location.clone();
            let index = self
                .resolve(&binding)
                .and_then(|(issuer, provider)| register.add(binding, issuer, provider))
                .map_err(|message| DraftError { message, location })?;
            certificates.push(index);
        }
        let config = Config {
            state_path: self.state_path.unwrap_or(default_state_path),
            issuers: self.issuers,
            providers: self.providers,
            certificates: register.certificates,
            propagation: self.propagation.unwrap_or_default(),
        };
        Ok(Finished { config, certificates })
    }

    fn resolve(&self, binding: &Binding) -> Result<(usize, usize), String> {
        let issuers = self.issuers.iter().map(|issuer| issuer.name.as_str());
        let providers = self.providers.iter().map(|provider| provider.name.as_str());
        Ok((
            choose("issuer", issuers, binding.wanted.issuer.as_deref())?,
            choose("provider", providers, binding.wanted.provider.as_deref())?,
        ))
    }
}

/// The only one, or the one that is named.
fn choose<'a>(
    what: &str,
    mut defined: impl ExactSizeIterator<Item = &'a str>,
    wanted: Option<&str>,
) -> Result<usize, String> {
    match (wanted, defined.len()) {
        (Some(name), _) => defined
            .position(|other| other == name)
            .ok_or_else(|| format!("no \"acme_dns_{what}\" is defined for \"{what}={name}\"")),
        (None, 0) => Err(format!("no \"acme_dns_{what}\" is defined for \"acme_dns\"")),
        (None, 1) => Ok(0),
        (None, _) => Err(format!(
            "several \"acme_dns_{what}\" are defined, \"acme_dns\" needs \"{what}=NAME\""
        )),
    }
}

/// The certificates so far.
#[derive(Default)]
struct Register {
    certificates: Vec<Certificate>,
    by_name: HashMap<String, usize>,
    by_settings: HashMap<Settings, usize>,
}

/// What makes two requests the same certificate.
#[derive(Eq, Hash, PartialEq)]
struct Settings {
    names: Vec<Name>,
    key: KeyType,
    issuer: usize,
    provider: usize,
}

impl Register {
    /// The certificate of a binding: one that is there with the same names and settings, or a new one.
    fn add(&mut self, binding: Binding, issuer: usize, provider: usize) -> Result<usize, String> {
        let Binding { wanted, names, location: _ } = binding;
        let key = wanted.key.unwrap_or_default();
        let mut sorted = names.clone();
        sorted.sort();
        let settings = Settings { names: sorted, key, issuer, provider };
        let name = match wanted.name {
            Some(name) => match self.by_name.get(&name) {
                None => name,
                Some(&index) if self.by_settings.get(&settings) == Some(&index) => {
                    return Ok(index);
                }
                Some(_) => {
                    return Err(format!(
                        "certificate \"{name}\" is defined with different settings"
                    ));
                }
            },
            None => match self.by_settings.get(&settings) {
                Some(&index) => return Ok(index),
                None => self.free_name(&names, &settings),
            },
        };
        let index = self.certificates.len();
        self.by_name.insert(name.clone(), index);
        self.by_settings.insert(settings, index);
        self.certificates.push(Certificate { name, names, key, issuer, provider });
        Ok(index)
    }

    /// The first name of the certificate, `_` for its `*`; with a suffix that follows from the
    /// settings where another certificate has that name, or where a file system could not hold it.
    fn free_name(&self, names: &[Name], settings: &Settings) -> String {
        let first = names.first().map_or("", Name::as_str).replacen('*', "_", 1);
        if first.len() <= MAX_FILE_NAME && !self.by_name.contains_key(&first) {
            return first;
        }
        let text = settings.names.iter().map(Name::as_str).collect::<Vec<_>>().join(",");
        let Settings { key, issuer, provider, .. } = settings;
        let suffix = fnv1a(format!("{text} {key} {issuer} {provider}").as_bytes());
        // Names are ASCII, so that any length is a boundary of characters.
        let stem = first.get(..MAX_FILE_NAME).unwrap_or(&first);
        format!("{stem}-{suffix:08x}")
    }
}

/// FNV-1a with 32 bits: stable over versions and machines, as the standard library's hash is not.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
