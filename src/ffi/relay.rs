//! The socket between the manager and the service. What is sent over it is decided at its ends, in `host`,
//! `service_process` and `helper`.
//!
//! One line of the log is one message: the level in its first byte, then the text. The manager writes it
//! with nginx's own code, so that it goes where nginx's lines go, also after logs were rotated. The other
//! way goes one byte, which lets the service begin. At the end of the stream each end knows that the other
//! process has ended, or that the service is to.

use acme_dns_core::level::Level;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The longest message: nginx cuts a line at 2,047 octets.
const MAX_MESSAGE: usize = 4096;

const LEVELS: [Level; 5] = [Level::Error, Level::Warn, Level::Notice, Level::Info, Level::Debug];

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Relay(OwnedFd);

/// Message from the other end.
pub(super) enum RelayMessage {
    Line(Level, String),
    /// Nothing is there yet.
    Nothing,
    /// The other end is closed.
    End,
}

impl Relay {
    /// Makes both ends: the manager's and the service's.
    ///
    /// # Errors
    /// The system gives no sockets.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let mut ends = [-1; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: two descriptors are written there.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's, as is the next.
        let end = |descriptor| Self(unsafe { OwnedFd::from_raw_fd(descriptor) });
        let [managers, services] = ends;
        Ok((end(managers), end(services)))
    }

    pub(super) fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Sends a line; waits while the manager is busy. Without a manager nobody reads it.
    pub(super) fn send(&self, level: Level, line: &str) {
        let place = LEVELS.iter().position(|known| *known == level).unwrap_or_default();
        let mut message = vec![u8::try_from(place).unwrap_or_default()];
        message.extend(line.bytes().take(MAX_MESSAGE - 1));
        loop {
            // SAFETY: the message is read from there.
            let sent = unsafe {
                libc::send(
                    self.descriptor(),
                    message.as_ptr().cast(),
                    message.len(),
                    libc::MSG_NOSIGNAL,
                )
            };
            if sent >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return;
            }
        }
    }

    /// Lets the service begin.
    pub(super) fn send_go(&self) {
        self.send(Level::Error, "");
    }

    /// Tells the other end that nothing more is sent.
    pub(super) fn end(&self) {
        // SAFETY: a plain system call.
        unsafe { libc::shutdown(self.descriptor(), libc::SHUT_WR) };
    }

    /// Leaves the descriptor to somebody else, who closes it.
    pub(super) fn give_away(self) {
        let _closed_elsewhere = self.0.into_raw_fd();
    }

    /// Receives what is there.
    pub(super) fn receive(&self) -> RelayMessage {
        let mut message = [0_u8; MAX_MESSAGE];
        // SAFETY: there is room for that many bytes.
        let length = unsafe {
            libc::recv(
                self.descriptor(),
                message.as_mut_ptr().cast(),
                message.len(),
                libc::MSG_DONTWAIT,
            )
        };
        let Ok(length) = usize::try_from(length) else {
            return match io::Error::last_os_error().kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => RelayMessage::Nothing,
                _ => RelayMessage::End,
            };
        };
        match message.get(..length) {
            Some([level, text @ ..]) => match LEVELS.get(usize::from(*level)) {
                Some(level) => {
                    RelayMessage::Line(*level, String::from_utf8_lossy(text).into_owned())
                }
                // What a library has written to standard error, which is this socket.
                None => RelayMessage::Line(
                    Level::Error,
                    format!(
                        "acme_dns: {}{}",
                        char::from(*level),
                        String::from_utf8_lossy(text).trim_end()
                    ),
                ),
            },
            _ => RelayMessage::End,
        }
    }

    /// Waits until there is something to receive, here or at another descriptor; tells whether there is.
    pub(super) fn wait(&self, other: Option<i32>, limit: Option<Duration>) -> bool {
        let begun = Instant::now();
        loop {
            let mut watched = [self.descriptor(), other.unwrap_or(-1)].map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            });
            let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
            // Rounded up: no busy loop in the last millisecond.
            let left =
                left.map_or(-1, |left| i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX));
            // SAFETY: there are two.
            match unsafe { libc::poll(watched.as_mut_ptr(), 2, left) } {
                0 => return false,
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => return true,
            }
        }
    }
}
