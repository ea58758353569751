//! A link to a TCP server that can be cut, or made slow: what lies between a host and the engine that it shares
//! certificates on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::ports::Port;
use crate::rt;

/// The most bytes that are passed on at once.
const CHUNK: usize = 16 << 10;

/// Condition of a link.
#[derive(Clone, Copy, Debug, Default)]
struct Condition {
    /// Nothing is passed on. What was sent meanwhile comes late.
    is_cut: bool,
    /// Time after which each part is passed on.
    delay: Duration,
    /// The number of times that all connections were broken.
    breaks: usize,
}

/// A running link. It ends when it is dropped.
#[derive(Debug)]
pub struct TcpLink {
    port: Port,
    condition: watch::Sender<Condition>,
    accepting: JoinHandle<()>,
}

impl TcpLink {
    /// Starts a link to `server`.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(server: SocketAddr) -> Self {
        let port = Port::reserve();
        let listener = rt::block_on(TcpListener::bind(port.addr()));
        let listener = listener.unwrap_or_else(|e| panic!("cannot listen on {}: {e}", port.addr()));
        let (condition, told) = watch::channel(Condition::default());
        let accepting = rt::runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let breaks = told.borrow().breaks;
                let mut broken = told.clone();
                let connection = connect(client, server, told.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = connection => {}
                        _ = broken.wait_for(|condition| condition.breaks > breaks) => {}
                    }
                });
            }
        });
        Self { port, condition, accepting }
    }

    /// The address of its near end.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Passes nothing on: connections stay open, and are silent.
    pub fn cut(&self) {
        self.condition.send_modify(|condition| condition.is_cut = true);
    }

    /// Passes all on, each part after so long. What was sent while it was cut comes now.
    pub fn open(&self, delay: Duration) {
        self.condition
            .send_modify(|condition| (condition.is_cut, condition.delay) = (false, delay));
    }

    /// Closes all connections.
    pub fn break_all(&self) {
        self.condition.send_modify(|condition| condition.breaks += 1);
    }
}

impl Drop for TcpLink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(
    client: TcpStream,
    server: SocketAddr,
    mut condition: watch::Receiver<Condition>,
) -> io::Result<()> {
    pass(&mut condition).await?;
    let server = TcpStream::connect(server).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let back = pump(from_server, to_client, condition.clone());
    let there = pump(from_client, to_server, condition);
    // Whoever has closed one direction reads no answer any more.
    tokio::select! { pumped = back => pumped, pumped = there => pumped }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut condition: watch::Receiver<Condition>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        pass(&mut condition).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}

/// Waits as long as what is sent now takes.
async fn pass(condition: &mut watch::Receiver<Condition>) -> io::Result<()> {
    let open = condition.wait_for(|condition| !condition.is_cut).await.map(|open| open.delay);
    // When the link has ended, what was on its way is lost.
    let delay = open.map_err(|_| io::ErrorKind::BrokenPipe)?;
    sleep(delay).await;
    Ok(())
}
