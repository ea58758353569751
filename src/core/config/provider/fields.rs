//! Settings of a provider's block: the kinds that there are, and how a value of each is read.
//!
//! Which settings a type of provider has is not in here: each type lists its own.

use super::super::text::{invalid_parameter, time, url};
use super::super::{Resources, SecretCheck, SecretId, SecretSource};
use std::time::Duration;

/// The longest time over which requests are counted.
const MAX_SPAN: Duration = Duration::from_secs(86_400);

/// The most requests within it.
const MAX_REQUESTS: usize = 1_000_000;

/// A number of requests within a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestLimit {
    /// The number.
    pub number: usize,
    /// The time.
    pub span: Duration,
}

/// The block of a type of provider: what it may and must hold.
#[derive(Debug)]
pub(super) struct Form {
    /// The word of the type in the configuration.
    pub(super) name: &'static str,
    /// Other words for it.
    pub(super) aliases: &'static [&'static str],
    /// Its settings.
    pub(super) fields: &'static [Field],
    /// The ways to authorize, each as the fields that belong together. A block must have all of one of
    /// them, and none of another.
    pub(super) credentials: &'static [&'static [&'static str]],
}

/// A setting that a type of provider has.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Set if no block is complete without it. Settings of which one of several will do are listed in
    /// [`Form::credentials`] instead.
    pub(super) is_required: bool,
}

/// The kinds of settings, by how they are written and checked.
#[derive(Debug)]
pub(super) enum Kind {
    /// A secret, written as `NAME_file FILE` or as `NAME env:VARIABLE`.
    Secret(SecretCheck),
    /// A word that passes a check, and what it is called where it does not.
    Text(fn(&str) -> bool, &'static str),
    /// A number that passes a check, and what it must be where it does not.
    Number(fn(u32) -> bool, &'static str),
    /// `on` or `off`.
    Flag,
    /// A URL that requests are made to.
    Url,
    /// A file of certificates in PEM.
    Certificates,
    /// A limit of requests such as `1200/5m`: a parameter beside the block's name.
    Requests,
}

/// A value as it was read.
#[derive(Debug)]
enum Value {
    Secret(SecretId),
    Text(String),
    Number(u32),
    Flag(bool),
    Certificates(Vec<u8>),
    Requests(RequestLimit),
}

/// The values of a block, each with the directive that has set it.
#[derive(Debug, Default)]
pub(super) struct Values(Vec<(&'static str, String, Value)>);

impl Form {
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

impl Field {
    pub(super) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: false }
    }

    pub(super) const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: true }
    }

    /// Tells whether a directive of the block sets it.
    pub(super) fn is_set_by(&self, directive: &str) -> bool {
        match self.kind {
            Kind::Secret(_) => directive.strip_suffix("_file").unwrap_or(directive) == self.name,
            Kind::Requests => false,
            _ => directive == self.name,
        }
    }

    /// Tells whether it is the parameter `name`.
    pub(super) fn is_parameter(&self, name: &str) -> bool {
        matches!(self.kind, Kind::Requests) && self.name == name
    }

    /// Lists the directives that set it, for messages.
    pub(super) fn directives(&self) -> String {
        match self.kind {
            Kind::Secret(_) => format!("\"{0}_file\" or \"{0}\"", self.name),
            _ => format!("\"{}\"", self.name),
        }
    }
}

impl Values {
    /// Tells which directive has set a field.
    pub(super) fn set_by(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, ..)| *name == field).map(|(_, directive, _)| &**directive)
    }

    /// Reads the argument of a directive.
    pub(super) fn read(
        &mut self,
        field: &'static Field,
        directive: &str,
        argument: &str,
        resources: &mut dyn Resources,
    ) -> Result<(), String> {
        let invalid =
            |what: &str| format!("invalid {what} \"{argument}\" in \"{directive}\" directive");
        let value = match field.kind {
            Kind::Secret(check) => {
                Value::Secret(resources.secret(&secret_source(directive, argument)?, check)?)
            }
            Kind::Text(is_valid, _) if is_valid(argument) => Value::Text(argument.to_owned()),
            Kind::Text(_, what) => return Err(invalid(what)),
            Kind::Number(is_valid, must) => {
                let number = argument.parse().ok().filter(|number| is_valid(*number));
                let refuse = || format!("{}, it must be {must}", invalid("value"));
                Value::Number(number.ok_or_else(refuse)?)
            }
            Kind::Flag => match argument {
                "on" => Value::Flag(true),
                "off" => Value::Flag(false),
                _ => return Err(format!("{}, it must be \"on\" or \"off\"", invalid("value"))),
            },
            Kind::Url => Value::Text(url(directive, argument)?.trim_end_matches('/').to_owned()),
            Kind::Certificates => Value::Certificates(resources.certificates(argument)?),
            Kind::Requests => return Err(invalid("value")),
        };
        self.0.push((field.name, directive.to_owned(), value));
        Ok(())
    }

    /// Reads the value of a parameter.
    pub(super) fn read_parameter(
        &mut self,
        field: &'static Field,
        parameter: &str,
    ) -> Result<(), String> {
        let limit = parameter.split_once('=').and_then(|(_, value)| request_limit(value));
        let limit = limit.ok_or_else(|| invalid_parameter(parameter))?;
        self.0.push((field.name, field.name.to_owned(), Value::Requests(limit)));
        Ok(())
    }

    /// Lists the secrets that were read.
    pub(super) fn secrets(&self) -> Vec<SecretId> {
        let id = |value: &Value| if let Value::Secret(id) = value { Some(*id) } else { None };
        self.0.iter().filter_map(|(.., value)| id(value)).collect()
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        let at = self.0.iter().position(|(name, ..)| *name == field)?;
        Some(self.0.swap_remove(at).2)
    }

    pub(super) fn secret(&mut self, field: &str) -> Option<SecretId> {
        if let Value::Secret(id) = self.take(field)? { Some(id) } else { None }
    }

    pub(super) fn text(&mut self, field: &str) -> Option<String> {
        if let Value::Text(text) = self.take(field)? { Some(text) } else { None }
    }

    pub(super) fn number(&mut self, field: &str) -> Option<u32> {
        if let Value::Number(number) = self.take(field)? { Some(number) } else { None }
    }

    pub(super) fn flag(&mut self, field: &str) -> Option<bool> {
        if let Value::Flag(flag) = self.take(field)? { Some(flag) } else { None }
    }

    pub(super) fn certificates(&mut self, field: &str) -> Option<Vec<u8>> {
        if let Value::Certificates(pem) = self.take(field)? { Some(pem) } else { None }
    }

    pub(super) fn requests(&mut self, field: &str) -> Option<RequestLimit> {
        if let Value::Requests(limit) = self.take(field)? { Some(limit) } else { None }
    }
}

/// Finds out where a secret is. It must not be in the configuration itself: its text would stay in
/// the memory of every worker, and in every copy of the file.
fn secret_source(directive: &str, value: &str) -> Result<SecretSource, String> {
    if directive.ends_with("_file") {
        return Ok(SecretSource::File(value.to_owned()));
    }
    match value.strip_prefix("env:") {
        Some(name) if !name.is_empty() => Ok(SecretSource::Environment(name.to_owned())),
        _ => Err(format!(
            "\"{directive}\" takes \"env:NAME\", a secret in a file is named by \"{directive}_file\""
        )),
    }
}

/// Reads a number and a time, such as `1200/5m`.
fn request_limit(value: &str) -> Option<RequestLimit> {
    let (number, span) = value.split_once('/')?;
    let number = number.parse().ok().filter(|number| (1..=MAX_REQUESTS).contains(number))?;
    let span = time(span).filter(|span| !span.is_zero() && *span <= MAX_SPAN)?;
    Some(RequestLimit { number, span })
}
