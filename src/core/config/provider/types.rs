//! The table of the types of providers. A new type is a file beside this one, a variant of
//! [`ProviderKind`] and a line in [`TYPES`].

use super::cloudflare::{self, CloudflareSettings};
use super::fields::{Field, Values};

/// The settings of a provider, by its type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ProviderKind {
    /// Cloudflare's API v4.
    Cloudflare(CloudflareSettings),
}

/// All types.
pub(super) const TYPES: &[Type] = &[cloudflare::TYPE];

/// A type of provider.
#[derive(Debug)]
pub(super) struct Type {
    /// The word in the configuration.
    pub(super) name: &'static str,
    /// Its settings.
    pub(super) fields: &'static [Field],
    /// The ways to authorize, each as the fields that belong together. A block must have all of one of
    /// them, and none of another.
    pub(super) credentials: &'static [&'static [&'static str]],
    /// Makes the settings out of values that [`Type::check`] has passed.
    pub(super) build: fn(Values) -> Option<ProviderKind>,
}

impl Type {
    /// Finds a type by its word.
    pub(super) fn find(name: &str) -> Result<&'static Self, String> {
        TYPES.iter().find(|kind| kind.name == name).ok_or_else(|| {
            let known: Vec<String> =
                TYPES.iter().map(|kind| format!("\"{}\"", kind.name)).collect();
            let are = if known.len() == 1 { "type is" } else { "types are" };
            format!("unknown provider type \"{name}\", the known {are} {}", known.join(", "))
        })
    }

    fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Checks that the block of the provider `name` is complete and unambiguous.
    pub(super) fn check(&self, name: &str, values: &Values) -> Result<(), String> {
        let missing = |field: &Field| {
            Err(format!("no {} is defined for provider \"{name}\"", field.directives()))
        };
        let begun = |way: &[&str]| way.iter().find_map(|field| values.set_by(field));
        let mut ways = self.credentials.iter().filter_map(|way| Some((way, begun(way)?)));
        let way = match (ways.next(), ways.next()) {
            (Some((_, one)), Some((_, other))) => {
                return Err(format!("provider \"{name}\" has both \"{one}\" and \"{other}\""));
            }
            (Some((way, _)), None) => Some(way),
            (None, _) => self.credentials.first(),
        };
        let of_way = way.into_iter().flat_map(|way| way.iter()).filter_map(|name| self.field(name));
        let required = self.fields.iter().filter(|field| field.is_required);
        match of_way.chain(required).find(|field| values.set_by(field.name).is_none()) {
            Some(field) => missing(field),
            None => Ok(()),
        }
    }
}
