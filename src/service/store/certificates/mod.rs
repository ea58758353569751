//! Certificates on disk, with their keys.
//!
//! `certs/<name>` is a relative link to a directory of a version, so one rename changes all of its
//! files. The version before stays, for who reads the files one after the other and for people; if
//! it cannot be used, so does the newest one that can.

use super::layout::{
    CERTS, CHAIN, FULL_CHAIN, ISSUER, KEY, LEAF, RENEWAL, REVOKED, VERSIONS, certificate_path,
};
use super::{Store, StoreError, files};

mod aside;
mod facts;
mod issued;
mod pack;
mod read;
mod save;
mod versions;

pub use aside::is_aside;
pub use facts::{
    CertificateFacts, PackedRenewal, PublishedFact, PublishedFacts, certificate_stamp,
    certificates_stamp, traits_of,
};
pub use issued::IssuedPem;
pub(super) use pack::PackGuard;
pub(crate) use pack::pack_stamp;
pub use pack::{Packed, PackedCertificate};
pub(crate) use read::Pem;
pub use read::{Certificates, StoredCertificate, is_kept, load_certificate, load_material};

#[cfg(test)]
mod tests;
