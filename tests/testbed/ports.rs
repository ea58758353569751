//! Ports that no other test has, in this process or in a parallel one.
//!
//! They lie below the kernel's ephemeral range, so that no outgoing connection takes one between
//! its choice and the start of the server, and a locked file keeps other test processes off.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::paths;

const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// The address that all servers listen on: 127.0.0.1, or `TESTBED_ADDRESS` of the environment where
/// their clients are in containers.
///
/// # Panics
/// If that is no address.
#[must_use]
pub fn address() -> Ipv4Addr {
    static ADDRESS: OnceLock<Ipv4Addr> = OnceLock::new();
    *ADDRESS.get_or_init(|| match std::env::var("TESTBED_ADDRESS") {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("TESTBED_ADDRESS={text}: {e}")),
        Err(_) => Ipv4Addr::LOCALHOST,
    })
}

/// A port on [`address`] that is ours until this is dropped, for both TCP and UDP.
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
            let address = (address(), number);
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

    /// The port on [`address`].
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (address(), self.number).into()
    }
}
