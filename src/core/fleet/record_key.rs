//! Name of what hosts share of one certificate.

use crate::key::KeyType;
use std::collections::BTreeSet;
use std::fmt;

/// Name of a certificate's records: its set of names, the type of its key, and the environment of its issuer.
///
/// The name that a configuration has for it is left out: hosts with the same certificate under two names share it, and
/// those with another set of names, as during a rolling change, do not replace each other's.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RecordKey(String);

/// The length of what a person sees of the first name.
const SHOWN: usize = 100;

impl RecordKey {
    /// Makes the key of a certificate; `directory` is the URL of its issuer's directory.
    pub fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        key: KeyType,
        directory: &str,
    ) -> Self {
        let names: BTreeSet<String> =
            names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        let first = names.iter().find(|name| !name.starts_with("*.")).or_else(|| names.first());
        let shown: String = first.into_iter().flat_map(|name| name.chars().take(SHOWN)).collect();
        let mut text = format!("{key} {directory}");
        for name in &names {
            text.push(' ');
            text.push_str(name);
        }
        Self(format!("{shown}~{:032x}", fnv(text.as_bytes())))
    }

    /// Makes the key of the account at a CA, by the URL of its directory.
    pub fn of_account(directory: &str) -> Self {
        Self(format!("{:032x}", fnv(directory.as_bytes())))
    }

    /// Gives its text, which is the last part of a record's path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hashes by FNV-1a with 128 bits: the same for all versions and machines. It only has to tell configurations apart,
/// none of which is an enemy's; what lies under a key is compared with what is wanted.
pub(super) fn fnv(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::{RecordKey, fnv};
    use crate::key::KeyType::{EcdsaP256, Rsa2048};

    const CA: &str = "https://ca.example/directory";

    #[test]
    fn the_hash_is_that_of_everybody_else() {
        assert_eq!(fnv(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn a_certificate_is_its_names_its_type_of_key_and_its_issuer() {
        let key = |names: &[&str], key, ca| RecordKey::new(names.iter().copied(), key, ca);
        let one = key(&["example.com", "*.example.com"], EcdsaP256, CA);
        assert_eq!(one, key(&["*.Example.com", "example.com", "example.com"], EcdsaP256, CA));
        assert!(one.as_str().starts_with("example.com~"), "{one}");
        for other in [
            key(&["example.com"], EcdsaP256, CA),
            key(&["example.com", "*.example.com", "a.example"], EcdsaP256, CA),
            key(&["example.com", "*.example.com"], Rsa2048, CA),
            key(&["example.com", "*.example.com"], EcdsaP256, "https://staging.ca.example/"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_key_stays_what_it_is_in_all_versions() {
        let key = RecordKey::new(["*.example.com", "example.com"], EcdsaP256, CA);
        assert_eq!(key.as_str(), "example.com~c4ef05efff9ba4f8372706a465b98e1b");
    }
}
