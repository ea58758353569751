//! The block `acme_dns_issuer NAME { ... }`.

use super::challenge::ChallengeReader;
use super::contact::{contact, doubt};
use super::text::{
    arguments, duplicate, invalid_parameter, is_file_name, set_once, url, wrong_arguments,
};
use super::{ChallengeMethod, ExternalAccount, Issuer, Profile, Resources, SecretId, SecretSource};
use crate::schedule::OrderLimit;
use std::time::Duration;

/// An issuer whose URLs are built in.
struct KnownCa {
    name: &'static str,
    directory: &'static str,
    staging: Option<&'static str>,
}

const LETSENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const LETSENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
const GOOGLE_STAGING: &str = "https://dv.acme-v02.test-api.pki.goog/directory";

/// The issuers whose directory is built in. That of Google has a staging directory too, but it wants
/// an external account of its own.
const KNOWN: [KnownCa; 6] = [
    KnownCa { name: "letsencrypt", directory: LETSENCRYPT, staging: Some(LETSENCRYPT_STAGING) },
    KnownCa { name: "letsencrypt-staging", directory: LETSENCRYPT_STAGING, staging: None },
    KnownCa { name: "zerossl", directory: "https://acme.zerossl.com/v2/DV90", staging: None },
    KnownCa {
        name: "google",
        directory: "https://dv.acme-v02.api.pki.goog/directory",
        staging: None,
    },
    KnownCa { name: "google-staging", directory: GOOGLE_STAGING, staging: None },
    KnownCa { name: "sslcom", directory: "https://acme.ssl.com/sslcom-dv-ecc", staging: None },
];

/// Reads the block, one directive after the other.
#[derive(Debug)]
pub struct IssuerReader {
    name: String,
    directory: Option<String>,
    staging: Option<Option<String>>,
    contacts: Option<Vec<String>>,
    terms_accepted: Option<()>,
    trusted_certificate: Option<Vec<u8>>,
    profile: Option<Profile>,
    account_key: Option<SecretId>,
    external_account: Option<ExternalAccount>,
    preferred_chain: Option<String>,
    challenges: ChallengeReader,
}

/// The URL of the directory that a name stands for, if it is a known one.
pub fn known_directory(name: &str) -> Option<&'static str> {
    known(name).map(|known| known.directory)
}

fn known(name: &str) -> Option<&'static KnownCa> {
    KNOWN.iter().find(|known| known.name == name)
}

/// Names in one certificate that a profile of a CA takes, where it is fewer than usual
/// (<https://letsencrypt.org/docs/profiles/>).
const FEW_NAMES: [(&str, &str, usize); 4] = [
    (LETSENCRYPT, "tlsserver", 25),
    (LETSENCRYPT, "shortlived", 25),
    (LETSENCRYPT_STAGING, "tlsserver", 25),
    (LETSENCRYPT_STAGING, "shortlived", 25),
];

impl Issuer {
    /// Tells whether its certificates are for tests: it is a known staging environment, or its URL says so.
    pub fn is_staging(&self) -> bool {
        let host = self.directory.split('/').nth(2).unwrap_or_default();
        let words = host.split(['.', '-', ':']);
        self.directory == GOOGLE_STAGING || words.into_iter().any(|word| word == "staging")
    }

    /// Tells whether an order can be tried in the CA's staging environment first. With dns-persist-01 alone it
    /// cannot: a record of that account would stay for nothing.
    pub fn has_test(&self) -> bool {
        self.staging.is_some() && self.needs_provider()
    }

    /// Tells whether a name can only be proven, or can be proven in another way too, through a DNS provider.
    pub fn needs_provider(&self) -> bool {
        self.challenges.iter().any(|method| *method != ChallengeMethod::DnsPersist01)
    }

    /// Checks whether the CA takes so many names for one certificate.
    ///
    /// # Errors
    /// There are more than it is known to take.
    pub(super) fn check_names(&self, count: usize) -> Result<(), String> {
        let profile = self.profile.as_ref().map_or("", |profile| &profile.name);
        let limit = FEW_NAMES
            .iter()
            .find(|(directory, name, _)| *directory == self.directory && *name == profile);
        match limit {
            Some((.., most)) if count > *most => Err(format!(
                "{count} names for one certificate, issuer \"{}\" takes at most {most} with the profile \
                 \"{profile}\"",
                self.name
            )),
            _ => Ok(()),
        }
    }
}

/// Gives the number of orders that an account may place, where the CA with this directory has published it.
pub fn known_order_limit(directory: &str) -> Option<OrderLimit> {
    // <https://letsencrypt.org/docs/rate-limits/>: 300 new orders per account every 3 hours.
    let letsencrypt = known_directory("letsencrypt") == Some(directory);
    letsencrypt.then_some(OrderLimit { orders: 300, span: Duration::from_secs(3 * 3600) })
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
            staging: None,
            contacts: None,
            terms_accepted: None,
            trusted_certificate: None,
            profile: None,
            account_key: None,
            external_account: None,
            preferred_chain: None,
            challenges: ChallengeReader::default(),
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
            "staging" => {
                let [value] = arguments(directive, args)?;
                let url = if value == "off" { None } else { Some(url(directive, value)?) };
                set_once(&mut self.staging, directive, url)
            }
            "account_key" => {
                let [path] = arguments(directive, args)?;
                if self.account_key.is_some() {
                    return Err(duplicate(directive));
                }
                self.account_key = Some(resources.private_key(path)?);
                Ok(())
            }
            "external_account" => {
                let [key_id, source] = arguments(directive, args)?;
                if self.external_account.is_some() {
                    return Err(duplicate(directive));
                }
                self.external_account = Some(external_account(key_id, source, resources)?);
                Ok(())
            }
            "preferred_chain" => {
                let [name] = arguments(directive, args)?;
                if name.is_empty() {
                    return Err(invalid_parameter(""));
                }
                set_once(&mut self.preferred_chain, directive, name.to_owned())
            }
            "contact" => {
                let contacts =
                    args.iter().map(|text| contact(text)).collect::<Result<Vec<_>, _>>()?;
                if contacts.is_empty() {
                    return Err(wrong_arguments(directive));
                }
                let is_public_ca = self.directory.is_none() && known(&self.name).is_some();
                let doubts = contacts.iter().filter_map(|url| doubt(url, is_public_ca));
                doubts.for_each(|doubt| resources.warn(&doubt));
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
            "challenge" => self.challenges.set_methods(directive, args),
            "persist" => self.challenges.set_persist(directive, args),
            "profile" => set_once(&mut self.profile, directive, profile(directive, args)?),
            _ => Err(format!("unknown directive \"{directive}\"")),
        }
    }

    /// Ends the block.
    ///
    /// # Errors
    /// Something that every issuer needs is missing.
    pub fn finish(self) -> Result<Issuer, String> {
        let name = self.name;
        let known = known(&name);
        // The staging directory that is built in belongs to the directory that is.
        let known_staging = known.filter(|_| self.directory.is_none()).and_then(|k| k.staging);
        let known_directory = known.map(|known| known.directory.to_owned());
        let Some(directory) = self.directory.or(known_directory) else {
            return Err(format!("no \"directory\" is defined for issuer \"{name}\""));
        };
        if self.terms_accepted.is_none() {
            return Err(format!("\"accept_terms_of_service\" is required for issuer \"{name}\""));
        }
        if self.account_key.is_some() && self.external_account.is_some() {
            return Err(format!(
                "issuer \"{name}\" has both \"account_key\" and \"external_account\", a key that is \
                 given must have its account already"
            ));
        }
        let (challenges, persist) = self.challenges.finish(&name)?;
        Ok(Issuer {
            name,
            directory,
            staging: self.staging.unwrap_or_else(|| known_staging.map(str::to_owned)),
            contacts: self.contacts.unwrap_or_default(),
            trusted_certificate: self.trusted_certificate,
            profile: self.profile,
            account_key: self.account_key,
            external_account: self.external_account,
            preferred_chain: self.preferred_chain,
            challenges,
            persist,
        })
    }
}

/// The arguments of `external_account`: what the CA calls the key identifier and the MAC key.
fn external_account(
    key_id: &str,
    source: &str,
    resources: &mut dyn Resources,
) -> Result<ExternalAccount, String> {
    if key_id.is_empty() || !key_id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!(
            "invalid key identifier \"{key_id}\" in \"external_account\" directive"
        ));
    }
    let source = match source.strip_prefix("env:") {
        Some(name) => SecretSource::Environment(name.to_owned()),
        None => SecretSource::File(source.to_owned()),
    };
    Ok(ExternalAccount { key_id: key_id.to_owned(), mac_key: resources.mac_key(&source)? })
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
