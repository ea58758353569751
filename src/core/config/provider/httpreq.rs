//! The settings of the protocol `httpreq`.

use super::super::SecretId;
use super::super::secret::check_password;
use super::fields::{Facts, Field, Form, Kind, Values};

/// The block of this type.
pub(super) const FORM: Form = Form {
    name: "httpreq",
    aliases: &[],
    facts: Facts {
        title: "A server of your own, by lego's protocol",
        values: "as the server",
        removal: "one by one",
        proof: "a stand-in, which lego and acme.sh use too",
    },
    fields: &[
        Field::required("endpoint", Kind::Url).also(&["HTTPREQ_ENDPOINT", "ACMEPROXY_ENDPOINT"]),
        Field::optional("username", Kind::Text(is_username, "user name"))
            .also(&["HTTPREQ_USERNAME", "ACMEPROXY_USERNAME"]),
        Field::optional("password", Kind::Secret(check_password))
            .also(&["HTTPREQ_PASSWORD", "ACMEPROXY_PASSWORD"]),
        Field::optional("trusted_certificate", Kind::Certificates),
    ],
    // Without a user, requests are not authorized.
    credentials: &[&[], &["username", "password"]],
};

/// The settings of the protocol `httpreq`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpReqSettings {
    /// The URL that `/present` and `/cleanup` are below, without a final slash.
    pub endpoint: String,
    /// The credentials, where the endpoint wants some.
    pub user: Option<HttpReqUser>,
    /// Certificates in PEM that are trusted for the endpoint's host, besides the system's.
    pub trusted_certificate: Option<Vec<u8>>,
}

/// The credentials of Basic authentication (RFC 7617).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpReqUser {
    /// The user's name.
    pub name: String,
    /// Their password.
    pub password: SecretId,
}

/// Makes the settings; `None` if they are not complete.
pub(super) fn build(mut values: Values) -> Option<HttpReqSettings> {
    let credentials = values.text("username").zip(values.secret("password"));
    Some(HttpReqSettings {
        endpoint: values.text("endpoint")?,
        user: credentials.map(|(name, password)| HttpReqUser { name, password }),
        trusted_certificate: values.certificates("trusted_certificate"),
    })
}

/// Tells whether a text can be the name of a user: a colon would end it.
fn is_username(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}
