//! The file in which clients of acme-dns keep their accounts: one for each domain, as acme-dns-client, lego and
//! Caddy write it.
//!
//! The master reads it, and its workers share the heap: nothing of the document is copied. Messages of the JSON
//! reader quote what they do not expect, so that every value is expected here.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;

/// An account of acme-dns, as it stands in a document.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Account<'a> {
    /// The user's name.
    pub username: &'a str,
    /// Their password.
    pub password: &'a str,
    /// The subdomain that the account may write.
    pub subdomain: &'a str,
}

impl fmt::Debug for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("subdomain", &self.subdomain).finish_non_exhaustive()
    }
}

/// Reads a document: accounts by their domains.
///
/// # Errors
/// The mistake, to follow its name.
pub fn read(document: &[u8]) -> Result<HashMap<&str, Account<'_>>, &'static str> {
    const NO_JSON: &str = "does not hold a JSON object with an account for each domain";
    // The JSON reader would decode it into memory of its own.
    if document.contains(&b'\\') {
        return Err("has a backslash, which no account of acme-dns has");
    }
    let values: HashMap<&str, Text<'_>> = serde_json::from_slice(document).map_err(|_| NO_JSON)?;
    if values.values().any(|value| value.0.is_some()) {
        return Err(
            "holds a single account, it must hold an object with an account for each domain",
        );
    }
    let objects: HashMap<&str, HashMap<&str, Text<'_>>> =
        serde_json::from_slice(document).map_err(|_| NO_JSON)?;
    let account = |(domain, object)| Some((domain, account(&object)?));
    let accounts: Option<HashMap<_, _>> = objects.into_iter().map(account).collect();
    accounts.ok_or("has an account without one of \"username\", \"password\" and \"subdomain\"")
}

fn account<'a>(object: &HashMap<&str, Text<'a>>) -> Option<Account<'a>> {
    // Clients in Go read, and perhaps write, such names in any case.
    let word = |name: &str| {
        let mut members = object.iter().filter(|(member, _)| member.eq_ignore_ascii_case(name));
        let text = members.next()?.1.0?;
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())).then_some(text)
    };
    Some(Account {
        username: word("username")?,
        password: word("password")?,
        subdomain: word("subdomain")?,
    })
}

/// A value of a document; `None` if it is no text.
struct Text<'a>(Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Text)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(text))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, read};

    #[test]
    fn accounts_of_all_clients_are_read() {
        let document = br#"{
            "example.com": {"fulldomain": "d4.auth.test", "subdomain": "d4", "username": "u", "password": "p-_1"},
            "example.org": {"Username": "v", "password": "q", "fulldomain": "e5.auth.test", "SubDomain": "e5",
                            "allowfrom": ["192.0.2.0/24", 1, {}], "server_url": "https://auth.test", "n": [1.5, null]}
        }"#;
        let accounts = read(document).unwrap();
        let first = Account { username: "u", password: "p-_1", subdomain: "d4" };
        assert_eq!(accounts["example.com"], first);
        assert_eq!((accounts.len(), accounts["example.org"].subdomain), (2, "e5"));
        assert_eq!(format!("{first:?}"), "Account { subdomain: \"d4\", .. }");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for (document, expected) in [
            ("", "does not hold a JSON object"),
            ("s3cr3t", "does not hold a JSON object"),
            ("\"s3cr3t\"", "does not hold a JSON object"),
            ("{\"a\": 1}", "does not hold a JSON object"),
            ("{\"a\": {}} {}", "does not hold a JSON object"),
            ("{\"password\": \"s3cr3t\", \"username\": \"u\"}", "holds a single account"),
            ("{\"a\": {\"username\": \"u\", \"password\": \"s3cr3t\"}}", "has an account without"),
            (
                "{\"a\": {\"username\": \"u\", \"password\": \"s3 t\", \"subdomain\": \"s\"}}",
                "has an",
            ),
            ("{\"a\": {\"username\": \"u\", \"password\": [], \"subdomain\": \"s\"}}", "has an"),
            ("{\"a\\u0062\": {}}", "has a backslash"),
        ] {
            let why = read(document.as_bytes()).expect_err(document);
            assert!(why.starts_with(expected) && !why.contains("s3cr3t"), "{document}: {why}");
        }
        assert!(read(b"{}").unwrap().is_empty());
    }
}
