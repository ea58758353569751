//! The settings of DuckDNS.

use super::super::SecretId;
use super::super::secret::check_uuid;
use super::fields::{Facts, Field, Form, Kind, Values};

/// The base URL of the API.
const API: &str = "https://www.duckdns.org";

/// The block of this type.
pub(super) const FORM: Form = Form {
    name: "duckdns",
    aliases: &[],
    facts: Facts {
        title: "DuckDNS",
        values: "one, so that a name and its wildcard are proven in turns",
        removal: "all at once",
        proof: "a stand-in, which acme.sh and lego use too",
    },
    fields: &[
        Field::required("token", Kind::Secret(check_uuid))
            .also(&["DUCKDNS_TOKEN", "DuckDNS_Token"]),
        Field::optional("api", Kind::Url),
        Field::optional("trusted_certificate", Kind::Certificates),
    ],
    credentials: &[],
};

/// The settings of DuckDNS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DuckDnsSettings {
    /// The account's token.
    pub token: SecretId,
    /// The URL that `/update` is below, without a final slash.
    pub api: String,
    /// Certificates in PEM that are trusted for the API's host, besides the system's.
    pub trusted_certificate: Option<Vec<u8>>,
}

/// Makes the settings; `None` if they are not complete.
pub(super) fn build(mut values: Values) -> Option<DuckDnsSettings> {
    Some(DuckDnsSettings {
        token: values.secret("token")?,
        api: values.text("api").unwrap_or_else(|| API.to_owned()),
        trusted_certificate: values.certificates("trusted_certificate"),
    })
}
