//! A connection with one request.

use std::io::{Read, Write};

use crate::clients::tls::{PeerChain, TlsError};

/// Result of one connection with one request.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The certificates; those of the first connection if the session was resumed.
    pub peer: PeerChain,
    /// True if a session was resumed.
    pub resumed: bool,
    /// The answer.
    pub answer: Answer,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: String,
}

/// Asks for `/` and reads until the server closes: whatever it sends behind the handshake, such as
/// sessions, has come by then.
pub(crate) fn ask(stream: &mut (impl Read + Write), host: &str) -> Result<Answer, TlsError> {
    let failed = |error: std::io::Error| TlsError::Request(error.to_string());
    let request = format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(failed)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| TlsError::Request(format!("an answer of \"{text}\"")))?;
    Ok(Answer { status, body: body.to_owned() })
}
