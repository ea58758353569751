//! CAA records (RFC 8659): which CA may issue for a name, and for which account and by which method (RFC 8657).
//!
//! Which records count for a name, found by climbing towards the root, is not in here.

/// The bit of a property that a CA must understand (RFC 8659 section 4.1).
const CRITICAL: u8 = 128;

/// Properties that CAs know, in lower case.
const KNOWN: [&str; 4] = ["issue", "issuewild", "iodef", "issuemail"];

/// A CAA record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CaaRecord {
    /// Its flags.
    pub flags: u8,
    /// The name of its property.
    pub tag: String,
    /// The value of its property.
    pub value: String,
}

/// A certificate that is to be issued.
#[derive(Clone, Copy, Debug)]
pub struct CaaQuestion<'a> {
    /// The names by which the CA is known in these records: its `caaIdentities`.
    pub identities: &'a [String],
    /// Set if it is for a wildcard.
    pub is_wildcard: bool,
    /// The URL of the account; `None` if it is not known yet: every account will do then.
    pub account: Option<&'a str>,
    /// The challenge, such as `dns-01`.
    pub method: &'a str,
}

/// Decision of a set of records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CaaVerdict {
    /// The CA may issue.
    Allowed,
    /// A property that no CA knows must be understood: its name.
    Critical(String),
    /// Others may: their names, none if nobody may.
    OtherCa {
        /// Names of the CAs.
        allowed: Vec<String>,
        /// Set if a property for wildcards alone decides.
        of_wildcards: bool,
    },
    /// The CA may, for these accounts.
    OtherAccount {
        /// URLs of the accounts.
        allowed: Vec<String>,
        /// The property that decides.
        tag: &'static str,
    },
    /// The CA may, by these methods.
    OtherMethod {
        /// The methods.
        allowed: Vec<String>,
        /// The property that decides.
        tag: &'static str,
    },
}

/// Decides whether a set of records, which is not empty, lets a CA issue.
#[must_use]
pub fn decide(records: &[CaaRecord], question: &CaaQuestion<'_>) -> CaaVerdict {
    let is_unknown = |record: &&CaaRecord| {
        record.flags & CRITICAL != 0
            && !KNOWN.iter().any(|known| record.tag.eq_ignore_ascii_case(known))
    };
    if let Some(record) = records.iter().find(is_unknown) {
        return CaaVerdict::Critical(record.tag.clone());
    }
    let of = |tag: &str| -> Vec<&CaaRecord> {
        records.iter().filter(|record| record.tag.eq_ignore_ascii_case(tag)).collect()
    };
    let wild = if question.is_wildcard { of("issuewild") } else { Vec::new() };
    let (tag, deciding) = match wild.is_empty() {
        true => ("issue", of("issue")),
        false => ("issuewild", wild),
    };
    if deciding.is_empty() {
        return CaaVerdict::Allowed;
    }
    let values: Vec<IssueValue<'_>> =
        deciding.iter().map(|record| IssueValue::parse(&record.value)).collect();
    decide_by(&values, tag, question)
}

fn decide_by(
    values: &[IssueValue<'_>],
    tag: &'static str,
    question: &CaaQuestion<'_>,
) -> CaaVerdict {
    let names_ca = |value: &&IssueValue<'_>| {
        question.identities.iter().any(|identity| value.domain.eq_ignore_ascii_case(identity))
    };
    let ours: Vec<&IssueValue<'_>> = values.iter().filter(names_ca).collect();
    let is_for_account = |value: &&IssueValue<'_>| match (value.all("accounturi"), question.account)
    {
        (accounts, Some(account)) if !accounts.is_empty() => accounts == [account],
        _ => true,
    };
    let is_for_method = |value: &&IssueValue<'_>| match value.all("validationmethods").as_slice() {
        [] => true,
        [methods] => methods.split(',').any(|method| method == question.method),
        _ => false,
    };
    if ours.is_empty() {
        let named = values.iter().filter(|value| !value.domain.is_empty());
        let allowed = named.map(|value| value.domain.to_owned()).collect();
        return CaaVerdict::OtherCa { allowed, of_wildcards: tag == "issuewild" };
    }
    let listed =
        |parameter| ours.iter().flat_map(|value| value.all(parameter)).map(str::to_owned).collect();
    let of_account: Vec<&IssueValue<'_>> = ours.iter().copied().filter(is_for_account).collect();
    match () {
        () if of_account.iter().any(is_for_method) => CaaVerdict::Allowed,
        () if of_account.is_empty() => {
            CaaVerdict::OtherAccount { allowed: listed("accounturi"), tag }
        }
        () => CaaVerdict::OtherMethod { allowed: listed("validationmethods"), tag },
    }
}

/// Value of `issue` and `issuewild` (RFC 8659 section 4.2).
#[derive(Debug, Default, Eq, PartialEq)]
struct IssueValue<'a> {
    /// The name of the CA; empty if there is none.
    domain: &'a str,
    /// Parameters with their values.
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> IssueValue<'a> {
    /// Reads a value; a malformed one names no CA.
    fn parse(text: &'a str) -> Self {
        Self::parse_whole(text).unwrap_or_default()
    }

    fn parse_whole(text: &'a str) -> Option<Self> {
        let (domain, rest) = text.split_once(';').unwrap_or((text, ""));
        let domain = trim(domain);
        if !domain.is_empty() && !domain.split('.').all(is_label) {
            return None;
        }
        let mut parts: Vec<&str> = rest.split(';').map(trim).collect();
        // One may stand behind the last parameter.
        if parts.last() == Some(&"") {
            parts.pop();
        }
        let parameters: Option<Vec<_>> = parts.into_iter().map(parameter).collect();
        Some(Self { domain, parameters: parameters? })
    }

    /// Gives the values of a parameter.
    fn all(&self, name: &str) -> Vec<&'a str> {
        let named = self.parameters.iter().filter(|(tag, _)| tag.eq_ignore_ascii_case(name));
        named.map(|(_, value)| *value).collect()
    }
}

fn parameter(text: &str) -> Option<(&str, &str)> {
    let (tag, value) = text.split_once('=')?;
    let (tag, value) = (trim(tag), trim(value));
    (is_label(tag) && value.bytes().all(|byte| byte.is_ascii_graphic())).then_some((tag, value))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn is_label(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::{CaaQuestion, CaaRecord, CaaVerdict, decide};

    const ACCOUNT: &str = "https://ca.example/acct/1";

    fn asked(records: &[&str], is_wildcard: bool, account: Option<&str>) -> CaaVerdict {
        let record = |text: &&str| {
            let mut words = text.splitn(3, ' ');
            let mut next = || words.next().unwrap_or_default();
            CaaRecord {
                flags: next().parse().unwrap(),
                tag: next().to_owned(),
                value: next().to_owned(),
            }
        };
        let records: Vec<CaaRecord> = records.iter().map(record).collect();
        let identities = ["ca.example".to_owned(), "old-ca.example".to_owned()];
        let identities = &identities[..];
        decide(&records, &CaaQuestion { identities, is_wildcard, account, method: "dns-01" })
    }

    fn word(verdict: &CaaVerdict) -> String {
        match verdict {
            CaaVerdict::Allowed => "allowed".to_owned(),
            CaaVerdict::Critical(tag) => format!("critical {tag}"),
            CaaVerdict::OtherCa { allowed, of_wildcards } => {
                let tag = if *of_wildcards { "issuewild" } else { "issue" };
                format!("{tag} {}", allowed.join(","))
            }
            CaaVerdict::OtherAccount { allowed, tag } => {
                format!("account {tag} {}", allowed.join(","))
            }
            CaaVerdict::OtherMethod { allowed, tag } => {
                format!("method {tag} {}", allowed.join(","))
            }
        }
    }

    #[test]
    fn records_decide_about_names() {
        for (records, expected) in [
            (&["0 issue ca.example"][..], "allowed"),
            (&["0 ISSUE CA.Example"], "allowed"),
            (&["0 issue old-ca.example"], "allowed"),
            (&["0 issue  ca.example ; "], "allowed"),
            (&["0 issue other.example", "0 issue ca.example"], "allowed"),
            (
                &["0 issue other.example", "0 issue third.example"],
                "issue other.example,third.example",
            ),
            (&["0 issue notca.example"], "issue notca.example"),
            (&["0 issue ;"], "issue "),
            (&["0 issue "], "issue "),
            (&["0 issue %%%%"], "issue "),
            (&["0 issue ca..example"], "issue "),
            (&["0 issue -ca.example"], "issue "),
            (&["0 issue ca.example policy"], "issue "),
            (&["0 issue ca.example; policy"], "issue "),
            (&["0 issue ca.example; po licy=ev"], "issue "),
            (&["0 issue ca.example; policy=e v"], "issue "),
            (&["0 issue ca.example;; policy=ev"], "issue "),
            (&["0 issue ca.example; policy=ev;"], "allowed"),
            (&["0 iodef mailto:a@b.example"], "allowed"),
            (&["0 issuewild ;"], "allowed"),
            (&["0 tbs unknown"], "allowed"),
            (&["128 tbs unknown", "0 issue ca.example"], "critical tbs"),
            (&["128 issue ca.example"], "allowed"),
            (&["1 tbs unknown"], "allowed"),
            (&["128 issuemail ;"], "allowed"),
        ] {
            assert_eq!(word(&asked(records, false, Some(ACCOUNT))), expected, "{records:?}");
        }
    }

    #[test]
    fn records_decide_about_wildcards() {
        for (records, expected) in [
            (&["0 issue ca.example"][..], "allowed"),
            (&["0 issue ca.example", "0 issuewild ;"], "issuewild "),
            (&["0 issue ca.example", "0 issuewild other.example"], "issuewild other.example"),
            (&["0 issue other.example", "0 issuewild ca.example"], "allowed"),
            (&["0 issue other.example"], "issue other.example"),
        ] {
            assert_eq!(word(&asked(records, true, Some(ACCOUNT))), expected, "{records:?}");
        }
    }

    #[test]
    fn parameters_decide_about_account_and_method() {
        let rows: [(&[&str], Option<&str>, &str); 11] = [
            (
                &["0 issue ca.example; accounturi=https://ca.example/acct/1"],
                Some(ACCOUNT),
                "allowed",
            ),
            (
                &["0 issue ca.example; accounturi = https://ca.example/acct/1"],
                Some(ACCOUNT),
                "allowed",
            ),
            (
                &["0 issue ca.example; accounturi=https://ca.example/acct/2"],
                Some(ACCOUNT),
                "account issue https://ca.example/acct/2",
            ),
            (&["0 issue ca.example; accounturi=https://ca.example/acct/2"], None, "allowed"),
            (
                &["0 issue ca.example; accounturi=https://ca.example/acct/1; accounturi=x"],
                Some(ACCOUNT),
                "account issue https://ca.example/acct/1,x",
            ),
            (&["0 issue ca.example; validationmethods=dns-01"], None, "allowed"),
            (&["0 issue ca.example; validationmethods=http-01,dns-01"], None, "allowed"),
            (&["0 issue ca.example; validationmethods=http-01"], None, "method issue http-01"),
            (
                &["0 issue ca.example; validationmethods=http-01", "0 issue ca.example"],
                None,
                "allowed",
            ),
            (
                &[
                    "0 issue ca.example; validationmethods=http-01",
                    "0 issue ca.example; accounturi=https://ca.example/acct/2",
                ],
                Some(ACCOUNT),
                "method issue http-01",
            ),
            (&["0 issue ca.example; unknown=1"], None, "allowed"),
        ];
        for (records, account, expected) in rows {
            assert_eq!(word(&asked(records, false, account)), expected, "{records:?}");
        }
    }
}
