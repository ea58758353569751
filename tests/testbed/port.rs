//! Ports for the servers of one testbed, so that many run at a time.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

/// Below the range that the kernel takes the local ports of connections from (32768 and up): a port
/// found free here is not taken by somebody's outgoing connection before the server binds it.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// A port of 127.0.0.1 that is free for TCP and UDP. Never the same one twice in a process.
///
/// # Errors
/// When all are taken.
pub fn free() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries run beside each other: each starts at a place of its own.
    let start = process::id().wrapping_mul(997) % u32::from(COUNT);
    (0..COUNT)
        .map(|_| {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            FIRST + ((start + u32::from(step)) % u32::from(COUNT)) as u16
        })
        .find(|port| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
                && UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
        })
        .context("no free port on 127.0.0.1")
}
