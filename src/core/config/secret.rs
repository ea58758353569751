//! Secrets in files and in the environment: what they must look like, and what is wrong with those that
//! do not.
//!
//! A token in quotes is refused by the provider only, after the reload, and nobody looks there. Cloudflare's
//! credentials have a known alphabet (<https://developers.cloudflare.com/fundamentals/api/get-started/token-formats/>),
//! so `nginx -t` finds such a mistake. What it says tells the mistake and never quotes what it has found. No
//! secret is copied here: workers share the heap of the master that reads it.

use crate::accounts;

/// A check of a secret, without surrounding white space; an error follows the name of its source, as in
/// `"file" is empty`.
pub type SecretCheck = fn(&[u8]) -> Result<(), &'static str>;

/// Prefixes of Cloudflare's API tokens: of a user, and of an account. Earlier ones have none.
const TOKEN_PREFIXES: [&[u8]; 2] = [b"cfut_", b"cfat_"];

/// Prefix of Cloudflare's global API keys.
const KEY_PREFIX: &[u8] = b"cfk_";

/// Length of a token without a prefix.
const TOKEN: usize = 40;

const KEY_FOR_TOKEN: &str = "holds a global API key, not an API token: name it by \"key_file\" or \"key\", beside \"email\"";

const TOKEN_FOR_KEY: &str = "holds an API token, not a global API key: name it by \"token_file\" or \"token\", without \"email\"";

pub(super) const PLACEHOLDER: &str = "holds a placeholder, write the secret itself";

/// Checks an API token of Cloudflare.
///
/// # Errors
/// It is none.
pub(super) fn check_token(secret: &[u8]) -> Result<(), &'static str> {
    check_alphabet(secret)?;
    let is_cut_off =
        |prefix: &&[u8]| secret.starts_with(prefix) && secret.len() < prefix.len() + TOKEN;
    if is_global_key(secret) {
        Err(KEY_FOR_TOKEN)
    } else if TOKEN_PREFIXES.iter().any(is_cut_off) {
        Err("is shorter than a token with this prefix, it was not copied completely")
    } else {
        Ok(())
    }
}

/// Checks a global API key of Cloudflare.
///
/// # Errors
/// It is none.
pub(super) fn check_global_key(secret: &[u8]) -> Result<(), &'static str> {
    check_alphabet(secret)?;
    let has_prefix = TOKEN_PREFIXES.iter().any(|prefix| secret.starts_with(prefix));
    let is_early = secret.len() == TOKEN && secret.iter().any(u8::is_ascii_uppercase);
    match has_prefix || is_early {
        true => Err(TOKEN_FOR_KEY),
        false => Ok(()),
    }
}

/// Checks a secret of a server that takes any word.
///
/// # Errors
/// It cannot be sent in a header.
pub(super) fn check_word(secret: &[u8]) -> Result<(), &'static str> {
    match secret.iter().all(u8::is_ascii_graphic) {
        true => Ok(()),
        false => Err("does not hold one word of printable ASCII"),
    }
}

/// Checks the secret of a TSIG key: base64 (RFC 4648 section 4), as `tsig-keygen` and `keymgr` print it.
///
/// # Errors
/// It is none.
pub(super) fn check_tsig_secret(secret: &[u8]) -> Result<(), &'static str> {
    let padding = secret.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = secret.get(..secret.len() - padding).unwrap_or_default();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let is_whole = match padding {
        // Padding may be left out; a single digit more than whole groups makes no byte.
        0 => digits.len() % 4 != 1,
        1 | 2 => secret.len().is_multiple_of(4),
        _ => false,
    };
    if is_whole && !digits.is_empty() && digits.iter().all(is_digit) {
        return Ok(());
    }
    if secret.windows(6).any(|word| word == b"secret") {
        Err("holds the definition of a key, it must hold its base64 secret alone")
    } else if is_quote(secret.first()) {
        Err("has quotes around the secret: remove them")
    } else {
        Err("holds no TSIG secret in base64")
    }
}

/// Checks a token or a key of a provider whose alphabet is not known.
///
/// # Errors
/// It has what no such credential has.
pub(super) fn check_credential(secret: &[u8]) -> Result<(), &'static str> {
    let is_word = secret.iter().all(u8::is_ascii_graphic);
    if !is_word || is_quote(secret.first()) && secret.first() == secret.last() {
        Err(mistake(secret))
    } else if is_placeholder(secret) {
        Err(PLACEHOLDER)
    } else {
        Ok(())
    }
}

/// Checks a private RSA key in PEM.
///
/// # Errors
/// It is none, or has a passphrase.
pub(super) fn check_rsa_key(secret: &[u8]) -> Result<(), &'static str> {
    let has = |text: &[u8]| secret.windows(text.len()).any(|part| part == text);
    if has(b"ENCRYPTED") {
        Err("holds a key with a passphrase: `openssl rsa` removes it")
    } else if has(b"-----BEGIN PRIVATE KEY-----") || has(b"-----BEGIN RSA PRIVATE KEY-----") {
        Ok(())
    } else {
        Err("holds no private RSA key in PEM")
    }
}

/// Checks the key of a service account of Google Cloud.
///
/// # Errors
/// It is none.
pub(super) fn check_service_account(secret: &[u8]) -> Result<(), &'static str> {
    match is_object_with(secret, &["\"private_key\"", "\"client_email\""]) {
        true => Ok(()),
        false => Err("holds no key of a service account in JSON, as Google Cloud gives it out"),
    }
}

/// Checks the key of a service account of Yandex Cloud, in JSON or in base64.
///
/// # Errors
/// It is none.
pub(super) fn check_yandex_key(secret: &[u8]) -> Result<(), &'static str> {
    let is_json = is_object_with(secret, &["\"private_key\"", "\"service_account_id\""]);
    match is_json || check_tsig_secret(secret).is_ok() {
        true => Ok(()),
        false => Err("holds no key of a service account, as JSON or as base64 on one line"),
    }
}

/// Tells whether a text looks like a JSON object with these members. It is not parsed: nothing is copied.
fn is_object_with(text: &[u8], members: &[&str]) -> bool {
    let has = |member: &&str| text.windows(member.len()).any(|part| part == member.as_bytes());
    text.starts_with(b"{") && text.ends_with(b"}") && members.iter().all(has)
}

/// Checks a password, which may hold anything but control characters.
///
/// # Errors
/// It cannot be sent.
pub(super) fn check_password(secret: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(secret).map_err(|_| "is not text in UTF-8")?;
    match text.contains(char::is_control) {
        true => Err("has a control character or several lines, it must hold the password alone"),
        false => Ok(()),
    }
}

/// Checks a token that is a UUID (RFC 9562 section 4).
///
/// # Errors
/// It is none.
pub(super) fn check_uuid(secret: &[u8]) -> Result<(), &'static str> {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let lengths = secret.split(|byte| *byte == b'-').map(<[u8]>::len);
    let is_of_uuid = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    match lengths.eq(GROUPS) && secret.iter().all(is_of_uuid) {
        true => Ok(()),
        false => Err(
            "must hold the token alone: hexadecimal digits in five groups, with \"-\" between them",
        ),
    }
}

/// Checks a document with accounts of acme-dns.
///
/// # Errors
/// It is none.
pub(super) fn check_accounts(secret: &[u8]) -> Result<(), &'static str> {
    match accounts::read(secret)?.is_empty() {
        true => Err("has no account"),
        false => Ok(()),
    }
}

/// Checks a secret that is given to a program, which may be a document of many lines.
///
/// # Errors
/// It cannot be the value of a variable.
pub(super) fn check_text(secret: &[u8]) -> Result<(), &'static str> {
    match std::str::from_utf8(secret) {
        Ok(text) if !text.contains('\0') => Ok(()),
        Ok(_) => Err("has a NUL character"),
        Err(_) => Err("is not text in UTF-8"),
    }
}

/// A key without a prefix has 37 to 45 hexadecimal digits. So may a token: that length is left alone.
fn is_global_key(secret: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_early = matches!(secret.len(), 37..=45) && secret.len() != TOKEN;
    secret.starts_with(KEY_PREFIX) || (is_early && secret.iter().all(is_digit))
}

fn check_alphabet(secret: &[u8]) -> Result<(), &'static str> {
    if !secret.iter().all(|byte| is_of_token(*byte)) {
        return Err(mistake(secret));
    }
    if is_placeholder(secret) { Err(PLACEHOLDER) } else { Ok(()) }
}

/// Tells whether a text is what an example has in the place of a secret, such as `YOUR-API-TOKEN`.
pub(super) fn is_placeholder(secret: &[u8]) -> bool {
    // Nothing is copied: what is on the heap now, workers have too.
    let has = |words: &[&str]| {
        words.iter().any(|word| {
            secret.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
        })
    };
    // That is too short for a secret to be it by chance.
    secret.len() < TOKEN
        && (has(&["changeme", "change-me", "change_me", "replace-me", "replace_me"])
            || has(&["your"]) && has(&["token", "key", "secret"]))
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Names the mistake in a text that has characters that no secret has.
fn mistake(secret: &[u8]) -> &'static str {
    if let Some(mistake) = encoding(secret) {
        return mistake;
    }
    let has_line = |line: &[u8]| !line.trim_ascii().is_empty();
    let lines =
        secret.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| has_line(line)).count();
    if secret.starts_with(b"-----BEGIN") {
        "holds a key or certificate in PEM, not a credential of the API"
    } else if matches!(secret.first(), Some(b'{' | b'['))
        && matches!(secret.last(), Some(b'}' | b']'))
    {
        match secret.starts_with(b"{{") {
            true => VARIABLE,
            false => "holds JSON, it must hold the secret alone",
        }
    } else if lines > 1 {
        "holds more than one line, it must hold the secret alone, without comments or other settings"
    } else {
        line_mistake(secret)
    }
}

const VARIABLE: &str = "holds a variable that nothing has replaced, it must hold the secret itself";

/// Names the mistake in a single line.
fn line_mistake(line: &[u8]) -> &'static str {
    let word = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let has = |byte: u8| line.contains(&byte);
    let is_word = |text: &[u8]| !text.is_empty() && text.iter().all(|byte| is_of_token(*byte));
    let before = |byte: u8| line.split(|other| *other == byte).next().unwrap_or_default();
    if is_quote(line.first()) || is_quote(line.last()) && !has(b'=') && !has(b':') {
        "has quotes around the secret, which become a part of it: remove them"
    } else if word.eq_ignore_ascii_case(b"bearer") || word.eq_ignore_ascii_case(b"authorization:") {
        "begins with \"Bearer\", it must hold the secret alone"
    } else if [&b"export"[..], b"set", b"setenv", b"declare"].contains(&word) {
        "holds a command of a shell, it must hold the secret alone"
    } else if matches!(line.first(), Some(b'$' | b'%' | b'<')) {
        VARIABLE
    } else if line.starts_with(b"env:") || line.starts_with(b"file:") {
        "holds the name of another source, it must hold the secret itself"
    } else if [&b"http://"[..], b"https://"].iter().any(|scheme| line.starts_with(scheme)) {
        "holds a URL, it must hold the secret alone"
    } else if matches!(line.first(), Some(b'/' | b'.' | b'~')) {
        "holds a path, it must hold the secret itself"
    } else if line.starts_with(b"v1.0-") {
        "holds an Origin CA key, which cannot change DNS records: create an API token"
    } else if has(b'=') && is_word(before(b'=').trim_ascii()) {
        "holds a name and \"=\", it must hold the secret alone"
    } else if has(b':') && is_word(before(b':').trim_ascii()) {
        "holds a name and \":\", it must hold the secret alone"
    } else if is_word(word) && [b'#', b';'].iter().any(|mark| has(*mark)) {
        "has a comment behind the secret, it must hold the secret alone"
    } else if line.iter().any(u8::is_ascii_whitespace) {
        "does not hold one word of printable ASCII"
    } else {
        "has a character that Cloudflare's tokens and keys do not have: they consist of letters, digits, \
         \"_\" and \"-\""
    }
}

/// Names the mistake in bytes that are no ASCII text.
fn encoding(secret: &[u8]) -> Option<&'static str> {
    const QUOTES: [&str; 4] = ["\u{201c}", "\u{201d}", "\u{2018}", "\u{2019}"];
    if secret.starts_with(b"\xef\xbb\xbf") {
        return Some("begins with a byte order mark, save it as plain text in UTF-8 without one");
    }
    if secret.starts_with(b"\xff\xfe") || secret.starts_with(b"\xfe\xff") {
        return Some("is in UTF-16, save it as plain text in UTF-8");
    }
    let is_quoted = |quote: &[u8]| secret.starts_with(quote) || secret.ends_with(quote);
    if QUOTES.iter().any(|quote| is_quoted(quote.as_bytes())) {
        return Some("has quotes around the secret, which become a part of it: remove them");
    }
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if secret.iter().all(is_text) {
        None
    } else if secret.is_ascii() {
        Some("has a control character, it must hold the secret alone as plain text")
    } else {
        Some(
            "has a character that is not ASCII, perhaps an invisible one: write the secret anew, alone",
        )
    }
}

/// Tells whether a byte is a quotation mark.
pub(super) fn is_quote(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'"' | b'\'' | b'`'))
}

#[cfg(test)]
mod tests {
    use super::{
        check_accounts, check_credential, check_global_key, check_password, check_rsa_key,
        check_service_account, check_token, check_tsig_secret, check_uuid, check_yandex_key,
    };
    use crate::encoding::from_base64;

    /// A token as they were until 2026; not one of anybody.
    const EARLY: &str = "8M7wS6hCpXVc-DoRnPPY_UCWPgy8aea4Wy6kCe5T";

    fn scannable(prefix: &str) -> String {
        format!("{prefix}{}0a1b2c3d", EARLY.replace(['-', '_'], "x"))
    }

    #[test]
    fn tokens_and_keys_of_all_times_are_taken() {
        let digits = "0123456789abcdef0123456789abcdef0123456789abcdef";
        for token in [EARLY, &scannable("cfut_"), &scannable("cfat_"), "a-token", &digits[..40]] {
            assert_eq!(check_token(token.as_bytes()), Ok(()), "{token}");
        }
        for key in [&digits[..37], &digits[..45], &digits[..40], &scannable("cfk_")] {
            assert_eq!(check_global_key(key.as_bytes()), Ok(()), "{key}");
        }
    }

    #[test]
    fn a_key_is_not_taken_for_a_token_nor_a_token_for_a_key() {
        let digits = "0123456789abcdef0123456789abcdef0123456789abcdef";
        for key in [&digits[..37], &digits[..45], &scannable("cfk_")] {
            let why = check_token(key.as_bytes()).expect_err(key);
            assert!(why.contains("holds a global API key, not an API token"), "{why}");
        }
        for token in [EARLY, &scannable("cfut_"), &scannable("cfat_")] {
            let why = check_global_key(token.as_bytes()).expect_err(token);
            assert!(why.contains("holds an API token, not a global API key"), "{why}");
        }
    }

    #[test]
    fn a_tsig_secret_is_base64() {
        for good in ["c2VjcmV0", "AA", "AA==", "AAA=", "+/+/"] {
            assert_eq!(check_tsig_secret(good.as_bytes()), Ok(()), "{good}");
        }
        // Whatever passes can be decoded.
        let symbols = [b'A', b'+', b'=', b'-'];
        for number in 0..4_usize.pow(8) {
            let digits = (0..8).map(|place| symbols[(number >> (2 * place)) & 3]);
            let text: Vec<u8> = digits.skip_while(|digit| *digit == b'-').collect();
            let can_be_decoded = || from_base64(&String::from_utf8_lossy(&text)).is_some();
            assert!(check_tsig_secret(&text).is_err() || can_be_decoded(), "{text:?}");
        }
        for (bad, expected) in [
            ("", "holds no TSIG secret"),
            ("=", "holds no TSIG secret"),
            ("A", "holds no TSIG secret"),
            ("AAAA=", "holds no TSIG secret"),
            ("AA AA", "holds no TSIG secret"),
            ("-_-_", "holds no TSIG secret"),
            ("\"c2VjcmV0\"", "has quotes"),
            ("key \"k\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};", "the definition"),
        ] {
            let why = check_tsig_secret(bad.as_bytes()).expect_err(bad);
            assert!(why.contains(expected), "{bad}: {why}");
        }
    }

    #[test]
    fn secrets_of_other_providers_are_checked() {
        let uuid = "a7c4d0ad-114e-40ef-BA1D-d217904a50f2";
        assert_eq!(check_uuid(uuid.as_bytes()), Ok(()));
        for text in [&uuid[1..], &uuid[..35], &format!("\"{uuid}\""), &uuid.replace('7', "x")] {
            assert!(check_uuid(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(check_password("pa ss:w\u{f6}rd".as_bytes()), Ok(()));
        for text in [&b"a\nb"[..], b"a\0", b"\xff"] {
            assert!(check_password(text).is_err(), "{text:?}");
        }
        assert_eq!(check_accounts(b"{}"), Err("has no account"));
    }

    #[test]
    fn credentials_and_documents_of_clouds_are_checked() {
        for text in ["T0k3n", "a/b+c==", "prefix.secret", "\u{24}a=b", "a'b"] {
            assert_eq!(check_credential(text.as_bytes()), Ok(()), "{text}");
        }
        for (text, expected) in [
            ("\"T0k3n\"", "has quotes"),
            ("T0k3n # mine", "has a comment"),
            ("a\nb", "more than one line"),
            ("{\n\"a\": 1}", "holds JSON"),
            ("YOUR_API_KEY", "holds a placeholder"),
        ] {
            let why = check_credential(text.as_bytes()).expect_err(text);
            assert!(why.contains(expected) && !why.contains("Cloudflare"), "{text}: {why}");
        }
        let pem = |label: &str| format!("-----BEGIN {label}-----\nAA==\n-----END {label}-----");
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY"] {
            assert_eq!(check_rsa_key(pem(label).as_bytes()), Ok(()), "{label}");
        }
        for label in ["ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY", "CERTIFICATE"] {
            assert!(check_rsa_key(pem(label).as_bytes()).is_err(), "{label}");
        }
        let google = "{\n  \"private_key\": \"k\",\n  \"client_email\": \"e\"\n}";
        let yandex = "{\"service_account_id\": \"i\", \"private_key\": \"k\"}";
        assert_eq!(check_service_account(google.as_bytes()), Ok(()));
        assert_eq!(check_yandex_key(yandex.as_bytes()), Ok(()));
        assert_eq!(check_yandex_key(b"eyJhIjoxfQ=="), Ok(()));
        for text in ["{}", "k", yandex, "eyJhIjoxfQ=="] {
            assert!(check_service_account(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["{}", google, "eyJh\nIjoxfQ=="] {
            assert!(check_yandex_key(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_examples_have_in_the_place_of_a_secret_is_found() {
        for text in ["YOUR-API-TOKEN", "your_cloudflare_key", "changeme", "CHANGE_ME"] {
            let why = check_token(text.as_bytes()).expect_err(text);
            assert!(why.contains("holds a placeholder"), "{why}");
        }
    }

    #[test]
    fn a_token_that_was_not_copied_as_a_whole_is_found_by_its_prefix() {
        let token = scannable("cfut_");
        let why = check_token(&token.as_bytes()[..30]).expect_err("it is too short");
        assert!(why.contains("was not copied completely"), "{why}");
        assert_eq!(check_token(token.as_bytes()), Ok(()));
    }

    #[test]
    fn the_mistake_is_named_and_the_secret_is_not() {
        for (text, expected) in [
            ("\"T\"", "has quotes around the secret"),
            ("'T'", "has quotes around the secret"),
            ("`T`", "has quotes around the secret"),
            ("\"T", "has quotes around the secret"),
            ("T\"", "has quotes around the secret"),
            ("\u{201c}T\u{201d}", "has quotes around the secret"),
            ("name=T", "holds a name and \"=\""),
            ("dns_cloudflare_api_token = T", "holds a name and \"=\""),
            ("CF_Token='T'", "holds a name and \"=\""),
            ("token: T", "holds a name and \":\""),
            ("token: \"T\"", "holds a name and \":\""),
            ("export CF_Token=T", "holds a command of a shell"),
            ("set CF_Token=T", "holds a command of a shell"),
            ("${CF_TOKEN}", "holds a variable that nothing has replaced"),
            ("$CF_TOKEN", "holds a variable that nothing has replaced"),
            ("%CF_TOKEN%", "holds a variable that nothing has replaced"),
            ("{{ cf_token }}", "holds a variable that nothing has replaced"),
            ("<your token>", "holds a variable that nothing has replaced"),
            ("Bearer T", "begins with \"Bearer\""),
            ("bearer T", "begins with \"Bearer\""),
            ("Authorization: Bearer T", "begins with \"Bearer\""),
            ("{\"token\":\"T\"}", "holds JSON"),
            ("{\n  \"token\": \"T\"\n}", "holds JSON"),
            ("T # for example.com", "has a comment behind the secret"),
            ("T ; for example.com", "has a comment behind the secret"),
            ("# Cloudflare\nT", "holds more than one line"),
            ("T\nT", "holds more than one line"),
            ("T\r\nT", "holds more than one line"),
            ("email=a@b.test\nkey=T", "holds more than one line"),
            ("\u{feff}T", "begins with a byte order mark"),
            ("T\u{200b}", "has a character that is not ASCII"),
            ("T\u{a0}", "has a character that is not ASCII"),
            ("T\u{0}", "has a control character"),
            ("T T", "does not hold one word of printable ASCII"),
            ("env:CF_TOKEN", "holds the name of another source"),
            ("/run/secrets/token", "holds a path"),
            ("https://dash.cloudflare.com/T", "holds a URL"),
            ("-----BEGIN PRIVATE KEY-----\nT", "holds a key or certificate in PEM"),
            ("v1.0-T-T", "holds an Origin CA key"),
            ("T/T", "letters, digits, \"_\" and \"-\""),
            ("T,T", "letters, digits, \"_\" and \"-\""),
        ] {
            let text = text.replace('T', EARLY);
            for check in [check_token, check_global_key] {
                let why = check(text.as_bytes()).expect_err(&text);
                assert!(why.contains(expected) && !why.contains(EARLY), "{text:?}: {why}");
            }
        }
        let wide: Vec<u8> = "\u{feff}T".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(check_token(&wide).is_err_and(|why| why.contains("is in UTF-16")));
    }
}
