//! The configuration of the README against the testbed: what `make demo` shows and `make matrix`
//! repeats for each nginx.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use servers::bed::{Testbed, ZONE, issuer};
use servers::ports::Port;
use servers::process::wait_until;

use crate::clients::tls::{PeerChain, TlsClient};
use crate::nginx::Nginx;
use crate::nginx::build::NginxBuild;

/// Longer than an order takes, an attempt that fails and its repetition included.
const LIMIT: Duration = Duration::from_secs(60);

/// More servers than have an `SSL_CTX` of their own.
const MANY: usize = 100;

/// An nginx with one server that has a certificate for [`ZONE`] and all names below it.
#[derive(Debug)]
pub struct Example {
    /// The server, not yet started.
    pub nginx: Nginx,
    http: String,
    port: Port,
    /// Of a server of `stream` and of one of `mail`, where there are such.
    others: Vec<Port>,
    roots: String,
    roots_file: PathBuf,
}

impl Example {
    /// Puts configuration, token and authority into the prefix of a new nginx.
    ///
    /// # Panics
    /// If a file cannot be written.
    #[must_use]
    pub fn new(bed: &Testbed, build: &NginxBuild) -> Self {
        let mut nginx = Nginx::new(build);
        let port = Port::reserve();
        let read = |path: &Path| {
            fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
        };
        // Copies, because an nginx in a chroot sees nothing else.
        let ca = nginx.add_file("ca.pem", read(bed.pebble.ca_file()));
        let token = nginx.add_file("token", bed.token());
        let text = format!(
            "{issuer}\
             acme_dns_provider cloudflare {{\n    api {api};\n    token_file {token};\n}}\n\
             {propagation}\
             server {{\n    listen {listen} ssl;\n    server_name {ZONE} *.{ZONE};\n    \
             acme_dns on;\n    location / {{ return 200 \"hello\\n\"; }}\n}}\n",
            issuer = issuer("pebble", &bed.pebble.directory_url(), &ca, ""),
            api = bed.cloudflare.api_url(),
            token = token.display(),
            propagation = bed.propagation(),
            listen = port.addr(),
        );
        nginx.http(text.as_str());
        let roots = bed.pebble.root_pem(0);
        let roots_file = bed.dir().join("root.pem");
        fs::write(&roots_file, &roots).unwrap_or_else(|e| panic!("cannot write root.pem: {e}"));
        Self { nginx, http: text, port, others: Vec::new(), roots, roots_file }
    }

    /// Adds a server of `stream` and one of `mail` with the same certificate, whose modules are loaded
    /// where nginx does not have them built in.
    pub fn add_stream_and_mail(&mut self, build: &NginxBuild) {
        let (stream, mail) = (Port::reserve(), Port::reserve());
        let load = build.dynamic.iter().map(|path| format!("load_module {};\n", path.display()));
        self.nginx.main(format!(
            "{load}stream {{\n    server {{ listen {} ssl; acme_dns {ZONE} *.{ZONE}; return hello; }}\n}}\n\
             mail {{\n    auth_http 127.0.0.1:1/;\n    server {{ listen {} ssl; protocol imap; \
             acme_dns {ZONE} *.{ZONE}; }}\n}}\n",
            stream.addr(),
            mail.addr(),
            load = load.collect::<String>(),
        ));
        self.others = vec![stream, mail];
    }

    /// Adds many servers with the same certificate, the last of which has Lua look at its clients, if
    /// there is a Lua module; gives its name.
    pub fn add_many(&mut self, build: &NginxBuild) -> String {
        let load = build.lua.iter().map(|path| format!("load_module {};\n", path.display()));
        self.nginx.main(load.collect::<String>());
        let hello = if build.lua.is_empty() { "" } else { "ssl_client_hello_by_lua_block { }" };
        let name = |n| format!("many{n}.{ZONE}");
        for n in 0..=MANY {
            let (name, more) = (name(n), if n == MANY { hello } else { "" });
            self.http.push_str(&format!(
                "server {{ listen {} ssl; server_name {name}; acme_dns {ZONE} *.{ZONE}; return 200; \
                 {more} }}\n",
                self.port.addr()
            ));
        }
        self.nginx.http(self.http.as_str());
        name(MANY)
    }

    /// Has certificates compressed, where nginx has a directive for that (from 1.29.1 on).
    pub fn compress(&mut self) {
        self.http.insert_str(0, "ssl_certificate_compression on;\n");
        self.nginx.http(self.http.as_str());
    }

    /// The names that are served: the zone itself, and one that the wildcard covers.
    #[must_use]
    pub fn names() -> [String; 2] {
        [ZONE.to_owned(), format!("www.{ZONE}")]
    }

    /// Returns the address that nginx listens at.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The root that the served certificate leads to, as a file.
    #[must_use]
    pub fn roots_file(&self) -> &Path {
        &self.roots_file
    }

    /// The chain that is served now, if it leads to the root and covers all names.
    ///
    /// # Errors
    /// Its fault.
    pub fn trusted(&self) -> Result<PeerChain, String> {
        let [apex, below] = Self::names();
        let client = TlsClient::new(self.addr()).roots(&self.roots);
        client.clone().sni(&below).handshake().map_err(|e| format!("{below}: {e}"))?;
        let chain = client.sni(&apex).handshake().map_err(|e| format!("{apex}: {e}"))?;
        for port in &self.others {
            let client = TlsClient::new(port.addr()).roots(&self.roots).sni(&apex);
            let other = client.handshake().map_err(|e| format!("{}: {e}", port.addr()))?;
            if other.leaf != chain.leaf {
                return Err(format!("{} has another certificate", port.addr()));
            }
        }
        Ok(chain)
    }

    /// Starts nginx and waits until it serves what [`trusted`](Self::trusted) accepts; `watch` is
    /// called over and over, and ends the wait when it answers false. Returns the chain and the
    /// time from the start.
    ///
    /// # Errors
    /// Why not, with the last lines of the error log.
    pub fn obtain(
        &mut self,
        mut watch: impl FnMut(&Nginx) -> bool,
    ) -> Result<(PeerChain, Duration), String> {
        let start = Instant::now();
        self.nginx.try_start()?;
        let mut last = Err("nginx was not asked".to_owned());
        let _ = wait_until(LIMIT, || {
            last = self.trusted();
            let go_on = watch(&self.nginx) && self.nginx.is_running();
            (last.is_ok() || !go_on).then_some(())
        });
        match last {
            Ok(chain) => Ok((chain, start.elapsed())),
            Err(error) => Err(format!("{error}\n{}", self.log_tail(30))),
        }
    }

    /// Has `openssl s_client` check the chain that is served for a name: a client that is not ours.
    ///
    /// # Errors
    /// Its output, if it does not accept the chain.
    pub fn check_with_openssl(&self, name: &str) -> Result<(), String> {
        let output = Command::new("openssl")
            .args(["s_client", "-brief", "-verify_return_error", "-no-CApath", "-no-CAstore"])
            .args(["-servername", name, "-verify_hostname", name, "-connect"])
            .arg(self.addr().to_string())
            .arg("-CAfile")
            .arg(&self.roots_file)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot run openssl: {e}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// The last lines of the error log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.nginx.log();
        let skipped = log.lines().count().saturating_sub(lines);
        log.lines().skip(skipped).map(|line| format!("{line}\n")).collect()
    }
}
