//! An nginx that obtains its certificates from the testbed, and what can be seen of it from outside.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use openssl::pkey::PKey;
use openssl::x509::X509;
use servers::Testbed;
use servers::acme_proxy::AcmeProxy;
use servers::bed::issuer;
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::process::wait_until;
use testbed::clients::tls::{Leaf, PeerChain, TlsClient};
use testbed::measurements::proc;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

/// Longer than an order takes on a busy machine, an attempt that fails and its repetition included.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Of servers that are alike, these and more share what nginx keeps for TLS.
pub(crate) const CROWD: usize = 70;

/// The user of the workers.
pub(crate) const NOBODY: u32 = 65534;

/// The user of the service, `daemon`.
pub(crate) const SERVICE: u32 = 1;

/// The servers and an nginx in front of them. Fields are dropped in their order.
pub(crate) struct Site {
    pub(crate) nginx: Nginx,
    /// Stands between nginx and Pebble.
    pub(crate) proxy: AcmeProxy,
    pub(crate) bed: Testbed,
    /// Further directives of the issuer.
    pub(crate) issuer: String,
    /// Certificates that are trusted besides the system's authorities; that of the proxy if not given.
    pub(crate) trusted_certificate: Option<PathBuf>,
    /// The directive `acme_dns_propagation`.
    pub(crate) propagation: String,
    /// A block `acme_dns_provider` in the place of the testbed's.
    pub(crate) provider: Option<String>,
    /// Whatever else stands in `http { }`.
    pub(crate) http: String,
    /// Further parameters of `listen`.
    pub(crate) listen: String,
    /// True if the servers are reached over QUIC too, at the same port.
    pub(crate) quic: bool,
    /// Number of others before the servers, all with one certificate: [`CROWD`] is so many that the
    /// servers have no TLS context of their own.
    pub(crate) crowd: usize,
    port: Port,
    servers: Vec<(String, String)>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    pub(crate) fn with(change: impl FnOnce(PebbleOptions) -> PebbleOptions) -> Self {
        let bed = Testbed::start_with(change);
        Self {
            nginx: Nginx::new(NginxBuild::get()),
            proxy: bed.acme_proxy(),
            issuer: String::new(),
            trusted_certificate: None,
            propagation: bed.propagation(),
            provider: None,
            http: String::new(),
            listen: String::new(),
            quic: false,
            crowd: 0,
            port: Port::reserve(),
            servers: Vec::new(),
            bed,
        }
    }

    /// A site with servers of these names, started.
    pub(crate) fn start(servers: &[&str]) -> Self {
        let mut site = Self::new();
        site.set_servers(servers);
        site.start_nginx();
        site
    }

    /// Has nginx run as nobody altogether, its master too. Before the start only.
    pub(crate) fn run_as_nobody(&mut self) {
        self.run_as((NOBODY, NOBODY, NOBODY));
    }

    /// Has nginx run as a user, with its group and another one, its master too. Before the start only.
    pub(crate) fn run_as(&mut self, (user, group, other): (u32, u32, u32)) {
        let build = NginxBuild::get();
        let wrapper = self.bed.dir().join("nginx");
        let script = format!(
            "#!/bin/sh\nexec setpriv --reuid {user} --regid {group} --groups {other} \
             --pdeathsig TERM -- {} \"$@\"\n",
            build.binary.display()
        );
        fs::write(&wrapper, script).expect("it can be written");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("a mode");
        self.nginx = Nginx::new(&NginxBuild { binary: wrapper, ..build.clone() });
        self.nginx.service_user(None);
        let give = |path: &Path| chown(path, Some(user), Some(group)).expect("root may do that");
        give(self.bed.token_file());
        give(self.nginx.dir());
        give(&self.nginx.dir().join("temp"));
    }

    /// One server for each item, which is a `server_name`; others are removed.
    pub(crate) fn set_servers(&mut self, servers: &[&str]) {
        self.servers.clear();
        servers.iter().for_each(|names| self.add_server(names, "on"));
    }

    /// A server with the arguments of its `acme_dns` directive.
    pub(crate) fn add_server(&mut self, names: &str, acme_dns: &str) {
        self.servers.push((names.to_owned(), acme_dns.to_owned()));
    }

    pub(crate) fn start_nginx(&mut self) {
        self.configure();
        self.nginx.start();
    }

    pub(crate) fn reload(&mut self) {
        self.configure();
        self.nginx.reload();
    }

    /// The directives that define things.
    pub(crate) fn definitions(&self) -> String {
        let trusted = self.trusted_certificate.as_deref().unwrap_or(self.proxy.ca_file());
        let issuer = issuer("pebble", &self.proxy.directory_url(), trusted, &self.issuer);
        let provider = self.provider.clone().unwrap_or_else(|| self.bed.provider());
        format!("{issuer}{provider}{}\n", self.propagation)
    }

    /// Sets what the next start or reload uses.
    pub(crate) fn configure(&mut self) {
        let mut text = format!("{}{}\n", self.definitions(), self.http);
        let (addr, more) = (self.port.addr(), &self.listen);
        for n in 0..self.crowd {
            let quic = if self.quic { format!("listen {addr} quic;") } else { String::new() };
            text.push_str(&format!(
                "server {{ listen {addr} ssl; {quic} server_name crowd{n}.example.test; \
                 acme_dns crowd.example.test; return 200; }}\n"
            ));
        }
        for (position, (names, acme_dns)) in self.servers.iter().enumerate() {
            // An address takes its parameters once.
            let more = if position == 0 { more.as_str() } else { "" };
            let quic = match (self.quic, position) {
                (false, _) => String::new(),
                // Workers that share a socket would get each other's packets.
                (true, 0) => format!("listen {addr} quic reuseport; http3 on;"),
                (true, _) => format!("listen {addr} quic; http3 on;"),
            };
            text.push_str(&format!(
                "server {{\n    listen {addr} ssl {more};\n    {quic}\n    server_name {names};\n    \
                 acme_dns {acme_dns};\n    location / {{ return 200 \"$pid\"; }}\n}}\n"
            ));
        }
        self.nginx.http(text);
    }

    /// Returns the address that nginx listens at.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// A client that takes whatever is served for a name.
    pub(crate) fn client(&self, name: &str) -> TlsClient {
        TlsClient::new(self.port.addr()).sni(name)
    }

    /// A client that trusts Pebble's root alone.
    pub(crate) fn trusting(&self, name: &str) -> TlsClient {
        self.client(name).roots(&self.bed.pebble.root_pem(0))
    }

    /// Returns the certificate that is served for a name, trusted or not.
    pub(crate) fn served(&self, name: &str) -> Leaf {
        self.client(name).handshake().unwrap_or_else(|e| panic!("{name}: {e}")).leaf
    }

    /// Waits until a trusted certificate is served for a name.
    pub(crate) fn wait_for_certificate(&self, name: &str) -> PeerChain {
        self.wait_for_other(name, "")
    }

    /// Waits until a trusted certificate with another serial number is served.
    pub(crate) fn wait_for_other(&self, name: &str, serial: &str) -> PeerChain {
        let client = self.trusting(name);
        let mut last = String::new();
        let served = wait_until(LIMIT, || match client.handshake() {
            Ok(chain) if chain.leaf.serial != serial => Some(chain),
            Ok(_) => None,
            Err(error) => {
                last = error.to_string();
                None
            }
        });
        served.unwrap_or_else(|| {
            let requests = self.proxy.traffic.summary();
            panic!("no new certificate for {name}: {last}\n{requests}{}", self.nginx.log())
        })
    }

    /// Returns whether the certificate that stands in for a missing one is served.
    pub(crate) fn serves_fallback(&self, name: &str) -> bool {
        let leaf = self.served(name);
        leaf.issuer == leaf.subject && leaf.sans.iter().any(|san| san == name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.nginx.dir().join("acme_dns")
    }

    /// The names in a directory of the state path, sorted.
    pub(crate) fn entries(&self, directory: &str) -> Vec<String> {
        let path = self.state().join(directory);
        let entries =
            fs::read_dir(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names
    }

    /// Waits until nothing of any order is left: no TXT record anywhere, no journal, no progress.
    pub(crate) fn wait_until_clean(&self) {
        let left = || {
            let records = self.bed.cloudflare.txt_records().len() + self.bed.dns.all_txt().len();
            (records, self.entries("journal"), self.entries("orders"))
        };
        let clean = wait_until(LIMIT, || (left() == (0, vec![], vec![])).then_some(()));
        assert!(clean.is_some(), "{:?} is left:\n{}", left(), self.nginx.log());
    }

    /// The files of a certificate belong together and are what is served; gives the leaf.
    pub(crate) fn check_files(&self, certificate: &str) -> Leaf {
        let read = |file: &str| {
            let path = self.state().join("certs").join(certificate).join(file);
            fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
        };
        let (fullchain, leaf, chain) = (read("fullchain.pem"), read("cert.pem"), read("chain.pem"));
        assert_eq!(fullchain, [leaf.as_slice(), &chain].concat());
        let certificates = X509::stack_from_pem(&fullchain).expect("the chain is readable");
        assert!(certificates.len() >= 2, "the intermediate is there");
        let key = PKey::private_key_from_pem(&read("privkey.pem")).expect("the key is readable");
        assert!(certificates[0].public_key().expect("it has a key").public_eq(&key));
        assert_eq!(X509::stack_from_pem(&leaf).map(|leaf| leaf.len()).ok(), Some(1));
        Leaf::from_pem(&leaf).expect("the certificate is readable")
    }

    /// All helpers: two while an old one leaves.
    pub(crate) fn helpers(&self) -> Vec<u32> {
        proc::services(self.nginx.master_pid())
    }

    /// Waits until there is one helper and it is none of these.
    pub(crate) fn wait_for_other_helper(&self, old: &[u32]) -> u32 {
        let one = wait_until(LIMIT, || match self.helpers().as_slice() {
            [pid] if !old.contains(pid) => Some(*pid),
            _ => None,
        });
        one.unwrap_or_else(|| panic!("{:?}:\n{}", self.helpers(), self.nginx.log()))
    }

    /// Lines of the module at a level, such as `error`, from `mark` on.
    pub(crate) fn lines(&self, level: &str, mark: u64) -> Vec<String> {
        let level = format!("[{level}]");
        let log = self.nginx.log_from(mark);
        let ours = log.lines().filter(|line| line.contains(&level) && line.contains("acme_dns:"));
        ours.map(str::to_owned).collect()
    }
}

/// Returns a directory and everything below it, but for what is removed meanwhile: the service may be at work.
pub(crate) fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            found.extend(entries.map(|entry| entry.path()));
        }
    }
    found
}
