//! Settings of a provider's block: the kinds that there are, and how a value of each is read.
//!
//! Which settings a type of provider has is not in here: each type lists its own.

use super::super::secret::check_text;
use super::super::text::{arguments, duplicate, invalid_parameter, time, url, wrong_arguments};
use super::super::{Resources, SecretCheck, SecretId, SecretSource};
use std::time::Duration;

/// The longest time over which requests are counted.
const MAX_SPAN: Duration = Duration::from_secs(86_400);

/// The longest time to live that is of any use.
const MAX_TTL: u32 = 86_400;

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

/// A program and its first arguments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandLine {
    /// The program's absolute path.
    pub program: String,
    /// The arguments before those of a protocol.
    pub arguments: Vec<String>,
}

/// A file that is carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProgramFile {
    /// Its absolute path.
    pub path: String,
    /// Set if a shell reads it, so that it need not be executable.
    pub is_script: bool,
}

impl CommandLine {
    /// Gives the file that is carried out.
    #[must_use]
    pub fn file(&self) -> ProgramFile {
        ProgramFile { path: self.program.clone(), is_script: false }
    }
}

/// The block of a type of provider: what it may and must hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// The word of the type in the configuration.
    pub(super) name: &'static str,
    /// Other words for it.
    pub(super) aliases: &'static [&'static str],
    /// Facts for its documentation.
    pub(super) facts: Facts,
    /// Its settings.
    pub(super) fields: &'static [Field],
    /// The ways to authorize, each as the fields that belong together. A block must have all of one of
    /// them, and none of another.
    pub(super) credentials: &'static [&'static [&'static str]],
}

/// Facts of a type for its documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The API, the server or the protocol.
    pub(super) title: &'static str,
    /// The number of values that a name may have.
    pub(super) values: &'static str,
    /// The way in which values are removed.
    pub(super) removal: &'static str,
    /// Servers that the type was tested with, or their stand-ins.
    pub(super) proof: &'static str,
}

/// A setting that a type of provider has.
#[derive(Debug)]
pub(in crate::config) struct Field {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) kind: Kind,
    /// Set if no block is complete without it. Settings of which one of several will do are listed in
    /// [`Form::credentials`] instead.
    pub(in crate::config) is_required: bool,
    /// The variables that lego and acme.sh read it from; those whose names end in `_FILE` or `_PATH` hold
    /// the name of a file.
    pub(in crate::config) also: &'static [&'static str],
}

/// The kinds of settings, by how they are written and checked.
#[derive(Debug)]
pub(in crate::config) enum Kind {
    /// A secret, written as `NAME_file FILE` or as `NAME env:VARIABLE`.
    Secret(SecretCheck),
    /// A word that passes a check, and what it is called where it does not.
    Text(fn(&str) -> bool, &'static str),
    /// A number that passes a check, and what it must be where it does not.
    Number(fn(u32) -> bool, &'static str),
    /// A time to live in seconds: the provider's least, or more.
    Ttl { least: u32 },
    /// `on` or `off`.
    Flag,
    /// `on`, which says that a danger is known; and that danger.
    Consent(&'static str),
    /// A URL that requests are made to.
    Url,
    /// A file of certificates in PEM.
    Certificates,
    /// A limit of requests such as `1200/5m`: a parameter beside the block's name.
    Requests,
    /// One of a few words; the first is what holds where none is given.
    Choice(&'static [Choice]),
    /// A time within bounds.
    Time { least: Duration, most: Duration },
    /// A program by its absolute path, and arguments.
    Command,
    /// A variable of a program's environment, written as `env NAME VALUE`. It may be repeated.
    Variable,
    /// A variable with a secret, written as `secret NAME FILE` or `secret NAME env:VARIABLE`. It may be
    /// repeated.
    SecretVariable,
}

/// A word that decides which other settings a block has.
#[derive(Debug)]
pub(in crate::config) struct Choice {
    pub(in crate::config) word: &'static str,
    /// The settings without which it is not complete.
    pub(in crate::config) needs: &'static [&'static str],
    /// Other settings that only it has.
    pub(in crate::config) takes: &'static [&'static str],
}

/// A setting of a provider that is handed on as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SettingValue {
    /// A text; a number too.
    Text(String),
    /// `on` or `off`.
    Flag(bool),
    /// A secret.
    Secret(SecretId),
}

/// A value as it was read.
#[derive(Debug)]
enum Value {
    Secret(SecretId),
    Text(String),
    Number(u32),
    Flag(bool),
    Consent,
    Certificates(Vec<u8>),
    Requests(RequestLimit),
    Choice(&'static str),
    Time(Duration),
    Command(CommandLine),
    Variable(String, String),
    SecretVariable(String, SecretId),
}

/// The values of a block, each with the directive that has set it.
#[derive(Debug, Default)]
pub(in crate::config) struct Values(Vec<(&'static str, String, Value)>);

impl Form {
    /// Lists the words of the type.
    pub(super) fn words(self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Checks that the block of the provider `name` is complete and unambiguous.
    pub(super) fn check(&self, name: &str, values: &Values) -> Result<(), String> {
        let missing = |field: &Field| match field.kind {
            Kind::Consent(danger) => {
                let consent = field.name;
                Err(format!("\"{consent} on\" is required for provider \"{name}\": {danger}"))
            }
            _ => Err(format!("no {} is defined for provider \"{name}\"", field.directives())),
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
            None => self.check_choices(name, values),
        }
    }

    /// Checks that the settings go with the words that are chosen.
    fn check_choices(&self, name: &str, values: &Values) -> Result<(), String> {
        for field in self.fields {
            let Kind::Choice(choices) = field.kind else { continue };
            let word = values.chosen(field.name);
            let is_it = |choice: &&Choice| word.is_none_or(|word| word == choice.word);
            let Some(chosen) = choices.iter().find(is_it) else { continue };
            let with = format!("\"{} {}\" of provider \"{name}\"", field.name, chosen.word);
            let of = |choice: &Choice| choice.needs.iter().chain(choice.takes).copied();
            let has = |name: &str| of(chosen).any(|of| of == name);
            let foreign = choices.iter().flat_map(of).filter(|name| !has(name));
            if let Some(other) = foreign.into_iter().find_map(|name| values.set_by(name)) {
                return Err(format!("\"{other}\" makes no sense with {with}"));
            }
            let missing = chosen.needs.iter().find(|name| values.set_by(name).is_none());
            if let Some(missing) = missing {
                return Err(format!("no \"{missing}\" is defined for {with}"));
            }
        }
        Ok(())
    }
}

impl Choice {
    /// Makes a word that decides nothing else.
    pub(in crate::config) const fn new(word: &'static str) -> Self {
        Self { word, needs: &[], takes: &[] }
    }
}

impl Field {
    pub(in crate::config) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: false, also: &[] }
    }

    pub(in crate::config) const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: true, also: &[] }
    }

    /// Adds the variables that lego and acme.sh read it from.
    pub(super) const fn also(self, variables: &'static [&'static str]) -> Self {
        Self { also: variables, ..self }
    }

    /// Tells whether a directive of the block sets it.
    pub(in crate::config) fn is_set_by(&self, directive: &str) -> bool {
        match self.kind {
            Kind::Secret(_) => directive.strip_suffix("_file").unwrap_or(directive) == self.name,
            Kind::Requests => false,
            _ => directive == self.name,
        }
    }

    /// Tells whether a variable is one that other clients read it from; lego takes each with `_FILE`
    /// behind, too.
    pub(super) fn is_read_from(&self, variable: &str) -> bool {
        let bare = variable.strip_suffix("_FILE").unwrap_or(variable);
        let is_it =
            |other: &&str| [variable, bare].iter().any(|name| name.eq_ignore_ascii_case(other));
        self.also.iter().any(is_it)
    }

    /// Tells whether a directive sets it, as opposed to a parameter.
    pub(super) fn is_directive(&self) -> bool {
        !matches!(self.kind, Kind::Requests)
    }

    /// Lists the words that set it.
    pub(in crate::config) fn words(&self) -> Vec<String> {
        match self.kind {
            Kind::Secret(_) => vec![format!("{}_file", self.name), self.name.to_owned()],
            _ => vec![self.name.to_owned()],
        }
    }

    /// Writes it as the documentation does.
    pub(super) fn documented(&self) -> String {
        let words: Vec<String> = self.words().iter().map(|word| format!("`{word}`")).collect();
        words.join(" or ")
    }

    /// Tells whether it may stand several times.
    fn is_repeated(&self) -> bool {
        matches!(self.kind, Kind::Variable | Kind::SecretVariable)
    }

    /// Tells whether it is the parameter `name`.
    pub(super) fn is_parameter(&self, name: &str) -> bool {
        matches!(self.kind, Kind::Requests) && self.name == name
    }

    /// Lists the directives that set it, for messages.
    pub(super) fn directives(&self) -> String {
        let words: Vec<String> = self.words().iter().map(|word| format!("\"{word}\"")).collect();
        words.join(" or ")
    }
}

impl Values {
    /// Tells which directive has set a field.
    pub(in crate::config) fn set_by(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, ..)| *name == field).map(|(_, directive, _)| &**directive)
    }

    /// Reads the arguments of a directive.
    pub(in crate::config) fn read(
        &mut self,
        field: &'static Field,
        directive: &str,
        args: &[&str],
        resources: &mut dyn Resources,
    ) -> Result<(), String> {
        if !field.is_repeated() && self.set_by(field.name).is_some() {
            return Err(duplicate(directive));
        }
        let value = match field.kind {
            Kind::Command => Value::Command(command(directive, args)?),
            Kind::Variable => {
                let [name, value] = arguments(directive, args)?;
                Value::Variable(self.new_variable(directive, name)?, value.to_owned())
            }
            Kind::SecretVariable => {
                let [name, source] = arguments(directive, args)?;
                let name = self.new_variable(directive, name)?;
                let source = match source.strip_prefix("env:") {
                    Some(variable) => SecretSource::Environment(variable.to_owned()),
                    None => SecretSource::File(source.to_owned()),
                };
                Value::SecretVariable(name, resources.secret(&source, check_text)?)
            }
            _ => single(field, directive, args, resources)?,
        };
        self.0.push((field.name, directive.to_owned(), value));
        Ok(())
    }

    /// Checks the name of a variable that is to be set.
    fn new_variable(&self, directive: &str, name: &str) -> Result<String, String> {
        let is_letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
        let is_valid = name.bytes().all(|b| is_letter(b) || b.is_ascii_digit());
        if !is_valid || !name.bytes().next().is_some_and(is_letter) {
            return Err(format!("invalid variable \"{name}\" in \"{directive}\" directive"));
        }
        let is_it = |value: &Value| match value {
            Value::Variable(other, _) | Value::SecretVariable(other, _) => other == name,
            _ => false,
        };
        match self.0.iter().any(|(.., value)| is_it(value)) {
            true => Err(format!("duplicate variable \"{name}\" in \"{directive}\" directive")),
            false => Ok(name.to_owned()),
        }
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
        let id = |value: &Value| match value {
            Value::Secret(id) | Value::SecretVariable(_, id) => Some(*id),
            _ => None,
        };
        self.0.iter().filter_map(|(.., value)| id(value)).collect()
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        let at = self.0.iter().position(|(name, ..)| *name == field)?;
        Some(self.0.remove(at).2)
    }

    pub(in crate::config) fn secret(&mut self, field: &str) -> Option<SecretId> {
        if let Value::Secret(id) = self.take(field)? { Some(id) } else { None }
    }

    pub(in crate::config) fn text(&mut self, field: &str) -> Option<String> {
        if let Value::Text(text) = self.take(field)? { Some(text) } else { None }
    }

    pub(in crate::config) fn number(&mut self, field: &str) -> Option<u32> {
        if let Value::Number(number) = self.take(field)? { Some(number) } else { None }
    }

    pub(super) fn flag(&mut self, field: &str) -> Option<bool> {
        if let Value::Flag(flag) = self.take(field)? { Some(flag) } else { None }
    }

    pub(in crate::config) fn certificates(&mut self, field: &str) -> Option<Vec<u8>> {
        if let Value::Certificates(pem) = self.take(field)? { Some(pem) } else { None }
    }

    pub(super) fn requests(&mut self, field: &str) -> Option<RequestLimit> {
        if let Value::Requests(limit) = self.take(field)? { Some(limit) } else { None }
    }

    /// Gives the word that a block has chosen.
    fn chosen(&self, field: &str) -> Option<&'static str> {
        self.0.iter().find_map(|(name, _, value)| match value {
            Value::Choice(word) if *name == field => Some(*word),
            _ => None,
        })
    }

    pub(in crate::config) fn choice(&mut self, field: &str) -> Option<&'static str> {
        if let Value::Choice(word) = self.take(field)? { Some(word) } else { None }
    }

    pub(in crate::config) fn time(&mut self, field: &str) -> Option<Duration> {
        if let Value::Time(time) = self.take(field)? { Some(time) } else { None }
    }

    pub(in crate::config) fn command(&mut self, field: &str) -> Option<CommandLine> {
        if let Value::Command(command) = self.take(field)? { Some(command) } else { None }
    }

    /// Lists the settings that are handed on as they are.
    pub(super) fn settings(self) -> Vec<(&'static str, SettingValue)> {
        let settings = self.0.into_iter().filter_map(|(name, _, value)| match value {
            Value::Text(text) => Some((name, SettingValue::Text(text))),
            Value::Choice(word) => Some((name, SettingValue::Text(word.to_owned()))),
            Value::Flag(flag) => Some((name, SettingValue::Flag(flag))),
            Value::Secret(id) => Some((name, SettingValue::Secret(id))),
            _ => None,
        });
        settings.collect()
    }

    /// Lists all variables, in their order.
    pub(in crate::config) fn variables(&self) -> Vec<(String, String)> {
        let variables = self.0.iter().filter_map(|(.., value)| match value {
            Value::Variable(name, value) => Some((name.clone(), value.clone())),
            _ => None,
        });
        variables.collect()
    }

    /// Lists all variables with secrets, in their order.
    pub(in crate::config) fn secret_variables(&self) -> Vec<(String, SecretId)> {
        let variables = self.0.iter().filter_map(|(.., value)| match value {
            Value::SecretVariable(name, id) => Some((name.clone(), *id)),
            _ => None,
        });
        variables.collect()
    }
}

/// Reads a setting that has one argument.
fn single(
    field: &'static Field,
    directive: &str,
    args: &[&str],
    resources: &mut dyn Resources,
) -> Result<Value, String> {
    let [argument] = arguments(directive, args)?;
    let invalid =
        |what: &str| format!("invalid {what} \"{argument}\" in \"{directive}\" directive");
    let refuse = |must: &str| format!("{}, it must be {must}", invalid("value"));
    Ok(match field.kind {
        Kind::Secret(check) => {
            Value::Secret(resources.secret(&secret_source(directive, argument)?, check)?)
        }
        Kind::Text(is_valid, _) if is_valid(argument) => Value::Text(argument.to_owned()),
        Kind::Text(_, what) => return Err(invalid(what)),
        Kind::Number(is_valid, must) => {
            let number = argument.parse().ok().filter(|number| is_valid(*number));
            Value::Number(number.ok_or_else(|| refuse(must))?)
        }
        Kind::Ttl { least } => match argument.parse() {
            Ok(seconds) if seconds < least => {
                return Err(format!("{}, the least is {least}", invalid("value")));
            }
            Ok(seconds) if seconds <= MAX_TTL => Value::Number(seconds),
            _ => return Err(refuse(&format!("{least} to {MAX_TTL}"))),
        },
        Kind::Consent(_) if argument == "on" => Value::Consent,
        Kind::Consent(danger) => {
            return Err(format!("{}, it must be \"on\": {danger}", invalid("value")));
        }
        Kind::Flag => match argument {
            "on" => Value::Flag(true),
            "off" => Value::Flag(false),
            _ => return Err(refuse("\"on\" or \"off\"")),
        },
        Kind::Url => Value::Text(url(directive, argument)?.trim_end_matches('/').to_owned()),
        Kind::Certificates => Value::Certificates(resources.certificates(argument)?),
        Kind::Choice(choices) => {
            let known = choices.iter().find(|choice| choice.word == argument);
            let words: Vec<String> =
                choices.iter().map(|choice| format!("\"{}\"", choice.word)).collect();
            Value::Choice(known.ok_or_else(|| refuse(&words.join(" or ")))?.word)
        }
        Kind::Time { least, most } => {
            let within = time(argument).filter(|time| (least..=most).contains(time));
            let bounds = format!("{}s to {}s", least.as_secs(), most.as_secs());
            Value::Time(within.ok_or_else(|| refuse(&bounds))?)
        }
        Kind::Requests | Kind::Command | Kind::Variable | Kind::SecretVariable => {
            return Err(invalid("value"));
        }
    })
}

/// Reads a program and its arguments.
pub(in crate::config) fn command(directive: &str, args: &[&str]) -> Result<CommandLine, String> {
    let (program, arguments) = args.split_first().ok_or_else(|| wrong_arguments(directive))?;
    if !program.starts_with('/') || program.ends_with('/') {
        return Err(format!(
            "invalid program \"{program}\" in \"{directive}\" directive, it must be an absolute path"
        ));
    }
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Ok(CommandLine { program: (*program).to_owned(), arguments })
}

/// Finds out where a secret is. It must not be in the configuration itself: its text would stay in
/// the memory of every worker, and in every copy of the file.
pub(in crate::config) fn secret_source(
    directive: &str,
    value: &str,
) -> Result<SecretSource, String> {
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
