//! The block `acme_dns_provider NAME [TYPE] { ... }`.

use super::secret::{check_global_key, check_token};
use super::text::{arguments, duplicate, invalid_parameter, is_file_name, set_once, time, url};
use super::{
    Cloudflare, CloudflareCredentials, Provider, ProviderKind, RequestLimit, Resources,
    SecretCheck, SecretId, SecretSource,
};
use std::time::Duration;

/// The base URL of Cloudflare's API.
const CLOUDFLARE_API: &str = "https://api.cloudflare.com/client/v4";

/// The shortest time to live that Cloudflare takes, in seconds: a record lives for seconds only.
const DEFAULT_TTL: u32 = 60;

/// The longest time over which requests are counted.
const MAX_SPAN: Duration = Duration::from_secs(86_400);

/// The most requests within it.
const MAX_REQUESTS: usize = 1_000_000;

/// Reads the block, one directive after the other.
#[derive(Debug)]
pub struct ProviderReader {
    name: String,
    token: Option<SecretId>,
    email: Option<String>,
    key: Option<SecretId>,
    zone_id: Option<String>,
    ttl: Option<u32>,
    requests: Option<RequestLimit>,
    api: Option<String>,
    trusted_certificate: Option<Vec<u8>>,
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
            let limit = parameter.strip_prefix("requests=").and_then(request_limit);
            let limit = limit.ok_or_else(|| invalid_parameter(parameter))?;
            if reader.requests.replace(limit).is_some() {
                return Err(invalid_parameter(parameter));
            }
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
        match kind.unwrap_or(name) {
            "cloudflare" => {}
            other => {
                return Err(format!(
                    "unknown provider type \"{other}\", the known type is \"cloudflare\""
                ));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            token: None,
            email: None,
            key: None,
            zone_id: None,
            ttl: None,
            requests: None,
            api: None,
            trusted_certificate: None,
        })
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
            "token_file" | "token" | "key_file" | "key" => {
                let [value] = arguments(directive, args)?;
                let source = secret_source(directive, value)?;
                let (slot, check): (_, SecretCheck) = match directive.starts_with("token") {
                    true => (&mut self.token, check_token),
                    false => (&mut self.key, check_global_key),
                };
                if slot.is_some() {
                    return Err(duplicate(directive));
                }
                *slot = Some(resources.secret(&source, check)?);
                Ok(())
            }
            "email" => {
                let [value] = arguments(directive, args)?;
                if !value.contains('@') || !value.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(format!(
                        "invalid e-mail address \"{value}\" in \"email\" directive"
                    ));
                }
                set_once(&mut self.email, directive, value.to_owned())
            }
            "zone_id" => {
                let [value] = arguments(directive, args)?;
                if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    return Err(format!("invalid zone id \"{value}\" in \"zone_id\" directive"));
                }
                set_once(&mut self.zone_id, directive, value.to_owned())
            }
            "ttl" => {
                let [value] = arguments(directive, args)?;
                set_once(&mut self.ttl, directive, ttl(value)?)
            }
            "api" => {
                let [value] = arguments(directive, args)?;
                let base = url(directive, value)?.trim_end_matches('/').to_owned();
                set_once(&mut self.api, directive, base)
            }
            "trusted_certificate" => {
                let [path] = arguments(directive, args)?;
                let pem = resources.certificates(path)?;
                set_once(&mut self.trusted_certificate, directive, pem)
            }
            _ => Err(format!("unknown directive \"{directive}\"")),
        }
    }

    /// Ends the block.
    ///
    /// # Errors
    /// The credentials are missing, incomplete or ambiguous.
    pub fn finish(self) -> Result<Provider, String> {
        let name = self.name;
        let credentials = match (self.token, self.email, self.key) {
            (Some(token), None, None) => CloudflareCredentials::Token(token),
            (None, Some(email), Some(key)) => CloudflareCredentials::Key { email, key },
            (None, None, None) => {
                return Err(format!(
                    "no \"token_file\" or \"token\" is defined for provider \"{name}\""
                ));
            }
            (None, None, Some(_)) => {
                return Err(format!("no \"email\" is defined for provider \"{name}\""));
            }
            (None, Some(_), None) => {
                return Err(format!("no \"key_file\" is defined for provider \"{name}\""));
            }
            (Some(_), ..) => {
                return Err(format!(
                    "provider \"{name}\" has both a token and \"email\" or \"key_file\""
                ));
            }
        };
        let cloudflare = Cloudflare {
            credentials,
            zone_id: self.zone_id,
            ttl: self.ttl.unwrap_or(DEFAULT_TTL),
            requests: self.requests,
            api: self.api.unwrap_or_else(|| CLOUDFLARE_API.to_owned()),
            trusted_certificate: self.trusted_certificate,
        };
        Ok(Provider { name, kind: ProviderKind::Cloudflare(cloudflare) })
    }
}

/// A secret itself must not stand in the configuration: its text would stay in the memory of every
/// worker, and in every copy of the file.
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

/// A number and a time, such as `1200/5m`.
fn request_limit(value: &str) -> Option<RequestLimit> {
    let (number, span) = value.split_once('/')?;
    let number = number.parse().ok().filter(|number| (1..=MAX_REQUESTS).contains(number))?;
    let span = time(span).filter(|span| !span.is_zero() && *span <= MAX_SPAN)?;
    Some(RequestLimit { number, span })
}

fn ttl(value: &str) -> Result<u32, String> {
    value.parse().ok().filter(|ttl| matches!(ttl, 1 | 60..=86400)).ok_or_else(|| {
        format!("invalid value \"{value}\" in \"ttl\" directive, it must be 60 to 86400, or 1 for automatic")
    })
}
