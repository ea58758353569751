//! A client that speaks HTTP/3: one connection that is looked at closely, or many.
//!
//! A connection has a socket of its own. With one socket for all of them, `listen ... reuseport`
//! would bring each to the same worker of nginx.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use quinn::rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
    WebPkiServerVerifier,
};
use quinn::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature,
};
use quinn::rustls::pki_types::pem::PemObject;
use quinn::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use quinn::rustls::version::TLS13;
use quinn::rustls::{
    ClientConfig, DigitallySignedStruct, Error, NamedGroup, RootCertStore, SignatureScheme,
};
use quinn::{Connection, ConnectionError, Endpoint, EndpointConfig, TokioRuntime, TransportConfig};
use servers::rt::{block_on, runtime};
use tokio::time::timeout;

use crate::clients::tls::{LoadClient, PeerChain, TIMEOUT, TlsError};
use crate::clients::visit::{Answer, Visit};

/// Pause after which an idle connection shows that it is alive: both ends would forget it otherwise.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// More sessions than a test has at once.
const MAX_SESSIONS: usize = 8;

/// Code that a client closes with when nothing is wrong, `H3_NO_ERROR` (RFC 9114 section 8.1).
const NO_ERROR: u32 = 0x100;

/// A client of one server. It keeps the sessions of its connections, and resumes one if it can.
#[derive(Debug)]
pub struct Http3Client {
    addr: SocketAddr,
    name: String,
    roots: Option<String>,
    config: quinn::ClientConfig,
    verifier: Arc<Verifier>,
    sessions: Arc<Sessions>,
}

impl Http3Client {
    /// A client of this address that sends this server name. It trusts these roots alone, in PEM;
    /// without any it accepts every certificate whose key the server has.
    ///
    /// # Panics
    /// If the roots are unreadable.
    #[must_use]
    pub fn new(addr: SocketAddr, name: &str, roots_pem: Option<&str>) -> Self {
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Verifier::new(&provider, roots_pem));
        let sessions = Arc::new(Sessions::default());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap_or_else(|e| panic!("no TLS 1.3: {e}"))
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        tls.resumption = Resumption::store(sessions.clone());
        let quic = QuicClientConfig::try_from(tls).unwrap_or_else(|e| panic!("no QUIC: {e}"));
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(Some(KEEP_ALIVE));
        let mut config = quinn::ClientConfig::new(Arc::new(quic));
        config.transport_config(Arc::new(transport));
        let (name, roots) = (name.to_owned(), roots_pem.map(str::to_owned));
        Self { addr, name, roots, config, verifier, sessions }
    }

    /// Connects, with one of the kept sessions if there is one.
    ///
    /// # Errors
    /// If there is no connection, no handshake, or a certificate that is not trusted.
    // Not shared: the verifier has to tell one handshake from the other.
    pub fn connect(&mut self) -> Result<Http3Connection, TlsError> {
        self.verifier.asked.store(false, Ordering::SeqCst);
        let opened = block_on(async { timeout(TIMEOUT, self.open()).await });
        let (connection, sender) =
            opened.unwrap_or_else(|_| Err(failed(ConnectionError::TimedOut)))?;
        // Nobody has to verify what was verified before.
        let resumed = !self.verifier.asked.load(Ordering::SeqCst);
        let peer = peer_chain(&connection)?;
        Ok(Http3Connection { connection, sender, name: self.name.clone(), peer, resumed })
    }

    /// Connects, asks for `/` and closes.
    ///
    /// # Errors
    /// As [`connect`](Self::connect) and [`Http3Connection::get`].
    pub fn visit(&mut self) -> Result<Visit, TlsError> {
        let mut connection = self.connect()?;
        let answer = connection.get()?;
        Ok(Visit { peer: connection.peer.clone(), resumed: connection.resumed, answer })
    }

    /// Counts the sessions that could be resumed. A server sends them behind the handshake.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Forgets all sessions: the next handshake is a full one.
    pub fn forget(&self) {
        self.sessions.lock().clear();
    }

    /// Starts threads of which each makes one full handshake with a request after the other, and a
    /// pause between. A request too, because a client is done with a handshake before the server.
    #[must_use]
    pub fn load(&self, threads: usize, pause: Duration) -> LoadClient {
        LoadClient::run(threads, pause, || {
            let mut client = Self::new(self.addr, &self.name, self.roots.as_deref());
            move || {
                client.forget();
                client.visit().map(|visit| visit.peer)
            }
        })
    }

    async fn open(&self) -> Result<(Connection, SendRequest<OpenStreams, Bytes>), TlsError> {
        let endpoint = endpoint().map_err(TlsError::Connect)?;
        let connection = endpoint
            .connect_with(self.config.clone(), self.addr, &self.name)
            .map_err(|e| TlsError::Handshake(e.to_string()))?
            .await
            .map_err(failed)?;
        let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection.clone()))
            .await
            .map_err(|e| TlsError::Request(e.to_string()))?;
        // Ends with the connection.
        runtime().spawn(async move { driver.wait_idle().await });
        Ok((connection, sender))
    }
}

/// A connection, which is closed when this is dropped.
pub struct Http3Connection {
    connection: Connection,
    sender: SendRequest<OpenStreams, Bytes>,
    name: String,
    peer: PeerChain,
    resumed: bool,
}

impl Http3Connection {
    /// Returns the chain that the server has sent in the handshake; in the first one if the session was resumed.
    #[must_use]
    pub fn peer(&self) -> &PeerChain {
        &self.peer
    }

    /// Returns whether a session was resumed.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Asks for `/`.
    ///
    /// # Errors
    /// If there is no whole answer.
    pub fn get(&mut self) -> Result<Answer, TlsError> {
        let uri = format!("https://{}/", self.name);
        let asked = async {
            let request = http::Request::get(uri).body(()).map_err(unanswered)?;
            let mut stream = self.sender.send_request(request).await.map_err(unanswered)?;
            // A server may answer before the request ends, and stop its sending: what counts then
            // is the response (RFC 9114 section 4.1).
            let _ = stream.finish().await;
            let status = stream.recv_response().await.map_err(unanswered)?.status().as_u16();
            let mut body = Vec::new();
            while let Some(mut part) = stream.recv_data().await.map_err(unanswered)? {
                body.extend_from_slice(&part.copy_to_bytes(part.remaining()));
            }
            Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
        };
        let answer = block_on(async { timeout(TIMEOUT, asked).await });
        answer.unwrap_or_else(|late| Err(unanswered(late)))
    }
}

impl Drop for Http3Connection {
    fn drop(&mut self) {
        self.connection.close(NO_ERROR.into(), b"");
    }
}

/// A new socket.
fn endpoint() -> std::io::Result<Endpoint> {
    let mut config = EndpointConfig::default();
    // quinn sends a transport parameter whose identifier is reserved and random (RFC 9000 section
    // 18.1). nginx looks at 16 of its 62 bits: one of some thousand passes for another parameter, and
    // its value for nonsense. With a seed it is always the same one, which is none of those; what
    // tells connections apart is random all the same.
    config.rng_seed(Some([0; 32]));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    Endpoint::new(config, None, socket, Arc::new(TokioRuntime))
}

fn failed(error: ConnectionError) -> TlsError {
    match error {
        ConnectionError::TimedOut => TlsError::Connect(std::io::ErrorKind::TimedOut.into()),
        ConnectionError::ApplicationClosed(_) | ConnectionError::Reset => {
            TlsError::Closed(error.to_string())
        }
        // A server's alert comes as `ConnectionClosed`.
        _ => TlsError::Handshake(error.to_string()),
    }
}

fn unanswered(error: impl std::error::Error) -> TlsError {
    TlsError::Request(error.to_string())
}

fn peer_chain(connection: &Connection) -> Result<PeerChain, TlsError> {
    let identity = connection.peer_identity();
    let sent = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    // QUIC has no other version (RFC 9001 section 4.2).
    PeerChain::new(sent.iter().flat_map(|sent| sent.iter()), "TLSv1.3")
}

/// Verifies as its client wants, and notes that it was asked to.
#[derive(Debug)]
struct Verifier {
    trusting: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    asked: AtomicBool,
}

impl Verifier {
    fn new(provider: &Arc<CryptoProvider>, roots_pem: Option<&str>) -> Self {
        let trusting = roots_pem.map(|pem| {
            let mut roots = RootCertStore::empty();
            for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let root = root.unwrap_or_else(|e| panic!("an unreadable root: {e}"));
                roots.add(root).unwrap_or_else(|e| panic!("a bad root: {e}"));
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .unwrap_or_else(|e| panic!("no verifier: {e}"))
        });
        let algorithms = provider.signature_verification_algorithms;
        Self { trusting, algorithms, asked: AtomicBool::new(false) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.asked.store(true, Ordering::SeqCst);
        let Some(trusting) = &self.trusting else { return Ok(ServerCertVerified::assertion()) };
        trusting.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("QUIC has no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The sessions of one server. Unlike rustls's own store it tells how many there are.
#[derive(Debug, Default)]
struct Sessions(Mutex<Vec<Tls13ClientSessionValue>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Vec<Tls13ClientSessionValue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, session: Tls13ClientSessionValue) {
        let mut sessions = self.lock();
        if sessions.len() < MAX_SESSIONS {
            sessions.push(session);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().pop()
    }
}
