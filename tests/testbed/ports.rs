//! Ports that no other test has, in this process or in a parallel one.
//!
//! They lie below the kernel's ephemeral range, so that no outgoing connection takes one between
//! its choice and the start of the server, and a locked file keeps other test processes off.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::paths;

const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port on 127.0.0.1 that is ours until this is dropped, for both TCP and UDP.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a port that nothing listens on.
    #[must_use]
    pub fn reserve() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let dir = paths::cache_dir().join("ports");
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        // Parallel processes start at different places, to collide seldom.
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let offset = (u32::from(start) * 37 + u32::from(step)) % u32::from(COUNT);
            let number = FIRST + offset as u16;
            let Some(lock) = paths::try_lock(&dir.join(number.to_string())) else { continue };
            let address = (Ipv4Addr::LOCALHOST, number);
            if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// The number of the port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
