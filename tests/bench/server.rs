//! One certificate, and nginx with one worker that serve it from where we want.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use servers::Testbed;
use servers::ZONE;
use servers::ports::Port;
use servers::process::{run, wait_until};
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::client::{Client, Served};
use crate::machine::{Beside, cpu_time};

/// Limit for a certificate.
const LIMIT: Duration = Duration::from_secs(60);

/// The directory of our state in the prefix.
const STATE: &str = "acme_dns";

/// The first nginx with `ssl_certificate_cache`.
const HAS_CACHE: [u32; 3] = [1, 27, 4];

/// The certificate from our variables.
const VARIABLES: &str = "ssl_certificate data:$acme_dns_certificate; \
    ssl_certificate_key data:$acme_dns_certificate_key;";

/// Source of a server's certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// A file that `ssl_certificate` names, in an nginx without the module.
    File,
    /// The module.
    Module,
    /// The variables of the module, read for each handshake.
    Variable,
    /// The same with nginx's cache of what it has read.
    CachedVariable,
}

/// A certificate that was obtained, and the servers of the testbed.
pub(crate) struct Certificate {
    build: &'static NginxBuild,
    /// The nginx that has obtained it; ended, with its files.
    first: Nginx,
    directives: String,
    /// The type of its key, as a parameter of `acme_dns`.
    key_type: String,
    chain: Vec<u8>,
    key: Vec<u8>,
    /// Whom a client has to trust.
    pub(crate) root: String,
    /// The servers that an nginx which serves it asks when to renew.
    _bed: Testbed,
}

impl Certificate {
    /// Obtains one with a key of this type.
    pub(crate) fn obtain(build: &'static NginxBuild, key: &str) -> Result<Self, String> {
        let bed = Testbed::start_with(|mut options| {
            options.profiles.truncate(1);
            options
        });
        let (directives, root) = (bed.directives(), bed.pebble.root_pem(0));
        let key_type = format!("key={key}");
        let on = format!("acme_dns on {key_type};");
        let mut server = Server::start(Nginx::new(build), &directives, &on)?;
        server.wait_for_certificate(&root)?;
        server.nginx.quit();
        let files = server.nginx.dir().join(STATE).join("certs").join(ZONE);
        let read = |file: &str| {
            let path = files.join(file);
            fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
        };
        let (chain, key) = (read("fullchain.pem")?, read("privkey.pem")?);
        let first = server.nginx;
        Ok(Self { build, first, directives, key_type, chain, key, root, _bed: bed })
    }

    /// Starts an nginx that serves it; `http` is what stands beside the server, where `LISTEN` stands for
    /// its address.
    pub(crate) fn serve(&self, source: Source, http: &str) -> Result<Server, String> {
        self.serve_with(self.build, source, http)
    }

    /// The same by an nginx, or a module, of another build.
    pub(crate) fn serve_with(
        &self,
        build: &'static NginxBuild,
        source: Source,
        http: &str,
    ) -> Result<Server, String> {
        let mut nginx = Nginx::new(build);
        let server = match source {
            Source::File => {
                nginx.load_module(false);
                let chain = nginx.add_file("chain.pem", &self.chain);
                let key = nginx.add_file("key.pem", &self.key);
                let (chain, key) = (chain.display(), key.display());
                let files = format!("ssl_certificate {chain}; ssl_certificate_key {key};");
                Server::start(nginx, http, &files)?
            }
            Source::Module | Source::Variable | Source::CachedVariable => {
                // With owners and modes.
                let state = self.first.dir().join(STATE);
                run(Command::new("cp").arg("-a").arg(state).arg(nginx.dir()))?;
                let more = match source {
                    Source::Variable => VARIABLES.to_owned(),
                    Source::CachedVariable => format!("{VARIABLES} ssl_certificate_cache max=10;"),
                    _ => String::new(),
                };
                let http = format!("{}{http}", self.directives);
                let lines = format!("acme_dns on {}; {more}", self.key_type);
                Server::start(nginx, &http, &lines)?
            }
        };
        server.wait_for_certificate(&self.root)?;
        Ok(server)
    }

    /// The same behind so many servers with the same certificate under other names.
    pub(crate) fn serve_behind(&self, source: Source, number: usize) -> Result<Server, String> {
        let directives = match source {
            Source::File => "ssl_certificate chain.pem; ssl_certificate_key key.pem;".to_owned(),
            _ => format!("acme_dns {ZONE} *.{ZONE} {};", self.key_type),
        };
        let server = |n| {
            format!(
                "server {{ listen LISTEN ssl; server_name n{n}.test; {directives} return 200; }}\n"
            )
        };
        self.serve(source, &(0..number).map(server).collect::<String>())
    }

    /// Returns whether nginx has a cache of certificates.
    pub(crate) fn can_be_cached(&self) -> bool {
        let version = self.build.version.split('.').map(str::parse);
        version.collect::<Result<Vec<u32>, _>>().is_ok_and(|version| version[..] >= HAS_CACHE[..])
    }
}

/// An nginx with one worker and one server.
pub(crate) struct Server {
    /// The nginx.
    pub(crate) nginx: Nginx,
    /// Its worker.
    pub(crate) worker: u32,
    port: Port,
}

impl Server {
    /// Starts an nginx with one worker; `http` stands beside the server for [`ZONE`], where `LISTEN` stands for
    /// its address, `directives` in it.
    pub(crate) fn start(mut nginx: Nginx, http: &str, directives: &str) -> Result<Self, String> {
        let port = Port::reserve();
        // All workers on one processor.
        let http = http.replace("LISTEN", &port.addr().to_string());
        nginx.log_level("notice").main("worker_cpu_affinity auto;").http(format!(
            "{http}server {{\n    listen {} ssl;\n    server_name {ZONE} *.{ZONE};\n    \
             {directives}\n    location / {{ return 200 ok; }}\n}}\n",
            port.addr()
        ));
        nginx.try_start()?;
        let worker = *nginx.worker_pids().first().ok_or("nginx has no worker")?;
        Ok(Self { nginx, worker, port })
    }

    /// Returns the address that it listens at.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Does something `number` times; gives the nanoseconds that the worker has worked for each.
    pub(crate) fn cost(
        &self,
        number: usize,
        mut action: impl FnMut() -> Result<(), String>,
    ) -> Result<f64, String> {
        let _beside = Beside::process(self.worker)?;
        let before = self.rested()?;
        for _ in 0..number {
            action()?;
        }
        Ok((self.rested()? - before).as_nanos() as f64 / number as f64)
    }

    /// The time that the worker has worked, when it has nothing to do any more.
    fn rested(&self) -> Result<Duration, String> {
        let mut last = None;
        loop {
            let now = cpu_time(self.worker);
            let now = now.ok_or_else(|| format!("worker {} has ended", self.worker))?;
            if last == Some(now) {
                return Ok(now);
            }
            last = Some(now);
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn wait_for_certificate(&self, root: &str) -> Result<(), String> {
        let client = Client::trusting(root).map_err(|e| format!("no TLS client: {e}"))?;
        let served = wait_until(LIMIT, || match client.look(self.address(), ZONE) {
            Ok(Served::Trusted) => Some(()),
            _ => None,
        });
        served.ok_or_else(|| format!("no certificate:\n{}", self.nginx.log()))
    }
}
