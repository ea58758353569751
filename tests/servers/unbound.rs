//! Unbound: a recursive resolver with a cache.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::ports::Port;
use crate::process::{Process, START};

/// A running Unbound that knows one zone.
#[derive(Debug)]
pub struct Unbound {
    process: Process,
    port: Port,
}

impl Unbound {
    /// Starts a resolver that finds `zone` at the authoritative server `authority`.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(dir: &Path, zone: &str, authority: SocketAddr) -> Self {
        Self::launch(dir, zone, authority, "iterator", "")
    }

    /// Starts a resolver that has a key of `zone` with which nothing there is signed: it validates, and refuses
    /// all answers.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start_distrusting(dir: &Path, zone: &str, authority: SocketAddr) -> Self {
        let digest = "ab".repeat(32);
        let anchor = format!("  trust-anchor: \"{zone}. DS 12345 13 2 {digest}\"\n");
        Self::launch(dir, zone, authority, "validator iterator", &anchor)
    }

    fn launch(dir: &Path, zone: &str, authority: SocketAddr, modules: &str, more: &str) -> Self {
        fs::create_dir_all(dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        let port = Port::reserve();
        // Unbound knows by itself that "test" does not exist.
        let config = format!(
            "server:\n  directory: \"{dir}\"\n  interface: 127.0.0.1\n  port: {port}\n  \
             username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  \
             do-daemonize: no\n  do-ip6: no\n  log-queries: yes\n  module-config: \"{modules}\"\n  \
             do-not-query-localhost: no\n  local-zone: \"test.\" nodefault\n{more}\
             remote-control:\n  control-enable: no\n\
             stub-zone:\n  name: \"{zone}\"\n  stub-addr: {ip}@{authority_port}\n",
            dir = dir.display(),
            port = port.number(),
            ip = authority.ip(),
            authority_port = authority.port(),
        );
        let path = dir.join("unbound.conf");
        fs::write(&path, config).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        let mut command = Command::new("/usr/sbin/unbound");
        command.arg("-d").arg("-c").arg(&path);
        let mut process = Process::start(&command, &dir.join("unbound.log"));
        process.wait_for_port(port.addr(), START);
        Self { process, port }
    }

    /// Returns the address that it answers queries at, over UDP and TCP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns its log; every query is a line.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}
