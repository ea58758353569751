//! Stage of most of these tests: the testbed, and a container that is to use it.

use std::time::Duration;

use servers::Testbed;
use servers::ZONE;
use servers::acme_proxy::{AcmeProxy, AcmeStep};
use servers::pebble::PebbleOptions;
use servers::process::wait_until;
use testbed::clients::tls::{Leaf, TlsClient};
use testbed::nginx::docker::{Container, Image, Volume};

/// Longer than an order takes, an attempt that fails and its repetition included.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The testbed with what containers need of it.
pub(crate) struct Stage {
    pub(crate) proxy: AcmeProxy,
    pub(crate) bed: Testbed,
    roots: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    /// One with another authority.
    pub(crate) fn with(change: impl FnOnce(PebbleOptions) -> PebbleOptions) -> Self {
        let bed = Testbed::start_with(change);
        let (proxy, roots) = (bed.acme_proxy(), bed.pebble.root_pem(0));
        Self { proxy, bed, roots }
    }

    /// The arguments of `docker run` for certificates from the testbed, without names.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["--health-interval", "1s"].map(str::to_owned).to_vec();
        for (name, value) in self.variables() {
            arguments.extend(["--env".to_owned(), format!("{name}={value}")]);
        }
        for (host, inside) in self.mounts() {
            arguments.extend(["--volume".to_owned(), format!("{host}:{inside}:ro")]);
        }
        arguments
    }

    /// Returns the environment that leads a container to the testbed.
    pub(crate) fn variables(&self) -> [(&'static str, String); 7] {
        let dns = self.bed.dns.addr();
        [
            ("ACME_DNS_EMAIL", format!("admin@{ZONE}")),
            ("ACME_DNS_ACCEPT_TERMS", "yes".to_owned()),
            ("ACME_DNS_DIRECTORY", self.proxy.directory_url()),
            ("ACME_DNS_TRUSTED_CERTIFICATE", CA.to_owned()),
            ("CLOUDFLARE_API_TOKEN_FILE", TOKEN.to_owned()),
            ("ACME_DNS_PROVIDER_API", self.bed.cloudflare.api_url()),
            (
                "ACME_DNS_PROPAGATION",
                format!("timeout=30s interval=200ms resolvers={dns} port={}", dns.port()),
            ),
        ]
    }

    /// The files of the testbed, and where the variables have them.
    pub(crate) fn mounts(&self) -> [(String, &'static str); 3] {
        let api_ca = self.bed.api_ca_file().expect("containers reach no loopback address");
        [
            (self.proxy.ca_file().display().to_string(), CA),
            (self.bed.token_file().display().to_string(), TOKEN),
            // Trusted as if it were a public authority.
            (api_ca.display().to_string(), "/etc/ssl/certs/ca-certificates.crt"),
        ]
    }

    /// Starts the image with a certificate for the zone and all names in it.
    pub(crate) fn start(&self, state: &Volume) -> Container {
        self.start_with(state, &[])
    }

    /// The same with further arguments of `docker run`.
    pub(crate) fn start_with(&self, state: &Volume, more: &[&str]) -> Container {
        let mut arguments = self.arguments();
        arguments.extend(domains(&format!("{ZONE} *.{ZONE}")));
        arguments.extend(["--volume".to_owned(), format!("{}:{STATE}", state.name)]);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        Container::start(Image::Root.get(), &arguments)
    }

    /// A client that trusts only what Pebble issues.
    pub(crate) fn client(&self, container: &Container, port: u16, name: &str) -> TlsClient {
        TlsClient::new(container.addr(port)).sni(name).roots(&self.roots)
    }

    /// The certificate that is served for a name, if it is trusted.
    pub(crate) fn served(&self, container: &Container, port: u16, name: &str) -> Option<Leaf> {
        let peer = self.client(container, port, name).handshake();
        peer.ok().map(|peer| peer.leaf)
    }

    /// Waits until a trusted certificate is served for the zone.
    pub(crate) fn wait_for_certificate(&self, container: &Container, port: u16) -> Leaf {
        let served = wait_until(LIMIT, || self.served(container, port, ZONE));
        served.unwrap_or_else(|| panic!("{}", container.logs()))
    }

    /// Counts the orders that have been placed.
    pub(crate) fn orders(&self) -> usize {
        self.proxy.traffic.count(&AcmeStep::NewOrder.requests())
    }
}

/// The state path of the image.
pub(crate) const STATE: &str = "/var/lib/acme_dns";

const CA: &str = "/run/secrets/ca.pem";
const TOKEN: &str = "/run/secrets/cloudflare_token";

/// The arguments for these certificates, one a line.
pub(crate) fn domains(lines: &str) -> [String; 2] {
    ["--env".to_owned(), format!("ACME_DNS_DOMAINS={lines}")]
}
