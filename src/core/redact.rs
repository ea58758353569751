//! Texts from elsewhere in our log: short, in one line, and without secrets.

use crate::encoding::base64url;
use crate::text::one_line;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use url::form_urlencoded::byte_serialize;

/// The longest text that is shown, in characters.
const MAX_TEXT: usize = 200;

/// Shortest line of a secret of several lines that is cut out by itself, in octets: a bracket of a document is
/// none.
const MIN_LINE: usize = 4;

/// Shortest part of base64 that is cut out, in characters.
const MIN_BASE64: usize = 8;

/// The secrets of a provider, to be cut out of texts that come from elsewhere.
pub struct Redactor(Vec<SecretString>);

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Makes one that hides these secrets, and each line of those that have several.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        let with_lines = secrets.into_iter().flat_map(|secret| {
            let lines = secret.expose_secret().lines().map(str::trim);
            let lines = lines.filter(|line| line.len() >= MIN_LINE).map(SecretString::from);
            let mut all: Vec<SecretString> = lines.collect();
            all.push(secret);
            all
        });
        let mut forms: Vec<SecretString> = with_lines.flat_map(forms).collect();
        forms.retain(|form| !form.expose_secret().is_empty());
        // One that holds another goes first: what is left of it would tell the rest.
        forms.sort_by_key(|form| std::cmp::Reverse(form.expose_secret().len()));
        Self(forms)
    }

    /// Puts `***` in the place of each secret.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let hide =
            |text: String, secret: &SecretString| text.replace(secret.expose_secret(), "***");
        self.0.iter().fold(text.to_owned(), hide)
    }

    /// Makes a text fit for a log.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        one_line(&self.hide(text)).chars().take(MAX_TEXT).collect()
    }
}

/// Gives the forms in which a text may repeat a secret: as it is, as it stands in a URL or a form, whose digits may
/// be small, and in base64, as a part of something longer.
fn forms(secret: SecretString) -> Vec<SecretString> {
    let bytes = secret.expose_secret().as_bytes();
    let encoded: String = byte_serialize(bytes).collect();
    let spaced = encoded.replace('+', "%20");
    let mut forms = vec![with_small_digits(&spaced), with_small_digits(&encoded), spaced, encoded];
    for before in 0..3 {
        let for_urls = base64_part(bytes, before);
        forms.push(for_urls.replace('-', "+").replace('_', "/"));
        forms.push(for_urls);
    }
    let mut forms: Vec<SecretString> = forms.into_iter().map(SecretString::from).collect();
    forms.push(secret);
    forms
}

/// Gives the characters of base64 that follow from a secret alone, when there are so many octets before it and
/// others behind it. Nothing if there are few of them: they would be found everywhere.
fn base64_part(secret: &[u8], before: usize) -> String {
    let mut bytes = vec![0; before];
    bytes.extend(secret);
    let encoded = base64url(&bytes);
    let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    let part = encoded.get(from..to).unwrap_or_default();
    if part.len() < MIN_BASE64 { String::new() } else { part.to_owned() }
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
    use crate::encoding::base64url;
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
        let document = Redactor::new([SecretString::from("{\n  \"key\": \"k/1\"\n}")]);
        assert_eq!(document.hide("a } \"key\": \"k/1\""), "a } ***");
        assert!(!format!("{document:?}").contains("k/1"));
        let redactor = Redactor::new([SecretString::from("p\u{e4}ssw\u{f6}rd~?>")]);
        for user in ["", "a", "ab", "abc"] {
            let basic = base64url(format!("{user}:p\u{e4}ssw\u{f6}rd~?>").as_bytes());
            for text in [basic.replace('-', "+").replace('_', "/"), basic] {
                let hidden = redactor.hide(&text);
                assert!(hidden.contains("***") && hidden.len() < 12, "{user}: {hidden}");
            }
        }
    }
}
