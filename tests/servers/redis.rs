//! Redis, and Sentinels that watch one.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::authority::Authority;
use crate::ports::Port;
use crate::process::{Process, START, run, wait_until};

const SERVER: &str = "/usr/bin/redis-server";

/// A running Redis, or a Sentinel.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    config: PathBuf,
    log: PathBuf,
    port: Port,
    authority: Option<Authority>,
    is_sentinel: bool,
}

impl Redis {
    /// Starts a server in a directory, with these lines of its configuration. It keeps on its disk what it has
    /// confirmed.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(dir: &Path, lines: &str) -> Self {
        Self::start_with(dir, lines, None, false)
    }

    /// Starts a server that is reached by TLS only, and that asks its clients for a certificate.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start_with_tls(dir: &Path, lines: &str, authority: &Authority) -> Self {
        Self::start_with(dir, lines, Some(authority), false)
    }

    /// Starts a replica of this server.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn replica(&self, dir: &Path) -> Self {
        let replica = Self::start(dir, &format!("replicaof {}\n", spaced(self.addr())));
        let synced = || replica.control(&["INFO", "replication"]).contains("master_link_status:up");
        assert!(
            wait_until(START, || synced().then_some(())).is_some(),
            "the replica does not sync"
        );
        replica
    }

    /// Starts a Sentinel that knows this server as `main`, and decides alone that it is down, after half a second.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn sentinel(&self, dir: &Path) -> Self {
        let lines = format!(
            "sentinel monitor main {} 1\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000\n",
            spaced(self.addr())
        );
        let sentinel = Self::start_with(dir, &lines, None, true);
        let knows = || sentinel.control(&["SENTINEL", "replicas", "main"]).contains("name");
        assert!(wait_until(START, || knows().then_some(())).is_some(), "no replica is found");
        sentinel
    }

    fn start_with(
        dir: &Path,
        lines: &str,
        authority: Option<&Authority>,
        is_sentinel: bool,
    ) -> Self {
        fs::create_dir_all(dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        let port = Port::reserve();
        let number = port.number();
        let listen = match authority {
            None => format!("port {number}\n"),
            Some(authority) => format!(
                "port 0\ntls-port {number}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n",
                authority.certificate_file().display(),
                authority.key_file().display(),
                authority.ca_file().display(),
            ),
        };
        let own = if is_sentinel { "" } else { "appendonly yes\nrepl-diskless-sync-delay 0\n" };
        let text =
            format!("bind {}\ndir {}\n{listen}{own}{lines}", port.addr().ip(), dir.display());
        let (config, log) = (dir.join("redis.conf"), dir.join("log"));
        fs::write(&config, text)
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", config.display()));
        let process = Process::start(&command(&config, is_sentinel), &log);
        let authority = authority.cloned();
        let mut redis = Self { process, config, log, port, authority, is_sentinel };
        redis.process.wait_for_port(redis.addr(), START);
        redis
    }

    /// The address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.authority.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{}", self.addr())
    }

    /// Stops it where it is.
    pub fn pause(&mut self) {
        self.process.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self) {
        self.process.resume();
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Starts it again, with what it had on its disk.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again(&mut self) {
        self.process = Process::start(&command(&self.config, self.is_sentinel), &self.log);
        self.process.wait_for_port(self.port.addr(), START);
        // It answers before it has read its disk.
        let has_loaded = || (!self.control(&["ping"]).contains("LOADING")).then_some(());
        assert!(wait_until(START, has_loaded).is_some(), "it is loading");
    }

    /// Has `redis-cli` send a command.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn control(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("/usr/bin/redis-cli");
        let addr = self.addr();
        command.args(["-h", &addr.ip().to_string(), "-p", &addr.port().to_string()]);
        if let Some(authority) = &self.authority {
            command.arg("--tls").arg("--cacert").arg(authority.ca_file());
            command.arg("--cert").arg(authority.certificate_file());
            command.arg("--key").arg(authority.key_file());
        }
        run(command.args(arguments)).unwrap_or_else(|e| panic!("{e}"))
    }
}

fn command(config: &Path, is_sentinel: bool) -> Command {
    let mut command = Command::new(SERVER);
    command.arg(config);
    if is_sentinel {
        command.arg("--sentinel");
    }
    command
}

fn spaced(addr: SocketAddr) -> String {
    format!("{} {}", addr.ip(), addr.port())
}
