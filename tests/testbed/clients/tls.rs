//! TLS clients: one handshake that is looked at closely, or many.

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::pkey::Id;
use openssl::ssl::{HandshakeError, Ssl, SslContext, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509NameRef, X509Ref};
use servers::process::wait_until;

pub use openssl::ssl::SslVersion;

use crate::clients::visit::{Visit, ask};

/// Limit for a connection or a handshake.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// OpenSSL's words for a stream that ends without notice.
const UNEXPECTED_EOF: &str = "unexpected eof while reading";

/// Why there is no certificate to look at, or no answer.
#[derive(Debug)]
pub enum TlsError {
    /// The TCP connection failed, or nobody answers over QUIC.
    Connect(std::io::Error),
    /// The handshake failed, or the certificate was not accepted.
    Handshake(String),
    /// The server's side went away during the handshake.
    Closed(String),
    /// OpenSSL refuses the settings.
    Settings(ErrorStack),
    /// The handshake is complete, but a request has failed.
    Request(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Handshake(error) => write!(f, "handshake failed: {error}"),
            Self::Closed(error) => write!(f, "closed during the handshake: {error}"),
            Self::Settings(error) => write!(f, "bad settings: {error}"),
            Self::Request(error) => write!(f, "request failed: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<ErrorStack> for TlsError {
    fn from(error: ErrorStack) -> Self {
        Self::Settings(error)
    }
}

/// The certificates that a server has sent.
#[derive(Clone, Debug)]
pub struct PeerChain {
    /// The server's own.
    pub leaf: Leaf,
    /// All certificates in DER as sent, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The protocol, such as `TLSv1.3`.
    pub protocol: String,
}

impl PeerChain {
    /// Of certificates in DER, the leaf first.
    ///
    /// # Errors
    /// If there are none, or the leaf is unreadable.
    pub(crate) fn new(
        sent: impl IntoIterator<Item = impl AsRef<[u8]>>,
        protocol: &str,
    ) -> Result<Self, TlsError> {
        let chain: Vec<_> = sent.into_iter().map(|der| der.as_ref().to_vec()).collect();
        let leaf = chain.first().ok_or(TlsError::Handshake("no certificate was sent".into()))?;
        let leaf = Leaf::new(&*X509::from_der(leaf)?)?;
        Ok(Self { leaf, chain, protocol: protocol.to_owned() })
    }
}

/// Content of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The DNS names among the subject alternative names, sorted.
    pub sans: Vec<String>,
    /// The serial number in hexadecimal, lower case.
    pub serial: String,
    /// The common name of the subject, if there is one.
    pub subject: String,
    /// The common name of the issuer.
    pub issuer: String,
    /// The begin of the validity, Unix seconds.
    pub not_before: i64,
    /// The end of the validity, Unix seconds.
    pub not_after: i64,
    /// The algorithm of the key, such as `EC` or `RSA`.
    pub key: String,
    /// The certificate.
    pub der: Vec<u8>,
}

impl Leaf {
    /// Reads a certificate.
    ///
    /// # Errors
    /// If OpenSSL cannot read a part of it.
    pub fn new(certificate: &X509Ref) -> Result<Self, ErrorStack> {
        let mut sans: Vec<String> = certificate
            .subject_alt_names()
            .into_iter()
            .flatten()
            .filter_map(|name| Some(name.dnsname()?.to_owned()))
            .collect();
        sans.sort();
        let epoch = Asn1Time::from_unix(0)?;
        let unix = |time: &openssl::asn1::Asn1TimeRef| {
            let since = epoch.diff(time)?;
            Ok::<_, ErrorStack>(i64::from(since.days) * 86_400 + i64::from(since.secs))
        };
        let key = match certificate.public_key()?.id() {
            Id::EC => "EC".to_owned(),
            Id::RSA => "RSA".to_owned(),
            other => format!("{other:?}"),
        };
        Ok(Self {
            sans,
            serial: certificate.serial_number().to_bn()?.to_hex_str()?.to_lowercase(),
            subject: common_name(certificate.subject_name()),
            issuer: common_name(certificate.issuer_name()),
            not_before: unix(certificate.not_before())?,
            not_after: unix(certificate.not_after())?,
            key,
            der: certificate.to_der()?,
        })
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// If there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, ErrorStack> {
        Self::new(&*X509::from_pem(pem)?)
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        X509::from_der(&self.der)
            .and_then(|certificate| certificate.to_pem())
            .map(|pem| String::from_utf8_lossy(&pem).into_owned())
            .unwrap_or_else(|e| panic!("an unreadable certificate: {e}"))
    }
}

fn common_name(name: &X509NameRef) -> String {
    let entry = name.entries_by_nid(openssl::nid::Nid::COMMONNAME).next();
    entry.map(|e| String::from_utf8_lossy(e.data().as_slice()).into_owned()).unwrap_or_default()
}

/// Settings of a client. Without roots it accepts any certificate.
#[derive(Clone, Debug)]
pub struct TlsClient {
    addr: SocketAddr,
    sni: Option<String>,
    roots: Option<String>,
    version: Option<SslVersion>,
    signatures: Option<String>,
}

impl TlsClient {
    /// A client of this address that sends no server name.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, sni: None, roots: None, version: None, signatures: None }
    }

    /// Sends a server name; with roots the certificate has to cover it.
    #[must_use]
    pub fn sni(mut self, name: &str) -> Self {
        self.sni = Some(name.to_owned());
        self
    }

    /// Trusts these roots and no other.
    #[must_use]
    pub fn roots(mut self, pem: &str) -> Self {
        self.roots = Some(pem.to_owned());
        self
    }

    /// Speaks only this version.
    #[must_use]
    pub fn version(mut self, version: SslVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// Offers only these signature algorithms, such as `RSA-PSS+SHA256:RSA+SHA256`.
    #[must_use]
    pub fn signatures(mut self, list: &str) -> Self {
        self.signatures = Some(list.to_owned());
        self
    }

    /// Connects and shakes hands once, without resumption.
    ///
    /// # Errors
    /// If there is no connection, no handshake, or a certificate that is not trusted.
    pub fn handshake(&self) -> Result<PeerChain, TlsError> {
        let context = self.context()?;
        self.handshake_with(&context)
    }

    pub(crate) fn context(&self) -> Result<SslContext, TlsError> {
        // Not an `SslConnector`, which loads the machine's roots, for every handshake anew.
        let mut builder = SslContext::builder(SslMethod::tls_client())?;
        match &self.roots {
            None => builder.set_verify(SslVerifyMode::NONE),
            Some(pem) => {
                let mut store = X509StoreBuilder::new()?;
                for root in X509::stack_from_pem(pem.as_bytes())? {
                    store.add_cert(root)?;
                }
                builder.set_cert_store(store.build());
                builder.set_verify(SslVerifyMode::PEER);
            }
        }
        builder.set_min_proto_version(self.version)?;
        builder.set_max_proto_version(self.version)?;
        if let Some(list) = &self.signatures {
            builder.set_sigalgs_list(list)?;
        }
        Ok(builder.build())
    }

    pub(crate) fn handshake_with(&self, context: &SslContext) -> Result<PeerChain, TlsError> {
        peer_chain(&self.connect(context)?)
    }

    /// Returns a function that connects once and asks for `/`, as often as wanted.
    ///
    /// # Errors
    /// If OpenSSL refuses the settings.
    pub fn visitor(
        &self,
    ) -> Result<impl FnMut() -> Result<Visit, TlsError> + Send + use<>, TlsError> {
        let (client, context) = (self.clone(), self.context()?);
        let host = client.sni.clone().unwrap_or_default();
        Ok(move || {
            let mut stream = client.connect(&context)?;
            let peer = peer_chain(&stream)?;
            Ok(Visit { peer, resumed: false, answer: ask(&mut stream, &host)? })
        })
    }

    fn connect(&self, context: &SslContext) -> Result<SslStream<TcpStream>, TlsError> {
        let mut settings = Ssl::new(context)?;
        if let Some(name) = &self.sni {
            settings.set_hostname(name)?;
            if self.roots.is_some() {
                let checks = settings.param_mut();
                checks.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                checks.set_host(name)?;
            }
        }
        settings.connect(connect(self.addr)?).map_err(failed)
    }
}

/// A TCP connection whose operations do not wait for ever.
pub(crate) fn connect(addr: SocketAddr) -> Result<TcpStream, TlsError> {
    let stream = TcpStream::connect_timeout(&addr, TIMEOUT).map_err(TlsError::Connect)?;
    let limit = |stream: &TcpStream| {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)
    };
    limit(&stream).map_err(TlsError::Connect)?;
    Ok(stream)
}

fn peer_chain(stream: &SslStream<TcpStream>) -> Result<PeerChain, TlsError> {
    let ssl = stream.ssl();
    let chain = ssl.peer_cert_chain().into_iter().flatten();
    let chain: Vec<_> = chain.map(X509Ref::to_der).collect::<Result<_, _>>()?;
    PeerChain::new(chain, ssl.version_str())
}

fn failed(error: HandshakeError<TcpStream>) -> TlsError {
    let HandshakeError::Failure(stream) = error else {
        return TlsError::Handshake(error.to_string());
    };
    let error = stream.error();
    let text = format!("{error} ({})", stream.ssl().verify_result());
    let closed = match (error.io_error(), error.ssl_error()) {
        (Some(error), _) => {
            matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
        }
        // OpenSSL 3 reports the end of the stream as an error of its own.
        (None, Some(stack)) => stack.errors().iter().any(|e| e.reason() == Some(UNEXPECTED_EOF)),
        (None, None) => true,
    };
    if closed { TlsError::Closed(text) } else { TlsError::Handshake(text) }
}

/// Shakes hands once; see [`TlsClient`] for more settings.
///
/// # Errors
/// As [`TlsClient::handshake`].
pub fn handshake(
    addr: SocketAddr,
    sni: &str,
    roots_pem: Option<&str>,
    version: Option<SslVersion>,
) -> Result<PeerChain, TlsError> {
    let mut client = TlsClient::new(addr).sni(sni);
    client.roots = roots_pem.map(str::to_owned);
    client.version = version;
    client.handshake()
}

/// A certificate that the load has met.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its serial number, as in [`Leaf::serial`].
    pub serial: String,
    /// The moment at which a handshake with it was first complete.
    pub first: Instant,
    /// The moment at which one was last complete.
    pub last: Instant,
    /// The number of handshakes with it.
    pub count: u64,
}

/// Results of a load so far.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Complete handshakes.
    pub made: u64,
    /// Those that failed: when and why.
    pub failed: Vec<(Instant, String)>,
    /// The certificates in the order in which they came.
    pub serials: Vec<Seen>,
}

impl LoadReport {
    /// Returns what was seen of one certificate.
    #[must_use]
    pub fn seen(&self, serial: &str) -> Option<&Seen> {
        self.serials.iter().find(|seen| seen.serial == serial)
    }

    fn add(&mut self, result: Result<PeerChain, TlsError>) {
        let now = Instant::now();
        match result {
            Err(error) => self.failed.push((now, error.to_string())),
            Ok(peer) => {
                self.made += 1;
                let serial = peer.leaf.serial;
                match self.serials.iter_mut().find(|seen| seen.serial == serial) {
                    Some(seen) => {
                        seen.last = now;
                        seen.count += 1;
                    }
                    None => self.serials.push(Seen { serial, first: now, last: now, count: 1 }),
                }
            }
        }
    }
}

/// Threads that shake hands without a break.
#[derive(Debug)]
pub struct LoadClient {
    stop: Arc<AtomicBool>,
    report: Arc<Mutex<LoadReport>>,
    threads: Vec<JoinHandle<()>>,
}

impl LoadClient {
    /// Starts `threads` threads, each with one handshake after the other and a pause between.
    ///
    /// # Panics
    /// If OpenSSL refuses the settings.
    #[must_use]
    pub fn start(client: &TlsClient, threads: usize, pause: Duration) -> Self {
        let context = client.context().unwrap_or_else(|e| panic!("no load client: {e}"));
        Self::run(threads, pause, || {
            let (client, context) = (client.clone(), context.clone());
            move || client.handshake_with(&context)
        })
    }

    /// The same with handshakes of another kind: `worker` gives each thread its own.
    pub(crate) fn run<F>(threads: usize, pause: Duration, worker: impl Fn() -> F) -> Self
    where
        F: FnMut() -> Result<PeerChain, TlsError> + Send + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let report: Arc<Mutex<LoadReport>> = Arc::default();
        let run = || {
            let (stop, report) = (stop.clone(), report.clone());
            let mut handshake = worker();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let result = handshake();
                    lock(&report).add(result);
                    thread::sleep(pause);
                }
            })
        };
        let threads = (0..threads).map(|_| run()).collect();
        Self { stop, report, threads }
    }

    /// Returns the results so far.
    #[must_use]
    pub fn report(&self) -> LoadReport {
        lock(&self.report).clone()
    }

    /// Waits until the report meets a condition.
    ///
    /// # Panics
    /// After `timeout`, with the report.
    pub fn wait(&self, timeout: Duration, condition: impl Fn(&LoadReport) -> bool) -> LoadReport {
        let met = wait_until(timeout, || Some(self.report()).filter(&condition));
        met.unwrap_or_else(|| panic!("after {timeout:?} the load has met {:#?}", self.report()))
    }

    /// Ends the load.
    #[must_use]
    pub fn stop(mut self) -> LoadReport {
        self.join();
        self.report()
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for LoadClient {
    fn drop(&mut self) {
        self.join();
    }
}

fn lock(report: &Mutex<LoadReport>) -> MutexGuard<'_, LoadReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}
