//! The block `acme_dns_issuer NAME { ... }`.

use super::text::{arguments, invalid_parameter, is_file_name, set_once, url, wrong_arguments};
use super::{Issuer, Profile, Resources};

/// The issuers whose directory is built in.
const KNOWN: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];

/// Reads the block, one directive after the other.
#[derive(Debug)]
pub struct IssuerReader {
    name: String,
    directory: Option<String>,
    contacts: Option<Vec<String>>,
    terms_accepted: Option<()>,
    trusted_certificate: Option<Vec<u8>>,
    profile: Option<Profile>,
}

impl IssuerReader {
    /// Begins a block.
    ///
    /// # Errors
    /// The name cannot be the name of a directory.
    pub fn new(name: &str) -> Result<Self, String> {
        if !is_file_name(name) {
            return Err(format!("invalid issuer name \"{name}\""));
        }
        Ok(Self {
            name: name.to_owned(),
            directory: None,
            contacts: None,
            terms_accepted: None,
            trusted_certificate: None,
            profile: None,
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
            "directory" => {
                let [value] = arguments(directive, args)?;
                set_once(&mut self.directory, directive, url(directive, value)?)
            }
            "contact" => {
                let contacts =
                    args.iter().map(|text| contact(text)).collect::<Result<Vec<_>, _>>()?;
                if contacts.is_empty() {
                    return Err(wrong_arguments(directive));
                }
                set_once(&mut self.contacts, directive, contacts)
            }
            "accept_terms_of_service" => {
                let [] = arguments(directive, args)?;
                set_once(&mut self.terms_accepted, directive, ())
            }
            "trusted_certificate" => {
                let [path] = arguments(directive, args)?;
                let pem = resources.certificates(path)?;
                set_once(&mut self.trusted_certificate, directive, pem)
            }
            "profile" => set_once(&mut self.profile, directive, profile(directive, args)?),
            _ => Err(format!("unknown directive \"{directive}\"")),
        }
    }

    /// Ends the block.
    ///
    /// # Errors
    /// Something that every issuer needs is missing.
    pub fn finish(self) -> Result<Issuer, String> {
        let Self { name, directory, contacts, terms_accepted, trusted_certificate, profile } = self;
        let known =
            KNOWN.iter().find(|(known, _)| *known == name).map(|(_, url)| (*url).to_owned());
        let Some(directory) = directory.or(known) else {
            return Err(format!("no \"directory\" is defined for issuer \"{name}\""));
        };
        if terms_accepted.is_none() {
            return Err(format!("\"accept_terms_of_service\" is required for issuer \"{name}\""));
        }
        let contacts = contacts.unwrap_or_default();
        Ok(Issuer { name, directory, contacts, trusted_certificate, profile })
    }
}

fn contact(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let valid = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@')
    });
    let plain = address.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'?'));
    if valid && plain {
        Ok(format!("mailto:{address}"))
    } else {
        Err(format!("invalid e-mail address \"{text}\" in \"contact\" directive"))
    }
}

fn profile(directive: &str, args: &[&str]) -> Result<Profile, String> {
    match args {
        ["", ..] => Err(invalid_parameter("")),
        [name] => Ok(Profile { name: (*name).to_owned(), required: false }),
        [name, "require"] => Ok(Profile { name: (*name).to_owned(), required: true }),
        [_, other] => Err(invalid_parameter(other)),
        _ => Err(wrong_arguments(directive)),
    }
}
