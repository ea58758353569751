//! The directive `acme_dns_domains`: a file in which each line is a certificate, as dehydrated has it.
//!
//! A line is read as dehydrated reads it: names between blanks, and `>` before the word that is the
//! name of the certificate, an alias, which may stand anywhere and is in lower case too. What dehydrated
//! would send to the CA to be refused is a mistake here. A wildcard that comes first needs no alias.

use super::binding::Wanted;
use super::text::{invalid_parameter, is_file_name};
use crate::id::CertificateId;
use crate::name::Name;
use std::collections::HashMap;

/// Characters that divide words, besides the end of the line.
const BLANKS: [char; 4] = [' ', '\t', '\x0b', '\x0c'];

/// A certificate of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// Its place, from 1.
    pub number: usize,
    /// The names as they are written, at least one, each once.
    pub names: Vec<Name>,
    /// The alias, or what the first name makes; `None` if that is too long for a file.
    pub name: Option<String>,
}

/// A line that cannot be understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// Description of the mistake.
    pub message: String,
    /// Number of the line, from 1.
    pub line: usize,
}

/// Parameters of the directive.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parameters {
    /// Those of `acme_dns` without `name=`.
    pub wanted: Wanted,
    /// The word `watch`: changes take effect without a reload.
    pub watches: bool,
}

/// Reads the parameters of the directive.
///
/// # Errors
/// A parameter is unknown, repeated or has a bad value.
pub fn parameters(args: &[&str]) -> Result<Parameters, String> {
    let mut parameters = Parameters::default();
    for arg in args {
        match arg.split_once('=') {
            Some((key, value)) if key != "name" => parameters.wanted.set(arg, key, value)?,
            None if *arg == "watch" && !parameters.watches => parameters.watches = true,
            _ => return Err(invalid_parameter(arg)),
        }
    }
    Ok(parameters)
}

/// Reads a file.
///
/// # Errors
/// The first line that is wrong.
pub fn parse(content: &[u8]) -> Result<Vec<Line>, Mistake> {
    parse_each(content).collect()
}

/// Reads a file line by line.
pub fn parse_each(content: &[u8]) -> impl Iterator<Item = Result<Line, Mistake>> {
    let lines = (1..).zip(without_mark(content).split(|byte| *byte == b'\n'));
    lines.filter_map(|(number, bytes)| read_line(number, bytes).transpose())
}

/// Gives a text without the mark that some editors put before it.
pub(super) fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content)
}

/// Reads a line; `None` if it has no certificate.
pub(super) fn read_line(number: usize, bytes: &[u8]) -> Result<Option<Line>, Mistake> {
    let text = std::str::from_utf8(bytes).map_err(|_| "invalid UTF-8".to_owned());
    let line = text.and_then(|text| read(number, text));
    line.map_err(|message| Mistake { message, line: number })
}

/// The certificate of a line, if there is one.
fn read(number: usize, text: &str) -> Result<Option<Line>, String> {
    let text = text.strip_suffix('\r').unwrap_or(text).trim_matches(BLANKS);
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let mut parts = text.split('>');
    let before = words(parts.next().unwrap_or_default());
    let mut behind = parts.next().map(words);
    if parts.next().is_some() {
        return Err("there is more than one alias".to_owned());
    }
    let alias = behind.as_mut().map(|words| alias(words.next())).transpose()?;
    let mut names: Vec<Name> = Vec::new();
    for word in before.chain(behind.into_iter().flatten()) {
        let name = name(word)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let first = names.first().ok_or("there are no names before the alias")?;
    let name = alias.unwrap_or_else(|| first.as_str().replacen('*', "_", 1));
    Ok(Some(Line { number, name: Some(name).filter(|name| is_file_name(name)), names }))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(BLANKS).filter(|word| !word.is_empty())
}

fn alias(word: Option<&str>) -> Result<String, String> {
    let word = word.ok_or("there is no alias behind \">\"")?;
    let alias = word.to_ascii_lowercase();
    if is_file_name(&alias) { Ok(alias) } else { Err(format!("invalid alias \"{word}\"")) }
}

fn name(word: &str) -> Result<Name, String> {
    if word.starts_with('#') {
        return Err("a comment needs a line of its own".to_owned());
    }
    Name::parse(word).map_err(|error| format!("\"{word}\" cannot be certified: {error}"))
}

/// Finds certificates by the names that they hold.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// For each name those that hold it as it stands, in ascending order.
    by_name: HashMap<String, Vec<CertificateId>>,
}

impl Holders {
    /// Adds a certificate, once or, if two lines are the same, again.
    pub(super) fn add(&mut self, certificate: CertificateId, names: &[Name]) {
        for name in names {
            let holders = self.by_name.entry(name.as_str().to_owned()).or_default();
            if let Err(place) = holders.binary_search(&certificate) {
                holders.insert(place, certificate);
            }
        }
    }

    /// The first certificate that covers all names, each as it stands or by a wildcard, and suits.
    pub(super) fn covering(
        &self,
        names: &[Name],
        suits: impl Fn(CertificateId) -> bool,
    ) -> Option<CertificateId> {
        let (first, rest) = names.split_first()?;
        let mut candidates = [self.of(first.as_str()), self.of(&wildcard(first))].concat();
        candidates.sort_unstable();
        let covers = |certificate: CertificateId, name: &Name| {
            let holds = |name: &str| self.of(name).binary_search(&certificate).is_ok();
            holds(name.as_str()) || holds(&wildcard(name))
        };
        let covers_rest = |id: &CertificateId| rest.iter().all(|name| covers(*id, name));
        candidates.into_iter().find(|id| covers_rest(id) && suits(*id))
    }

    /// Those that hold a name as it stands.
    fn of(&self, name: &str) -> &[CertificateId] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }
}

/// The wildcard that covers a name; empty for a wildcard, which none covers.
fn wildcard(name: &Name) -> String {
    let parent = name.as_str().split_once('.').filter(|_| !name.is_wildcard());
    parent.map_or_else(String::new, |(_, parent)| format!("*.{parent}"))
}
