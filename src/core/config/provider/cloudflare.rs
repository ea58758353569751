//! The settings of Cloudflare's API.

use super::super::SecretId;
use super::super::secret::{check_global_key, check_token};
use super::fields::{Facts, Field, Form, Kind, RequestLimit, Values};

/// The base URL of the API.
const API: &str = "https://api.cloudflare.com/client/v4";

/// The shortest time to live that Cloudflare takes, in seconds: a record lives for seconds only.
const DEFAULT_TTL: u32 = 60;

/// The block of this type.
pub(super) const FORM: Form = Form {
    name: "cloudflare",
    aliases: &[],
    facts: Facts {
        title: "Cloudflare's API v4",
        values: "any",
        removal: "one by one",
        proof: "a stand-in, which acme.sh, lexicon, octoDNS and Cloudflare's own library use too",
    },
    fields: &[
        Field::optional("token", Kind::Secret(check_token)).also(&[
            "CF_DNS_API_TOKEN",
            "CLOUDFLARE_DNS_API_TOKEN",
            "CF_Token",
        ]),
        Field::optional("email", Kind::Text(is_email, "e-mail address")).also(&[
            "CF_API_EMAIL",
            "CLOUDFLARE_EMAIL",
            "CF_Email",
        ]),
        Field::optional("key", Kind::Secret(check_global_key)).also(&[
            "CF_API_KEY",
            "CLOUDFLARE_API_KEY",
            "CF_Key",
        ]),
        Field::optional("zone_id", Kind::Text(is_zone_id, "zone id")).also(&["CF_Zone_ID"]),
        Field::optional("ttl", Kind::Number(is_ttl, "60 to 86400, or 1 for automatic")),
        Field::optional("requests", Kind::Requests),
        Field::optional("api", Kind::Url),
        Field::optional("trusted_certificate", Kind::Certificates),
    ],
    credentials: &[&["token"], &["email", "key"]],
};

/// The settings of Cloudflare's API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CloudflareSettings {
    /// The credentials that authorize requests.
    pub credentials: CloudflareCredentials,
    /// The zone to use, where the token may not list zones.
    pub zone_id: Option<String>,
    /// The records' time to live in seconds: 60 to 86400, or 1 for automatic.
    pub ttl: u32,
    /// The requests that may be made; the documented limit where it is not set.
    pub requests: Option<RequestLimit>,
    /// The base URL of the API, without a final slash.
    pub api: String,
    /// Certificates in PEM that are trusted for the API's host, besides the system's.
    pub trusted_certificate: Option<Vec<u8>>,
}

/// The two ways to authorize a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CloudflareCredentials {
    /// An API token.
    Token(SecretId),
    /// The legacy pair of an account's address and its global key.
    Key {
        /// The account's e-mail address.
        email: String,
        /// The global API key.
        key: SecretId,
    },
}

/// Makes the settings; `None` if they are not complete.
pub(super) fn build(mut values: Values) -> Option<CloudflareSettings> {
    let credentials = match values.secret("token") {
        Some(token) => CloudflareCredentials::Token(token),
        None => {
            CloudflareCredentials::Key { email: values.text("email")?, key: values.secret("key")? }
        }
    };
    Some(CloudflareSettings {
        credentials,
        zone_id: values.text("zone_id"),
        ttl: values.number("ttl").unwrap_or(DEFAULT_TTL),
        requests: values.requests("requests"),
        api: values.text("api").unwrap_or_else(|| API.to_owned()),
        trusted_certificate: values.certificates("trusted_certificate"),
    })
}

fn is_email(text: &str) -> bool {
    text.contains('@') && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_zone_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_ttl(seconds: u32) -> bool {
    matches!(seconds, 1 | 60..=86_400)
}
