//! Records of dns-01 (RFC 8555 section 8.4) and dns-account-01 (draft-ietf-acme-dns-account-label): their names
//! and values, and which may be removed.

use std::fmt;

/// The label in front of the name that is proven.
const LABEL: &str = "_acme-challenge.";

/// The letters of an account's label (RFC 4648 section 6), in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The octets of a digest that an account's label is made of, and the letters that they make.
const LABEL_OCTETS: usize = 10;
const LABEL_LETTERS: usize = 16;

/// The length of a value: a SHA-256 digest in base64url without padding.
const VALUE: usize = 43;

/// The name of the record that proves a name, which is given without `*.`.
#[must_use]
pub fn record_name(base: &str) -> String {
    format!("{LABEL}{base}")
}

/// The name of an account's own record that proves a name, which is given without `*.`: with dns-account-01
/// no two accounts share one.
#[must_use]
pub fn account_record_name(account_label: &str, base: &str) -> String {
    format!("{account_label}.{LABEL}{base}")
}

/// The label of an account, made of the SHA-256 digest of its URL.
#[must_use]
pub fn account_label(digest: &[u8; 32]) -> String {
    let mut label = String::with_capacity(LABEL_LETTERS + 1);
    label.push('_');
    let (mut bits, mut count) = (0_u32, 0);
    for octet in digest.iter().take(LABEL_OCTETS) {
        bits = (bits << 8 | u32::from(*octet)) & 0xfff;
        count += 8;
        while count >= 5 {
            count -= 5;
            let letter = usize::try_from(bits >> count & 31).unwrap_or_default();
            label.push(char::from(BASE32[letter]));
        }
    }
    label
}

/// Gives the name that a record of dns-01 proves, without `*.`; `None` if it is none.
#[must_use]
pub fn base_of(record_name: &str) -> Option<&str> {
    record_name.strip_prefix(LABEL).filter(|base| !base.is_empty())
}

/// Gives the name that a record proves, without `*.`, by whichever method; `None` if it is not the record of
/// a challenge. `record_name` is in lower case.
#[must_use]
pub fn domain_of(record_name: &str) -> Option<&str> {
    base_of(record_name).or_else(|| {
        let (label, rest) = record_name.strip_prefix('_')?.split_once('.')?;
        let is_label = label.len() == LABEL_LETTERS && label.bytes().all(|b| BASE32.contains(&b));
        base_of(rest).filter(|_| is_label)
    })
}

/// The name beside that of a challenge, with a suffix to its first label: nobody has it, unless a wildcard
/// gives it.
#[must_use]
pub fn sibling_name(challenge: &str, suffix: &str) -> String {
    let (label, rest) = challenge.split_once('.').unwrap_or((challenge, ""));
    format!("{label}-{suffix}.{rest}")
}

/// Standing of a name among those of challenge records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameStanding {
    /// It belongs to a certificate of the configuration: a challenge's own name, or what that is an alias of.
    Configured,
    /// The challenge of an order of before was an alias of it.
    Delegated,
    /// Nothing is known of it.
    Unknown,
}

/// A record that is to be removed, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The type, such as `TXT`.
    pub kind: &'a str,
    /// The name, without a final dot.
    pub name: &'a str,
    /// The value, without quotes.
    pub value: &'a str,
    /// Set if it says whose it is.
    pub mark: Mark,
}

/// Set if a record carries the comment with which we create records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    /// It does.
    Ours,
    /// It does not, although the provider keeps comments.
    Missing,
    /// The provider keeps none.
    Unsupported,
    /// It was not looked at yet: the decision is made again when it was.
    Unread,
}

/// Reason to leave a record alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kept {
    /// It is not TXT.
    Type,
    /// It is not of the form of a challenge.
    Form,
    /// It lacks our comment.
    Unmarked,
    /// No certificate of the configuration has the name, and nothing else says that it is ours.
    NotConfigured,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "it is not a TXT record",
            Self::Form => "its name and value are not those of an ACME challenge",
            Self::Unmarked => "it lacks the comment of this module",
            Self::NotConfigured => "no certificate of the configuration has this name",
        })
    }
}

/// Decides whether a record may be removed; nothing is removed without that. Where a record comes
/// from a file, its name, its value and its identifier are only somebody's word. `standing` gives the
/// standing of a name, in lower case.
///
/// # Errors
/// Why it is left alone.
pub fn may_remove(
    candidate: &Candidate<'_>,
    standing: impl FnOnce(&str) -> NameStanding,
) -> Result<(), Kept> {
    let Candidate { kind, name, value, mark } = *candidate;
    if kind != "TXT" {
        return Err(Kept::Type);
    }
    let name = name.to_ascii_lowercase();
    let standing = standing(&name);
    let is_challenge = domain_of(&name).is_some() || standing != NameStanding::Unknown;
    if !is_challenge || !is_value(value) {
        return Err(Kept::Form);
    }
    match (mark, standing) {
        (Mark::Ours | Mark::Unread, _) | (Mark::Unsupported, NameStanding::Configured) => Ok(()),
        (Mark::Missing, _) => Err(Kept::Unmarked),
        (Mark::Unsupported, _) => Err(Kept::NotConfigured),
    }
}

/// Beginning of the name of a test record.
const TEST: &str = "_acme-challenge-test-";

/// Beginning of the value of a test record, which no digest has.
const TEST_VALUE: &str = "acme-dns-check-";

/// A TXT record that shows whether a provider's records come and go: none that a CA takes for an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TestRecord {
    name: String,
    value: String,
}

impl TestRecord {
    /// Makes one with a name of its own in a zone.
    #[must_use]
    pub fn below(zone: &str, suffix: &str, random: &str) -> Self {
        Self::at(&format!("{TEST}{suffix}.{zone}"), random)
    }

    /// Makes one at a name that others have records at, too.
    #[must_use]
    pub fn at(name: &str, random: &str) -> Self {
        Self { name: name.to_owned(), value: format!("{TEST_VALUE}{random}") }
    }

    /// Gives its name, without a final dot.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives its value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Decides whether a record may be removed after a test: this very one, which nobody else can have made. It
    /// is the rule of the process that has created it, and of no other.
    ///
    /// # Errors
    /// Why it is left alone.
    pub fn may_remove(&self, candidate: &Candidate<'_>) -> Result<(), Kept> {
        let Candidate { kind, name, value, mark } = *candidate;
        match mark {
            _ if kind != "TXT" => Err(Kept::Type),
            _ if !name.eq_ignore_ascii_case(&self.name) || value != self.value => Err(Kept::Form),
            Mark::Missing => Err(Kept::Unmarked),
            Mark::Ours | Mark::Unread | Mark::Unsupported => Ok(()),
        }
    }
}

fn is_value(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.len() == VALUE && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "_acme-challenge.example.com";
    const OLD: &str = "_acme-challenge.old.example";
    const ACCOUNTS: &str = "_ujmmovf2vn55tgye._acme-challenge.example.com";
    const TARGET: &str = "shop.acme.example.net";
    const OLD_TARGET: &str = "old.acme.example.net";
    const VALUE: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

    #[test]
    fn only_a_challenge_of_ours_may_be_removed() {
        use Mark::{Missing, Ours, Unread, Unsupported};
        let longer = format!("{VALUE}x");
        let odd = VALUE.replace('X', "=");
        for (kind, name, value, mark, expected) in [
            ("TXT", OURS, VALUE, Ours, Ok(())),
            ("TXT", OURS, VALUE, Unsupported, Ok(())),
            ("TXT", "_ACME-Challenge.Example.COM", VALUE, Unsupported, Ok(())),
            ("TXT", OURS, VALUE, Unread, Ok(())),
            ("TXT", OURS, VALUE, Missing, Err(Kept::Unmarked)),
            ("TXT", ACCOUNTS, VALUE, Ours, Ok(())),
            ("TXT", ACCOUNTS, VALUE, Unsupported, Ok(())),
            ("TXT", ACCOUNTS, VALUE, Missing, Err(Kept::Unmarked)),
            ("TXT", ACCOUNTS, "v=spf1 -all", Ours, Err(Kept::Form)),
            ("TXT", "_short._acme-challenge.example.com", VALUE, Ours, Err(Kept::Form)),
            ("TXT", "_ujmmovf2vn55tgy1._acme-challenge.example.com", VALUE, Ours, Err(Kept::Form)),
            ("TXT", "_validation-persist.example.com", VALUE, Ours, Err(Kept::Form)),
            // A name that was taken out of the configuration.
            ("TXT", OLD, VALUE, Ours, Ok(())),
            ("TXT", OLD, VALUE, Unread, Ok(())),
            ("TXT", OLD, VALUE, Unsupported, Err(Kept::NotConfigured)),
            ("TXT", OLD, VALUE, Missing, Err(Kept::Unmarked)),
            ("A", OURS, VALUE, Ours, Err(Kept::Type)),
            ("CNAME", OURS, VALUE, Unsupported, Err(Kept::Type)),
            ("", OURS, VALUE, Ours, Err(Kept::Type)),
            ("TXT", "example.com", "v=spf1 -all", Ours, Err(Kept::Form)),
            ("TXT", "example.com", VALUE, Ours, Err(Kept::Form)),
            ("TXT", "x_acme-challenge.example.com", VALUE, Ours, Err(Kept::Form)),
            ("TXT", "_acme-challenge", VALUE, Ours, Err(Kept::Form)),
            ("TXT", "_dmarc.example.com", VALUE, Unsupported, Err(Kept::Form)),
            ("TXT", OURS, "v=spf1 -all", Ours, Err(Kept::Form)),
            ("TXT", OURS, "", Ours, Err(Kept::Form)),
            ("TXT", OURS, &longer, Ours, Err(Kept::Form)),
            ("TXT", OURS, &odd, Ours, Err(Kept::Form)),
            // What challenges are, or were, aliases of.
            ("TXT", TARGET, VALUE, Ours, Ok(())),
            ("TXT", TARGET, VALUE, Unsupported, Ok(())),
            ("TXT", TARGET, VALUE, Missing, Err(Kept::Unmarked)),
            ("TXT", TARGET, "v=spf1 -all", Ours, Err(Kept::Form)),
            ("A", TARGET, VALUE, Ours, Err(Kept::Type)),
            ("TXT", OLD_TARGET, VALUE, Ours, Ok(())),
            ("TXT", OLD_TARGET, VALUE, Unread, Ok(())),
            ("TXT", OLD_TARGET, VALUE, Unsupported, Err(Kept::NotConfigured)),
        ] {
            let candidate = Candidate { kind, name, value, mark };
            let standing = |name: &str| match name {
                OURS | ACCOUNTS | TARGET => NameStanding::Configured,
                OLD_TARGET => NameStanding::Delegated,
                _ => NameStanding::Unknown,
            };
            assert_eq!(may_remove(&candidate, standing), expected, "{candidate:?}");
        }
    }

    #[test]
    fn a_test_record_is_removed_by_its_own_rule_only() {
        use Mark::{Missing, Ours, Unread, Unsupported};
        let own = TestRecord::below("example.com", "0123abcd", "ff");
        let at = TestRecord::at(OURS, "ff");
        assert_eq!(own.name(), "_acme-challenge-test-0123abcd.example.com");
        let (test, value) = (own.name(), own.value());
        for (kind, name, value, mark, expected) in [
            ("TXT", test, value, Ours, Ok(())),
            ("TXT", test, value, Unread, Ok(())),
            ("TXT", test, value, Unsupported, Ok(())),
            ("TXT", test, value, Missing, Err(Kept::Unmarked)),
            ("A", test, value, Ours, Err(Kept::Type)),
            ("TXT", test, VALUE, Ours, Err(Kept::Form)),
            ("TXT", test, "acme-dns-check-fe", Ours, Err(Kept::Form)),
            ("TXT", "_acme-challenge-test-0123abce.example.com", value, Ours, Err(Kept::Form)),
            ("TXT", OURS, value, Ours, Err(Kept::Form)),
        ] {
            let candidate = Candidate { kind, name, value, mark };
            assert_eq!(own.may_remove(&candidate), expected, "{candidate:?}");
            let standing = |_: &str| NameStanding::Configured;
            let usual = may_remove(&candidate, standing);
            assert!(value == VALUE || usual.is_err(), "{candidate:?}");
        }
        let candidate = |value| Candidate { kind: "TXT", name: OURS, value, mark: Unsupported };
        assert_eq!(at.may_remove(&candidate(at.value())), Ok(()));
        assert_eq!(at.may_remove(&candidate(VALUE)), Err(Kept::Form));
    }

    /// The example of draft-ietf-acme-dns-account-label: the digest of the account
    /// `https://example.com/acme/acct/ExampleAccount`.
    #[test]
    fn an_account_has_a_label_of_its_own() {
        let digest = [
            0xa2, 0x58, 0xc7, 0x54, 0xba, 0xab, 0x7b, 0xd9, 0x9b, 0x04, 0x4f, 0xb6, 0x6b, 0x6b,
            0xa7, 0x6c, 0x3f, 0xa9, 0xb5, 0x11, 0xe9, 0xd2, 0x83, 0xe1, 0x0b, 0x30, 0xa7, 0xac,
            0xba, 0x17, 0x9f, 0x05,
        ];
        let label = account_label(&digest);
        assert_eq!(label, "_ujmmovf2vn55tgye");
        assert_eq!(account_record_name(&label, "example.com"), ACCOUNTS);
    }

    #[test]
    fn a_record_says_what_it_proves() {
        for (name, domain) in [
            (OURS, Some("example.com")),
            (ACCOUNTS, Some("example.com")),
            ("_acme-challenge._acme-challenge.example.com", Some("_acme-challenge.example.com")),
            ("_acme-challenge.", None),
            ("_ujmmovf2vn55tgye._acme-challenge.", None),
            ("_ujmmovf2vn55tgye.example.com", None),
            ("ujmmovf2vn55tgye._acme-challenge.example.com", None),
            ("example.com", None),
        ] {
            assert_eq!(domain_of(name), domain, "{name}");
        }
        assert_eq!(sibling_name(OURS, "1f"), "_acme-challenge-1f.example.com");
        assert_eq!(
            sibling_name(ACCOUNTS, "1f"),
            "_ujmmovf2vn55tgye-1f._acme-challenge.example.com"
        );
    }
}
