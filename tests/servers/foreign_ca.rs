//! CAs that are not ours and not Pebble: what real servers make of RFC 8555.
//!
//! Caddy's `acme_server` stands on smallstep's library; Serles is a small server in Python that offers
//! neither revocation nor key change. Both ask the testbed's DNS server for the TXT records.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::authority::Authority;
use crate::package::{caddy_program, from_pypi};
use crate::ports::Port;
use crate::process::{Process, START};

/// The version that the tests were made with.
const SERLES: &str = "serles-acme==1.3.0";

/// A running CA. It ends when it is dropped.
#[derive(Debug)]
pub struct ForeignCa {
    /// The URL of its directory.
    pub directory_url: String,
    /// The authority of its endpoint: what belongs into `trusted_certificate`.
    pub ca_file: PathBuf,
    process: Process,
    _port: Port,
}

impl ForeignCa {
    /// Starts Caddy's `acme_server`, which finds TXT records at `dns`.
    ///
    /// # Panics
    /// If it cannot be had, or does not come up.
    #[must_use]
    pub fn caddy(dir: &Path, dns: SocketAddr) -> Self {
        let authority = Authority::create(dir);
        let port = Port::reserve();
        let config = format!(
            "{{\n  admin off\n  auto_https off\n  persist_config off\n  skip_install_trust\n  \
             storage file_system {dir}/data\n}}\n\
             https://{addr} {{\n  bind 127.0.0.1\n  tls {certificate} {key}\n  \
             acme_server {{\n    resolvers {dns}\n    challenges dns-01\n    \
             allow_wildcard_names\n  }}\n}}\n",
            dir = dir.display(),
            addr = port.addr(),
            certificate = authority.certificate_file().display(),
            key = authority.key_file().display(),
        );
        let file = write(&dir.join("Caddyfile"), &config);
        let mut command = Command::new(caddy_program());
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        command.env("HOME", dir).env("XDG_DATA_HOME", dir).env("XDG_CONFIG_HOME", dir);
        let url = format!("https://{}/acme/local/directory", port.addr());
        Self::start(&command, dir, port, url, &authority)
    }

    /// Starts Serles, which finds TXT records at `dns`.
    ///
    /// # Panics
    /// If it cannot be had, or does not come up.
    #[must_use]
    pub fn serles(dir: &Path, dns: SocketAddr) -> Self {
        let python = from_pypi("serles", &[SERLES]).join("bin/python");
        let authority = Authority::create(dir);
        let port = Port::reserve();
        let config = format!(
            "[serles]\nbackend = backend:Backend\ndatabase = sqlite:///{dir}/serles.db\n\
             subjectNameTemplate = CN={{SAN[0]}}\nallowWildcards = true\n\
             [openssl]\ncacert = {dir}/issuer.pem\ncakey = {dir}/issuer_key.pem\n",
            dir = dir.display(),
        );
        let config = write(&dir.join("serles.ini"), &config);
        write(&dir.join("backend.py"), BACKEND);
        let main = write(&dir.join("main.py"), MAIN);
        let mut command = Command::new(python);
        command.arg(main).env("CONFIG", config);
        command.arg(dns.port().to_string()).arg(port.number().to_string());
        command.arg(authority.certificate_file()).arg(authority.key_file());
        let url = format!("https://{}/directory", port.addr());
        Self::start(&command, dir, port, url, &authority)
    }

    fn start(
        command: &Command,
        dir: &Path,
        port: Port,
        directory_url: String,
        authority: &Authority,
    ) -> Self {
        let mut process = Process::start(command, &dir.join("log"));
        process.wait_for_port(port.addr(), START);
        Self { directory_url, ca_file: authority.ca_file().to_owned(), process, _port: port }
    }

    /// Returns its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// The server itself, with our DNS server in the place of the system's.
const MAIN: &str = r#"
import sys
import dns.resolver
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port = ["127.0.0.1"], int(sys.argv[1])
dns.resolver.default_resolver = resolver
from serles import create_app
create_app().run(host="127.0.0.1", port=int(sys.argv[2]), ssl_context=tuple(sys.argv[3:5]))
"#;

/// Its own backend leaves the names of a request out of the certificate.
const BACKEND: &str = r#"
import subprocess
from serles.backends import openssl

class Backend(openssl.Backend):
    def sign(self, csr, subject, names, email):
        command = ["openssl", "x509", "-req", "-days", "30", "-copy_extensions", "copy",
                   "-CA", self.cacert, "-CAkey", self.cakey, "-CAcreateserial"]
        leaf = subprocess.run(command, input=csr, stdout=subprocess.PIPE, check=True).stdout
        return (leaf + open(self.cacert, "rb").read()).decode(), None
"#;

fn write(path: &Path, text: &str) -> PathBuf {
    fs::write(path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    path.to_owned()
}
