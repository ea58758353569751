//! The forms of exported files.

use crate::x509::{chain_from_pem, reason};
use acme_dns_core::config::ExportForm;
use openssl::error::ErrorStack;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::X509;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// A certificate, its chain and its key.
pub(super) struct Parts {
    leaf: X509,
    chain: Vec<X509>,
    key: PKey<Private>,
    /// The key as it is in its file.
    key_pem: Zeroizing<Vec<u8>>,
}

impl Parts {
    /// Parses the files of a certificate, and checks that they belong together.
    pub(super) fn new(full_chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let mut chain = chain_from_pem(full_chain)?;
        if chain.is_empty() {
            return Err("the certificate's file is empty".to_owned());
        }
        let leaf = chain.remove(0);
        let private = PKey::private_key_from_pem(key).map_err(|error| reason(&error))?;
        let is_its = leaf.public_key().is_ok_and(|public| public.public_eq(&private));
        match is_its {
            true => Ok(Self { leaf, chain, key: private, key_pem: Zeroizing::new(key.to_vec()) }),
            false => Err("the key is not that of the certificate".to_owned()),
        }
    }
}

/// Makes the content of a file.
pub(super) fn content(
    form: ExportForm,
    parts: &Parts,
    password: Option<&SecretString>,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let made = match form {
        ExportForm::Certificate => parts.leaf.to_pem(),
        ExportForm::Chain => pem(&parts.chain),
        ExportForm::FullChain => full_chain(parts),
        ExportForm::Key => return Ok(key(parts)),
        ExportForm::Bundle => full_chain(parts).map(|mut bundle| {
            // Enough room, so that no copy of the key is left behind.
            bundle.reserve_exact(parts.key_pem.len() + 1);
            bundle.extend_from_slice(&key(parts));
            bundle
        }),
        ExportForm::Der => parts.leaf.to_der(),
        ExportForm::Pkcs12 => pkcs12(parts, password),
    };
    made.map(Zeroizing::new).map_err(|error| reason(&error))
}

fn pem(chain: &[X509]) -> Result<Vec<u8>, ErrorStack> {
    Ok(chain.iter().map(|it| it.to_pem()).collect::<Result<Vec<_>, _>>()?.concat())
}

fn full_chain(parts: &Parts) -> Result<Vec<u8>, ErrorStack> {
    Ok([parts.leaf.to_pem()?, pem(&parts.chain)?].concat())
}

/// Gives the key, with the end of a line behind it.
fn key(parts: &Parts) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(parts.key_pem.len() + 1));
    key.extend_from_slice(&parts.key_pem);
    if !key.ends_with(b"\n") {
        key.push(b'\n');
    }
    key
}

fn pkcs12(parts: &Parts, password: Option<&SecretString>) -> Result<Vec<u8>, ErrorStack> {
    let mut chain = Stack::new()?;
    parts.chain.iter().try_for_each(|certificate| chain.push(certificate.clone()))?;
    let mut builder = Pkcs12::builder();
    builder.pkey(&parts.key).cert(&parts.leaf).ca(chain);
    builder.build2(exposed(password))?.to_der()
}

/// Tells whether a PKCS #12 file holds the same; its octets differ each time.
pub(super) fn is_same_pkcs12(file: &[u8], parts: &Parts, password: Option<&SecretString>) -> bool {
    let parsed = Pkcs12::from_der(file).and_then(|file| file.parse2(exposed(password)));
    let Ok(parsed) = parsed else { return false };
    let ders = |chain: &mut dyn Iterator<Item = Vec<u8>>| -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = chain.collect();
        all.sort();
        all
    };
    let there = parsed.ca.iter().flatten().filter_map(|it| it.to_der().ok());
    let ours = parts.chain.iter().filter_map(|it| it.to_der().ok());
    let is_same_chain = ders(&mut there.into_iter()) == ders(&mut ours.into_iter());
    let is_same_leaf = parsed.cert.and_then(|it| it.to_der().ok()) == parts.leaf.to_der().ok();
    is_same_chain && is_same_leaf && parsed.pkey.is_some_and(|key| key.public_eq(&parts.key))
}

fn exposed(password: Option<&SecretString>) -> &str {
    password.map_or("", |password| password.expose_secret().trim())
}
