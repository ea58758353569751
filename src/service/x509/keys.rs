//! Private keys: generated, read from PEM and written to it.
//!
//! OpenSSL's own reader of PEM decrypts what says that it is encrypted, with as many rounds as that says
//! too, or asks for a passphrase at the terminal. So it sees DER only ([`acme_dns_core::pem`]).

use acme_dns_core::key::KeyType;
use acme_dns_core::pem::{KeyDer, KeyForm, LINE, NO_KEY, decode};
use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use zeroize::Zeroizing;

/// Reads the first private key of a text in PEM.
pub(crate) fn private_key(pem: &[u8]) -> Result<PKey<Private>, &'static str> {
    parse(&decode(pem)?).map_err(|_| NO_KEY)
}

fn parse(KeyDer { form, der }: &KeyDer) -> Result<PKey<Private>, ErrorStack> {
    match form {
        KeyForm::Pkcs8 => PKey::private_key_from_pkcs8(der),
        KeyForm::Pkcs1 => PKey::from_rsa(Rsa::private_key_from_der(der)?),
        KeyForm::Sec1 => PKey::from_ec_key(EcKey::private_key_from_der(der)?),
    }
}

/// Puts a key into PKCS #8 (RFC 5958 section 2). `algorithm`: that of its public key, in DER.
pub(crate) fn wrap(key: &[u8], algorithm: &[u8]) -> Zeroizing<Vec<u8>> {
    const VERSION: [u8; 3] = [2, 1, 0];
    let (octets, sequence) = (header(0x04, key.len()), VERSION.len() + algorithm.len());
    let sequence = header(0x30, sequence + octets.len() + key.len());
    let parts = [&sequence, &VERSION[..], algorithm, &octets, key];
    // Allocated once: a growing vector would leave copies of the key behind.
    let mut der = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| der.extend_from_slice(part));
    der
}

/// Writes PKCS #8 as PEM. The DER is kept as it is: OpenSSL might write the same key in a form that another
/// library does not read.
pub(crate) fn to_pem(der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(openssl::base64::encode_block(der));
    // Allocated once: a growing string would leave copies of the key behind.
    let mut pem = Zeroizing::new(String::with_capacity(base64.len() * 2 + 64));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for line in base64.as_bytes().chunks(LINE) {
        pem.push_str(std::str::from_utf8(line).unwrap_or_default());
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

/// Generates a key. An RSA key takes up to seconds: not on the one thread.
pub(crate) fn generate(key: KeyType) -> Result<PKey<Private>, ErrorStack> {
    match key {
        KeyType::EcdsaP256 => ecdsa(&p256()?),
        KeyType::EcdsaP384 => ecdsa(&curve(Nid::SECP384R1)?),
        KeyType::Rsa2048 => PKey::from_rsa(Rsa::generate(2048)?),
        KeyType::Rsa3072 => PKey::from_rsa(Rsa::generate(3072)?),
        KeyType::Rsa4096 => PKey::from_rsa(Rsa::generate(4096)?),
    }
}

fn ecdsa(curve: &EcGroup) -> Result<PKey<Private>, ErrorStack> {
    PKey::from_ec_key(EcKey::generate(curve)?)
}

/// The curve P-256, by its name.
pub(crate) fn p256() -> Result<EcGroup, ErrorStack> {
    curve(Nid::X9_62_PRIME256V1)
}

fn curve(name: Nid) -> Result<EcGroup, ErrorStack> {
    let mut curve = EcGroup::from_curve_name(name)?;
    curve.set_asn1_flag(Asn1Flag::NAMED_CURVE);
    Ok(curve)
}

/// The tag and the length of a value in DER (X.690 section 8.1.3).
fn header(tag: u8, length: usize) -> Vec<u8> {
    let bytes = length.to_be_bytes();
    let bytes: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    match bytes.as_slice() {
        [] => vec![tag, 0],
        [short] if *short < 0x80 => vec![tag, *short],
        long => {
            // At most eight octets.
            let count = u8::try_from(long.len()).unwrap_or(0);
            [&[tag, 0x80 | count], long].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{p256, private_key, wrap};
    use acme_dns_core::pem::decode;
    use openssl::ec::EcKey;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::symm::Cipher;
    use std::time::{Duration, Instant};
    use x509_cert::der::asn1::ObjectIdentifier;
    use x509_cert::der::{Decode, Encode};
    use x509_cert::spki::SubjectPublicKeyInfoOwned;

    fn ec() -> EcKey<openssl::pkey::Private> {
        EcKey::generate(&p256().unwrap()).unwrap()
    }

    #[test]
    fn every_form_is_read_and_wrapped_as_openssl_would() {
        let (ec, rsa) = (ec(), Rsa::generate(2048).unwrap());
        let forms = [
            (PKey::from_ec_key(ec.clone()).unwrap(), ec.private_key_to_pem().unwrap()),
            (PKey::from_rsa(rsa.clone()).unwrap(), rsa.private_key_to_pem().unwrap()),
        ];
        for (key, pem) in forms {
            let pkcs8 = key.private_key_to_pem_pkcs8().unwrap();
            for pem in [&pem, &pkcs8] {
                assert!(private_key(pem).unwrap().public_eq(&key));
            }
            let public = key.public_key_to_der().unwrap();
            let public = SubjectPublicKeyInfoOwned::from_der(&public).unwrap();
            let wrapped = wrap(&decode(&pem).unwrap().der, &public.algorithm.to_der().unwrap());
            let read = PKey::private_key_from_pkcs8(&wrapped).unwrap();
            assert!(read.public_eq(&key), "{}", String::from_utf8_lossy(&pem));
        }
    }

    /// The header of an encrypted key whose passphrase takes 2^31 - 1 rounds (RFC 8018 section 6.2).
    fn costly() -> String {
        let der = |tag: u8, parts: &[&[u8]]| {
            let body = parts.concat();
            [super::header(tag, body.len()), body].concat()
        };
        let oid = |text: &str| ObjectIdentifier::new(text).unwrap().to_der().unwrap();
        let rounds = [2, 4, 0x7f, 0xff, 0xff, 0xff];
        let prf = der(0x30, &[&oid("1.2.840.113549.2.9"), &[5, 0]]);
        let derivation = der(0x30, &[&der(0x04, &[&[1; 8]]), &rounds, &prf]);
        let derivation = der(0x30, &[&oid("1.2.840.113549.1.5.12"), &derivation]);
        let cipher = der(0x30, &[&oid("2.16.840.1.101.3.4.1.42"), &der(0x04, &[&[1; 16]])]);
        let scheme = der(0x30, &[&derivation, &cipher]);
        let scheme = der(0x30, &[&oid("1.2.840.113549.1.5.13"), &scheme]);
        let key = der(0x30, &[&scheme, &der(0x04, &[&[7; 160]])]);
        openssl::base64::encode_block(&key)
    }

    #[test]
    fn an_encrypted_key_costs_no_time() {
        let rsa = Rsa::generate(2048).unwrap();
        let old = rsa.private_key_to_pem_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
        let body = costly();
        let labelled =
            |label: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let rows = [
            (labelled("ENCRYPTED PRIVATE KEY"), "its private key is encrypted"),
            // What is encrypted and does not say so.
            (labelled("PRIVATE KEY"), "it holds no private key in PEM"),
            (labelled("EC PRIVATE KEY"), "it holds no private key in PEM"),
            (String::from_utf8(old).unwrap(), "its private key is encrypted"),
        ];
        for (pem, expected) in rows {
            let begun = Instant::now();
            assert_eq!(private_key(pem.as_bytes()).err(), Some(expected), "{pem}");
            assert!(begun.elapsed() < Duration::from_secs(1), "{pem}");
        }
    }
}
