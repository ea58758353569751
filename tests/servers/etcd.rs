//! etcd, of one member or of several.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::authority::Authority;
use crate::ports::Port;
use crate::process::{Process, START, run, wait_until};

/// The user that is made by [`Etcd::enable_authentication`], and the password.
pub const USER: (&str, &str) = ("nginx", "p4ssw0rd of nginx");

/// A key of nobody, and the bytes that are put there at once.
const FILLER: &str = "filler";
const FILLING: usize = 60_000;

/// Options of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct EtcdOptions<'a> {
    /// The number of members.
    pub members: usize,
    /// The authority of the members' certificates; without TLS if absent.
    pub authority: Option<&'a Authority>,
    /// Set if clients need a certificate of that authority.
    pub asks_certificate: bool,
    /// The size of its data at which it is full, in bytes.
    pub quota: Option<u32>,
}

impl Default for EtcdOptions<'_> {
    fn default() -> Self {
        Self { members: 1, authority: None, asks_certificate: false, quota: None }
    }
}

/// A running etcd.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    authority: Option<Authority>,
}

#[derive(Debug)]
struct Member {
    process: Process,
    command: Command,
    log: PathBuf,
    client: Port,
    _peer: Port,
}

impl Etcd {
    /// Starts a cluster in a directory.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(dir: &Path, options: EtcdOptions<'_>) -> Self {
        let ports: Vec<(Port, Port)> =
            (0..options.members).map(|_| (Port::reserve(), Port::reserve())).collect();
        let peers: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(number, (_, peer))| format!("m{number}=http://{}", peer.addr()))
            .collect();
        let peers = peers.join(",");
        let mut members = Vec::new();
        for (number, (client, peer)) in ports.into_iter().enumerate() {
            let dir = dir.join(format!("m{number}"));
            fs::create_dir_all(&dir)
                .unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
            let command = member(&dir, number, &peers, client.addr(), peer.addr(), options);
            let log = dir.join("log");
            let process = Process::start(&command, &log);
            members.push(Member { process, command, log, client, _peer: peer });
        }
        let mut etcd = Self { members, authority: options.authority.cloned() };
        (0..options.members).for_each(|number| etcd.wait(number));
        etcd
    }

    /// The URLs of all members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        self.members.iter().map(|member| format!("{scheme}://{}", member.client.addr())).collect()
    }

    /// Stops a member where it is: its connections are accepted and not answered.
    pub fn pause(&mut self, number: usize) {
        self.members[number].process.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self, number: usize) {
        self.members[number].process.resume();
    }

    /// Kills a member.
    pub fn stop(&mut self, number: usize) {
        self.members[number].process.stop();
    }

    /// Starts a member that was killed, with what it had on its disk.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again(&mut self, number: usize) {
        let member = &mut self.members[number];
        member.process = Process::start(&member.command, &member.log);
        self.wait(number);
    }

    fn wait(&mut self, number: usize) {
        let (endpoints, authority) = (self.endpoints(), self.authority.clone());
        let process = &mut self.members[number].process;
        let healthy = wait_until(START, || {
            let mut command = control(&endpoints[number], authority.as_ref());
            command.args(["get", "health"]);
            let answered = match run(&mut command) {
                Ok(_) => true,
                // Whoever asks for a name is there.
                Err(error) => error.contains("user name is empty"),
            };
            (answered || !process.is_running()).then_some(answered)
        });
        assert_eq!(healthy, Some(true), "etcd does not come up:\n{}", process.log());
    }

    /// Has `etcdctl` ask the first member that runs.
    ///
    /// # Panics
    /// If it fails.
    pub fn control(&mut self, arguments: &[&str]) -> String {
        self.try_control(arguments).unwrap_or_else(|e| panic!("{e}"))
    }

    fn try_control(&mut self, arguments: &[&str]) -> Result<String, String> {
        let endpoints = self.endpoints();
        let running = self.members.iter_mut().position(|member| member.process.is_running());
        let mut command = control(&endpoints[running.unwrap_or_default()], self.authority.as_ref());
        // What it has by itself is too little where the machine is busy.
        command.args(["--dial-timeout", "30s", "--command-timeout", "60s"]);
        run(command.args(arguments))
    }

    /// Fills it up to its [`quota`](EtcdOptions::quota): it takes no more until [`make_room`](Self::make_room).
    ///
    /// # Panics
    /// If it fails in another way.
    pub fn fill(&mut self) {
        let value = "x".repeat(FILLING);
        loop {
            match self.try_control(&["put", FILLER, &value]) {
                Ok(_) => {}
                Err(error) if error.contains("space exceeded") => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Does what the log asks for where etcd is full.
    ///
    /// # Panics
    /// If etcd refuses.
    pub fn make_room(&mut self) {
        self.control(&["del", FILLER]);
        self.compact();
        self.control(&["defrag"]);
        self.control(&["alarm", "disarm"]);
    }

    /// Has it forget all changes before the last.
    ///
    /// # Panics
    /// If etcd refuses.
    pub fn compact(&mut self) {
        let found = self.control(&["get", FILLER, "--write-out=json"]);
        let digits = found.split("\"revision\":").nth(1).unwrap_or_default();
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        self.control(&["compact", &digits[..end]]);
    }

    /// Makes a user who may change what is below a prefix, [`USER`], and asks all for a password from now on.
    ///
    /// # Panics
    /// If etcd refuses.
    pub fn enable_authentication(&mut self, prefix: &str) {
        let (name, password) = USER;
        for arguments in [
            &["user", "add", "root:root"][..],
            &["user", "grant-role", "root", "root"],
            &["role", "add", name],
            &["role", "grant-permission", "--prefix=true", name, "readwrite", prefix],
            &["user", "add", &format!("{name}:{password}")],
            &["user", "grant-role", name, name],
            &["auth", "enable"],
        ] {
            self.control(arguments);
        }
    }

    /// Has all tokens end, as they do when they were not used for long.
    ///
    /// # Panics
    /// If etcd refuses.
    pub fn end_tokens(&mut self) {
        self.control(&["--user", "root:root", "auth", "disable"]);
        self.control(&["auth", "enable"]);
    }
}

/// The command of a member.
fn member(
    dir: &Path,
    number: usize,
    peers: &str,
    client: SocketAddr,
    peer: SocketAddr,
    options: EtcdOptions<'_>,
) -> Command {
    let mut command = Command::new("/usr/bin/etcd");
    let scheme = if options.authority.is_some() { "https" } else { "http" };
    let (client, peer) = (format!("{scheme}://{client}"), format!("http://{peer}"));
    command.arg("--name").arg(format!("m{number}")).arg("--data-dir").arg(dir.join("data"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", peers]);
    // Leases of a second are the shortest then. A single member waits for an election too, with nobody to disturb.
    let [heartbeat, election] = if options.members == 1 { ["20", "100"] } else { ["50", "500"] };
    command.args(["--heartbeat-interval", heartbeat, "--election-timeout", election]);
    if let Some(quota) = options.quota {
        command.args(["--quota-backend-bytes", &quota.to_string()]);
    }
    if let Some(authority) = options.authority {
        command.arg("--cert-file").arg(authority.certificate_file());
        command.arg("--key-file").arg(authority.key_file());
        if options.asks_certificate {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority.ca_file());
        }
    }
    command
}

fn control(endpoint: &str, authority: Option<&Authority>) -> Command {
    let mut command = Command::new("/usr/bin/etcdctl");
    command.env("ETCDCTL_API", "3").args(["--endpoints", endpoint, "--dial-timeout", "1s"]);
    if let Some(authority) = authority {
        command.arg("--cacert").arg(authority.ca_file());
        command.arg("--cert").arg(authority.certificate_file());
        command.arg("--key").arg(authority.key_file());
    }
    command
}
