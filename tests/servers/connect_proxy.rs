//! An HTTP proxy that knows one server: whoever asks it for a tunnel to any host on port 443 gets one to that server.
//! So clients that know the address of an API by heart reach its stand-in, if they trust its authority.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::ports::Port;
use crate::rt;

/// The longest head of a request that is read.
const MAX_HEAD: usize = 8192;

/// A running proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct ConnectProxy {
    port: Port,
    accepting: JoinHandle<()>,
}

impl ConnectProxy {
    /// Starts a proxy whose tunnels end at `server`.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(server: SocketAddr) -> Self {
        let port = Port::reserve();
        let listener = rt::block_on(TcpListener::bind(port.addr()));
        let listener = listener.unwrap_or_else(|e| panic!("cannot listen on {}: {e}", port.addr()));
        let accepting = rt::runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, server));
            }
        });
        Self { port, accepting }
    }

    /// The URL for `HTTPS_PROXY`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.port.addr())
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn tunnel(mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        head.push(client.read_u8().await?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if !line.starts_with(b"CONNECT ") || !line.ends_with(b":443 HTTP/1.1") {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    }
    let mut server = TcpStream::connect(server).await?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}
