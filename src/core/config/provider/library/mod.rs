//! Types of the library `dns-update`, which the program `acme-dns-providers` calls.
//!
//! A type is a row of a table and no code: [`tokens`], [`pairs`], [`clouds`] and [`servers`] list them by
//! their credentials. A word in here is the one that is sent to the program, so none may be changed without it.

mod clouds;
mod pairs;
mod servers;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;

use super::fields::{Facts, Field, Form, Kind, SettingValue, Values};

/// The shortest time to live where a provider takes any: a record lives for seconds only.
const LEAST_TTL: u32 = 60;

/// Settings of a library type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LibrarySettings {
    /// The type.
    pub kind: &'static LibraryType,
    /// Values of the block, by the names of its settings, but for the time to live.
    pub values: Vec<(&'static str, SettingValue)>,
    /// The records' time to live in seconds.
    pub ttl: u32,
}

/// A library type: one row of the table.
#[derive(Debug)]
pub struct LibraryType {
    /// The word in the configuration, which is also sent to the program.
    pub name: &'static str,
    /// The way in which it writes records.
    pub writes: Writes,
    aliases: &'static [&'static str],
    title: &'static str,
    fields: &'static [Field],
    credentials: &'static [&'static [&'static str]],
    proof: &'static str,
}

/// Way in which a provider writes records: the more it writes at once, the more it can lose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writes {
    /// Single records.
    Record,
    /// All records of a name and type, as they were read before, with the change.
    Set,
    /// All records of a zone, likewise.
    Zone,
}

/// Row of a type that writes single records; each type says what is different.
const RECORD: LibraryType = LibraryType {
    name: "",
    writes: Writes::Record,
    aliases: &[],
    title: "",
    fields: &[],
    credentials: &[],
    proof: "the library's own tests only",
};

/// Row of a type that writes sets of records.
const SET: LibraryType = LibraryType { writes: Writes::Set, ..RECORD };

/// Row of a type that writes whole zones.
const ZONE: LibraryType = LibraryType { writes: Writes::Zone, ..RECORD };

/// Lists all library types.
pub fn library_types() -> impl Iterator<Item = &'static LibraryType> {
    [tokens::TYPES, pairs::TYPES, clouds::TYPES, servers::TYPES].into_iter().flatten()
}

impl LibraryType {
    /// Gives the shortest time to live that the provider takes, in seconds.
    #[must_use]
    pub fn least_ttl(&self) -> u32 {
        let least = self.fields.iter().find_map(|field| match field.kind {
            Kind::Ttl { least } => Some(least),
            _ => None,
        });
        least.unwrap_or(LEAST_TTL)
    }

    /// Lists the names of the settings that are handed on, those first that no block may lack.
    pub fn setting_names(&self) -> impl Iterator<Item = &'static str> {
        let is_handed_on =
            |field: &&Field| !matches!(field.kind, Kind::Ttl { .. } | Kind::Consent(_));
        let of = move |is_required: bool| {
            let fields = self.fields.iter().filter(is_handed_on);
            fields.filter(move |field| field.is_required == is_required).map(|field| field.name)
        };
        of(true).chain(of(false))
    }

    /// Gives the block of the type.
    pub(super) fn form(&self) -> Form {
        let facts =
            Facts { title: self.title, values: "any", removal: "one by one", proof: self.proof };
        let Self { name, aliases, fields, credentials, .. } = *self;
        Form { name, aliases, facts, fields, credentials }
    }

    /// Makes the settings of the type.
    pub(super) fn build(&'static self, mut values: Values) -> LibrarySettings {
        let ttl = values.number("ttl").unwrap_or_else(|| self.least_ttl());
        LibrarySettings { kind: self, values: values.settings(), ttl }
    }
}

/// A type is its row, and no two have the same name.
impl PartialEq for LibraryType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for LibraryType {}
