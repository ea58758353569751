//! Checks of keys that a configuration names or imports: of accounts, and of external accounts. `nginx -t` finds such a
//! mistake; what it says never quotes what it has found.
//!
//! Nothing is parsed: a library would leave copies of the key on the heap, which the workers share.

use crate::pem::{KeyDer, KeyForm, decode};

const WRONG: &str = "holds no unencrypted private key in PEM";

const OTHER_KEY: &str =
    "holds neither an ECDSA key on P-256, P-384 or P-521 nor an RSA key, as accounts have them";

/// The object identifiers, in DER, of the curves P-256, P-384 and P-521 (RFC 5480 section 2.1.1.1) and of
/// RSA (RFC 8017 appendix C).
const KEY_TYPES: [&[u8]; 4] = [
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
    &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
    &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01],
];

/// Checks a MAC key in base64url (RFC 4648 section 5), with or without its padding.
///
/// # Errors
/// It is none.
pub fn check_mac_key(secret: &[u8]) -> Result<(), &'static str> {
    let padding = secret.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = secret.get(..secret.len() - padding).unwrap_or_default();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match digits.iter().all(is_digit) && digits.len() % 4 != 1 && padding < 3 {
        true => Ok(()),
        false => Err("holds no MAC key in base64url"),
    }
}

/// Checks that a text is a private key in PEM of a type that an account can have.
///
/// # Errors
/// It is none.
pub fn check_key(pem: &[u8]) -> Result<(), &'static str> {
    let KeyDer { form, der } = decode(pem).map_err(|_| WRONG)?;
    let holds = |id: &&[u8]| der.windows(id.len()).any(|window| window == *id);
    // PKCS #1 names no type: it is of RSA keys only.
    match form == KeyForm::Pkcs1 || KEY_TYPES.iter().any(holds) {
        true => Ok(()),
        false => Err(OTHER_KEY),
    }
}

/// Checks the key of an account in a file of another client, which may hold a JWK (RFC 7517).
///
/// # Errors
/// It is none.
pub fn check_account_key(key: &[u8]) -> Result<(), &'static str> {
    const TYPES: [&[u8]; 2] = [b"\"P-256\"", b"\"RSA\""];
    let holds = |word: &&[u8]| key.windows(word.len()).any(|window| window == *word);
    match key.first() {
        Some(b'{') if TYPES.iter().any(holds) => Ok(()),
        Some(b'{') => Err(OTHER_KEY),
        _ => check_key(key),
    }
}

#[cfg(test)]
mod tests {
    use super::{OTHER_KEY, WRONG, check_account_key, check_key, check_mac_key};

    /// A section of PEM with these bytes, of which only the identifiers are looked at.
    fn pem(label: &str, der: &[u8]) -> String {
        let digits = crate::encoding::base64url(der).replace('-', "+").replace('_', "/");
        format!("-----BEGIN {label}-----\n{digits}\n-----END {label}-----\n")
    }

    #[test]
    fn a_key_is_told_by_its_form_and_type() {
        let [p256, .., rsa] = super::KEY_TYPES;
        let rows = [
            (pem("PRIVATE KEY", p256), Ok(())),
            (pem("EC PRIVATE KEY", p256), Ok(())),
            (pem("PRIVATE KEY", rsa), Ok(())),
            (pem("RSA PRIVATE KEY", b"any"), Ok(())),
            (pem("PRIVATE KEY", b"any"), Err(OTHER_KEY)),
            (pem("ENCRYPTED PRIVATE KEY", p256), Err(WRONG)),
            (pem("CERTIFICATE", p256), Err(WRONG)),
            ("-----BEGIN PRIVATE KEY-----\nAAAA".to_owned(), Err(WRONG)),
            (String::new(), Err(WRONG)),
        ];
        for (text, expected) in rows {
            assert_eq!(check_key(text.as_bytes()), expected, "{text}");
            assert_eq!(check_account_key(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(check_account_key(br#"{"kty":"RSA"}"#), Ok(()));
        assert_eq!(check_account_key(br#"{"crv":"Ed25519"}"#), Err(OTHER_KEY));
    }

    #[test]
    fn a_mac_key_is_base64url() {
        for good in ["c2VjcmV0", "AA", "AA==", "AAA=", "-_-_"] {
            assert_eq!(check_mac_key(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["A", "AA AA", "+/+/", "AAAA===", "\u{e4}"] {
            assert!(check_mac_key(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
