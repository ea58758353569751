//! The directory of a CA (RFC 8555 section 7.1.1).

use acme_dns_core::persist::Terms;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::time::{Duration, Instant};
use url::{ParseError, Url};

/// Age up to which a directory is current.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Members of a directory that are used.
pub(super) struct Directory {
    urls: Urls,
    /// The URLs in JSON, as instant-acme reads them.
    json: Bytes,
    profiles: Vec<String>,
    external_account_required: bool,
    identities: Vec<String>,
    persist: Terms,
    fetched: Instant,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Urls {
    new_nonce: String,
    new_account: String,
    new_order: String,
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    revoke_cert: Option<String>,
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    key_change: Option<String>,
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    renewal_info: Option<String>,
}

impl Urls {
    fn make_absolute(&mut self, base: &str) {
        let Ok(base) = Url::parse(base) else { return };
        let Self { new_nonce, new_account, new_order, revoke_cert, key_change, renewal_info } =
            self;
        let needed = [new_nonce, new_account, new_order].into_iter();
        let offered = [revoke_cert, key_change, renewal_info].into_iter().flatten();
        for url in needed.chain(offered) {
            if Url::parse(url) == Err(ParseError::RelativeUrlWithoutBase)
                && let Ok(absolute) = base.join(url)
            {
                *url = absolute.into();
            }
        }
    }
}

#[derive(Deserialize)]
struct DirectoryJson {
    #[serde(flatten)]
    urls: Urls,
    #[serde(default)]
    meta: Value,
}

/// Reads a text; anything else counts as missing: certificates can be had without it.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_str().map(str::to_owned))
}

impl Directory {
    /// Reads a directory; `base` is its own URL, to which others may be relative.
    pub(super) fn parse(body: &[u8], base: &str) -> Result<Self, serde_json::Error> {
        let DirectoryJson { mut urls, meta } = serde_json::from_slice(body)?;
        urls.make_absolute(base);
        let profiles = meta["profiles"].as_object().into_iter().flatten();
        let identities = meta["caaIdentities"].as_array().into_iter().flatten();
        Ok(Self {
            json: serde_json::to_vec(&urls)?.into(),
            urls,
            profiles: profiles.map(|(name, _)| name.clone()).collect(),
            external_account_required: meta["externalAccountRequired"] == true,
            identities: identities.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            persist: Terms::read(&meta),
            fetched: Instant::now(),
        })
    }

    pub(super) fn is_current(&self) -> bool {
        self.fetched.elapsed() < LIFETIME
    }

    /// Gives the URLs in JSON, as instant-acme reads them.
    pub(super) fn json(&self) -> Bytes {
        self.json.clone()
    }

    /// Gives the names of the profiles that the CA lists (draft-ietf-acme-profiles).
    pub(super) fn profiles(&self) -> &[String] {
        &self.profiles
    }

    /// Tells whether a new account needs to be bound to a customer (RFC 8555 section 7.3.4).
    pub(super) fn external_account_required(&self) -> bool {
        self.external_account_required
    }

    /// Gives the names by which the CA is known in CAA records.
    pub(super) fn identities(&self) -> &[String] {
        &self.identities
    }

    /// Gives the CA's terms of dns-persist-01.
    pub(super) fn persist(&self) -> &Terms {
        &self.persist
    }

    pub(super) fn new_nonce(&self) -> &str {
        &self.urls.new_nonce
    }

    pub(super) fn new_account(&self) -> &str {
        &self.urls.new_account
    }

    pub(super) fn new_order(&self) -> &str {
        &self.urls.new_order
    }

    pub(super) fn revoke_cert(&self) -> Option<&str> {
        self.urls.revoke_cert.as_deref()
    }

    pub(super) fn key_change(&self) -> Option<&str> {
        self.urls.key_change.as_deref()
    }

    /// Gives the base of the URLs of renewal information (RFC 9773 section 4.1).
    pub(super) fn renewal_info(&self) -> Option<&str> {
        self.urls.renewal_info.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::Directory;

    const BASE: &str = "https://ca.example/acme/directory";

    #[test]
    fn a_directory_is_reduced_to_what_is_used() {
        let directory = Directory::parse(
            br#"{"newNonce":"n:","newAccount":"/a","newOrder":"../o","keyChange":null,"x":{},
                "revokeCert":"r:","renewalInfo":"i:",
                "meta":{"profiles":{"classic":"d","short":{"odd":1}},"website":"w"}}"#,
            BASE,
        )
        .unwrap();
        assert_eq!(directory.profiles(), ["classic", "short"]);
        assert_eq!(
            &directory.json()[..],
            br#"{"newNonce":"n:","newAccount":"https://ca.example/a","newOrder":"https://ca.example/o","revokeCert":"r:","renewalInfo":"i:"}"#
        );
        assert_eq!(directory.renewal_info(), Some("i:"));
        assert!(!directory.external_account_required());
        assert!(Directory::parse(br#"{"newNonce":"n"}"#, BASE).is_err());
        assert!(Directory::parse(b"<html>", BASE).is_err());
    }

    #[test]
    fn an_odd_part_that_can_be_missing_counts_as_missing() {
        for odd in [
            r#""meta":null"#,
            r#""meta":[]"#,
            r#""meta":{"profiles":null,"externalAccountRequired":"yes"}"#,
            r#""meta":{"profiles":["a"]}"#,
            r#""keyChange":{},"revokeCert":null,"renewalInfo":7"#,
        ] {
            let json = format!(r#"{{"newNonce":"n","newAccount":"a","newOrder":"o",{odd}}}"#);
            let directory = Directory::parse(json.as_bytes(), BASE).expect(odd);
            assert_eq!(directory.profiles(), [""; 0], "{odd}");
            assert!(!directory.external_account_required(), "{odd}");
            assert_eq!(directory.key_change(), None, "{odd}");
            assert_eq!(directory.renewal_info(), None, "{odd}");
        }
    }
}
