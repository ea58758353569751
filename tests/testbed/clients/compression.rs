//! Check for compressed certificates (RFC 8879). The client offers to take one compressed, and
//! does not read it: a handshake that fails for that reason is the answer.

use std::cell::Cell;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::compress::{CertDecompressor, DecompressionFailed};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{CertificateCompressionAlgorithm, ClientConfig, ClientConnection, RootCertStore};

thread_local! {
    /// The size of the certificates that were compressed in the last handshake of this thread.
    static SEEN: Cell<usize> = const { Cell::new(0) };
}

/// Takes note of what it is to decompress.
#[derive(Debug)]
struct Noting(CertificateCompressionAlgorithm);

impl CertDecompressor for Noting {
    fn decompress(&self, _: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        SEEN.set(output.len());
        Err(DecompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        self.0
    }
}

static ALL: [&dyn CertDecompressor; 3] = [
    &Noting(CertificateCompressionAlgorithm::Zlib),
    &Noting(CertificateCompressionAlgorithm::Brotli),
    &Noting(CertificateCompressionAlgorithm::Zstd),
];

/// Shakes hands once, in TLS 1.3.
///
/// # Errors
/// There is no connection or no client.
pub fn compresses(addr: SocketAddr, name: &str) -> Result<bool, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| e.to_string())?;
    // Nothing need be trusted: certificates come before.
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.cert_decompressors = ALL.to_vec();
    let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
    let mut client = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
    let mut stream = TcpStream::connect(addr).map_err(|e| e.to_string())?;
    SEEN.set(0);
    match client.complete_io(&mut stream) {
        Ok(_) => Err("a certificate was accepted that nobody trusts".to_owned()),
        Err(_) => Ok(SEEN.get() > 0),
    }
}
