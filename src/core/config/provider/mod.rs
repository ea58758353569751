//! DNS providers in the configuration: the block `acme_dns_provider NAME [TYPE] { ... }`.
//!
//! [`types`] is the table of the types, with a file for the settings of each, such as [`cloudflare`], and
//! one more for those of a library, [`library`]; [`fields`] reads single settings, [`mistakes`] says what is
//! wrong with a word. What a provider does is in the service's `dns`, not in here.

mod acme_dns;
mod cloudflare;
mod document;
mod duckdns;
mod exec;
pub(super) mod fields;
mod httpreq;
mod image;
mod lexicon;
mod library;
pub(super) mod mistakes;
mod powerdns;
mod rfc2136;
#[cfg(test)]
mod tests;
mod types;
mod variables;

pub use acme_dns::{AcmeDnsCredentials, AcmeDnsSettings};
pub use cloudflare::{CloudflareCredentials, CloudflareSettings};
pub use document::document;
pub use duckdns::DuckDnsSettings;
pub use exec::{ExecProtocol, ExecSettings};
pub use fields::{CommandLine, ProgramFile, RequestLimit, SettingValue};
pub use httpreq::{HttpReqSettings, HttpReqUser};
pub use image::image_table;
pub use library::{LibrarySettings, LibraryType, Writes, library_types};
pub use powerdns::PowerDnsSettings;
pub use rfc2136::{DnsServer, Rfc2136Settings, TsigAlgorithm};
pub use types::ProviderKind;
pub use variables::{SettingVariables, variables};

use super::text::{
    arguments, duplicate, invalid_parameter, is_file_name, set_once, wrong_arguments,
};
use super::{Resources, SecretId};
use crate::name::Name;
use fields::Values;
use mistakes::{unknown_directive, unknown_type};
use types::Type;

/// A DNS provider: one block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provider {
    /// The name in the configuration.
    pub name: String,
    /// The zones that it is bound to: only what is in them goes to it. None for a provider of everything else.
    pub zones: Vec<Name>,
    /// The zone of all names that are in it, whatever the DNS says.
    pub zone: Option<Name>,
    /// The provider's type, with its settings.
    pub kind: ProviderKind,
    /// All secrets that the settings refer to.
    pub secrets: Vec<SecretId>,
}

/// Reader of the block, one directive after the other.
#[derive(Debug)]
pub struct ProviderReader {
    name: String,
    kind: Type,
    zones: Vec<Name>,
    zone: Option<Name>,
    values: Values,
}

impl Provider {
    /// Gives the number of labels of the longest of its zones that holds a name.
    pub(super) fn zone_labels(&self, name: &str) -> Option<usize> {
        let holding = self.zones.iter().filter(|zone| holds(zone.as_str(), name));
        holding.map(|zone| zone.as_str().split('.').count()).max()
    }

    /// Gives the zone of a name, if the configuration says which it is.
    #[must_use]
    pub fn zone_of(&self, name: &str) -> Option<&str> {
        self.zone.as_ref().map(Name::as_str).filter(|zone| holds(zone, name))
    }
}

impl ProviderReader {
    /// Begins a block with the arguments of its directive: the name, perhaps the type, and parameters.
    ///
    /// # Errors
    /// As of [`ProviderReader::new`], or a parameter is unknown, repeated or has a bad value.
    pub fn parse(args: &[&str]) -> Result<Self, String> {
        let (name, rest) = args.split_first().map_or(("", args), |(name, rest)| (*name, rest));
        let (kind, parameters) = match rest.split_first() {
            Some((kind, parameters)) if !kind.contains('=') => (Some(*kind), parameters),
            _ => (None, rest),
        };
        let mut reader = Self::new(name, kind)?;
        for parameter in parameters {
            let name = parameter.split('=').next().unwrap_or_default();
            let field = reader.kind.form.fields.iter().find(|field| field.is_parameter(name));
            let field = field.filter(|field| reader.values.set_by(field.name).is_none());
            let field = field.ok_or_else(|| invalid_parameter(parameter))?;
            reader.values.read_parameter(field, parameter)?;
        }
        Ok(reader)
    }

    /// Begins a block; `kind` is the optional second argument.
    ///
    /// # Errors
    /// The name cannot be written in `provider=`, or there is no such type of provider.
    pub fn new(name: &str, kind: Option<&str>) -> Result<Self, String> {
        if !is_file_name(name) {
            return Err(format!("invalid provider name \"{name}\""));
        }
        let kind = kind.unwrap_or(name);
        let kind = Type::find(kind).ok_or_else(|| unknown_type(kind))?;
        let name = name.to_owned();
        Ok(Self { name, kind, zones: Vec::new(), zone: None, values: Values::default() })
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
            "zones" => return self.set_zones(args),
            "zone" => {
                let [text] = arguments(directive, args)?;
                return set_once(&mut self.zone, directive, zone_name(directive, text)?);
            }
            _ => {}
        }
        let field = self.kind.form.fields.iter().find(|field| field.is_set_by(directive));
        let field = field.ok_or_else(|| unknown_directive(&self.kind, directive))?;
        self.values.read(field, directive, args, resources)
    }

    fn set_zones(&mut self, args: &[&str]) -> Result<(), String> {
        if !self.zones.is_empty() {
            return Err(duplicate("zones"));
        }
        if args.is_empty() {
            return Err(wrong_arguments("zones"));
        }
        for text in args {
            let zone = zone_name("zones", text)?;
            if self.zones.contains(&zone) {
                return Err(format!("zone \"{text}\" is listed twice in \"zones\" directive"));
            }
            self.zones.push(zone);
        }
        Ok(())
    }

    /// Ends the block.
    ///
    /// # Errors
    /// A required setting is missing, or the credentials are missing, incomplete or ambiguous.
    pub fn finish(self) -> Result<Provider, String> {
        let Self { name, kind, zones, zone, values } = self;
        kind.form.check(&name, &values)?;
        check_zone(&name, zone.as_ref(), &zones)?;
        let secrets = values.secrets();
        match kind.build(values) {
            Some(kind) => Ok(Provider { name, zones, zone, kind, secrets }),
            // Its table and its `build` disagree.
            None => Err(format!("provider \"{name}\" is not complete")),
        }
    }
}

/// Reads the name of a zone.
fn zone_name(directive: &str, text: &str) -> Result<Name, String> {
    let zone = Name::parse(text).ok().filter(|zone| !zone.is_wildcard());
    zone.ok_or_else(|| format!("invalid zone \"{text}\" in \"{directive}\" directive"))
}

/// Checks that the zone of a provider has names that go to it. A part of a zone may be bound, and so may
/// more than the zone.
fn check_zone(name: &str, zone: Option<&Name>, zones: &[Name]) -> Result<(), String> {
    let Some(zone) = zone.map(Name::as_str) else { return Ok(()) };
    let meets = |bound: &Name| holds(zone, bound.as_str()) || holds(bound.as_str(), zone);
    match zones.is_empty() || zones.iter().any(meets) {
        true => Ok(()),
        false => {
            let bound: Vec<String> = zones.iter().map(|bound| format!("\"{bound}\"")).collect();
            let bound = bound.join(", ");
            Err(format!(
                "\"zone {zone}\" of provider \"{name}\" makes no sense: its \"zones\" bind it to {bound}"
            ))
        }
    }
}

/// Says whether a zone holds a name.
fn holds(zone: &str, name: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
