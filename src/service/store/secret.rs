//! Private keys in JSON: texts that are wiped once they were written or read.

/// Texts.
pub(crate) mod text {
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(crate) fn serialize<S: Serializer>(
        text: &Zeroizing<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(deserializer).map(Zeroizing::new)
    }
}

/// Texts that may be missing.
pub(crate) mod optional_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use zeroize::Zeroizing;

    #[expect(clippy::ref_option, reason = "serde asks in this way")]
    pub(crate) fn serialize<S: Serializer>(
        text: &Option<Zeroizing<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        text.as_ref().map(|text| text.as_str()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Zeroizing<String>>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Zeroizing::new))
    }
}

/// Keys in PKCS #8 DER, as PEM.
pub(crate) mod pkcs8 {
    use crate::x509::keys;
    use acme_dns_core::pem::{self, KeyDer, KeyForm};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(crate) fn serialize<S: Serializer>(
        key: &Zeroizing<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&keys::to_pem(key))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<Vec<u8>>, D::Error> {
        let pem = String::deserialize(deserializer).map(Zeroizing::new)?;
        match pem::decode(pem.as_bytes()) {
            Ok(KeyDer { form: KeyForm::Pkcs8, der }) => Ok(der),
            _ => Err(D::Error::custom("it holds no PKCS #8 private key in PEM")),
        }
    }
}
