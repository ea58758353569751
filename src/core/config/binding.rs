//! The directive `acme_dns`: what a server asks for.

use super::text::{invalid_parameter, is_file_name};
use crate::key::KeyType;
use crate::name::{Name, NameError};

/// The arguments of one `acme_dns`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// `acme_dns off`.
    Off,
    /// `acme_dns on` or names, with parameters.
    On(Wanted),
}

/// Which certificate a server wants.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// The names given; none means those of `server_name`.
    pub names: Vec<Name>,
    /// The parameter `issuer=`.
    pub issuer: Option<String>,
    /// The parameter `provider=`.
    pub provider: Option<String>,
    /// The parameter `key=`.
    pub key: Option<KeyType>,
    /// The parameter `name=`.
    pub name: Option<String>,
}

impl Request {
    /// Reads the arguments of the directive.
    ///
    /// # Errors
    /// A name cannot be certified, or a parameter is unknown, repeated or has a bad value.
    pub fn parse(args: &[&str]) -> Result<Self, String> {
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
                Err("\"acme_dns\" directive needs \"on\", \"off\" or names".to_owned())
            }
            None => Ok(Self::On(wanted)),
        }
    }
}

impl Wanted {
    fn set(&mut self, parameter: &str, key: &str, value: &str) -> Result<(), String> {
        let invalid = || invalid_parameter(parameter);
        let slot = match key {
            "issuer" => &mut self.issuer,
            "provider" => &mut self.provider,
            "name" if is_file_name(value) => &mut self.name,
            "key" => {
                let key = KeyType::parse(value).ok_or_else(|| {
                    format!("invalid key type \"{value}\", known types are {}", KeyType::known())
                })?;
                return if self.key.replace(key).is_some() { Err(invalid()) } else { Ok(()) };
            }
            _ => return Err(invalid()),
        };
        if value.is_empty() || slot.replace(value.to_owned()).is_some() {
            return Err(invalid());
        }
        Ok(())
    }

    fn add(&mut self, name: &str) -> Result<(), String> {
        for name in expand(name)? {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
        Ok(())
    }
}

/// The names of a server that has `acme_dns on`, in order and without repetition, and what was left
/// out because it is a regular expression.
///
/// # Errors
/// A name cannot be certified.
pub fn server_names<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(Vec<Name>, Vec<&'a str>), String> {
    let mut wanted = Wanted::default();
    let mut left_out = Vec::new();
    for name in names {
        if name.starts_with('~') {
            left_out.push(name);
        } else {
            wanted.add(name)?;
        }
    }
    Ok((wanted.names, left_out))
}

/// nginx's `.example.com` stands for the domain and all below it.
fn expand(text: &str) -> Result<Vec<Name>, String> {
    let parse = |name: &str| {
        Name::parse(name).map_err(|e: NameError| format!("\"{text}\" cannot be certified: {e}"))
    };
    match text.strip_prefix('.') {
        Some(domain) => Ok(vec![parse(domain)?, parse(&format!("*.{domain}"))?]),
        None => Ok(vec![parse(text)?]),
    }
}
