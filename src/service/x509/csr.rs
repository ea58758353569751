//! The key of a certificate and the request for it.

use super::keys::generate;
use super::reason;
use acme_dns_core::key::KeyType;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::X509ReqBuilder;
use openssl::x509::extension::SubjectAlternativeName;

/// A key with its certificate signing request.
pub(crate) struct SigningRequest {
    pub(crate) key: PKey<Private>,
    /// PKCS #10 in DER.
    pub(crate) csr: Vec<u8>,
}

/// Makes a request for these names, with a given key or a new one: see [`generate`].
pub(crate) fn make(
    wanted: KeyType,
    key: Option<PKey<Private>>,
    names: &[String],
) -> Result<SigningRequest, String> {
    let make = || {
        let key = key.map_or_else(|| generate(wanted), Ok)?;
        let csr = request(&key, names)?;
        Ok(SigningRequest { key, csr })
    };
    make().map_err(|error: ErrorStack| reason(&error))
}

/// The subject stays empty: names are in the extension (RFC 8555 section 7.4), and a common name
/// could not hold one of more than 64 characters.
fn request(key: &PKey<Private>, names: &[String]) -> Result<Vec<u8>, ErrorStack> {
    let mut builder = X509ReqBuilder::new()?;
    builder.set_version(0)?;
    builder.set_pubkey(key)?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        alternatives.dns(name);
    }
    let mut extensions = Stack::new()?;
    extensions.push(alternatives.build(&builder.x509v3_context(None))?)?;
    builder.add_extensions(&extensions)?;
    let digest = match key.bits() {
        384 => MessageDigest::sha384(),
        _ => MessageDigest::sha256(),
    };
    builder.sign(key, digest)?;
    builder.build().to_der()
}

#[cfg(test)]
mod tests {
    use super::make;
    use crate::x509::key_type;
    use acme_dns_core::key::KeyType;
    use openssl::x509::X509Req;

    #[test]
    fn every_key_type_makes_a_request_that_verifies() {
        let names = ["example.com".to_owned(), "*.example.com".to_owned()];
        for key in [
            KeyType::EcdsaP256,
            KeyType::EcdsaP384,
            KeyType::Rsa2048,
            KeyType::Rsa3072,
            KeyType::Rsa4096,
        ] {
            let request = make(key, None, &names).unwrap();
            assert_eq!(key_type(&request.key), Some(key));
            let csr = X509Req::from_der(&request.csr).unwrap();
            assert!(csr.verify(&request.key).unwrap(), "{key}");
            assert_eq!(csr.subject_name().entries().count(), 0, "{key}");
            let text = String::from_utf8(csr.to_text().unwrap()).unwrap();
            assert!(text.contains("DNS:example.com, DNS:*.example.com"), "{text}");
        }
    }

    #[test]
    fn a_request_holds_many_and_long_names() {
        let long = |n| format!("{n}.{}.example.com", vec!["a".repeat(60); 3].join("."));
        let names: Vec<String> = (0..100).map(long).collect();
        let request = make(KeyType::EcdsaP256, None, &names).unwrap();
        assert!(request.csr.len() > 100 * 190);
    }
}
