//! A TLS client that costs little: one context for all handshakes.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

/// How long a server may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes full handshakes; it never resumes a session.
pub(crate) struct Client {
    context: SslContext,
    verifies: bool,
}

/// What a server has.
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

    /// What is served for a name.
    pub(crate) fn look(&self, address: SocketAddr, name: &str) -> Result<Served, ErrorStack> {
        let Ok(stream) = connect(address) else { return Ok(Served::Nothing) };
        let mut stream = self.stream(stream, name)?;
        Ok(if stream.connect().is_ok() { Served::Trusted } else { Served::Untrusted })
    }

    /// Makes one handshake and waits until the server has ended the connection: it has then done
    /// all of its work.
    pub(crate) fn handshake(&self, address: SocketAddr, name: &str) -> Result<(), String> {
        let failed = |what: &dyn std::fmt::Display| format!("{address}: {what}");
        let stream = connect(address).map_err(|e| failed(&e))?;
        let mut stream = self.stream(stream, name).map_err(|e| failed(&e))?;
        stream.connect().map_err(|e| failed(&e))?;
        stream.shutdown().map_err(|e| failed(&e))?;
        // Its session tickets, and its own end of the connection.
        io::copy(&mut stream.get_mut().take(1 << 20), &mut io::sink()).map_err(|e| failed(&e))?;
        Ok(())
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

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}
