//! The types of certificate keys.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The algorithm and size of a certificate's key.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum KeyType {
    /// ECDSA on P-256, what every client of today knows.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
}

impl KeyType {
    const ALL: [(&'static str, Self); 5] = [
        ("ecdsa:256", Self::EcdsaP256),
        ("ecdsa:384", Self::EcdsaP384),
        ("rsa:2048", Self::Rsa2048),
        ("rsa:3072", Self::Rsa3072),
        ("rsa:4096", Self::Rsa4096),
    ];

    /// Reads the value of the parameter `key=`, such as `ecdsa:256`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, key)| *key)
    }

    /// The algorithm alone: `ecdsa` or `rsa`. A server has one certificate of each.
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::EcdsaP256 | Self::EcdsaP384 => "ecdsa",
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => "rsa",
        }
    }

    /// The values that [`KeyType::parse`] takes, for messages.
    pub fn known() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, key)| key == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::KeyType;

    #[test]
    fn every_type_is_written_as_it_is_read() {
        for (text, key) in KeyType::ALL {
            assert_eq!(KeyType::parse(text), Some(key));
            assert_eq!(key.to_string(), text);
            assert!(text.starts_with(&format!("{}:", key.algorithm())));
        }
        for text in ["", "ecdsa", "rsa:1024", "ECDSA:256", "ed25519"] {
            assert_eq!(KeyType::parse(text), None, "{text}");
        }
    }
}
