//! Base64 (RFC 4648), as keys, signed requests and the files of other clients have it.
//!
//! Keys are read too, so the decoded bytes are in one allocation, which is wiped.

use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, Engine};
use zeroize::Zeroizing;

/// Readers of the two alphabets.
const PLAIN: GeneralPurpose = lenient(&STANDARD);
const FOR_URLS: GeneralPurpose = lenient(&URL_SAFE);

/// Padding is not needed to tell where a text ends, and some software leaves garbage in the last bits.
const fn lenient(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config)
}

/// Encodes with the alphabet for URLs, without padding (section 5).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads either alphabet, with or without padding. `None`: it is no base64, or nothing.
#[must_use]
pub fn from_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim();
    let reader = if text.contains(['-', '_']) { FOR_URLS } else { PLAIN };
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = reader.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(length);
    (length > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{base64url, from_base64};

    #[test]
    fn either_alphabet_is_read_with_and_without_padding() {
        for (text, expected) in [
            ("AA", Some(vec![0])),
            ("AA==", Some(vec![0])),
            ("AAA", Some(vec![0, 0])),
            ("AAA=", Some(vec![0, 0])),
            (" -_-_\n", Some(vec![0xfb, 0xff, 0xbf])),
            ("+/+/", Some(vec![0xfb, 0xff, 0xbf])),
            ("AB", Some(vec![0])),
            ("", None),
            ("=", None),
            ("A", None),
            ("AAAAA", None),
            ("AAAA====", None),
            ("AA=A", None),
            ("AA A", None),
            ("AA.A", None),
            ("\u{e4}\u{e4}", None),
        ] {
            assert_eq!(from_base64(text).map(|bytes| bytes.to_vec()), expected, "{text:?}");
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        assert_eq!(base64url(&[]), "");
    }
}
