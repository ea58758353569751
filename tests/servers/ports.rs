//! Ports that no other test has, in this process or in a parallel one.
//!
//! They lie below the kernel's ephemeral range, so that no outgoing connection takes one between
//! its choice and the start of the server, and a locked file keeps other test processes off. Which
//! ones other programs have is read from the kernel's lists: a socket that tries one would also be
//! in every process that another thread starts meanwhile, and keep the port until that runs its
//! program.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
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
        // A port is reserved once in a process, so that what it starts itself does not matter.
        static TAKEN: OnceLock<HashSet<u16>> = OnceLock::new();
        let dir = paths::cache_dir().join("ports");
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        // Parallel processes start at different places, to collide seldom.
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let offset = (u32::from(start) * 37 + u32::from(step)) % u32::from(COUNT);
            let number = FIRST + offset as u16;
            let Some(lock) = paths::try_lock(&dir.join(number.to_string())) else { continue };
            if !TAKEN.get_or_init(in_use).contains(&number) {
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

/// The ports that sockets of this network namespace have, whatever their address: proc(5),
/// `/proc/net/tcp`. Takes the kernel some milliseconds.
fn in_use() -> HashSet<u16> {
    let mut ports = HashSet::new();
    for list in ["tcp", "udp", "tcp6", "udp6"] {
        let path = format!("/proc/self/net/{list}");
        let sockets = match fs::read_to_string(&path) {
            Ok(sockets) => sockets,
            // A kernel without IPv6.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => panic!("cannot read {path}: {e}"),
        };
        let locals = sockets.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        let numbers = locals.filter_map(|local| local.rsplit(':').next());
        ports.extend(numbers.filter_map(|number| u16::from_str_radix(number, 16).ok()));
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_reserved_port_is_free_while_other_threads_start_processes() {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        Command::new("true").status().expect("true runs");
                    }
                });
            }
            let failed: Vec<_> = (0..2000)
                .map(|_| Port::reserve())
                .filter_map(|port| TcpListener::bind(port.addr()).err())
                .collect();
            done.store(true, Ordering::Relaxed);
            assert!(failed.is_empty(), "{failed:?}");
        });
    }

    #[test]
    fn a_port_that_a_socket_has_is_found() {
        let free = Port::reserve();
        assert!(!in_use().contains(&free.number()));
        let _server = TcpListener::bind(free.addr()).expect("the port is free");
        assert!(in_use().contains(&free.number()));
    }
}
