//! A webhook: the block `acme_dns_webhook URL { ... }`.

use super::super::provider::fields::{Choice, Field, Kind};
use super::super::secret::{check_text, check_word};
use super::super::text::{arguments, url};
use super::super::{Resources, SecretId};
use super::block::{Block, set_events};
use crate::notice::{NoticeFormat, NoticeKind};

const DIRECTIVE: &str = "acme_dns_webhook";

/// Headers that are set by the service itself.
const OWN_HEADERS: [&str; 6] =
    ["authorization", "content-length", "content-type", "host", "transfer-encoding", "connection"];

const FIELDS: &[Field] = &[
    Field::optional(
        "format",
        Kind::Choice(&[
            Choice::new("json"),
            Choice::new("slack"),
            Choice::new("matrix"),
            Choice::new("discord"),
            Choice::new("ntfy"),
            Choice::new("gotify"),
            Choice::new("alertmanager"),
        ]),
    ),
    Field::optional("secret", Kind::Secret(check_text)),
    Field::optional("path", Kind::Secret(check_word)),
    Field::optional("authorization", Kind::Secret(check_header)),
    Field::optional("trusted_certificate", Kind::Certificates),
];

/// A URL that notices are posted to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Webhook {
    /// The URL, or the beginning of it.
    pub url: String,
    /// The rest of the URL, where it is secret.
    pub path: Option<SecretId>,
    /// The kinds of notices that are posted.
    pub events: Vec<NoticeKind>,
    /// The form of the body.
    pub format: NoticeFormat,
    /// The secret of the signature.
    pub secret: Option<SecretId>,
    /// The value of the header `Authorization`.
    pub authorization: Option<SecretId>,
    /// Other headers.
    pub headers: Vec<(String, String)>,
    /// Certificates in PEM that are trusted besides the system's.
    pub trusted_certificate: Option<Vec<u8>>,
}

/// Reader of the block, one directive after the other.
#[derive(Debug)]
pub struct WebhookReader {
    url: String,
    events: Vec<NoticeKind>,
    headers: Vec<(String, String)>,
    block: Block,
}

impl WebhookReader {
    /// Begins a block with the argument of its directive.
    ///
    /// # Errors
    /// It is no URL, or one that would send the notice in clear text.
    pub fn new(text: &str) -> Result<Self, String> {
        let url = url(DIRECTIVE, text)?;
        Ok(Self { url, events: Vec::new(), headers: Vec::new(), block: Block::new(FIELDS) })
    }

    /// Reads one directive of the block.
    ///
    /// # Errors
    /// The directive is unknown, a duplicate, or has a bad value.
    pub fn set(
        &mut self,
        directive: &str,
        args: &[&str],
        resources: &mut dyn Resources,
    ) -> Result<(), String> {
        match directive {
            "events" => set_events(&mut self.events, args),
            "header" => self.set_header(args),
            _ => self.block.set(directive, args, resources),
        }
    }

    fn set_header(&mut self, args: &[&str]) -> Result<(), String> {
        let [name, value] = arguments("header", args)?;
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(format!("invalid header \"{name}\" in \"header\" directive"));
        }
        if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(match name.eq_ignore_ascii_case("authorization") {
                true => "header \"Authorization\" is set by \"authorization_file FILE\"".to_owned(),
                false => format!("header \"{name}\" cannot be set in \"header\" directive"),
            });
        }
        if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(format!("invalid value of header \"{name}\" in \"header\" directive"));
        }
        if self.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(format!("duplicate header \"{name}\" in \"header\" directive"));
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Ends the block.
    ///
    /// # Errors
    /// A secret would be appended to the name of a file.
    pub fn finish(self) -> Result<Webhook, String> {
        let Self { url, mut events, headers, block: Block { mut values, .. } } = self;
        if events.is_empty() {
            events = NoticeKind::ALL.to_vec();
        }
        let path = values.secret("path");
        if path.is_some() && !url.ends_with('/') {
            return Err(format!(
                "\"path_file\" needs a URL that ends in \"/\", \"{url}\" does not"
            ));
        }
        let word = values.choice("format");
        let format = NoticeFormat::ALL.into_iter().find(|(known, _)| Some(*known) == word);
        Ok(Webhook {
            url,
            path,
            events,
            format: format.map(|(_, format)| format).unwrap_or_default(),
            secret: values.secret("secret"),
            authorization: values.secret("authorization"),
            headers,
            trusted_certificate: values.certificates("trusted_certificate"),
        })
    }
}

/// Checks the value of a header.
fn check_header(secret: &[u8]) -> Result<(), &'static str> {
    match secret.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("does not hold one line of printable ASCII"),
    }
}
