//! A proxy in front of a DNS server that can be told to misbehave, over UDP and TCP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::ports::Port;
use crate::process::wait_until;
use crate::rt;

/// A header, without what follows it.
const HEADER: usize = 12;

/// The largest message over UDP.
const MAX_UDP: usize = 4096;

/// Transport of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// Which questions are meant.
#[derive(Clone, Debug)]
pub struct Questions {
    name: String,
    kinds: Vec<u16>,
    transport: Option<Transport>,
}

impl Questions {
    /// For the name servers of a zone.
    #[must_use]
    pub fn name_servers(zone: &str) -> Self {
        Self::new(zone, &[2])
    }

    /// For the addresses of a name, IPv4 and IPv6.
    #[must_use]
    pub fn addresses(name: &str) -> Self {
        Self::new(name, &[1, 28])
    }

    /// For the TXT records of a name.
    #[must_use]
    pub fn txt(name: &str) -> Self {
        Self::new(name, &[16])
    }

    /// For the CAA records of a name.
    #[must_use]
    pub fn caa(name: &str) -> Self {
        Self::new(name, &[257])
    }

    /// For the SOA record of a zone.
    #[must_use]
    pub fn soa(zone: &str) -> Self {
        Self::new(zone, &[6])
    }

    /// Updates of a zone.
    #[must_use]
    pub fn updates(zone: &str) -> Self {
        Self::new(zone, &[6])
    }

    fn new(name: &str, kinds: &[u16]) -> Self {
        Self { name: name.to_ascii_lowercase(), kinds: kinds.to_vec(), transport: None }
    }

    /// Only those that come this way.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    fn fit(&self, question: &Question) -> bool {
        self.name == question.name
            && self.kinds.contains(&question.kind)
            && self.transport.is_none_or(|transport| transport == question.transport)
    }
}

/// Fate of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsAction {
    /// It is never answered.
    Silence,
    /// It is answered with SERVFAIL.
    ServerFailure,
    /// It is answered with what is no message.
    Garbage,
    /// Over UDP, the answer is said not to fit.
    Truncate,
    /// Over TCP, the connection is closed instead of an answer.
    Close,
    /// It is answered, with its name in lower case.
    LowerCase,
}

#[derive(Clone, Debug)]
struct Question {
    name: String,
    kind: u16,
    transport: Transport,
}

#[derive(Default)]
struct State {
    faults: Vec<(Questions, DnsAction)>,
    is_router: bool,
    log: Vec<Question>,
}

/// A running proxy. It ends when it is dropped.
pub struct DnsProxy {
    addr: SocketAddr,
    /// Its own while it runs, unless the address was given.
    port: Option<Port>,
    state: Arc<Mutex<State>>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for DnsProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DnsProxy({})", self.addr())
    }
}

impl DnsProxy {
    /// Starts a proxy in front of the server at `upstream`.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(upstream: SocketAddr) -> Self {
        let port = Port::reserve();
        let mut proxy = Self::start_at(port.addr(), upstream);
        proxy.port = Some(port);
        proxy
    }

    /// Starts one at an address, such as another of the machine's with the port of `upstream`.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start_at(addr: SocketAddr, upstream: SocketAddr) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let sockets = rt::block_on(async {
            Ok::<_, std::io::Error>((UdpSocket::bind(addr).await?, TcpListener::bind(addr).await?))
        });
        let (udp, tcp) = sockets.unwrap_or_else(|e| panic!("cannot listen on {addr}: {e}"));
        let tasks = vec![
            rt::runtime().spawn(over_udp(Arc::new(udp), upstream, state.clone())),
            rt::runtime().spawn(over_tcp(tcp, upstream, state.clone())),
        ];
        Self { addr, port: None, state, tasks }
    }

    /// From now on answers come as from the resolver of a router that has all questions to port 53
    /// for itself: with what they have, but without authority.
    pub fn answer_as_a_router(&self) {
        lock(&self.state).is_router = true;
    }

    /// Returns the address that it listens at.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds a fault that strikes until [`clear`](Self::clear). Of several that fit a question, the
    /// one added first strikes.
    pub fn inject(&self, questions: Questions, action: DnsAction) {
        lock(&self.state).faults.push((questions, action));
    }

    /// Takes the faults away that strike questions for a name.
    pub fn clear(&self, name: &str) {
        lock(&self.state).faults.retain(|(questions, _)| questions.name != name);
    }

    /// Counts such questions.
    #[must_use]
    pub fn count(&self, questions: &Questions) -> usize {
        lock(&self.state).log.iter().filter(|question| questions.fit(question)).count()
    }

    /// Waits for such a question.
    ///
    /// # Panics
    /// After `timeout`.
    pub fn wait_for(&self, questions: &Questions, timeout: Duration) {
        let asked = wait_until(timeout, || (self.count(questions) > 0).then_some(()));
        assert!(asked.is_some(), "no question of {questions:?} within {timeout:?}");
    }
}

impl Drop for DnsProxy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Notes a message and says what is to happen to it.
fn arrive(state: &Mutex<State>, message: &[u8], transport: Transport) -> Option<DnsAction> {
    let (name, kind) = question(message)?;
    let question = Question { name, kind, transport };
    let mut state = lock(state);
    let action = state.faults.iter().find(|(questions, _)| questions.fit(&question));
    let action = action.map(|(_, action)| *action);
    state.log.push(question);
    action
}

async fn over_udp(socket: Arc<UdpSocket>, upstream: SocketAddr, state: Arc<Mutex<State>>) {
    let mut buffer = vec![0; MAX_UDP];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let message = buffer.get(..length).unwrap_or_default().to_vec();
        let action = arrive(&state, &message, Transport::Udp);
        let (socket, state) = (socket.clone(), state.clone());
        rt::runtime().spawn(async move {
            let answer = match action {
                None => {
                    let answer = forward_udp(upstream, &message).await.ok();
                    answer.map(|answer| disguised(&state, answer))
                }
                Some(DnsAction::LowerCase) => {
                    let lower = in_lower_case(&message);
                    forward_udp(upstream, &lower).await.ok()
                }
                Some(DnsAction::Silence | DnsAction::Close) => None,
                Some(action) => Some(faulty(action, &message)),
            };
            if let Some(answer) = answer {
                let _ = socket.send_to(&answer, client).await;
            }
        });
    }
}

async fn forward_udp(upstream: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
    socket.connect(upstream).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; MAX_UDP];
    let length = socket.recv(&mut buffer).await?;
    buffer.truncate(length);
    Ok(buffer)
}

async fn over_tcp(listener: TcpListener, upstream: SocketAddr, state: Arc<Mutex<State>>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let state = state.clone();
        // An error is a client that went away.
        rt::runtime().spawn(async move { connection(client, upstream, &state).await });
    }
}

async fn connection(
    mut client: TcpStream,
    upstream: SocketAddr,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    loop {
        let message = receive(&mut client).await?;
        let answer = match arrive(state, &message, Transport::Tcp) {
            None => {
                let mut server = TcpStream::connect(upstream).await?;
                send(&mut server, &message).await?;
                disguised(state, receive(&mut server).await?)
            }
            Some(DnsAction::Close) => return Ok(()),
            Some(DnsAction::LowerCase) => {
                let mut server = TcpStream::connect(upstream).await?;
                send(&mut server, &in_lower_case(&message)).await?;
                receive(&mut server).await?
            }
            Some(DnsAction::Silence) => std::future::pending().await,
            Some(action) => faulty(action, &message),
        };
        send(&mut client, &answer).await?;
    }
}

async fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// A question as some name servers repeat it.
fn in_lower_case(message: &[u8]) -> Vec<u8> {
    // A name has two octets more than its text, and the lengths of labels are no letters.
    let end = question(message).map_or(HEADER, |(name, _)| HEADER + name.len() + 2);
    let mut lower = message.to_vec();
    lower.iter_mut().take(end).skip(HEADER).for_each(|octet| octet.make_ascii_lowercase());
    lower
}

/// An answer as who stands in between gives it.
fn disguised(state: &Mutex<State>, mut answer: Vec<u8>) -> Vec<u8> {
    if lock(state).is_router
        && let [_, _, flags, code, ..] = answer.as_mut_slice()
    {
        // Not authoritative, but recursive (RFC 1035 section 4.1.1).
        *flags &= !0x04;
        *code |= 0x80;
    }
    answer
}

/// An answer that the server has not given: the question alone, without what came with it.
fn faulty(action: DnsAction, message: &[u8]) -> Vec<u8> {
    // A name has two octets more than its text, and type and class follow.
    let end = question(message).map_or(HEADER, |(name, _)| HEADER + name.len() + 6);
    let mut answer = message.get(..end).unwrap_or(message).to_vec();
    if let [_, _, flags, code, _, _, counts @ ..] = answer.as_mut_slice() {
        // A response (RFC 1035 section 4.1.1).
        *flags |= 0x80;
        match action {
            DnsAction::ServerFailure => *code = (*code & 0xF0) | 2,
            DnsAction::Truncate => *flags |= 0x02 | 0x04,
            _ => return b"this is no message".to_vec(),
        }
        counts.iter_mut().take(6).for_each(|count| *count = 0);
    }
    answer
}

/// Name and type of the first question.
fn question(message: &[u8]) -> Option<(String, u16)> {
    let mut rest = message.get(HEADER..)?;
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            let (kind, _) = after.split_first_chunk()?;
            return Some((labels.join("."), u16::from_be_bytes(*kind)));
        }
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = after;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_questions_and_makes_faulty_answers() {
        let mut message = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(b"\x01A\x07Example\x00\x00\x10\x00\x01");
        assert_eq!(question(&message), Some(("a.example".to_owned(), 16)));
        assert_eq!(question(&message[..16]), None);
        assert_eq!(faulty(DnsAction::ServerFailure, &message)[..4], [1, 2, 0x81, 2]);
        assert_eq!(faulty(DnsAction::Truncate, &message)[..4], [1, 2, 0x87, 0]);
        let with_more = [&message[..], b"more"].concat();
        assert_eq!(faulty(DnsAction::Truncate, &with_more)[4..], message[4..]);
        assert_ne!(faulty(DnsAction::Garbage, &message)[..2], [1, 2]);
    }
}
