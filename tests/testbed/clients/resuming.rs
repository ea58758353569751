//! A TLS client over TCP that resumes sessions. It is rustls's: with the openssl crate, it takes
//! `unsafe` to give a session to a connection.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption,
    Tls13ClientSessionValue,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore, StreamOwned,
};

use crate::clients::tls::{PeerChain, TlsError, connect};
use crate::clients::visit::{Visit, ask};

/// More sessions than a server sends at once.
const MAX_SESSIONS: usize = 8;

/// The way in which a session is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Session {
    /// TLS 1.2, in the server's cache.
    Tls12Id,
    /// TLS 1.2, in a ticket.
    Tls12Ticket,
    /// TLS 1.3, in a ticket; each is used once.
    Tls13Ticket,
}

/// A client of one server. It keeps the sessions of its connections, and resumes the oldest if there
/// are any.
#[derive(Debug)]
pub struct ResumingClient {
    addr: SocketAddr,
    name: String,
    config: Arc<ClientConfig>,
    sessions: Arc<Sessions>,
}

impl ResumingClient {
    /// A client of this address that sends this server name, trusts these roots alone, in PEM, and
    /// has sessions of this kind.
    ///
    /// # Panics
    /// If the roots are unreadable.
    #[must_use]
    pub fn new(addr: SocketAddr, name: &str, roots_pem: &str, session: Session) -> Self {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
            let root = root.unwrap_or_else(|e| panic!("an unreadable root: {e}"));
            roots.add(root).unwrap_or_else(|e| panic!("a bad root: {e}"));
        }
        let (version, tls12) = match session {
            Session::Tls12Id => (&TLS12, Tls12Resumption::SessionIdOnly),
            Session::Tls12Ticket => (&TLS12, Tls12Resumption::SessionIdOrTickets),
            Session::Tls13Ticket => (&TLS13, Tls12Resumption::Disabled),
        };
        let sessions = Arc::new(Sessions::default());
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap_or_else(|e| panic!("no such version: {e}"))
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::store(sessions.clone()).tls12_resumption(tls12);
        Self { addr, name: name.to_owned(), config: Arc::new(config), sessions }
    }

    /// Connects, with one of the kept sessions if there is one, asks for `/` and closes.
    ///
    /// # Errors
    /// If there is no connection, no handshake, a certificate that is not trusted, or no answer.
    pub fn visit(&self) -> Result<Visit, TlsError> {
        let refused = |e: &dyn fmt::Display| TlsError::Handshake(e.to_string());
        let name = ServerName::try_from(self.name.clone()).map_err(|e| refused(&e))?;
        let mut tcp = connect(self.addr)?;
        let mut tls = ClientConnection::new(self.config.clone(), name).map_err(|e| refused(&e))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).map_err(|e| refused(&e))?;
        }
        let protocol = match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let peer = PeerChain::new(tls.peer_certificates().into_iter().flatten(), protocol)?;
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let answer = ask(&mut StreamOwned::new(tls, tcp), &self.name)?;
        Ok(Visit { peer, resumed, answer })
    }

    /// Returns whether there is a session to resume.
    #[must_use]
    pub fn has_session(&self) -> bool {
        let kept = self.sessions.lock();
        kept.tls12.is_some() || !kept.tls13.is_empty()
    }

    /// Forgets all sessions: the next handshake is a full one.
    pub fn forget(&self) {
        *self.sessions.lock() = Kept::default();
    }
}

/// The sessions of one server.
#[derive(Debug, Default)]
struct Sessions(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.lock().tls12 = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.lock().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.lock().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, session: Tls13ClientSessionValue) {
        let mut kept = self.lock();
        if kept.tls13.len() < MAX_SESSIONS {
            kept.tls13.push_back(session);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().tls13.pop_front()
    }
}
