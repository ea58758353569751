//! dns-persist-01 (draft-ietf-acme-dns-persist): a TXT record that stays, and says which account of which CA
//! may have certificates for a name.
//!
//! There are two forms that do not understand each other, told apart by the CA's directory: up to draft 01 a
//! record has the URL of the account, from draft 02 on a hash of it. All that needs no I/O is in here, but for the
//! hash itself. The value of a record has the syntax of CAA's `issue` (RFC 8659 section 4.2).

use crate::encoding::base64url;
use crate::time::UnixTime;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// The label in front of the name that is proven.
const LABEL: &str = "_validation-persist.";

/// The most issuer domain names of a challenge, and the longest of them.
const MAX_ISSUERS: usize = 10;
const MAX_ISSUER: usize = 253;

/// The longest string of a TXT record, in octets (RFC 1035 section 3.3.14).
const MAX_STRING: usize = 255;

/// The hash in a record of draft 02, by its name in RFC 6920 section 9.4.
const HASH: &str = "sha-256";

/// In the place of a domain in a hash: the record is then good for any domain.
pub const ANY_DOMAIN: &str = "*";

/// A record that ends sooner than this is about to end, where the configuration does not say for how long
/// records are written.
const SOON: Duration = Duration::from_secs(30 * DAY);

const DAY: u64 = 86_400;

/// The name of the record that proves a name, which is given without `*.`.
#[must_use]
pub fn record_name(base: &str) -> String {
    format!("{LABEL}{base}")
}

/// Gives the name that a record proves, without `*.`; `None` if it is none of these records.
#[must_use]
pub fn base_of(record_name: &str) -> Option<&str> {
    record_name.strip_prefix(LABEL).filter(|base| !base.is_empty())
}

/// Terms of a CA, as its directory has them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// Set from draft 02 on: what stands in front of an account's hash.
    hash_prefix: Option<String>,
    /// Issuer domain names, as far as they are known before a challenge.
    issuers: Vec<String>,
    /// The names by which CAA records know the CA.
    identities: Vec<String>,
}

impl Terms {
    /// Reads them from the member `meta` of a directory. What does not conform is missing.
    #[must_use]
    pub fn read(meta: &Value) -> Self {
        let prefix = meta["accountHashPrefix"].as_str().filter(|prefix| is_prefix(prefix));
        let identities = texts(&meta["caaIdentities"]).unwrap_or_default();
        let plain = |name: &String| name.trim_end_matches('.').to_ascii_lowercase();
        let identities: Vec<String> =
            identities.iter().map(plain).filter(|name| is_issuer(name)).collect();
        let issuers = match prefix {
            Some(_) => texts(&meta["issuerDomainNames"])
                .filter(|names| check_issuers(names).is_ok())
                .unwrap_or_default(),
            // Before draft 02 there is no list of its own.
            None => identities.iter().take(MAX_ISSUERS).cloned().collect(),
        };
        Self { hash_prefix: prefix.map(str::to_owned), issuers, identities }
    }

    /// Gives the issuer domain names that are known before a challenge.
    #[must_use]
    pub fn issuers(&self) -> &[String] {
        &self.issuers
    }

    /// Gives what stands in front of an account's hash; `None` if records have the account's URL.
    #[must_use]
    pub fn hash_prefix(&self) -> Option<&str> {
        self.hash_prefix.as_deref()
    }

    /// Reads a challenge.
    ///
    /// # Errors
    /// Its fault.
    pub fn challenge(&self, json: &Value) -> Result<Challenge, Malformed> {
        let member = match self.hash_prefix {
            Some(_) => "issuerDomainNames",
            None => "issuer-domain-names",
        };
        let issuers = texts(&json[member]).ok_or(Malformed::NoIssuers(member))?;
        check_issuers(&issuers)?;
        if self.hash_prefix.is_none() {
            let account = json["accounturi"].as_str().filter(|uri| !uri.is_empty());
            if account.is_some_and(|uri| !is_value(uri)) {
                return Err(Malformed::Account);
            }
            return Ok(Challenge { issuers, account: account.map(str::to_owned) });
        }
        let is_missing = |name: &&String| !issuers.contains(name);
        if let Some(name) = self.issuers.iter().find(is_missing) {
            return Err(Malformed::Lacks(name.clone()));
        }
        let is_unknown =
            |name: &&String| !self.identities.is_empty() && !self.identities.contains(name);
        if let Some(name) = issuers.iter().find(is_unknown) {
            return Err(Malformed::Unknown(name.clone()));
        }
        Ok(Challenge { issuers, account: None })
    }
}

/// Members that only such a challenge has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge {
    /// Issuer domain names, one of which a record has to have; at least one.
    pub issuers: Vec<String>,
    /// The account that a record has to have, where the CA says it.
    pub account: Option<String>,
}

/// Fault of a challenge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Malformed {
    /// The list of issuer domain names is missing, by the name of the member.
    NoIssuers(&'static str),
    /// It has none, or too many.
    Number(usize),
    /// One of them is no domain name in its plainest form.
    Issuer(String),
    /// It lacks one that the directory has.
    Lacks(String),
    /// It has one that is not among the directory's `caaIdentities`.
    Unknown(String),
    /// The account cannot stand in a record.
    Account,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIssuers(member) => write!(f, "it has no \"{member}\""),
            Self::Number(number) => {
                write!(f, "it has {number} issuer domain names instead of 1 to {MAX_ISSUERS}")
            }
            Self::Issuer(name) => write!(f, "\"{}\" is no issuer domain name", name.escape_debug()),
            Self::Lacks(name) => write!(f, "it lacks \"{name}\", which the directory has"),
            Self::Unknown(name) => write!(f, "\"{name}\" is not in \"caaIdentities\""),
            Self::Account => f.write_str("its \"accounturi\" cannot stand in a record"),
        }
    }
}

/// Gives the octets whose SHA-256 digest stands in a record of draft 02. `thumbprint` is that of the account's
/// key (RFC 7638) in base64url.
#[must_use]
pub fn hash_input(domain: &str, thumbprint: &str, account: &str) -> Vec<u8> {
    let length = u8::try_from(domain.len()).unwrap_or(u8::MAX);
    let mut input = vec![length];
    [domain, thumbprint, account].iter().for_each(|text| input.extend(text.as_bytes()));
    input
}

/// Gives the account of a record of draft 02.
#[must_use]
pub fn hashed_account(prefix: &str, digest: &[u8; 32]) -> String {
    format!("{prefix}{HASH}/{}", base64url(digest))
}

/// A record that proves names to a CA.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Issuer domain names that the CA knows, at least one.
    pub issuers: Vec<String>,
    /// The account in all forms that the CA takes, the one to write first; at least one.
    pub accounts: Vec<String>,
    /// The same with keys that it had before: the CA takes them, and the record is better written anew.
    pub former: Vec<String>,
    /// Set if it has to be good for a wildcard.
    pub wildcard: bool,
}

impl Wanted {
    /// Makes the value of a record.
    #[must_use]
    pub fn value(&self, issuer: &str, until: Option<UnixTime>) -> String {
        let account = self.accounts.first().map_or("", String::as_str);
        let mut value = format!("{issuer}; accounturi={account}");
        if self.wildcard {
            value.push_str("; policy=wildcard");
        }
        if let Some(until) = until {
            value.push_str(&format!("; persistUntil={}", until.0));
        }
        value
    }

    /// Judges one value.
    fn judge(&self, value: &str, now: UnixTime) -> Verdict {
        if !self.issuers.contains(&issuer_of(value)) {
            return Verdict::Foreign;
        }
        let parameters = match Parameters::read(value) {
            Ok(parameters) => parameters,
            Err(fault) => return Verdict::Malformed(fault),
        };
        let is_former = self.former.contains(&parameters.account);
        if !is_former && !self.accounts.contains(&parameters.account) {
            return Verdict::OtherAccount;
        }
        match parameters.until {
            Some(until) if until <= now => Verdict::Expired(until),
            _ if self.wildcard && !parameters.wildcard => Verdict::NoWildcard,
            until => Verdict::Good(Good { until, is_former }),
        }
    }

    /// Looks for a record among the values that are there.
    pub fn look<'a>(&self, values: impl IntoIterator<Item = &'a str>, now: UnixTime) -> Look {
        let mut look = Look { good: None, issuer: String::new(), own: Vec::new(), fault: None };
        for value in values {
            let verdict = self.judge(value, now);
            if verdict.is_own() {
                look.own.push(value.to_owned());
                if look.issuer.is_empty() {
                    look.issuer = issuer_of(value);
                }
            }
            match verdict {
                Verdict::Good(found) => {
                    look.good = Some(look.good.map_or(found, |other| other.better(found)));
                }
                verdict => look.fault = look.fault.or(verdict.fault()),
            }
        }
        if look.issuer.is_empty() {
            look.issuer = self.issuers.first().cloned().unwrap_or_default();
        }
        look
    }
}

/// A record that proves what it has to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Good {
    /// Its end, if it has one.
    pub until: Option<UnixTime>,
    /// Set if it is of a key that the account had before.
    pub is_former: bool,
}

impl Good {
    /// Gives the one that is of the present key, or ends later.
    fn better(self, other: Self) -> Self {
        let rank = |good: Self| (!good.is_former, good.until.is_none(), good.until);
        if rank(other) > rank(self) { other } else { self }
    }

    /// Tells whether it is time for another, where records are written for so long.
    #[must_use]
    pub fn ends_soon(&self, span: Option<Duration>, now: UnixTime) -> bool {
        let soon = span.map_or(SOON, |span| span / 2);
        self.until.is_some_and(|until| until.since(now) < soon)
    }
}

impl Look {
    /// Joins what several servers show: a record has to be at all of them.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        const NOT_ALL: &str = "not all servers of the zone have it";
        let (one, two) = (self.good, other.good);
        let fault = match (one, two) {
            (Some(_), None) | (None, Some(_)) => Some(NOT_ALL.to_owned()),
            _ => self.fault.or(other.fault),
        };
        let good = one.zip(two).map(|(one, two)| if one.better(two) == one { two } else { one });
        let issuer = if self.own.is_empty() { other.issuer } else { self.issuer };
        let mut own = self.own;
        own.extend(other.own);
        own.sort();
        own.dedup();
        Self { good, issuer, own, fault }
    }
}

/// The end of a record that is written now for so long: a midnight, so that all that are written on a day
/// are alike.
#[must_use]
pub fn end_of(span: Duration, now: UnixTime) -> UnixTime {
    let day = i64::try_from(DAY).unwrap_or(i64::MAX);
    let end = (now + span).0;
    UnixTime(end.div_euclid(day).saturating_add(1).saturating_mul(day))
}

/// Outcome of a look for a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Look {
    /// The record that will do.
    pub good: Option<Good>,
    /// The issuer domain name to write: one that we have written already, else the CA's first.
    pub issuer: String,
    /// All values of this account, good or not.
    pub own: Vec<String>,
    /// The reason why one that is there does not do.
    pub fault: Option<String>,
}

/// Judgement of one value.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Verdict {
    Good(Good),
    /// Of another CA.
    Foreign,
    OtherAccount,
    Malformed(&'static str),
    Expired(UnixTime),
    NoWildcard,
}

impl Verdict {
    fn is_own(&self) -> bool {
        matches!(self, Self::Good(_) | Self::Expired(_) | Self::NoWildcard)
    }

    fn fault(self) -> Option<String> {
        match self {
            Self::Good(_) | Self::Foreign => None,
            Self::OtherAccount => Some("there is one of another account".to_owned()),
            Self::Malformed(fault) => Some(format!("there is one that is malformed: {fault}")),
            Self::Expired(until) => Some(format!("there is one that has ended at {until}")),
            Self::NoWildcard => Some("there is one without \"policy=wildcard\"".to_owned()),
        }
    }
}

/// Parameters of a record.
struct Parameters {
    account: String,
    wildcard: bool,
    until: Option<UnixTime>,
}

impl Parameters {
    /// Reads the parameters behind the issuer domain name. Tags that are unknown are passed over.
    fn read(value: &str) -> Result<Self, &'static str> {
        let (mut account, mut policy, mut until) = (None, None, None);
        for parameter in value.split(';').skip(1) {
            let parameter = parameter.trim_matches(is_blank);
            if parameter.is_empty() {
                return Err("a parameter is empty, or the last \";\" has none behind it");
            }
            let (tag, value) =
                parameter.split_once('=').ok_or("a parameter is not of the form tag=value")?;
            let (tag, value) = (tag.trim_end_matches(is_blank), value.trim_start_matches(is_blank));
            if !is_tag(tag) || !is_value(value) {
                return Err("a parameter has a character that must not be there");
            }
            let slot = match tag.to_ascii_lowercase().as_str() {
                "accounturi" => &mut account,
                "policy" => &mut policy,
                "persistuntil" => &mut until,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err("a parameter is there twice");
            }
        }
        let seconds = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| is_number).map(UnixTime)
        };
        let until = match until {
            Some(text) => Some(seconds(text).ok_or("\"persistUntil\" is no number of seconds")?),
            None => None,
        };
        Ok(Self {
            account: account.filter(|uri| !uri.is_empty()).ok_or("it has no account")?.to_owned(),
            wildcard: policy.is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard")),
            until,
        })
    }
}

/// Gives the issuer domain name of a value, in its plainest form.
fn issuer_of(value: &str) -> String {
    let issuer = value.split(';').next().unwrap_or_default();
    issuer.trim_matches(is_blank).trim_end_matches('.').to_ascii_lowercase()
}

/// A record as a line of a zone file (RFC 1035 section 5).
#[must_use]
pub fn zone_line(name: &str, value: &str) -> String {
    let mut line = format!("{name}. IN TXT");
    let octets: Vec<char> = value.chars().collect();
    for string in octets.chunks(MAX_STRING) {
        line.push_str(&format!(" \"{}\"", string.iter().collect::<String>()));
    }
    line
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Tells whether a text is a tag (RFC 8659 section 4.2).
fn is_tag(text: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    text.bytes().all(is_inner) && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

/// Tells whether a text can be the value of a parameter (RFC 8659 section 4.2).
fn is_value(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && b != b';')
}

fn is_prefix(text: &str) -> bool {
    text.starts_with("https://") && is_value(text)
}

/// Tells whether a text is a domain name in A-labels and lower case, without a final dot.
fn is_issuer(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= MAX_ISSUER && name.split('.').all(is_label)
}

fn check_issuers(names: &[String]) -> Result<(), Malformed> {
    if !(1..=MAX_ISSUERS).contains(&names.len()) {
        return Err(Malformed::Number(names.len()));
    }
    match names.iter().find(|name| !is_issuer(name)) {
        Some(name) => Err(Malformed::Issuer(name.chars().take(MAX_ISSUER).collect())),
        None => Ok(()),
    }
}

/// Reads a list of texts.
fn texts(json: &Value) -> Option<Vec<String>> {
    let list = json.as_array()?.iter();
    list.map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
