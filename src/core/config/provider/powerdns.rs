//! The settings of PowerDNS's HTTP API.

use super::super::SecretId;
use super::super::secret::check_word;
use super::fields::{Facts, Field, Form, Kind, Values};

/// A record lives for seconds only.
const DEFAULT_TTL: u32 = 60;

/// The longest time to live (RFC 2181 section 8).
const MAX_TTL: u32 = 2_147_483_647;

/// The only server that PowerDNS itself has.
const SERVER_ID: &str = "localhost";

/// The block of this type.
pub(super) const FORM: Form = Form {
    name: "powerdns",
    aliases: &["pdns"],
    facts: Facts {
        title: "PowerDNS's HTTP API",
        values: "any",
        removal: "one by one",
        proof: "PowerDNS 4.7",
    },
    fields: &[
        Field::required("api", Kind::Url).also(&["PDNS_API_URL", "PDNS_Url"]),
        Field::required("api_key", Kind::Secret(check_word)).also(&["PDNS_API_KEY", "PDNS_Token"]),
        Field::optional("server_id", Kind::Text(is_server_id, "server id"))
            .also(&["PDNS_SERVER_NAME", "PDNS_ServerId"]),
        Field::optional("ttl", Kind::Number(is_ttl, "1 to 2147483647")),
        Field::optional("trusted_certificate", Kind::Certificates),
    ],
    credentials: &[],
};

/// The settings of PowerDNS's HTTP API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PowerDnsSettings {
    /// The URL of the webserver, without a final slash and without `/api/v1`.
    pub api: String,
    /// The API key.
    pub api_key: SecretId,
    /// The server's identifier in the API.
    pub server_id: String,
    /// The time to live of new RRsets in seconds.
    pub ttl: u32,
    /// Certificates in PEM that are trusted for the API's host, besides the system's.
    pub trusted_certificate: Option<Vec<u8>>,
}

/// Makes the settings; `None` if they are not complete.
pub(super) fn build(mut values: Values) -> Option<PowerDnsSettings> {
    Some(PowerDnsSettings {
        api: values.text("api")?,
        api_key: values.secret("api_key")?,
        server_id: values.text("server_id").unwrap_or_else(|| SERVER_ID.to_owned()),
        ttl: values.number("ttl").unwrap_or(DEFAULT_TTL),
        trusted_certificate: values.certificates("trusted_certificate"),
    })
}

fn is_server_id(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(is_allowed)
}

fn is_ttl(seconds: u32) -> bool {
    (1..=MAX_TTL).contains(&seconds)
}
