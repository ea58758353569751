//! The form in which an issued certificate is saved.

use crate::store::secret;
use acme_dns_core::material::{Pair, Source};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// An issued certificate in the form in which it is saved.
#[derive(Clone, Deserialize, Serialize)]
pub struct IssuedPem {
    /// The private key, PKCS #8 in PEM.
    #[serde(with = "secret::text")]
    pub key: Zeroizing<String>,
    /// The certificates in PEM, the leaf first, each ended by a newline.
    pub fullchain: String,
    /// The URL of the directory of the CA that issued it; empty if it is not known.
    pub directory: String,
    /// The profile that was wanted.
    pub profile: Option<String>,
    /// The names that were ordered, sorted, where the CA has certified others than exactly these.
    pub ordered: Option<Vec<String>>,
    /// Set if it is from another client.
    pub is_imported: bool,
}

impl IssuedPem {
    /// Puts a pair that is served into the form in which it is saved.
    ///
    /// # Errors
    /// OpenSSL cannot read it.
    pub(crate) fn of(pair: &Pair) -> Result<Self, ErrorStack> {
        let key = PKey::private_key_from_pkcs8(&pair.key)?;
        let key = Zeroizing::new(key.private_key_to_pem_pkcs8()?);
        let mut fullchain = Vec::new();
        for certificate in &pair.chain {
            fullchain.extend(X509::from_der(certificate)?.to_pem()?);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let source = pair.source.as_ref();
        Ok(Self {
            key: Zeroizing::new(text(&key)),
            fullchain: text(&fullchain),
            directory: source.map_or_else(String::new, |source| source.directory.clone()),
            profile: source.and_then(|source| source.profile.clone()),
            ordered: source.and_then(|source| source.ordered.clone()),
            is_imported: source.is_none_or(|source| source.is_imported),
        })
    }

    /// Gives the origin of the pair; `is_kept`: it is on disk.
    pub(crate) fn source(&self, is_kept: bool) -> Option<Source> {
        let (directory, profile) = (self.directory.clone(), self.profile.clone());
        let (ordered, is_imported) = (self.ordered.clone(), self.is_imported);
        let source = Source { directory, profile, ordered, is_imported, is_kept };
        (!source.directory.is_empty()).then_some(source)
    }
}
