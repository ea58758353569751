//! Certificates for the testbed's own HTTPS endpoints.

use std::fs;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameRef};
use tokio_native_tls::TlsAcceptor;

use crate::ports;

/// An authority made for one test and the certificate it has issued for localhost and the
/// address of the testbed.
#[derive(Clone, Debug)]
pub struct Authority {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    /// Makes an authority and a server certificate, as files in `dir`.
    ///
    /// # Panics
    /// If OpenSSL or the file system refuses.
    #[must_use]
    pub fn create(dir: &Path) -> Self {
        Self::create_for(dir, "localhost")
    }

    /// The same for a name of another host, whose place a server of the testbed takes.
    ///
    /// # Panics
    /// If OpenSSL or the file system refuses.
    #[must_use]
    pub fn create_for(dir: &Path, host: &str) -> Self {
        fs::create_dir_all(dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        let (ca, certificate, key) =
            make(host).unwrap_or_else(|e| panic!("cannot make certificates for the testbed: {e}"));
        let write = |name: &str, pem: Vec<u8>| {
            let path = dir.join(name);
            fs::write(&path, pem)
                .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
            path
        };
        Self {
            ca: write("ca.pem", ca),
            certificate: write("cert.pem", certificate),
            key: write("key.pem", key),
        }
    }

    /// The authority's certificate: what a client has to trust.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca
    }

    /// The server's certificate.
    #[must_use]
    pub fn certificate_file(&self) -> &Path {
        &self.certificate
    }

    /// Makes an acceptor with the server's certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        native_tls::Identity::from_pkcs8(&read(&self.certificate), &read(&self.key))
            .and_then(native_tls::TlsAcceptor::new)
            .map(TlsAcceptor::from)
            .unwrap_or_else(|e| panic!("cannot serve TLS: {e}"))
    }

    /// The server's key, PKCS #8.
    #[must_use]
    pub fn key_file(&self) -> &Path {
        &self.key
    }
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

type Pems = (Vec<u8>, Vec<u8>, Vec<u8>);

fn make(host: &str) -> Result<Pems, ErrorStack> {
    let (ca_key, ca_name) = (new_key()?, authority_name()?);
    let mut ca = builder(&ca_name, &ca_name, &ca_key)?;
    ca.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    ca.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    ca.sign(&ca_key, MessageDigest::sha256())?;
    let ca: X509 = ca.build();

    let key = new_key()?;
    let subject = name(host)?;
    let mut leaf = builder(&subject, &ca_name, &key)?;
    let names = SubjectAlternativeName::new()
        .dns(host)
        .ip(&ports::address().to_string())
        .build(&leaf.x509v3_context(Some(&ca), None))?;
    leaf.append_extension(names)?;
    leaf.append_extension(BasicConstraints::new().critical().build()?)?;
    leaf.sign(&ca_key, MessageDigest::sha256())?;
    Ok((ca.to_pem()?, leaf.build().to_pem()?, key.private_key_to_pem_pkcs8()?))
}

/// Makes a key on P-256.
///
/// # Errors
/// Those of OpenSSL.
pub fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

/// Makes the name of an authority. Each has one of its own: of two that a client trusts by one name, it
/// would try the first.
///
/// # Errors
/// Those of OpenSSL.
pub fn authority_name() -> Result<X509Name, ErrorStack> {
    let mut number = BigNum::new()?;
    number.rand(63, MsbOption::ONE, false)?;
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, "testbed authority")?;
    name.append_entry_by_nid(Nid::ORGANIZATIONALUNITNAME, &number.to_dec_str()?)?;
    Ok(name.build())
}

fn name(common_name: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(name.build())
}

/// Begins a certificate of 30 days with a random serial number; what it is for and its signature are missing.
///
/// # Errors
/// Those of OpenSSL.
pub fn builder(
    subject: &X509NameRef,
    issuer: &X509NameRef,
    key: &PKey<Private>,
) -> Result<X509Builder, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;
    let (serial, from, to) =
        (serial.to_asn1_integer()?, Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(30)?);
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_not_before(&from)?;
    builder.set_not_after(&to)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}
