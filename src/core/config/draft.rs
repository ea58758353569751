//! A configuration while it is read, and what can be checked only when all of it is there.

mod addition;
mod lines;
mod parties;
mod register;
mod request;

pub(super) use parties::bound_provider;
pub use request::DraftError;

use super::binding::Wanted;
use super::domains::Holders;
use super::watched::WatchedDomains;
use super::{Config, Import, Issuer, Location, Propagation, Provider, Reload, Share};
use crate::id::{CertificateId, IssuerId, ProviderId, Table};
use crate::name::Name;
use lines::Domains;
use parties::{CertificateParties, Defined};
use register::{Asked, CertificateSettings, Register, different_settings};
use request::Binding;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

/// The most names that a CA puts into one certificate (Let's Encrypt's limit, the lowest of the known).
const MAX_NAMES: usize = 100;

const NO_NAMES: &str =
    "\"acme_dns on\" needs a \"server_name\" to certify, or names in the place of \"on\"";

/// Collects directives. An issuer may be defined behind the server that refers to it, so references
/// are resolved by [`Draft::finish`].
#[derive(Debug, Default)]
pub struct Draft {
    issuers: Table<IssuerId, Issuer>,
    providers: Table<ProviderId, Provider>,
    propagation: Option<Propagation>,
    reload: Option<Reload>,
    state_path: Option<PathBuf>,
    imports: Vec<Import>,
    share: Option<Share>,
    bindings: Vec<Binding>,
    domains: Vec<Domains>,
    watched: Vec<WatchedDomains>,
    /// Lines of watched files that are left out.
    left_out: Vec<DraftError>,
    /// See [`Draft::line_names`].
    line_names: OnceCell<HashSet<String>>,
}

/// Refers to what [`Draft::bind`] was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BindingId(usize);

/// A configuration in which every reference is resolved.
#[derive(Debug)]
pub struct Finished {
    /// The configuration.
    pub config: Config,
    /// The certificate of each binding.
    pub(super) certificates: Vec<CertificateId>,
    /// Certificates that are neither shared nor given up for another one.
    pub(super) keeps_own: BTreeSet<CertificateId>,
    /// Mistakes in lines of watched files, which are left out.
    pub left_out: Vec<DraftError>,
}

impl Finished {
    /// The certificate of a binding.
    pub fn certificate(&self, binding: BindingId) -> Option<CertificateId> {
        self.certificates.get(binding.0).copied()
    }

    /// Has a certificate stay what it is, whatever covers its names. Gives whether there is one of this name.
    pub fn keep_named(&mut self, name: &str) -> bool {
        let found = self.config.certificate_named(name);
        self.keeps_own.extend(found);
        let certificate = found.and_then(|id| self.config.certificates.get_mut(id));
        if let Some(line) = certificate.and_then(|certificate| certificate.line.as_mut()) {
            line.is_used = true;
        }
        found.is_some()
    }

    /// Has OCSP responses stapled to all certificates: a server that has them stapled may serve any.
    pub fn staple_all(&mut self) {
        self.config.certificates.values_mut().for_each(|certificate| certificate.staples = true);
        self.config.watched.iter_mut().for_each(|watched| watched.staples = true);
    }
}

impl Draft {
    /// Adds an issuer.
    ///
    /// # Errors
    /// There is one of this name.
    pub fn add_issuer(&mut self, issuer: Issuer) -> Result<(), String> {
        if self.issuers.values().any(|other| other.name == issuer.name) {
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
        if self.providers.values().any(|other| other.name == provider.name) {
            return Err(format!("duplicate provider \"{}\"", provider.name));
        }
        for zone in &provider.zones {
            let has_it = |other: &&Provider| other.zones.contains(zone);
            if let Some(other) = self.providers.values().find(has_it) {
                let zone = zone.as_str();
                return Err(format!(
                    "zone \"{zone}\" is bound to provider \"{}\" already",
                    other.name
                ));
            }
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

    /// Tells whether a state path is set.
    pub fn has_state_path(&self) -> bool {
        self.state_path.is_some()
    }

    /// Sets when nginx is reloaded.
    ///
    /// # Errors
    /// It is set already.
    pub fn set_reload(&mut self, reload: Reload) -> Result<(), String> {
        super::text::set_once(&mut self.reload, "acme_dns_reload", reload)
    }

    /// Sets the engine that certificates are shared on.
    ///
    /// # Errors
    /// It is set already.
    pub fn set_share(&mut self, share: Share) -> Result<(), String> {
        super::text::set_once(&mut self.share, "acme_dns_share", share)
    }

    /// Adds a tree of another client.
    pub fn add_import(&mut self, import: Import) {
        self.imports.push(import);
    }

    /// Tells whether nothing asks for a certificate.
    pub fn is_unused(&self) -> bool {
        let has_no_lines = self.domains.iter().all(|file| file.lines.is_empty());
        self.bindings.is_empty() && has_no_lines && self.watched.is_empty()
    }

    /// Tells whether there is a domains file, with lines or without.
    pub fn has_domains(&self) -> bool {
        !self.domains.is_empty()
    }

    /// Tells whether a server asks for the certificate of a line by its name, whatever its own names are.
    pub fn names_line(&self, wanted: &Wanted) -> bool {
        let is_line = |name| self.line_names().contains(name);
        wanted.names.is_empty() && wanted.name.as_ref().is_some_and(is_line)
    }

    /// Notes that a server wants a certificate for these names. Names that a wildcard among them
    /// covers are left out, because a CA refuses an order that has both. Names do not matter where
    /// the certificate of a line is asked for ([`Draft::names_line`]). `location` is where the names are,
    /// `directive` where they are asked for.
    ///
    /// # Errors
    /// There are no names, or more than a CA takes.
    pub fn bind(
        &mut self,
        wanted: Wanted,
        names: Vec<Name>,
        location: Location,
        directive: Location,
    ) -> Result<BindingId, String> {
        let names = match self.names_line(&wanted) {
            true => Vec::new(),
            false => certifiable(names)?,
        };
        let (wants_staple, keeps_own) = (false, !wanted.names.is_empty() || wanted.name.is_some());
        let binding = Binding { wanted, names, location, directive, wants_staple, keeps_own };
        self.bindings.push(binding);
        Ok(BindingId(self.bindings.len() - 1))
    }

    /// Notes that the server of a binding has OCSP responses stapled to its certificate
    /// (`ssl_stapling on`). Of servers that share a certificate one is enough.
    pub fn want_staple(&mut self, binding: BindingId) {
        if let Some(binding) = self.bindings.get_mut(binding.0) {
            binding.wants_staple = true;
        }
    }

    /// Notes that the server of a binding has a certificate of its own in any case.
    pub fn keep_own(&mut self, binding: BindingId) {
        if let Some(binding) = self.bindings.get_mut(binding.0) {
            binding.keeps_own = true;
        }
    }

    /// Resolves every reference; `default_state_path` is used where none is set.
    ///
    /// # Errors
    /// A binding names an issuer or provider that is not defined, leaves out which of several it
    /// means, or two bindings disagree about a certificate.
    pub fn finish(mut self, default_state_path: PathBuf) -> Result<Finished, DraftError> {
        let mut register = Register::default();
        let bindings = std::mem::take(&mut self.bindings);
        // Which of them name a line can be told as long as the lines are there.
        let names_line = bindings.iter().map(|binding| self.names_line(&binding.wanted));
        let names_line: Vec<bool> = names_line.collect();
        // Lines come first: servers may use their certificates.
        self.register_lines(&mut register)?;
        let holders = match bindings.is_empty() {
            true => Holders::default(),
            false => register.holders(),
        };
        let choices = bindings
            .iter()
            .zip(names_line)
            .map(|(binding, names_line)| self.choose((binding, names_line), &register, &holders))
            .collect::<Result<Vec<_>, _>>()?;
        let mut entries: Vec<_> = bindings.into_iter().zip(choices).enumerate().collect();
        // What is named comes first, so that no other certificate has taken the name.
        entries.sort_by_key(|(_, (binding, _))| binding.wanted.name.is_none());
        let mut certificates = vec![CertificateId::default(); entries.len()];
        // Those of lines.
        let mut keeps_own: BTreeSet<CertificateId> = register.certificates.ids().collect();
        for (id, (binding, choice)) in entries {
            let (wants_staple, is_own) = (binding.wants_staple, binding.keeps_own);
            let certificate = match choice {
                DraftCertificate::Line(certificate) => certificate,
                DraftCertificate::Own(parties) => {
                    let Binding { wanted, names, location, .. } = binding;
                    let name = wanted.name.clone();
                    let asked = Asked { wanted: &wanted, name, names, line: None };
                    self.check_names(asked.names.len(), &parties.issuers)
                        .and_then(|()| register.add(asked, parties, self.defined()))
                        .map_err(|message| DraftError { message, location })?
                }
            };
            let found = &mut register.certificates[certificate];
            found.staples |= wants_staple;
            found.line.iter_mut().for_each(|line| line.is_used = true);
            certificates[id] = certificate;
            if is_own {
                keeps_own.insert(certificate);
            }
        }
        let config = Config {
            state_path: self.state_path.unwrap_or(default_state_path),
            issuers: self.issuers,
            providers: self.providers,
            providers_program: None,
            certificates: register.certificates.into(),
            variants: register.variants.into(),
            watched: self.watched,
            propagation: self.propagation.unwrap_or_default(),
            reload: self.reload.unwrap_or_default(),
            imports: self.imports,
            listeners: Vec::new(),
            share: self.share,
        };
        Ok(Finished { config, certificates, keeps_own, left_out: self.left_out })
    }

    fn defined(&self) -> Defined<'_> {
        Defined { issuers: &self.issuers, providers: &self.providers }
    }

    /// Checks whether all issuers of a certificate take so many names.
    fn check_names(&self, count: usize, issuers: &[IssuerId]) -> Result<(), String> {
        let mut issuers = issuers.iter().filter_map(|id| self.issuers.get(*id));
        issuers.try_for_each(|issuer| issuer.check_names(count))
    }

    /// Decides whether a server uses the certificate of a line, which it may name.
    fn choose(
        &self,
        (binding, names_line): (&Binding, bool),
        register: &Register,
        lines: &Holders,
    ) -> Result<DraftCertificate, DraftError> {
        let Binding { wanted, names, .. } = binding;
        let suits = |id: CertificateId| {
            register.settings(id).is_some_and(|settings| self.suits(wanted, &settings))
        };
        if names_line {
            let name = wanted.name.as_deref().unwrap_or_default();
            let id = register.by_name.get(name).copied().filter(|id| suits(*id));
            return id
                .map(DraftCertificate::Line)
                .ok_or_else(|| binding.error(different_settings(name)));
        }
        let is_meant = |id: CertificateId| {
            register.certificates.get(id).is_some_and(|certificate| {
                // Names that are given are what the certificate has to hold, no more.
                let is_same = certificate.names.len() == names.len()
                    && certificate.names.iter().all(|name| names.contains(name));
                (wanted.names.is_empty() || is_same)
                    && wanted.name.as_ref().is_none_or(|name| *name == certificate.name)
            })
        };
        match lines.covering(names, |id| suits(id) && is_meant(id)) {
            Some(id) => Ok(DraftCertificate::Line(id)),
            None => {
                let parties =
                    self.defined().resolve(wanted, names, "acme_dns").map_err(|message| {
                        DraftError { message, location: binding.directive.clone() }
                    })?;
                Ok(DraftCertificate::Own(parties))
            }
        }
    }

    /// Tells whether a certificate has what a server asks for besides names.
    fn suits(&self, wanted: &Wanted, settings: &CertificateSettings) -> bool {
        let name = |issuer: &IssuerId| self.issuers.get(*issuer).map(|issuer| &issuer.name);
        let parties = &settings.parties;
        let issuers = parties.issuers.iter().map(name);
        let provider = self.providers.get(parties.provider).map(|provider| &provider.name);
        (wanted.issuers.is_empty() || issuers.eq(wanted.issuers.iter().map(Some)))
            && (wanted.provider.is_none() || wanted.provider.as_ref() == provider)
            && (wanted.keys.is_empty() || wanted.keys == settings.keys)
            && wanted.reuses_key.is_none_or(|reuses_key| reuses_key == settings.reuses_key)
    }
}

/// Certificate that a server gets.
enum DraftCertificate {
    /// Certificate of a line.
    Line(CertificateId),
    /// Certificate of its own, from and by these.
    Own(CertificateParties),
}

/// Gives those of the names that stand in a certificate.
fn certifiable(names: Vec<Name>) -> Result<Vec<Name>, String> {
    let names = without_redundant(names);
    match names.len() {
        0 => Err(NO_NAMES.to_owned()),
        1..=MAX_NAMES => Ok(names),
        many => Err(format!("{many} names for one certificate, a CA takes at most {MAX_NAMES}")),
    }
}

/// The names without those that a wildcard among them covers: what the certificate will hold.
pub fn without_redundant(names: Vec<Name>) -> Vec<Name> {
    let wildcards: HashSet<String> =
        names.iter().filter(|name| name.is_wildcard()).map(|name| name.base().to_owned()).collect();
    let covered = |name: &Name| {
        let parent = name.as_str().split_once('.').map(|(_, parent)| parent);
        !name.is_wildcard() && parent.is_some_and(|parent| wildcards.contains(parent))
    };
    names.into_iter().filter(|name| !covered(name)).collect()
}
