//! The domain names that a certificate can hold.
//!
//! Names are kept as the CA wants them (RFC 8555 section 7.1.3, RFC 5280 section 4.2.1.6): lower
//! case, A-labels, without a final dot, a wildcard only as the whole first label.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use thiserror::Error;

/// The longest name that DNS can carry, in octets of its text form (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// Label that dns-01 puts in front of a name (RFC 8555 section 8.4): with it, too, a name has to fit.
const CHALLENGE: &str = "_acme-challenge.";

/// The longest label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A domain name, possibly a wildcard.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Reason why a name cannot be certified.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NameError {
    /// The name is empty.
    #[error("it is empty")]
    Empty,
    /// A regular expression of nginx.
    #[error("it is a regular expression")]
    RegularExpression,
    /// nginx's catch-all names.
    #[error("it is not a domain name")]
    NotADomain,
    /// An IP address.
    #[error("it is an IP address, which dns-01 cannot prove")]
    Address,
    /// Longer than [`MAX_NAME`].
    #[error("it is longer than 253 characters")]
    TooLong,
    /// Too long to be proved: no TXT record can have the name that the CA asks for.
    #[error(
        "it is longer than 237 characters, and dns-01 puts \"_acme-challenge.\" in front of it"
    )]
    Unprovable,
    /// A label is empty, too long, or has a character or hyphen where it must not.
    #[error(
        "it has a label that is empty, longer than 63 characters or not made of letters, digits and inner hyphens"
    )]
    Label,
    /// A `*` that is not the whole first label, or more than one.
    #[error("a wildcard must be the whole first label")]
    Wildcard,
    /// Only one label: no public suffix can be certified.
    #[error("it has only one label")]
    SingleLabel,
    /// Not a valid internationalized name (IDNA, UTS #46).
    #[error("it is not a valid internationalized domain name")]
    Idn,
}

impl Name {
    /// Reads a name as a person writes it; an internationalized name is converted to A-labels.
    ///
    /// # Errors
    /// The name cannot be certified by dns-01.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.starts_with('~') {
            return Err(NameError::RegularExpression);
        }
        if text == "_" {
            return Err(NameError::NotADomain);
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() {
            return Err(NameError::Address);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let (wildcard, base) = match text.strip_prefix("*.") {
            Some(base) => (true, base),
            None => (false, text),
        };
        if base.contains('*') {
            return Err(NameError::Wildcard);
        }
        let base = to_a_labels(base)?;
        // With a final dot, behind `*.` or in other digits it shows only now.
        if base.parse::<IpAddr>().is_ok() {
            return Err(NameError::Address);
        }
        check_labels(&base)?;
        if CHALLENGE.len() + base.len() > MAX_NAME {
            return Err(NameError::Unprovable);
        }
        let name = if wildcard { format!("*.{base}") } else { base };
        if name.len() > MAX_NAME { Err(NameError::TooLong) } else { Ok(Self(name)) }
    }

    /// The name as it stands in an order and in a certificate.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether this is `*.` and a domain.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Tells whether an identifier of an authorization is this name: the CA takes `*.` off a wildcard and
    /// says `wildcard` instead (RFC 8555 section 7.1.4); some leave it on. Nothing else may differ
    /// but the case of letters.
    pub fn is_authorized_by(&self, identifier: &str, wildcard: bool) -> bool {
        let (stars, base) = match identifier.strip_prefix("*.") {
            Some(base) => (true, base),
            None => (wildcard, identifier),
        };
        stars == self.is_wildcard()
            && (base.eq_ignore_ascii_case(self.base())
                || (!base.is_ascii() && a_labels(base) == self.base()))
    }

    /// The name without `*.`.
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }
}

/// A name in the form in which names are compared: A-labels in lower case, without a final dot. What is
/// no name, such as one with a label of more than 63 octets, stays as it is but for that.
#[must_use]
pub fn a_labels(text: &str) -> String {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    idna::domain_to_ascii(text).unwrap_or_else(|_| text.to_lowercase())
}

fn to_a_labels(base: &str) -> Result<String, NameError> {
    if base.is_ascii() {
        let lower = base.to_ascii_lowercase();
        if !lower.split('.').any(|label| label.starts_with("xn--")) {
            return Ok(lower);
        }
    }
    idna::domain_to_ascii_strict(base).map_err(|_| NameError::Idn)
}

fn check_labels(base: &str) -> Result<(), NameError> {
    if base.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    let valid = |label: &str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !base.split('.').all(valid) {
        return Err(NameError::Label);
    }
    if base.contains('.') { Ok(()) } else { Err(NameError::SingleLabel) }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, NameError, a_labels};

    #[test]
    fn names_are_normalized() {
        for (text, expected) in [
            ("example.com", "example.com"),
            ("Example.COM.", "example.com"),
            ("*.example.com", "*.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.BÜCHER.example", "*.xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("a-b.1.example", "a-b.1.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ] {
            assert_eq!(Name::parse(text).map(String::from), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn names_of_others_are_compared_as_a_labels() {
        for (text, expected) in [
            ("Bücher.test.", "xn--bcher-kva.test"),
            ("_acme-challenge.WWW.bücher.test", "_acme-challenge.www.xn--bcher-kva.test"),
            ("*.XN--bcher-kva.test", "*.xn--bcher-kva.test"),
            ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
            ("straße.test", "xn--strae-oqa.test"),
            ("bu\u{308}cher.test", "xn--bcher-kva.test"),
            ("", ""),
        ] {
            assert_eq!(a_labels(text), expected, "{text}");
        }
    }

    #[test]
    fn a_name_leaves_room_for_the_challenge() {
        // 237 octets, and what DNS can carry with "_acme-challenge." in front.
        let longest = format!("{}.{}", ["a".repeat(63).as_str(); 3].join("."), "b".repeat(45));
        assert_eq!("_acme-challenge.".len() + longest.len(), 253);
        for (text, expected) in [
            (longest.clone(), None),
            (format!("{longest}."), None),
            (format!("*.{longest}"), None),
            (format!("{longest}b"), Some(NameError::Unprovable)),
            (format!("*.{longest}b"), Some(NameError::Unprovable)),
            (format!("{longest}.test"), Some(NameError::Unprovable)),
            (format!("ü.{}", longest.get(8..).unwrap_or_default()), None),
            (format!("ü.{}", longest.get(7..).unwrap_or_default()), Some(NameError::Unprovable)),
        ] {
            assert_eq!(Name::parse(&text).err(), expected, "{} octets: {text}", text.len());
        }
    }

    #[test]
    fn what_cannot_be_certified_is_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}example", "abcdefgh.".repeat(28));
        assert!(long_name.len() > 253);
        for (text, expected) in [
            ("", NameError::Empty),
            ("~^www\\.", NameError::RegularExpression),
            ("_", NameError::NotADomain),
            ("192.0.2.1", NameError::Address),
            ("2001:db8::1", NameError::Address),
            ("[2001:db8::1]", NameError::Address),
            ("192.0.2.1.", NameError::Address),
            ("*.192.0.2.1", NameError::Address),
            ("192\u{ff0e}0.2.1", NameError::Address),
            ("\u{ff11}92.0.2.1", NameError::Address),
            (long_label.as_str(), NameError::Label),
            (long_name.as_str(), NameError::TooLong),
            ("a..example", NameError::Label),
            ("-a.example", NameError::Label),
            ("a-.example", NameError::Label),
            ("a_b.example", NameError::Label),
            (".example.com", NameError::Label),
            ("*.*.example.com", NameError::Wildcard),
            ("www.*.com", NameError::Wildcard),
            ("www.example.*", NameError::Wildcard),
            ("w*.example.com", NameError::Wildcard),
            ("localhost", NameError::SingleLabel),
            ("*.com", NameError::SingleLabel),
            ("xn--a.example", NameError::Idn),
        ] {
            assert_eq!(Name::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn an_authorization_is_of_exactly_one_name() {
        for (name, identifier, wildcard, expected) in [
            ("a.example", "a.example", false, true),
            ("a.example", "A.Example", false, true),
            ("a.example", "a.example", true, false),
            ("a.example", "*.a.example", false, false),
            ("a.example", "a.example.", false, false),
            ("a.example", "b.a.example", false, false),
            ("a.example", "xa.example", false, false),
            ("a.example", "", false, false),
            ("*.a.example", "a.example", true, true),
            ("*.a.example", "*.a.example", true, true),
            ("*.a.example", "*.A.example", false, true),
            ("*.a.example", "a.example", false, false),
            ("*.a.example", "*.*.a.example", true, false),
            ("*.a.example", "example", true, false),
            ("xn--bcher-kva.example", "Bücher.example", false, true),
            ("xn--bcher-kva.example", "bucher.example", false, false),
        ] {
            let ours = Name::parse(name).map(|name| name.is_authorized_by(identifier, wildcard));
            assert_eq!(ours, Ok(expected), "{name}: {identifier} {wildcard}");
        }
    }
}
