//! A certificate in the state path, as notices show it.

use crate::store::{Certificates, Store, StoreError, Trust, certificate_path};
use crate::x509::display_name;
use crate::x509::glance::glance_at_leaf;
use acme_dns_core::notice::Subject;
use acme_dns_core::schedule::Validity;
use openssl::sha::sha256;
use openssl::x509::X509;
use std::collections::HashMap;
use std::path::Path;

/// Facts of a certificate that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Held {
    /// SHA-256 of the leaf, in hexadecimal digits.
    pub(super) fingerprint: String,
    pub(super) validity: Option<Validity>,
}

/// Writes octets in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Looks at the certificates with these names; those that are not there are left out.
pub(super) fn look<'a>(
    store: &Store,
    names: impl Iterator<Item = &'a String>,
) -> Result<HashMap<String, Held>, StoreError> {
    let Some(all) = Certificates::open(store.path(), &Trust::here())? else {
        return Ok(HashMap::new());
    };
    let held = names.filter_map(|name| Some((name.clone(), held(&all.leaf(name)?))));
    Ok(held.collect())
}

fn held(leaf: &[u8]) -> Held {
    let validity = glance_at_leaf(leaf).map(|glance| glance.validity);
    Held { fingerprint: hex(&sha256(leaf)), validity }
}

/// Describes a certificate by its leaf, as far as it can be read.
pub(super) fn describe(state_path: &Path, name: &str, sans: &[String]) -> Subject {
    let all = Certificates::open(state_path, &Trust::here()).ok().flatten();
    let leaf = all.and_then(|all| all.leaf(name));
    let mut subject =
        Subject { certificate: Some(name.to_owned()), sans: sans.to_vec(), ..Subject::default() };
    let Some(leaf) = leaf else { return subject };
    let path = certificate_path(state_path, name);
    let Held { fingerprint, validity } = held(&leaf);
    subject.path = Some(path.display().to_string());
    subject.cert_fingerprint = Some(fingerprint);
    subject.not_before = validity.map(|validity| validity.not_before);
    subject.not_after = validity.map(|validity| validity.not_after);
    if let Ok(certificate) = X509::from_der(&leaf) {
        subject.issuer = Some(display_name(certificate.issuer_name()));
        let serial = certificate.serial_number().to_bn().and_then(|serial| serial.to_hex_str());
        subject.serial_number = serial.ok().map(|serial| serial.to_lowercase());
    }
    subject
}
