//! Cost of a resumed handshake for a worker, and of a request on a connection that is kept.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use openssl::ssl::SslVersion;
use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion,
};
use servers::ZONE;

use crate::client::{Client, connect};
use crate::report::Report;
use crate::server::{Certificate, Server, Source};
use crate::setup::Setup;
use crate::turns::{Competitor, Turns};

/// Time that one version is measured, and that requests are.
const TIME: Duration = Duration::from_secs(30);

/// The handshakes of one turn, and the requests.
const HANDSHAKES: usize = 20;
const REQUESTS: usize = 200;

/// Sessions are in the worker's cache, found by their number, with TLS 1.2, and in tickets with
/// TLS 1.3.
const VERSIONS: [(&str, &SupportedProtocolVersion); 2] =
    [("tls12_id", &TLS12), ("tls13_ticket", &TLS13)];

/// Competitors that take turns; all others are compared to the first.
const COMPETITORS: [(&str, Source); 3] =
    [("static", Source::File), ("control", Source::File), ("ours", Source::Module)];

const KEY: &str = "ecdsa:256";

/// Measures handshakes that resume a session.
pub(crate) fn measure_resumed(setup: &Setup, report: &mut Report) -> Result<(), String> {
    report.explain(
        "resumed: CPU time of the worker for a handshake that resumes a session, of the shared \
         cache with TLS 1.2, of a ticket with TLS 1.3; ratios as in handshake",
    );
    let certificate = Certificate::obtain(setup.build, KEY)?;
    for (version, protocol) in VERSIONS {
        let start = || {
            let with_client = |Competitor { name, server }| {
                let client = Resumer::new(&certificate.root, protocol)?;
                Ok(Competitor { name, server: (server, client) })
            };
            competitors(&certificate)?.into_iter().map(with_client).collect()
        };
        let turns = Turns::take(setup.time(TIME), start, |(server, client)| {
            // The first one of all is a full one.
            client.handshake(server.address())?;
            server.cost(HANDSHAKES, || match client.handshake(server.address())? {
                HandshakeKind::Resumed => Ok(()),
                other => Err(format!("a handshake was {other:?}, not resumed")),
            })
        })?;
        turns.report(report, &format!("resumed_{version}"));
    }
    Ok(())
}

/// Measures requests.
pub(crate) fn measure_kept(setup: &Setup, report: &mut Report) -> Result<(), String> {
    report.explain(
        "keepalive: CPU time of the worker for a request on a connection that is there already; \
         ratios as in handshake",
    );
    let certificate = Certificate::obtain(setup.build, KEY)?;
    let client =
        Client::of_version(SslVersion::TLS1_3).map_err(|e| format!("no TLS client: {e}"))?;
    let start = || competitors(&certificate);
    let turns = Turns::take(setup.time(TIME), start, |server| {
        let mut connection = client.open(server.address(), ZONE)?;
        connection.request()?;
        server.cost(REQUESTS, || connection.request().map(|_| ()))
    })?;
    turns.report(report, "keepalive");
    Ok(())
}

fn competitors(certificate: &Certificate) -> Result<Vec<Competitor<Server>>, String> {
    let start = |(name, source)| {
        let server = certificate.serve(source, "ssl_session_cache shared:SSL:1m;\n")?;
        Ok(Competitor { name, server })
    };
    COMPETITORS.into_iter().map(start).collect()
}

/// A TLS client that resumes a session wherever it can.
struct Resumer {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Resumer {
    /// A client of one server that speaks one version.
    fn new(root_pem: &str, version: &'static SupportedProtocolVersion) -> Result<Self, String> {
        let failed = |what: &dyn std::fmt::Display| format!("no TLS client: {what}");
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(root_pem.as_bytes()).map_err(|e| failed(&e))?;
        roots.add(root).map_err(|e| failed(&e))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .map_err(|e| failed(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // With TLS 1.2 it asks for no ticket.
        config.resumption = Resumption::default().tls12_resumption(Tls12Resumption::SessionIdOnly);
        let name = ServerName::try_from(ZONE).map_err(|e| failed(&e))?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// Makes one handshake and waits until the server has ended the connection: it has then done
    /// all of its work, and sent its tickets.
    fn handshake(&self, address: SocketAddr) -> Result<HandshakeKind, String> {
        let failed = |what: &dyn std::fmt::Display| format!("{address}: {what}");
        let mut tcp = connect(address).map_err(|e| failed(&e))?;
        let connection = ClientConnection::new(self.config.clone(), self.name.clone());
        let mut connection = connection.map_err(|e| failed(&e))?;
        connection.complete_io(&mut tcp).map_err(|e| failed(&e))?;
        connection.send_close_notify();
        while connection.wants_write() {
            connection.write_tls(&mut tcp).map_err(|e| failed(&e))?;
        }
        while read(&mut connection, &mut tcp).map_err(|e| failed(&e))? > 0 {
            connection.process_new_packets().map_err(|e| failed(&e))?;
        }
        connection.handshake_kind().ok_or_else(|| failed(&"the handshake is not complete"))
    }
}

/// A server that has nothing to say closes as it likes.
fn read(connection: &mut ClientConnection, tcp: &mut impl io::Read) -> io::Result<usize> {
    match connection.read_tls(tcp) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(0),
        other => other,
    }
}
