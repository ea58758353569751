//! A TLS client that costs little: one context for all handshakes.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Limit for the answer of a server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes full handshakes; it never resumes a session.
pub(crate) struct Client {
    context: SslContext,
    verifies: bool,
}

/// The state of a server's certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Served {
    /// A certificate for the name from an authority that the client trusts.
    Trusted,
    /// Another one, or none.
    Untrusted,
    /// Nobody listens.
    Nothing,
}

impl Client {
    /// A client that trusts these authorities and no others.
    pub(crate) fn trusting(roots_pem: &str) -> Result<Self, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for root in X509::stack_from_pem(roots_pem.as_bytes())? {
            store.add_cert(root)?;
        }
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        context.set_cert_store(store.build());
        context.set_verify(SslVerifyMode::PEER);
        Ok(Self { context: context.build(), verifies: true })
    }

    /// A client that speaks one version and takes any certificate.
    pub(crate) fn of_version(version: SslVersion) -> Result<Self, ErrorStack> {
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        context.set_min_proto_version(Some(version))?;
        context.set_max_proto_version(Some(version))?;
        Ok(Self { context: context.build(), verifies: false })
    }

    /// Looks at what is served for a name.
    pub(crate) fn look(&self, address: SocketAddr, name: &str) -> Result<Served, ErrorStack> {
        let Ok(stream) = connect(address) else { return Ok(Served::Nothing) };
        let mut stream = self.stream(stream, name)?;
        Ok(if stream.connect().is_ok() { Served::Trusted } else { Served::Untrusted })
    }

    /// Makes one handshake and waits until the server has ended the connection: it has then done
    /// all of its work.
    pub(crate) fn handshake(&self, address: SocketAddr, name: &str) -> Result<(), String> {
        let failed = |what: &dyn Display| format!("{address}: {what}");
        let mut stream = self.open(address, name)?.stream;
        stream.shutdown().map_err(|e| failed(&e))?;
        // Its session tickets, and its own end of the connection.
        io::copy(&mut stream.get_mut().take(1 << 20), &mut io::sink()).map_err(|e| failed(&e))?;
        Ok(())
    }

    /// Makes a handshake and keeps the connection.
    pub(crate) fn open(&self, address: SocketAddr, name: &str) -> Result<Connection, String> {
        let stream = connect(address).map_err(|e| format!("{address}: {e}"))?;
        self.shake_hands(stream, name).map_err(|e| format!("{address}: {e}"))
    }

    /// The same from a port of this machine that only we use.
    pub(crate) fn open_from(
        &self,
        port: SocketAddr,
        address: SocketAddr,
        name: &str,
    ) -> Result<Connection, String> {
        let stream = connect_from(port, address).map_err(|e| format!("{address}: {e}"))?;
        self.shake_hands(stream, name).map_err(|e| format!("{address}: {e}"))
    }

    fn shake_hands(&self, stream: TcpStream, name: &str) -> Result<Connection, String> {
        let mut stream = self.stream(stream, name).map_err(|e| e.to_string())?;
        stream.connect().map_err(|e| e.to_string())?;
        let mut connection = Connection { stream, request: Vec::new(), answer: Vec::new() };
        connection.ask_for("/", name);
        Ok(connection)
    }

    fn stream(&self, stream: TcpStream, name: &str) -> Result<SslStream<TcpStream>, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_hostname(name)?;
        if self.verifies {
            ssl.param_mut().set_host(name)?;
        }
        SslStream::new(ssl, stream)
    }
}

/// A connection that can be asked again and again.
pub(crate) struct Connection {
    stream: SslStream<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    /// Has the next requests ask for this; `/` at first.
    pub(crate) fn ask_for(&mut self, target: &str, host: &str) {
        self.request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    }

    /// Makes a request; gives the body.
    pub(crate) fn request(&mut self) -> Result<&str, String> {
        self.stream.write_all(&self.request).map_err(|e| format!("cannot send a request: {e}"))?;
        self.answer.clear();
        let mut part = [0; 4096];
        loop {
            let length = self.stream.read(&mut part).map_err(|e| format!("no answer: {e}"))?;
            if length == 0 {
                return Err("the server closes the connection".to_owned());
            }
            self.answer.extend_from_slice(&part[..length]);
            if self.is_complete() {
                break;
            }
        }
        let text = str::from_utf8(&self.answer).map_err(|e| format!("unreadable answer: {e}"))?;
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body),
            _ => Err(format!("the answer is {text}")),
        }
    }

    /// The server's certificate in DER.
    pub(crate) fn certificate(&self) -> Result<Vec<u8>, String> {
        let certificate = self.stream.ssl().peer_certificate().ok_or("no certificate was sent")?;
        certificate.to_der().map_err(|e| format!("an unreadable certificate: {e}"))
    }

    fn is_complete(&self) -> bool {
        let Ok(text) = str::from_utf8(&self.answer) else { return true };
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let mut lines = head.lines().filter_map(|line| line.strip_prefix("Content-Length: "));
        lines
            .next()
            .and_then(|length| length.parse().ok())
            .is_none_or(|length| body.len() >= length)
    }
}

/// Connects to a server that is not in a hurry.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    limited(TcpStream::connect_timeout(&address, TIMEOUT)?)
}

/// Connects from a port of our own, which is free again as soon as the connection ends: that is a
/// reset, after which nobody waits for packets that are late.
fn connect_from(port: SocketAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    rustix::net::bind(&socket, &port)?;
    rustix::net::connect(&socket, &address)?;
    limited(socket.into())
}

fn limited(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}
