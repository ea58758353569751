//! Texts from elsewhere in our log: short, in one line, and without secrets.

use acme_dns_core::text::one_line;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::byte_serialize;

/// The longest text that is shown, in characters.
const MAX_TEXT: usize = 200;

/// The secrets of a provider, to be cut out of texts that come from elsewhere.
pub(super) struct Redactor(Vec<SecretString>);

impl Redactor {
    pub(super) fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        let mut forms: Vec<SecretString> = secrets.into_iter().flat_map(forms).collect();
        forms.retain(|form| !form.expose_secret().is_empty());
        // One that holds another goes first: what is left of it would tell the rest.
        forms.sort_by_key(|form| std::cmp::Reverse(form.expose_secret().len()));
        Self(forms)
    }

    /// Makes a text fit for a log.
    pub(super) fn clean(&self, text: &str) -> String {
        let hide =
            |text: String, secret: &SecretString| text.replace(secret.expose_secret(), "***");
        let text = self.0.iter().fold(text.to_owned(), hide);
        one_line(&text).chars().take(MAX_TEXT).collect()
    }
}

/// Gives the forms in which a text may repeat a secret: as it is, and as it stands in a URL or a form, whose
/// digits may be small.
fn forms(secret: SecretString) -> Vec<SecretString> {
    let encoded: String = byte_serialize(secret.expose_secret().as_bytes()).collect();
    let spaced = encoded.replace('+', "%20");
    let encodings = [with_small_digits(&spaced), with_small_digits(&encoded), spaced, encoded];
    let mut forms = vec![secret];
    forms.extend(encodings.into_iter().map(SecretString::from));
    forms
}

/// Writes the digits of a percent-encoded text in lower case.
fn with_small_digits(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        text.push('%');
        text.push_str(&digits.to_ascii_lowercase());
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Redactor;
    use secrecy::SecretString;

    #[test]
    fn secrets_are_cut_out_in_all_their_forms() {
        let secrets = ["s3cr/t wo\u{fc}rd", "s3cr/t", "", "plain"];
        let redactor = Redactor::new(secrets.map(SecretString::from));
        for (text, expected) in [
            ("say s3cr/t wo\u{fc}rd", "say ***"),
            ("say s3cr/t", "say ***"),
            ("?k=s3cr%2Ft+wo%C3%BCrd&x", "?k=***&x"),
            ("?k=s3cr%2ft+wo%c3%bcrd&x", "?k=***&x"),
            ("?k=s3cr%2Ft%20wo%C3%BCrd&x", "?k=***&x"),
            ("?k=s3cr%2ft%20wo%c3%bcrd&x", "?k=***&x"),
            ("plain\nplains", "*** ***s"),
        ] {
            assert_eq!(redactor.clean(text), expected, "{text}");
        }
        assert_eq!(redactor.clean(&"x".repeat(300)).len(), 200);
    }
}
