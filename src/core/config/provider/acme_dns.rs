//! The settings of acme-dns (<https://github.com/joohoi/acme-dns>), and the file that its clients keep
//! accounts in.

use super::super::SecretId;
use super::super::secret::{check_accounts, check_word};
use super::fields::{Facts, Field, Form, Kind, Values};

/// The block of this type.
pub(super) const FORM: Form = Form {
    name: "acme-dns",
    aliases: &[],
    facts: Facts {
        title: "acme-dns",
        values: "the last two",
        removal: "never: new values push out old ones",
        proof: "a stand-in, which acme.sh and pyacmedns use too",
    },
    fields: &[
        Field::required("api", Kind::Url).also(&["ACME_DNS_API_BASE", "ACMEDNS_BASE_URL"]),
        Field::optional("account", Kind::Secret(check_accounts)).also(&["ACME_DNS_STORAGE_PATH"]),
        Field::optional("username", Kind::Text(is_word, "user name")).also(&["ACMEDNS_USERNAME"]),
        Field::optional("password", Kind::Secret(check_word)).also(&["ACMEDNS_PASSWORD"]),
        Field::optional("subdomain", Kind::Text(is_subdomain, "subdomain"))
            .also(&["ACMEDNS_SUBDOMAIN"]),
        Field::optional("trusted_certificate", Kind::Certificates),
    ],
    credentials: &[&["account"], &["username", "password", "subdomain"]],
};

/// The settings of acme-dns.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcmeDnsSettings {
    /// The URL that `/update` is below, without a final slash.
    pub api: String,
    /// The account or accounts.
    pub credentials: AcmeDnsCredentials,
    /// Certificates in PEM that are trusted for the API's host, besides the system's.
    pub trusted_certificate: Option<Vec<u8>>,
}

/// The two ways to name accounts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AcmeDnsCredentials {
    /// A document with the account of each domain, to be read with [`crate::accounts`].
    Document(SecretId),
    /// One account for all names.
    Account {
        /// The user's name.
        username: String,
        /// Their password.
        password: SecretId,
        /// The subdomain that the account may write.
        subdomain: String,
    },
}

/// Makes the settings; `None` if they are not complete.
pub(super) fn build(mut values: Values) -> Option<AcmeDnsSettings> {
    let credentials = match values.secret("account") {
        Some(document) => AcmeDnsCredentials::Document(document),
        None => AcmeDnsCredentials::Account {
            username: values.text("username")?,
            password: values.secret("password")?,
            subdomain: values.text("subdomain")?,
        },
    };
    Some(AcmeDnsSettings {
        api: values.text("api")?,
        credentials,
        trusted_certificate: values.certificates("trusted_certificate"),
    })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Tells whether a text is a label, as opposed to the whole name that an alias leads to.
fn is_subdomain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
