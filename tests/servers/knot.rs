//! Knot DNS: an authoritative server of another make, at any address, with zones from files.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::paths::FAKETIME;
use crate::process::{Process, START, run};
use crate::tsig::TsigKey;

/// A running Knot DNS.
#[derive(Debug)]
pub struct Knot {
    process: Process,
    dir: PathBuf,
    serial: AtomicU32,
}

impl Knot {
    /// Starts a server for one zone at `addr`, over UDP and TCP. It refuses all other zones.
    ///
    /// `records` are lines of a zone file, relative to the zone; SOA and `NS ns1` are added.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(dir: &Path, addr: SocketAddr, zone: &str, records: &str) -> Self {
        Self::start_with_keys(dir, addr, zone, records, &[], &[])
    }

    /// Starts a server as [`start`](Self::start) does. `updaters` may update the zone, `others` are keys
    /// that it knows.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start_with_keys(
        dir: &Path,
        addr: SocketAddr,
        zone: &str,
        records: &str,
        updaters: &[&TsigKey],
        others: &[&TsigKey],
    ) -> Self {
        Self::start_ahead(Duration::ZERO, dir, addr, zone, records, updaters, others)
    }

    /// Does the same with a clock that is ahead.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start_ahead(
        ahead: Duration,
        dir: &Path,
        addr: SocketAddr,
        zone: &str,
        records: &str,
        updaters: &[&TsigKey],
        others: &[&TsigKey],
    ) -> Self {
        fs::create_dir_all(dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        let config = format!(
            "server:\n    rundir: {dir}\n    listen: {ip}@{port}\n    udp-workers: 1\n    \
             tcp-workers: 1\n    background-workers: 1\n\
             control:\n    listen: {dir}/knot.sock\n\
             database:\n    storage: {dir}\n\
             log:\n  - target: stdout\n    any: info\n\
             {keys}\
             zone:\n  - domain: {zone}\n    file: {dir}/zone\n    zonefile-sync: -1\n    \
             zonefile-load: whole\n    journal-content: none\n{acl}",
            dir = dir.display(),
            ip = addr.ip(),
            port = addr.port(),
            keys = keys(updaters, others),
            acl = if updaters.is_empty() { "" } else { "    acl: updates\n" },
        );
        let path = dir.join("knot.conf");
        fs::write(&path, config).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        let serial = AtomicU32::new(0);
        write_zone(dir, &serial, records);
        let mut command = Command::new("/usr/sbin/knotd");
        command.arg("-c").arg(&path);
        if !ahead.is_zero() {
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", format!("+{}s", ahead.as_secs()));
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut process = Process::start(&command, &dir.join("knot.log"));
        process.wait_for_port(addr, START);
        process.wait_for_log("loaded, serial", START);
        Self { process, dir: dir.to_owned(), serial }
    }

    /// The TXT records of the zone as `knotc` prints them: name, time to live, type, and the value in quotes.
    ///
    /// # Panics
    /// If the server does not answer.
    #[must_use]
    pub fn all_txt(&self) -> Vec<String> {
        let records = self.control(&["zone-read", "--"]);
        records.lines().filter(|line| line.contains(" TXT ")).map(str::to_owned).collect()
    }

    /// Replaces the records of the zone.
    ///
    /// # Panics
    /// If the server does not take them.
    pub fn set_records(&self, records: &str) {
        write_zone(&self.dir, &self.serial, records);
        self.control(&["-b", "zone-reload"]);
    }

    fn control(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("/usr/sbin/knotc");
        command.arg("-s").arg(self.dir.join("knot.sock")).args(arguments);
        run(&mut command).unwrap_or_else(|e| panic!("{e}\n{}", self.process.log()))
    }
}

/// The sections of the keys, and of what they may.
fn keys(updaters: &[&TsigKey], others: &[&TsigKey]) -> String {
    if updaters.is_empty() {
        return String::new();
    }
    let keys = updaters.iter().chain(others).map(|TsigKey { name, algorithm, secret }| {
        format!("  - id: {name}\n    algorithm: {algorithm}\n    secret: {secret}\n")
    });
    let names: Vec<&str> = updaters.iter().map(|key| key.name.as_str()).collect();
    format!(
        "key:\n{}acl:\n  - id: updates\n    key: [{}]\n    action: update\n",
        keys.collect::<String>(),
        names.join(", ")
    )
}

fn write_zone(dir: &Path, serial: &AtomicU32, records: &str) {
    let serial = serial.fetch_add(1, Ordering::Relaxed) + 1;
    let path = dir.join("zone");
    let zone =
        format!("@ 60 SOA ns1 hostmaster {serial} 3600 600 86400 60\n@ 60 NS ns1\n{records}\n");
    fs::write(&path, zone).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}
