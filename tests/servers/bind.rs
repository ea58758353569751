//! BIND, the authoritative server of a zone that takes updates.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::ports::Port;
use crate::process::{Process, START};
use crate::tsig::TsigKey;

const NAMED: &str = "/usr/sbin/named";
/// A running BIND.
#[derive(Debug)]
pub struct Bind {
    process: Process,
    port: Port,
}

impl Bind {
    /// Starts a server for one zone. `updaters` may update its TXT records, `others` are keys that it knows.
    ///
    /// `records` are lines of a zone file, relative to the zone; SOA and `NS ns1` are added.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(
        dir: &Path,
        zone: &str,
        records: &str,
        updaters: &[&TsigKey],
        others: &[&TsigKey],
    ) -> Self {
        fs::create_dir_all(dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        let port = Port::reserve();
        let keys = updaters.iter().chain(others).map(|TsigKey { name, algorithm, secret }| {
            format!("key \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n")
        });
        let keys: String = keys.collect();
        let grants: String =
            updaters.iter().map(|key| format!("grant \"{}\" zonesub TXT; ", key.name)).collect();
        let config = format!(
            "options {{\n directory \"{dir}\"; pid-file none; session-keyfile none; lock-file none;\n \
             listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }};\n \
             recursion no; notify no; dnssec-validation no; empty-zones-enable no;\n}};\n\
             controls {{ }};\n{keys}\
             zone \"{zone}\" {{ type primary; file \"zone\"; update-policy {{ {grants}}}; }};\n",
            dir = dir.display(),
            port = port.number(),
            ip = port.addr().ip(),
        );
        let zone =
            format!("$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\n{records}\n");
        // A profile of AppArmor is for the program at its own place: it would not let it read all this.
        let program = dir.join("named");
        let path = dir.join("named.conf");
        fs::copy(NAMED, &program)
            .and_then(|_| fs::write(dir.join("zone"), zone))
            .and_then(|()| fs::write(&path, config))
            .unwrap_or_else(|e| panic!("cannot write to {}: {e}", dir.display()));
        let mut command = Command::new(program);
        command.args(["-g", "-4", "-n", "1", "-c"]).arg(&path);
        let mut process = Process::start(&command, &dir.join("named.log"));
        process.wait_for_log("all zones loaded", START);
        Self { process, port }
    }

    /// Returns the address that it answers at, over UDP and TCP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}
