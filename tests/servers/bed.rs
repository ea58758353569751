//! The servers that most tests need, put together.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::acme_proxy::AcmeProxy;
use crate::authority::Authority;
use crate::cloudflare::{Cloudflare, Token};
use crate::pebble::{Pebble, PebbleOptions};
use crate::persist_ca::NewForm;
use crate::ports;
use crate::powerdns::PowerDns;

/// The zone of every [`Testbed`].
pub const ZONE: &str = "example.test";

/// PowerDNS, the stand-in of Cloudflare's API and Pebble, with the zone [`ZONE`] and a token.
///
/// The fields are dropped in their order: servers first, the directory last.
#[derive(Debug)]
pub struct Testbed {
    /// The authority.
    pub pebble: Pebble,
    /// The stand-in of Cloudflare's API.
    pub cloudflare: Cloudflare,
    /// The DNS server.
    pub dns: PowerDns,
    authority: Option<Authority>,
    token: String,
    token_file: PathBuf,
    dir: TempDir,
}

impl Testbed {
    /// Starts all with the options that most tests want.
    ///
    /// # Panics
    /// If a server does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|options| options)
    }

    /// Starts all, with other options for Pebble.
    ///
    /// # Panics
    /// If a server does not come up.
    #[must_use]
    pub fn start_with(change: impl FnOnce(PebbleOptions) -> PebbleOptions) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("acme-dns-")
            .tempdir()
            .unwrap_or_else(|e| panic!("no temporary directory: {e}"));
        // nginx's workers and helper run as another user when the tests run as root.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))
            .unwrap_or_else(|e| panic!("cannot open {}: {e}", dir.path().display()));
        let dns = PowerDns::start(&dir.path().join("dns"));
        // Beyond a loopback address, the module uses no API without TLS.
        let authority = (!ports::address().is_loopback())
            .then(|| Authority::create(&dir.path().join("cloudflare")));
        let cloudflare = match &authority {
            None => Cloudflare::start(&dns),
            Some(authority) => Cloudflare::start_with_tls(&dns, authority),
        };
        cloudflare.add_zone(&dns, ZONE);
        let token = new_token();
        cloudflare.add_token(Token::new(&token));
        let token_file = dir.path().join("token");
        write_secret(&token_file, &token);
        let pebble = Pebble::start(&dir.path().join("ca"), change(PebbleOptions::new(dns.addr())));
        Self { pebble, cloudflare, dns, authority, token, token_file, dir }
    }

    /// A directory for the files of the test, which everybody may enter; gone when this is dropped.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The token that may do everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The token in a file of mode 0600.
    #[must_use]
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// The authority of the stand-in's API, where that has TLS.
    #[must_use]
    pub fn api_ca_file(&self) -> Option<&Path> {
        self.authority.as_ref().map(Authority::ca_file)
    }

    /// Starts a proxy in front of Pebble, with an authority of its own.
    #[must_use]
    pub fn acme_proxy(&self) -> AcmeProxy {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        AcmeProxy::start(&self.dir().join(format!("proxy-{number}")), &self.pebble)
    }

    /// Starts a proxy that gives Pebble the newer form of dns-persist-01.
    #[must_use]
    pub fn persist_proxy(&self) -> AcmeProxy {
        let form = NewForm::new(self.dns.api(), ZONE);
        AcmeProxy::start_with(&self.dir().join("persist"), &self.pebble, Some(form))
    }

    /// The directives of nginx.conf that name these servers: issuer `pebble`, provider
    /// `cloudflare`, propagation.
    #[must_use]
    pub fn directives(&self) -> String {
        let issuer = issuer("pebble", &self.pebble.directory_url(), self.pebble.ca_file(), "");
        format!("{issuer}{}{}", self.provider(), self.propagation())
    }

    /// As [`directives`](Self::directives), with the issuer behind a proxy.
    #[must_use]
    pub fn directives_through(&self, proxy: &AcmeProxy) -> String {
        let issuer = issuer("pebble", &proxy.directory_url(), proxy.ca_file(), "");
        format!("{issuer}{}{}", self.provider(), self.propagation())
    }

    /// The provider block, type and name `cloudflare`.
    #[must_use]
    pub fn provider(&self) -> String {
        format!(
            "acme_dns_provider cloudflare {{\n    api {};\n    token_file {};\n}}\n",
            self.cloudflare.api_url(),
            self.token_file.display(),
        )
    }

    /// The propagation directive.
    #[must_use]
    pub fn propagation(&self) -> String {
        let dns = self.dns.addr();
        format!(
            "acme_dns_propagation timeout=30s interval=200ms resolvers={dns} port={};\n",
            dns.port(),
        )
    }
}

/// An issuer block; `more` are further directives in it.
#[must_use]
pub fn issuer(name: &str, directory: &str, ca_file: &Path, more: &str) -> String {
    format!(
        "acme_dns_issuer {name} {{\n    directory {directory};\n    contact admin@{ZONE};\n    \
         accept_terms_of_service;\n    trusted_certificate {};\n    {more}\n}}\n",
        ca_file.display(),
    )
}

/// Writes a file that only its owner can read.
///
/// # Panics
/// If it cannot be written.
pub fn write_secret(path: &Path, secret: &str) {
    fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{secret}"))
        .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}

/// 40 characters, as Cloudflare's own; random, so that a scan for leaks finds no other.
fn new_token() -> String {
    let mut bytes = [0; 20];
    openssl::rand::rand_bytes(&mut bytes).unwrap_or_else(|e| panic!("no random bytes: {e}"));
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
