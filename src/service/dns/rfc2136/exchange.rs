//! One message to one server and the answer to it, over UDP or TCP.
//!
//! The same octets are sent again: an update that is done twice has done the same, and an answer to the first
//! one that comes late is still one. A signature that is not the key's may be forged, so over UDP such an
//! answer is passed over.

use super::tsig::{ReadAnswer, Signature, SignedMessage, TsigKey};
use crate::resolver::query::connect_udp;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Longest message over UDP without EDNS (RFC 1035 section 4.2.1).
const UDP_MESSAGE: usize = 512;

/// Room for an answer over UDP.
const UDP_ANSWER: usize = 4096;

/// Waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The wait after each time that a message is sent over UDP.
    pub udp: [Duration; 3],
    /// The longest time over TCP, with the connection.
    pub tcp: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { udp: [1, 2, 4].map(Duration::from_secs), tcp: Duration::from_secs(10) }
    }
}

/// A message that is sent.
pub(super) struct Request<'a> {
    pub(super) message: &'a Message,
    pub(super) signed: &'a SignedMessage,
    pub(super) key: &'a TsigKey,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) message: Message,
    pub(super) signature: Signature,
    /// Set if the message may have arrived more than once.
    pub(super) is_repeated: bool,
}

/// An exchange without an answer.
#[derive(Debug, Error)]
pub(super) enum ExchangeError {
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The answer over TCP is one to another request.
    #[error("the answer does not belong to the request")]
    Malformed,
    /// The answer over TCP is signed with another key.
    #[error("the answer has a wrong signature")]
    WrongSignature,
    #[error("the answer does not fit into UDP, over TCP: {0}")]
    Truncated(Box<ExchangeError>),
}

impl Request<'_> {
    /// Sends it to one server: over UDP, and over TCP if it or the answer is too long for that, if there is
    /// no answer, or if `tcp` is set.
    pub(super) async fn send(
        &self,
        server: SocketAddr,
        tcp: bool,
        patience: &Patience,
    ) -> Result<Answer, ExchangeError> {
        if tcp || self.signed.bytes.len() > UDP_MESSAGE {
            return self.over_tcp(server, patience).await;
        }
        let over_udp = self.over_udp(server, patience).await;
        let is_truncated = match over_udp {
            Ok(answer) if !answer.message.metadata.truncation => return Ok(answer),
            Ok(_) => true,
            Err(_) => false,
        };
        match self.over_tcp(server, patience).await {
            Ok(answer) => Ok(Answer { is_repeated: true, ..answer }),
            Err(error) if is_truncated => Err(ExchangeError::Truncated(Box::new(error))),
            Err(error) => Err(error),
        }
    }

    async fn over_udp(
        &self,
        server: SocketAddr,
        patience: &Patience,
    ) -> Result<Answer, ExchangeError> {
        let socket = connect_udp(server).await?;
        for (number, wait) in patience.udp.into_iter().enumerate() {
            socket.send(&self.signed.bytes).await?;
            if let Ok(answer) = timeout(wait, self.receive(&socket)).await {
                return answer.map(|answer| Answer { is_repeated: number > 0, ..answer });
            }
        }
        Err(ExchangeError::Silent(patience.udp.iter().sum()))
    }

    /// Waits for the answer. Whatever else arrives may be forged and is passed over.
    async fn receive(&self, socket: &UdpSocket) -> Result<Answer, ExchangeError> {
        let mut buffer = vec![0; UDP_ANSWER];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Ok(answer) = self.read(buffer.get(..length).unwrap_or_default()) {
                return Ok(answer);
            }
        }
    }

    async fn over_tcp(
        &self,
        server: SocketAddr,
        patience: &Patience,
    ) -> Result<Answer, ExchangeError> {
        let exchange = async {
            let bytes = &self.signed.bytes;
            let length = u16::try_from(bytes.len()).map_err(|_| ExchangeError::Malformed)?;
            let mut stream = TcpStream::connect(server).await?;
            // One write: some servers expect length and message in one segment (RFC 7766 section 8).
            stream.write_all(&[&length.to_be_bytes(), &bytes[..]].concat()).await?;
            let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut buffer).await?;
            self.read(&buffer)
        };
        timeout(patience.tcp, exchange).await.unwrap_or(Err(ExchangeError::Silent(patience.tcp)))
    }

    /// Reads an answer to this request.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<Answer, ExchangeError> {
        let ReadAnswer { bytes, signature } =
            self.key.verify(bytes, &self.signed.mac).map_err(|_| ExchangeError::Malformed)?;
        if signature == Signature::Wrong {
            return Err(ExchangeError::WrongSignature);
        }
        let message = Message::from_vec(&bytes).map_err(|_| ExchangeError::Malformed)?;
        let (asked, answered) = (&self.message.metadata, &message.metadata);
        let is_answer = answered.message_type == MessageType::Response
            && (answered.id, answered.op_code) == (asked.id, asked.op_code);
        // Servers may leave the section out in the answer to an update, and in a refusal.
        let may_be_bare =
            asked.op_code == OpCode::Update || answered.response_code != ResponseCode::NoError;
        let is_same =
            message.queries == self.message.queries || (message.queries.is_empty() && may_be_bare);
        match is_answer && is_same {
            true => Ok(Answer { message, signature, is_repeated: false }),
            false => Err(ExchangeError::Malformed),
        }
    }
}
